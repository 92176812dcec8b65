//! Runs of GitHub Actions: nobody's token asks, and no verifier takes one for anything else.

use std::sync::Arc;

use countersign::domain::canonical::{from_canonical_json, to_canonical_json};
use countersign::domain::subject::{Facts, FrozenSubject, Subject};
use countersign::domain::workflow_run::{Account, Repository, WorkflowRun};
use countersign::proof::evidence::{Asker, Evidence};
use countersign::proof::verify::verify;
use serde_json::{Value, json};

use crate::evidence::codes::text;
use crate::evidence::keys::{Keys, ORIGIN};
use crate::evidence::maker::Maker;
use crate::sample_approval;
use crate::support::bundles;

type Verdict = (&'static str, Option<&'static str>);
type Change = Box<dyn Fn(&mut Maker)>;

const APPROVED: Verdict = ("approved", None);

fn invalid(code: &'static str) -> Verdict {
    ("invalid", Some(code))
}

/// The evidence of a run that two people approved and that was let on.
fn of_run(keys: &Arc<Keys>) -> Maker {
    let run = sample_approval::workflow_run();
    let facts = Facts { audience: ORIGIN.into(), ..run.facts.clone() };
    let mut maker = Maker::new(keys);
    maker.run = Some(WorkflowRun { facts, ..run });
    maker.policy.workflow_runs = sample_approval::run_policy().workflow_runs;
    maker
}

/// Another member of the evidence's text of what was asked for. Everything after it rests on other bytes.
fn respelled(evidence: &mut Evidence, change: impl Fn(&mut Value)) {
    let mut subject: Value = from_canonical_json(&evidence.deployment).unwrap();
    change(&mut subject);
    evidence.deployment = to_canonical_json(&subject).unwrap();
}

fn cases() -> Vec<(&'static str, Verdict, Change)> {
    let run = |maker: &mut Maker, change: fn(&mut WorkflowRun)| {
        change(maker.run.as_mut().unwrap());
    };
    vec![
        ("as it is", APPROVED, Box::new(|_| {})),
        (
            "of a listed branch",
            APPROVED,
            Box::new(move |it| run(it, |run| run.branch = "release/7".into())),
        ),
        ("started by nobody", APPROVED, Box::new(move |it| run(it, |run| run.actor = None))),
        (
            "with a workload's token beside it",
            invalid("requester_mismatch"),
            Box::new(|it| {
                it.edit_evidence = |evidence| {
                    let token = Maker::small(&Keys::new()).make().requester;
                    evidence.requester = token;
                };
            }),
        ),
        (
            "whose webhook is not the recorded one",
            invalid("requester_mismatch"),
            Box::new(|it| {
                it.edit_record = |record| {
                    if record.kind == "approval.requested" {
                        record.data["delivery"]["id"] = "another".into();
                    }
                };
            }),
        ),
        (
            "of which nothing was recorded",
            invalid("requester_mismatch"),
            Box::new(|it| {
                it.edit_record = |record| {
                    if record.kind == "approval.requested" {
                        record.data = json!({"token_digest": "0", "token_key": "k"});
                    }
                };
            }),
        ),
        (
            "asked for by another repository",
            invalid("requester_mismatch"),
            Box::new(move |it| run(it, |run| run.facts.requester.key = "github-webhook:1".into())),
        ),
        (
            "asked for by a token's issuer",
            invalid("requester_mismatch"),
            Box::new(move |it| run(it, |run| run.facts.requester.issuer = "github".into())),
        ),
        (
            "with claims",
            invalid("requester_mismatch"),
            Box::new(move |it| {
                run(it, |run| {
                    run.facts.requester.claims.insert("repository_id".into(), json!("712345"));
                });
            }),
        ),
        (
            "of another repository than the policy's",
            invalid("requester_not_allowed"),
            Box::new(move |it| {
                run(it, |run| {
                    run.repository = Repository { id: 7, name: "acme/checkout".into() };
                    run.facts.requester = WorkflowRun::requester_of(&run.host, &run.repository);
                });
            }),
        ),
        (
            "of another branch",
            invalid("requester_not_allowed"),
            Box::new(move |it| run(it, |run| run.branch = "mainly".into())),
        ),
        (
            "started by a pull request",
            invalid("requester_not_allowed"),
            Box::new(move |it| run(it, |run| run.event = "pull_request".into())),
        ),
        (
            "where the policy lists none",
            invalid("requester_not_allowed"),
            Box::new(|it| it.policy.workflow_runs.clear()),
        ),
        (
            "where the policy lists one that says nothing",
            invalid("requester_not_allowed"),
            Box::new(|it| it.policy.workflow_runs = vec![Default::default()]),
        ),
        (
            "approved by who started it",
            invalid("quorum_not_met"),
            Box::new(|it| {
                it.policy.github_accounts = [("9001".into(), "u-alice".into())].into();
            }),
        ),
        (
            "approved by who started it again",
            invalid("quorum_not_met"),
            Box::new(move |it| {
                run(it, |run| {
                    run.triggering_actor = Some(Account { id: 7, login: "carol".into() });
                });
                it.policy.github_accounts = [("7".into(), "u-carol".into())].into();
            }),
        ),
        (
            "approved by others than who started it",
            APPROVED,
            Box::new(|it| {
                it.policy.github_accounts = [("9002".into(), "u-alice".into())].into();
            }),
        ),
        (
            "read as a deployment",
            invalid("malformed"),
            Box::new(|it| {
                it.edit_evidence = |evidence| {
                    respelled(evidence, |subject| {
                        subject["schema"] = "countersign/deployment/v1".into();
                    });
                };
            }),
        ),
        (
            "with a member more",
            invalid("malformed"),
            Box::new(|it| {
                it.edit_evidence =
                    |evidence| respelled(evidence, |subject| subject["image"] = "x".into());
            }),
        ),
    ]
}

/// Each is left for the second verifier as well.
#[test]
fn a_run_is_judged_by_what_the_gate_recorded_and_the_policy_lists() {
    let keys = Keys::new();
    let mut left = Vec::new();
    for (name, expected, change) in cases() {
        let mut maker = of_run(&keys);
        change(&mut maker);
        let file = text(&maker.make());
        assert_eq!(bundles::verdict(file.as_bytes(), &keys.trust()), expected, "a run {name}");
        left.push(bundles::case(name, &file, &keys.trust()));
    }
    left.extend(deployments_without_a_token(&keys));
    bundles::leave("runs", &left.into());
}

/// Nothing but a run is asked for on the gate's own word.
fn deployments_without_a_token(keys: &Arc<Keys>) -> Vec<Value> {
    let mut maker = Maker::new(keys);
    maker.edit_evidence = |evidence| evidence.requester = Asker::SAID;
    let without = text(&maker.make());
    let mut maker = Maker::new(keys);
    maker.edit_record = |record| {
        if record.kind == "approval.requested" {
            record.data = json!({"delivery": {"id": "one"}});
        }
    };
    maker.edit_evidence = |evidence| evidence.requester = Asker::SAID;
    let recorded = text(&maker.make());
    let other = without.replace(r#"{"said_by":"gate"}"#, r#"{"said_by":"github"}"#);
    let both = without
        .replace(r#"{"said_by":"gate"}"#, r#"{"key":"{}","said_by":"gate","token":"a.b.c"}"#);
    let cases = [
        ("without a token", without, "requester_mismatch"),
        ("with a recorded webhook", recorded, "requester_mismatch"),
        ("said by somebody else", other, "malformed"),
        ("with a token that the gate says", both, "malformed"),
    ];
    let judged = cases.map(|(name, file, code)| {
        let found = bundles::verdict(file.as_bytes(), &keys.trust());
        assert_eq!(found, invalid(code), "a deployment {name}");
        bundles::case(name, &file, &keys.trust())
    });
    judged.into()
}

/// What the verdict rests on is said as it is.
#[test]
fn the_gates_own_word_is_called_so() {
    let keys = Keys::new();
    let file = text(&of_run(&keys).make());
    let verified = verify(file.as_bytes(), &keys.trust()).unwrap();
    let said = verified.checks().iter().find(|check| check.contains("the gate's own statement"));
    assert!(
        said.is_some_and(|said| said.contains("no signature of GitHub")),
        "{:#?}",
        verified.checks()
    );
    assert!(!verified.checks().iter().any(|check| check.contains("The requester's token")));
    let Subject::WorkflowRun(_) = verified.subject().subject() else { panic!("it is no run") };
    assert_eq!((verified.subject().deployment(), verified.subject().action()), (None, None));
    let again = FrozenSubject::thaw(verified.subject().text()).unwrap();
    assert_eq!(&again, verified.subject());
}
