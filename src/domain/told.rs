//! What an entry of the ledger tells, for people: who did it, and one plain sentence.
//!
//! Sentences hold words that people, issuers or Cloud Run wrote; whoever shows one treats it as others' text.

mod emergency;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::agent_credential::AGENT_REVOCATION;
use crate::domain::approval::State;
use crate::domain::check::results_in_words;
use crate::domain::drift::{DRIFT_EXPLAINED, DRIFT_FOUND, SERVICE_OBSERVED};
use crate::domain::endorsement::OWN_KEY_SIGNED;
use crate::domain::exception::{EXCEPTION_CLOSED, EXCEPTION_OPENED, EXCEPTION_OVERDUE};
use crate::domain::freeze::{FREEZE_BEGUN, FREEZE_LIFTED, FreezeChange, RecordedFreeze};
use crate::domain::intervention::{FrozenIntervention, INTERVENED, Intervention};
use crate::domain::key_sign_in::SIGNED_IN_WITH_KEY;
use crate::domain::ledger::{ApprovalRecord, CREDENTIAL_REVOKED, Record};
use crate::domain::loss::RecordedLoss;
use crate::domain::notice::{EXPIRING, UNDELIVERED};
use crate::domain::recovery::{FrozenRecovery, LOG_RECOVERED, RecordedRecovery, Recovery};
use crate::domain::rollout::{Answer, Progress};
use crate::domain::rulebook::RULES_IN_FORCE;
use crate::domain::workflow_run::RUN_WAITS;

impl Record {
    /// Who did it: the subject of a person, or the requester as the gate tells requesters apart. None
    /// where the gate did it by itself, or where the record names nobody.
    pub fn party(&self) -> Option<&str> {
        if let Some(approval) = &self.approval {
            let by_a_person =
                ["approval.decided", "approval.withdrawn"].contains(&self.kind.as_str());
            let decided = by_a_person.then(|| approval.decisions.last());
            return decided.flatten().map(|decision| decision.person.subject.as_str());
        }
        let data = &self.data;
        let person = ["person", "by"].into_iter().find_map(|name| data[name]["subject"].as_str());
        person
            .or_else(|| data["requester"].as_str())
            .filter(|party| !party.is_empty() && !party.contains('\0'))
    }

    /// The approval that it is about, also where it did not change it.
    pub fn subject(&self) -> Option<&str> {
        let own = self.approval.as_ref().map(|approval| approval.id.as_str());
        own.or_else(|| self.data["approval"].as_str())
    }

    /// One sentence of what happened.
    pub fn sentence(&self) -> String {
        match &self.approval {
            Some(_) if self.kind == INTERVENED => intervened(&self.data),
            Some(approval) => of_approval(&self.kind, approval),
            None => of_event(self),
        }
    }
}

fn of_approval(kind: &str, approval: &ApprovalRecord) -> String {
    let status = approval.state.status().as_str().replace('_', " ");
    match kind {
        "approval.requested" => "A deployment was asked for.".to_owned(),
        "approval.decided" | "approval.withdrawn" => decided(approval, &status),
        "approval.cancelled" => "The requester took the request back.".to_owned(),
        "approval.expired" => "The request expired.".to_owned(),
        "approval.superseded" => match &approval.state {
            State::Superseded { by, .. } => format!("The newer request {by} took its place."),
            _ => "A newer request took its place.".to_owned(),
        },
        "run.let_on" => "Everything that was needed was signed: the run is let on.".to_owned(),
        RULES_IN_FORCE => {
            "Everybody who has to sign has signed: the new rules are in force.".to_owned()
        }
        "grant.consumed" => "The grant was used for what was signed.".to_owned(),
        "rollout.begun" => "The rollout began.".to_owned(),
        "rollout.call_announced" => announced(&approval.state),
        "rollout.call_answered" => answered(&approval.state),
        "rollout.observed" => observed(&approval.state),
        "rollout.ended" => ended(&approval.state, &status),
        other => format!("{}; the approval is {status}.", in_words(other)),
    }
}

fn decided(approval: &ApprovalRecord, status: &str) -> String {
    let Some(decision) = approval.decisions.last() else {
        return format!("A decision; the approval is {status}.");
    };
    let did = decision.verdict.in_words();
    let reason = decision.reason.as_ref().map(|reason| format!(", because “{}”", reason.trim()));
    let reason = reason.unwrap_or_default();
    format!("{} {did}{reason}; the approval is {status}.", decision.name)
}

fn intervened(data: &Value) -> String {
    let statement = data["signed"]["statement"].as_str().unwrap_or_default();
    let Ok(statement) = FrozenIntervention::thaw(statement) else {
        return "An approver intervened.".to_owned();
    };
    let Intervention { act, reason, .. } = statement.predicate();
    let reason = reason.as_ref().map(|reason| format!(", because “{}”", reason.trim()));
    let name = data["name"].as_str().unwrap_or("An approver");
    format!("{name} signed that {}{}.", act.in_words(), reason.unwrap_or_default())
}

fn announced(state: &State) -> String {
    let call = match state {
        State::Executing { progress, .. } => progress.intent.as_ref().map(|intent| intent.call),
        _ => None,
    };
    call.map_or_else(
        || "A call to Cloud Run was announced.".to_owned(),
        |call| format!("A call to Cloud Run was announced: {}.", call.in_words()),
    )
}

fn answered(state: &State) -> String {
    let intent = match state {
        State::Executing { progress, .. } => progress.intent.as_ref(),
        _ => None,
    };
    let Some((call, answer)) =
        intent.and_then(|intent| Some((intent.call, intent.answer.as_ref()?)))
    else {
        return "Cloud Run answered a call.".to_owned();
    };
    let call = call.in_words();
    let because = |why: &str| why.trim_end_matches('.').to_owned();
    match answer {
        Answer::Accepted { .. } => format!("Cloud Run accepted the call: {call}."),
        Answer::Refused { reason, .. } => {
            format!("Cloud Run refused the call ({call}): {}.", because(reason))
        }
        Answer::NotNow { reason, .. } => {
            format!("Cloud Run did not take the call now ({call}): {}.", because(reason))
        }
        Answer::Unknown { reason, .. } => format!(
            "What became of the call ({call}) is not known: {}. The gate looks before it does anything else.",
            because(reason)
        ),
    }
}

fn observed(state: &State) -> String {
    match state {
        State::Executing { progress: Progress { restoring: Some(reason), .. }, .. } => {
            format!("What served before is to serve again: {}.", reason.trim_end_matches('.'))
        }
        State::Executing { progress, .. }
            if !progress.results_of(progress.steps_done).is_empty() =>
        {
            let step = progress.steps_done;
            let results = results_in_words(progress.results_of(step));
            format!("The checks of step {step} were asked. {results}.")
        }
        State::Executing { progress, .. } if progress.steps_done > 0 => {
            format!("Cloud Run was seen to serve step {}.", progress.steps_done)
        }
        State::Executing { progress, .. } if progress.revision_ready => {
            "Cloud Run was seen to have the revision ready.".to_owned()
        }
        State::Executing { progress: Progress { execution: Some(execution), .. }, .. } => {
            format!("The execution {} was seen to run.", execution.name)
        }
        _ => "Cloud Run was observed.".to_owned(),
    }
}

fn ended(state: &State, status: &str) -> String {
    match state {
        State::Succeeded { serving: Some(serving), .. } => {
            let at = if serving.uri.is_empty() { "" } else { " at " };
            format!("The rollout succeeded: {} serves{at}{}.", serving.revision, serving.uri)
        }
        State::Succeeded { execution: Some(execution), .. } => {
            format!("The execution {} succeeded: {}.", execution.name, execution.in_words())
        }
        State::Succeeded { updated: Some(updated), .. } => format!(
            "The job has what was signed, the image sha256:{}, as generation {}. Nothing ran.",
            updated.image_digest, updated.generation
        ),
        State::Failed { reason, execution: Some(_), .. } => {
            format!("The job failed: {}.", reason.trim_end_matches('.'))
        }
        State::Failed { reason, .. }
        | State::RolledBack { reason, .. }
        | State::NeedsAttention { reason, .. } => {
            format!("The rollout ended as {status}: {}.", reason.trim_end_matches('.'))
        }
        _ => format!("The rollout ended; the approval is {status}."),
    }
}

fn of_event(record: &Record) -> String {
    let data = &record.data;
    let text = |name: &str| data[name].as_str().unwrap_or("?");
    let who = record.party().unwrap_or("somebody unknown");
    match record.kind.as_str() {
        "gate.started" => format!(
            "The gate started: version {}, configuration {}.",
            text("version"),
            text("configuration_digest")
        ),
        RULES_IN_FORCE => "The rules that the configuration said then bind from here on: they change only with the signatures that they ask for.".to_owned(),
        "policy.changed" => match data["policy_digest"].as_str() {
            Some(digest) => format!("The policy of {} is now {digest}.", text("environment")),
            None => format!("The environment {} has no policy any more.", text("environment")),
        },
        "person.signed_in" => {
            format!("{} signed in, as a member of {}.", text("name"), groups(data))
        }
        "credential.registered" => format!("{who} registered the key {}.", text("credential")),
        OWN_KEY_SIGNED => format!(
            "{who} signed with the key {} that the new key {} is theirs too.",
            text("signed_with"),
            text("credential")
        ),
        CREDENTIAL_REVOKED if !text("credential").starts_with(AGENT_REVOCATION) => {
            match lost_since(data) {
                Some(since) => {
                    format!(
                        "{} reported the key {} as lost since {since}.",
                        text("by_name"),
                        text("credential")
                    )
                }
                None => format!(
                    "{} revoked the key {}, because “{}”.",
                    text("by_name"),
                    text("credential"),
                    text("reason").trim()
                ),
            }
        }
        "agent_credential.issued" => format!(
            "{} issued a credential for the agent {}, for {} until {}.",
            text("by_name"),
            data["grant"]["agent"].as_str().unwrap_or("?"),
            data["grant"]["environment"].as_str().unwrap_or("?"),
            data["grant"]["valid_until"].as_str().unwrap_or("?")
        ),
        "credential.suspended" => {
            format!("The key {} was suspended: {}.", text("credential"), text("reason"))
        }
        FREEZE_BEGUN | FREEZE_LIFTED => freeze(record).unwrap_or_else(|| {
            "A freeze that this version cannot read: everything is frozen.".to_owned()
        }),
        EXPIRING => {
            format!("The request {} expires soon and still waits for signatures.", text("approval"))
        }
        SERVICE_OBSERVED => match data["explained_by"].as_str() {
            Some(approval) => format!("{} was seen as {approval} left it.", text("service")),
            None => format!("{} was looked at for the first time.", text("service")),
        },
        DRIFT_FOUND => {
            let facts = data["unexplained"].as_array().map(Vec::as_slice).unwrap_or_default();
            let facts: Vec<&str> = facts.iter().filter_map(Value::as_str).collect();
            format!("No approval explains a change of {}: {}", text("service"), facts.join(" "))
        }
        DRIFT_EXPLAINED => format!(
            "{} signed an explanation of entry {}, a change of {}: “{}”.",
            text("by_name"),
            data["entry"],
            text("service"),
            text("explanation").trim()
        ),
        EXCEPTION_OPENED | EXCEPTION_OVERDUE | EXCEPTION_CLOSED | SIGNED_IN_WITH_KEY => {
            emergency::told(&record.kind, data)
        }
        UNDELIVERED => format!(
            "{} could not be told of entry {}: {}.",
            text("receiver"),
            data["entry"],
            text("reason")
        ),
        LOG_RECOVERED => recovered(data).unwrap_or_else(|| "Log recovered.".to_owned()),
        RUN_WAITS => format!("GitHub said that {} waits.", run(data)),
        "github.answer_announced" => {
            format!("An answer to {} is announced: {}.", run(data), text("answer"))
        }
        "github.run_answered" => match text("answer") {
            "gone" => format!("{} waits no more, and was not answered.", run(data)),
            answer => format!("{} was answered: {answer}.", run(data)),
        },
        "strangers.refused" => {
            format!("Refused without knowing from whom: {}.", counted(&data["counts"]))
        }
        "decision.refused" => refused("A decision", who, data),
        "token.refused" => refused(&format!("A token of the issuer {}", text("issuer")), who, data),
        "request.refused" => refused("A request", who, data),
        "sign_in.refused" => refused("A sign-in", who, data),
        "credential.refused" => refused("A new key", who, data),
        other => match record.party() {
            Some(party) => format!("{}, by {party}.", in_words(other)),
            None => format!("{}.", in_words(other)),
        },
    }
}

/// The groups that a sign-in named.
fn groups(data: &Value) -> String {
    let groups = data["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let groups: Vec<&str> = groups.iter().filter_map(Value::as_str).collect();
    if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") }
}

/// Since when a key is lost, if a revocation is the report of that.
fn lost_since(data: &Value) -> Option<Timestamp> {
    let loss: RecordedLoss = serde_json::from_value(data["loss"].clone()).ok()?;
    Some(loss.unverified_report()?.since)
}

/// A run of GitHub Actions and where it waits.
fn run(data: &Value) -> String {
    let environment = data["environment"].as_str().unwrap_or("?");
    format!("Run {} of repository {} at {environment}", data["run"], data["repository"])
}

fn freeze(record: &Record) -> Option<String> {
    let (recorded, statement) = RecordedFreeze::of_record(record)?;
    let (change, by) = (&statement.predicate().change, &recorded.by_name);
    let (what, reason) = (change.scope().in_words(), change.reason().trim());
    Some(match change {
        FreezeChange::Begin { until: Some(until), .. } => {
            format!("{by} froze {what} until {until}, because “{reason}”.")
        }
        FreezeChange::Begin { until: None, .. } => {
            format!("{by} froze {what}, because “{reason}”.")
        }
        FreezeChange::Lift { .. } => {
            format!("{by} lifted the freeze of {what}, because “{reason}”.")
        }
    })
}

fn recovered(data: &Value) -> Option<String> {
    let recorded: RecordedRecovery = serde_json::from_value(data.clone()).ok()?;
    let statement = FrozenRecovery::thaw(&recorded.statement).ok()?;
    let Recovery { outside, database, new_name, signers, .. } = statement.predicate();
    let signed = recorded.signatures.iter().filter_map(|one| {
        let signer = signers.iter().find(|signer| signer.credential == one.credential)?;
        Some(signer.person.subject.as_str())
    });
    Some(format!(
        "The database lost entries: the log had {} and goes on from {} as {new_name}. {} signed for it.",
        outside.size,
        database.size,
        signed.collect::<Vec<_>>().join(" and ")
    ))
}

fn refused(what: &str, who: &str, data: &Value) -> String {
    let code = data["code"].as_str().unwrap_or("?");
    let times = match data["count"].as_u64() {
        Some(count) if count > 1 => format!(", {count} times"),
        _ => String::new(),
    };
    format!("{what} was refused: {code}{times}, from {who}.")
}

/// `2 tokens: malformed_token, ...`
fn counted(counts: &Value) -> String {
    let kinds = counts.as_object().into_iter().flatten();
    let codes = kinds.flat_map(|(kind, codes)| {
        let what = kind.split('.').next().unwrap_or_default().replace('_', " ");
        let codes = codes.as_object().into_iter().flatten();
        codes.map(move |(code, count)| match count.as_u64() {
            Some(1) => format!("{what} {code} once"),
            _ => format!("{what} {code} {count} times"),
        })
    });
    codes.collect::<Vec<_>>().join(", ")
}

/// The name of a kind that has no sentence of its own: `log.restarted` becomes `Log restarted`.
fn in_words(kind: &str) -> String {
    let words = kind.replace(['.', '_'], " ");
    let mut characters = words.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().to_string() + characters.as_str())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: Value) -> Record {
        Record::of_event(kind, data, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_event_has_a_sentence() {
        let person = json!({"issuer": "https://login.example", "subject": "u-alice"});
        let cases = [
            (
                event(
                    "decision.refused",
                    json!({"person": person, "code": "challenge_mismatch", "count": 3}),
                ),
                "A decision was refused: challenge_mismatch, 3 times, from u-alice.",
            ),
            (
                event(
                    "token.refused",
                    json!({"issuer": "github", "code": "bad_signature", "count": 1}),
                ),
                "A token of the issuer github was refused: bad_signature, from somebody unknown.",
            ),
            (
                event(
                    "strangers.refused",
                    json!({"counts": {"token.refused": {"malformed_token": 2}}}),
                ),
                "Refused without knowing from whom: token malformed_token 2 times.",
            ),
            (
                event("policy.changed", json!({"environment": "staging", "policy_digest": null})),
                "The environment staging has no policy any more.",
            ),
            (
                event("credential.endorsed", json!({"by": person})),
                "Credential endorsed, by u-alice.",
            ),
            (
                event(
                    "github.run_answered",
                    json!({"run": 7, "repository": 1001, "environment": "production", "answer": "approved"}),
                ),
                "Run 7 of repository 1001 at production was answered: approved.",
            ),
            (event("log.recovered", json!({})), "Log recovered."),
        ];
        for (record, sentence) in cases {
            assert_eq!(record.sentence(), sentence);
        }
    }
}
