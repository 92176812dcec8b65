//! What a decision leads to where nobody asks whether it may.

use countersign::domain::approval::{Approval, Transition};
use countersign::domain::decision::{Decision, Verdict};
use countersign::domain::policy::{BreakGlass, Rule};
use countersign::domain::subject::{FrozenSubject, Subject};
use jiff::Timestamp;

/// What a decision leads to at a gate that does not ask who is behind the requester, nor who wrote what ships, nor
/// who may break the glass.
pub fn decided(approval: Approval, decision: Decision, at: Timestamp) -> Transition {
    let asked = approval.subject.clone();
    let mut of_nobody = asked.subject().clone();
    match &mut of_nobody {
        Subject::Deployment(deployment) => deployment.requester.issuer.clear(),
        Subject::JobExecution(execution) => execution.requester.issuer.clear(),
        Subject::Action(action) => action.requester.issuer.clear(),
        // It is the policy that says whose the accounts are.
        Subject::WorkflowRun(run) => {
            (run.actor, run.triggering_actor) = (None, None);
        }
        Subject::RuleChange(_) => {}
    }
    let of_nobody = FrozenSubject::freeze(of_nobody).unwrap();
    let policy = approval.policy.clone();
    let mut approval = Approval { subject: of_nobody, ..approval };
    approval.policy.separation = None;
    if decision.verdict == Verdict::BreakGlass {
        let whoever = format!("person:{}", decision.person.subject).parse().unwrap();
        let rules = vec![Rule { from: vec![whoever], count: 1, environment: None }];
        approval.policy.break_glass =
            Some(BreakGlass { rules, explain_within_seconds: 60, outage_grace_seconds: None });
    }
    let mut transition = approval.decide(decision, at).unwrap();
    transition.approval.subject = asked;
    transition.approval.policy = policy;
    transition
}
