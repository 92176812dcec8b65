//! Evidence of plans with checks: signed as everything else of the plan, and found as the entries say.

use std::sync::Arc;

use countersign::domain::approval::State;
use countersign::domain::check::{
    Check, CheckOutcome, CheckResult, Comparator, HttpCheck, Limit, MetricsKind, MetricsSource,
    MonitoringCheck, PrometheusCheck,
};
use countersign::domain::digest::Digest;
use countersign::domain::rollout::recorded_checks;
use countersign::domain::statement::DecidedOn;
use countersign::domain::subject::Subject;
use countersign::proof::verify::{Code, verify};

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::sample_approval::now;

/// One of each kind.
pub fn checks() -> Vec<Check> {
    let limit = |unit: Option<&str>| Limit {
        comparator: Comparator::Below,
        threshold: "1.5".into(),
        unit: unit.map(str::to_owned),
    };
    vec![
        Check::Http(HttpCheck {
            path: "/health".into(),
            lowest_status: 200,
            highest_status: 299,
            contains: Some("ok".into()),
            attempts: 3,
            timeout_seconds: 5,
            patience_seconds: 0,
        }),
        Check::Prometheus(PrometheusCheck {
            name: "error rate".into(),
            source: "main".into(),
            query: "errors".into(),
            limit: limit(Some("%")),
            samples: 1,
            patience_seconds: 300,
        }),
        Check::CloudMonitoring(MonitoringCheck {
            name: "latency".into(),
            source: "google".into(),
            filter: "metric.type=\"latency\"".into(),
            aligner: "ALIGN_MEAN".into(),
            reducer: Some("REDUCE_MAX".into()),
            period_seconds: 60,
            limit: limit(None),
            samples: 2,
            patience_seconds: 300,
        }),
    ]
}

/// One of each outcome.
pub fn results() -> Vec<CheckResult> {
    let result = |(outcome, found): (CheckOutcome, &str)| CheckResult {
        step: 1,
        outcome,
        found: found.into(),
        at: now(),
    };
    [
        (CheckOutcome::Passed, "HTTP 200 from /health with “ok”"),
        (CheckOutcome::Failed, "error rate 2 % is not below 1.5 %"),
        (CheckOutcome::Unreadable, "latency (there is no data)"),
    ]
    .map(result)
    .to_vec()
}

/// A plan with a check of each kind, and what they found.
pub fn checked(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    let step = &mut maker.deployment.plan.steps[0];
    (step.tag, step.checks) = (Some("try".into()), checks());
    let source = |name: &str, kind| MetricsSource { name: name.into(), kind };
    maker.policy.plan.tags = true;
    maker.policy.plan.checks = checks();
    maker.policy.plan.metrics = vec![
        source("main", MetricsKind::Prometheus),
        source("google", MetricsKind::CloudMonitoring),
    ];
    maker.edit_record = |record| {
        let Some(approval) = record.approval.as_mut() else { return };
        match &mut approval.state {
            State::Executing { progress, .. } if progress.steps_done > 0 => {
                progress.checks = results();
            }
            State::Succeeded { serving: Some(serving), .. } => {
                serving.image_digest = Some(Digest::of("the image"));
                serving.checks = results();
            }
            _ => {}
        }
    };
    maker
}

pub fn add_bad(add: &mut Add<'_>) {
    add("a plan without the checks that were signed", Code::ChainBroken, &|maker| {
        *maker = checked(&maker.keys);
        maker.edit_evidence = |evidence| {
            let (before, after) = evidence.deployment.split_once("\"checks\":[").unwrap();
            let (_, after) = after.split_once("],").unwrap();
            evidence.deployment = format!("{before}{after}");
        };
    });
    add("a check with another threshold", Code::ChainBroken, &|maker| {
        *maker = checked(&maker.keys);
        maker.edit_evidence = |evidence| {
            evidence.deployment = evidence.deployment.replace("\"1.5\"", "\"15\"");
        };
    });
    add("a check of a kind that there is not", Code::Malformed, &|maker| {
        *maker = checked(&maker.keys);
        maker.edit_evidence = |evidence| {
            evidence.deployment = evidence.deployment.replace("\"prometheus\"", "\"shell\"");
        };
    });
    add("a yes to a plan without its checks", Code::StatementMismatch, &|maker| {
        *maker = checked(&maker.keys);
        maker.edit_statement = |statement| {
            if let DecidedOn::One { subject: Subject::Deployment(deployment), .. } =
                &mut statement.predicate.on
            {
                deployment.plan.steps[0].checks.clear();
            }
        };
    });
    add("a check that failed and is said to have passed", Code::EntryNotIncluded, &|maker| {
        *maker = checked(&maker.keys);
        maker.edit_evidence = |evidence| {
            for entry in &mut evidence.entries {
                entry.record = entry.record.replace("\"failed\"", "\"passed\"");
            }
        };
    });
}

#[test]
fn what_checks_found_is_in_the_evidence() {
    let keys = Keys::new();
    let verified = verify(text(&checked(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert!(verified.is_approved());
    assert_eq!(verified.subject().deployment().unwrap().plan.steps[0].checks, checks());
    assert_eq!(recorded_checks(verified.records()), results());
}
