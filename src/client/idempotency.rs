//! The name under which a request is asked once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::digest::Digest;

/// What tells the jobs of a platform apart, and stays the same when a job is run again. None of these
/// counts attempts: a job that is repeated goes on with what it asked for before.
struct Platform {
    name: &'static str,
    /// The run: set on this platform and nowhere else.
    run: &'static str,
    /// What else names the job. What is not set counts as empty.
    job: &'static [&'static str],
}

const PLATFORMS: [Platform; 5] = [
    Platform {
        name: "github",
        run: "GITHUB_RUN_ID",
        job: &["GITHUB_SERVER_URL", "GITHUB_REPOSITORY_ID", "GITHUB_JOB"],
    },
    Platform {
        name: "gitlab",
        run: "CI_PIPELINE_ID",
        job: &["CI_SERVER_URL", "CI_PROJECT_ID", "CI_JOB_NAME"],
    },
    Platform {
        name: "buildkite",
        run: "BUILDKITE_BUILD_ID",
        job: &["BUILDKITE_STEP_ID", "BUILDKITE_PARALLEL_JOB"],
    },
    Platform {
        name: "circleci",
        run: "CIRCLE_PIPELINE_ID",
        job: &["CIRCLE_JOB", "CIRCLE_NODE_INDEX"],
    },
    Platform { name: "jenkins", run: "BUILD_TAG", job: &["JENKINS_URL", "STAGE_NAME"] },
];

/// The key of this request of this job: the platform's name and a digest of run, job, environment,
/// service or job, image, and that a job is only updated; of an action, of its tool and arguments. None where no
/// platform is known.
///
/// The texts are left out on purpose: when they differ, the gate refuses (422) rather than have people
/// asked twice for one rollout.
pub fn derived_key(environment: &BTreeMap<String, String>, body: &Value) -> Option<String> {
    let value = |name: &str| environment.get(name).map(String::as_str).unwrap_or_default();
    let platform = PLATFORMS.iter().find(|platform| !value(platform.run).is_empty())?;
    let job: Vec<&str> = platform.job.iter().map(|name| value(name)).collect();
    let subject = &body["subject"];
    let [what, exactly] = match subject["kind"].as_str() {
        Some("action") => ["tool", "arguments"],
        Some("job_execution") => ["job", "image"],
        _ => ["service", "image"],
    };
    let mut parts = vec![
        json!(value(platform.run)),
        json!(job),
        body["environment"].clone(),
        subject[what].clone(),
        subject[exactly].clone(),
    ];
    if subject["run"] == false {
        parts.push("update".into());
    }
    let digest = Digest::of(Value::from(parts).to_string()).to_string();
    Some(format!("{}-{}", platform.name, &digest[..40]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_job_that_runs_again_has_the_same_key_and_no_other_job_has_it() {
        let body = |image: &str| json!({"environment": "production", "subject": {"service": "s", "image": image}});
        let first = [("CI_PIPELINE_ID", "7"), ("CI_JOB_NAME", "deploy"), ("CI_JOB_ID", "100")];
        let key = |variables: &[(&str, &str)], body: &Value| {
            derived_key(&environment(variables), body).unwrap()
        };
        let one = key(&first, &body("a"));
        assert!(one.starts_with("gitlab-") && one.len() <= 255, "{one}");
        let again = [("CI_PIPELINE_ID", "7"), ("CI_JOB_NAME", "deploy"), ("CI_JOB_ID", "101")];
        assert_eq!(key(&again, &body("a")), one);
        let mut with_text = body("a");
        with_text["reason"] = json!("another text");
        assert_eq!(key(&first, &with_text), one);
        for (what, other) in [
            ("another image", key(&first, &body("b"))),
            ("another job", key(&[("CI_PIPELINE_ID", "7"), ("CI_JOB_NAME", "x")], &body("a"))),
            ("another run", key(&[("CI_PIPELINE_ID", "8"), ("CI_JOB_NAME", "deploy")], &body("a"))),
            (
                "another platform",
                key(&[("GITHUB_RUN_ID", "7"), ("GITHUB_JOB", "deploy")], &body("a")),
            ),
        ] {
            assert_ne!(other, one, "{what}");
        }
        assert_eq!(derived_key(&environment(&[("CI_PIPELINE_ID", "")]), &body("a")), None);
    }

    #[test]
    fn a_run_of_a_job_is_another_request_than_its_update() {
        let job = environment(&[("CI_PIPELINE_ID", "7"), ("CI_JOB_NAME", "deploy")]);
        let key = |run: Value| {
            let subject = json!({"kind": "job_execution", "job": "j", "image": "a", "run": run});
            let body = json!({"environment": "production", "subject": subject});
            derived_key(&job, &body).unwrap()
        };
        assert_eq!(key(json!(true)), key(Value::Null));
        assert_ne!(key(json!(false)), key(json!(true)));
    }

    #[test]
    fn each_call_of_a_tool_has_a_key_of_its_own() {
        let body = |tool: &str, command: &str| {
            let subject =
                json!({"kind": "action", "tool": tool, "arguments": {"command": [command]}});
            json!({"environment": "production", "subject": subject})
        };
        let job = environment(&[("CI_PIPELINE_ID", "7"), ("CI_JOB_NAME", "deploy")]);
        let key = |tool: &str, command: &str| derived_key(&job, &body(tool, command)).unwrap();
        assert_eq!(key("run-command", "a"), key("run-command", "a"));
        assert_ne!(key("run-command", "a"), key("run-command", "b"));
        assert_ne!(key("run-command", "a"), key("other", "a"));
    }

    #[test]
    fn every_platform_is_known_by_its_run() {
        for platform in &PLATFORMS {
            let key = derived_key(&environment(&[(platform.run, "1")]), &json!({})).unwrap();
            assert!(key.starts_with(platform.name), "{key}");
        }
    }
}
