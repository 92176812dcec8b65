//! The claims that each CI writes into its tokens, from its own documentation or from tokens that were published, with the
//! example's names; and the changes of them that a gate must not accept.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

/// A CI.
pub struct Ci {
    /// The name of its files in `pipelines/`.
    pub name: &'static str,
    /// How the name of the pipeline's file ends.
    pub kind: &'static str,
    /// What tells its requesters apart.
    requester: &'static str,
    claims: Value,
    /// How long its tokens live, in seconds.
    lifetime: i64,
    /// What else identifies the job, and a value of somebody else's.
    others: Vec<(&'static str, &'static str)>,
}

/// Where the snippets are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

impl Ci {
    /// One of its files.
    pub fn read(&self, kind: &str) -> String {
        std::fs::read_to_string(folder().join(format!("{}.{kind}", self.name))).unwrap()
    }

    /// The claims of a token that is made now. Issuer and audience are the caller's to set.
    pub fn claims(&self, now: Timestamp) -> Value {
        let mut claims = self.claims.clone();
        let now = now.as_second();
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + self.lifetime);
        // Where there is one, it is a moment before: GitLab's by five seconds.
        if claims["nbf"].is_i64() {
            claims["nbf"] = json!(now - 5);
        }
        if claims["jti"].is_string() {
            claims["jti"] = json!(countersign::randomness::token::<16>());
        }
        claims
    }

    /// Claims of others, and what each is refused with.
    pub fn wrong(&self) -> Vec<(Value, &'static str)> {
        let mut wrong = vec![
            (json!({ self.requester: "" }), self.without_requester()),
            (json!({ self.requester: null }), self.without_requester()),
            (json!({ self.requester: 46_573_356 }), self.with_a_number()),
        ];
        for (name, value) in &self.others {
            wrong.push((json!({ *name: value }), "requester_not_allowed"));
            if *name != self.requester {
                wrong.push((json!({ *name: null }), "requester_not_allowed"));
                wrong.push((json!({ *name: [self.claims[*name]] }), "requester_not_allowed"));
            }
        }
        wrong
    }

    fn without_requester(&self) -> &'static str {
        if self.requester == "sub" { "missing_subject" } else { "missing_requester_claim" }
    }

    fn with_a_number(&self) -> &'static str {
        if self.requester == "sub" { "malformed_claim" } else { "missing_requester_claim" }
    }
}

/// GitLab's documentation of ID tokens, and a token of gitlab.com that others published.
pub fn gitlab() -> Ci {
    Ci {
        name: "gitlab",
        kind: "yml",
        requester: "project_id",
        lifetime: 8 * 3600,
        claims: json!({
            "namespace_id": "68413579", "namespace_path": "org",
            "project_id": "46573356", "project_path": "org/repo", "project_visibility": "private",
            "user_id": "184239", "user_login": "user", "user_email": "user@example.com",
            "user_access_level": "owner", "groups_direct": ["org", "org/subgroup"],
            "pipeline_id": "1519139981", "pipeline_source": "push", "job_id": "8222997048",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "runner_id": 12_270_835, "runner_environment": "gitlab-hosted",
            "sha": "8fe1b322a576d59fe6257052a4107df7dc1b8c78",
            "ci_config_ref_uri": "gitlab.com/org/repo//.gitlab-ci.yml@refs/heads/main",
            "ci_config_sha": "8fe1b322a576d59fe6257052a4107df7dc1b8c78",
            "jti": "63ab75f4-2606-4f0e-a500-86f90ab13a85", "nbf": 0, "aud": "",
            "sub": "project_path:org/repo:ref_type:branch:ref:main",
        }),
        others: vec![
            ("project_id", "46573357"),
            ("ref_path", "refs/heads/main2"),
            ("ref_path", "refs/tags/main"),
            ("ref_path", "refs/merge-requests/1/head"),
            ("ref_protected", "false"),
        ],
    }
}

/// A token of Buildkite that its users published, with the ids that the snippet asks for.
pub fn buildkite() -> Ci {
    Ci {
        name: "buildkite",
        kind: "yml",
        requester: "pipeline_id",
        lifetime: 300,
        claims: json!({
            "sub": "organization:example-org:pipeline:example-pipeline:ref:refs/heads/main:commit:b5ffe3aeea51cec6c41aef16e45ee6bce47d8810:step:deploy",
            "jti": "0194b014-8517-7cef-b232-76a827315f08", "nbf": 0, "aud": "",
            "organization_slug": "example-org", "pipeline_slug": "example-pipeline",
            "organization_id": "0184990a-477b-4fa8-9968-496074483cee",
            "pipeline_id": "01849906-8f7d-4b13-9c3b-b8a1e6c4d2f5",
            "build_number": 5, "build_branch": "main", "build_tag": null,
            "build_commit": "b5ffe3aeea51cec6c41aef16e45ee6bce47d8810", "step_key": "deploy",
            "job_id": "01945ecf-80f0-41e8-9b83-a2970a9305a1",
            "agent_id": "01945ecf-8bcf-40a6-9d70-a765db9a0928",
            "build_source": "ui", "runner_environment": "buildkite-hosted",
        }),
        others: vec![
            ("pipeline_id", "01849906-8f7d-4b13-9c3b-b8a1e6c4d2f6"),
            ("organization_id", "0184990a-477b-4fa8-9968-496074483cef"),
            ("build_branch", "mallory:main"),
            ("build_branch", "feature"),
        ],
    }
}

/// CircleCI's documentation of its tokens, of the second format.
pub fn circleci() -> Ci {
    Ci {
        name: "circleci",
        kind: "yml",
        requester: "oidc.circleci.com/project-id",
        lifetime: 3600,
        claims: json!({
            "sub": "org/3b7d2f3e-1c2a-4a5b-9d10-2bbf3c4d5e6f/project/6a1b2c3d-4e5f-4789-abcd-ef0123456789/user/0d2a3f1e-5b6c-4d7e-8f90-a1b2c3d4e5f6/vcs-origin/github.com/my-organisation/web/vcs-ref/refs/heads/main",
            "aud": "",
            "oidc.circleci.com/org-id": "3b7d2f3e-1c2a-4a5b-9d10-2bbf3c4d5e6f",
            "oidc.circleci.com/project-id": "6a1b2c3d-4e5f-4789-abcd-ef0123456789",
            "oidc.circleci.com/pipeline-id": "9f0c2b1a-7d6e-4c5b-8a90-1234567890ab",
            "oidc.circleci.com/pipeline-definition-id": "1b2c3d4e-5f60-4718-92a3-b4c5d6e7f809",
            "oidc.circleci.com/context-ids": ["a74579f1-2e7d-451e-b009-5c082ad2729e"],
            "oidc.circleci.com/vcs-origin": "github.com/my-organisation/web",
            "oidc.circleci.com/vcs-ref": "refs/heads/main",
            "oidc.circleci.com/ssh-rerun": false,
        }),
        others: vec![
            ("oidc.circleci.com/project-id", "6a1b2c3d-4e5f-4789-abcd-ef012345678a"),
            ("oidc.circleci.com/vcs-origin", "github.com/mallory/web"),
            ("oidc.circleci.com/vcs-ref", "refs/heads/main2"),
            ("oidc.circleci.com/vcs-ref", "refs/pull/1/head"),
        ],
    }
}

/// The README of Jenkins' plugin OpenID Connect Provider: subject and build number, neither `jti` nor `nbf`.
pub fn jenkins() -> Ci {
    Ci {
        name: "jenkins",
        kind: "groovy",
        requester: "sub",
        lifetime: 3600,
        claims: json!({
            "sub": "https://jenkins.example.com/job/web/job/main/", "aud": "", "build_number": 12,
        }),
        others: vec![
            ("sub", "https://jenkins.example.com/job/web/job/feature/"),
            ("sub", "https://jenkins.example.com/job/web/job/main"),
            ("sub", "https://jenkins.example.com/job/web/job/main/job/x/"),
        ],
    }
}

/// A projected token of Kubernetes: its audience is always a list.
fn kubernetes(
    name: &'static str,
    namespace: &str,
    others: Vec<(&'static str, &'static str)>,
) -> Ci {
    Ci {
        name,
        kind: "yml",
        requester: "sub",
        lifetime: 3600,
        claims: json!({
            "aud": [], "jti": "e51f1fbc-4733-4b85-a59f-ba80c0523874", "nbf": 0,
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "worker", "uid": "517eb86e-b863-451b-bf70-86cb61439a3a"},
                "pod": {"name": "deploy-pod", "uid": "0d8b260e-ef0e-45fb-be8e-ff44f97722e8"},
                "serviceaccount": {"name": "deployer", "uid": "e6a8680e-d103-4cce-80ea-03acbbeacf7d"},
            },
            "sub": format!("system:serviceaccount:{namespace}:deployer"),
        }),
        others,
    }
}

/// Tekton's pods.
pub fn tekton() -> Ci {
    let others = vec![
        ("sub", "system:serviceaccount:deploy:default"),
        ("sub", "system:serviceaccount:other:deployer"),
        ("sub", "system:serviceaccount:deploy:deployer2"),
    ];
    kubernetes("tekton", "deploy", others)
}

/// The pods of Argo Workflows.
pub fn argo_workflows() -> Ci {
    let others = vec![
        ("sub", "system:serviceaccount:argo-deploy:default"),
        ("sub", "system:serviceaccount:argo:deployer"),
        ("sub", "system:node:worker"),
    ];
    kubernetes("argo-workflows", "argo-deploy", others)
}
