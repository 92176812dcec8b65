//! Notices: which entries of the ledger somebody outside is told of, under which names, and in which words.
//!
//! What a requester wrote is in none of them: they lead people to pages, and must not put words into the
//! gate's mouth on the way.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::approval::{Approval, State};
use crate::domain::decision::Verdict;
use crate::domain::digest::Digest;
use crate::domain::exception::{EXCEPTION_CLOSED, EXCEPTION_OPENED, EXCEPTION_OVERDUE};
use crate::domain::freeze::{
    FREEZE_BEGUN, FREEZE_LIFTED, FreezeScope, FrozenRequesters, RecordedFreeze,
};
use crate::domain::ledger::{CREDENTIAL_REVOKED, Record};
use crate::domain::service::ServiceName;
use crate::domain::subject::Subject;

/// Names the form of what receivers get.
pub const NOTICE_SCHEMA: &str = "countersign/notice/v1";
/// The kind of the record that a request is about to expire.
pub const EXPIRING: &str = "approval.expiring";
/// The kind of the record that a receiver could not be told.
pub const UNDELIVERED: &str = "notice.undelivered";

/// Something that receivers can be told of, by the name that configurations and receivers know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Event(&'static str);

/// One event: its name, the kind of the entries that it comes from, which of these, and what it says.
struct Told {
    event: &'static str,
    kind: &'static str,
    when: fn(&Record) -> bool,
    says: fn(&About<'_>) -> String,
}

/// What an entry is about, for the words of its notice.
struct About<'a> {
    record: &'a Record,
    approval: Option<&'a Approval>,
}

fn always(_: &Record) -> bool {
    true
}

fn succeeded(record: &Record) -> bool {
    record.approval.as_ref().is_some_and(|one| matches!(one.state, State::Succeeded { .. }))
}

fn did_not_succeed(record: &Record) -> bool {
    !succeeded(record)
}

/// A revocation that a person reported as a loss.
fn is_loss(record: &Record) -> bool {
    !record.data["loss"].is_null()
}

/// Every event. One more is one more row.
#[rustfmt::skip]
const EVENTS: &[Told] = &[
    Told { event: "approval.requested", kind: "approval.requested", when: always, says: |about| format!("{} waits for signatures.", about.deployment()) },
    Told { event: "approval.expiring", kind: EXPIRING, when: always, says: |about| format!("{} still waits for signatures and expires at {}.", about.deployment(), about.expires_at()) },
    Told { event: "approval.decided", kind: "approval.decided", when: always, says: |about| about.decided() },
    Told { event: "approval.withdrawn", kind: "approval.withdrawn", when: always, says: |about| about.decided() },
    Told { event: "approval.cancelled", kind: "approval.cancelled", when: always, says: |about| about.taken_back() },
    Told { event: "approval.superseded", kind: "approval.superseded", when: always, says: |about| format!("{} was superseded by a newer request.", about.deployment()) },
    Told { event: "approval.expired", kind: "approval.expired", when: always, says: |about| format!("{} expired.", about.deployment()) },
    Told { event: "rollout.succeeded", kind: "rollout.ended", when: succeeded, says: |about| about.done() },
    Told { event: "rollout.failed", kind: "rollout.ended", when: did_not_succeed, says: |about| format!("{} ended as {}. Somebody should look at it.", about.deployment(), about.status()) },
    Told { event: "run.let_on", kind: "run.let_on", when: always, says: |about| format!("{} goes on at GitHub.", about.deployment()) },
    Told { event: "key.added", kind: "credential.registered", when: always, says: |about| format!("{} registered a key. Somebody who knows nothing of it should have it revoked.", about.who()) },
    Told { event: "key.endorsed", kind: "credential.endorsed", when: always, says: |about| format!("{} signed for another person's key.", about.who()) },
    Told { event: "key.suspended", kind: "credential.suspended", when: always, says: |_| "A key was suspended: it may have been copied.".to_owned() },
    Told { event: "key.lost", kind: CREDENTIAL_REVOKED, when: is_loss, says: |about| format!("{} reported a key as lost. What it signed since then does not begin.", about.who()) },
    Told { event: "key.revoked", kind: CREDENTIAL_REVOKED, when: always, says: |about| format!("{} revoked a key.", about.who()) },
    Told { event: "freeze.begun", kind: FREEZE_BEGUN, when: always, says: |about| format!("{} froze {}: nothing approved begins there.", about.who(), about.frozen()) },
    Told { event: "freeze.lifted", kind: FREEZE_LIFTED, when: always, says: |about| format!("{} lifted the freeze of {}.", about.who(), about.frozen()) },
    Told { event: "exception.opened", kind: EXCEPTION_OPENED, when: always, says: |about| format!("{} broke the glass for {}: somebody else has to sign for it.", about.who(), about.deployment_within()) },
    Told { event: "exception.overdue", kind: EXCEPTION_OVERDUE, when: always, says: |about| format!("Nobody else has signed for the glass that was broken for {}, and the time for it is over.", about.deployment_within()) },
    Told { event: "exception.closed", kind: EXCEPTION_CLOSED, when: always, says: |about| format!("{} signed for the glass that was broken for {}.", about.who(), about.deployment_within()) },
    Told { event: "agent.added", kind: "agent_credential.issued", when: always, says: |about| format!("{} issued a credential to an agent.", about.who()) },
    Told { event: "policy.changed", kind: "policy.changed", when: always, says: |_| "The rules of an environment changed with the gate's configuration.".to_owned() },
    Told { event: "drift.found", kind: "drift.found", when: always, says: |about| format!("{} was changed, and no approval explains it.", about.service()) },
    Told { event: "drift.explained", kind: "drift.explained", when: always, says: |about| format!("{} signed an explanation of a change of {}.", about.who(), about.service()) },
    Told { event: "log.recovered", kind: "log.recovered", when: always, says: |_| "The database lost entries, and people signed for going on without them.".to_owned() },
];

impl Event {
    /// The names of all events, in the order in which things happen.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EVENTS.iter().map(|told| told.event)
    }

    /// The event of this name.
    pub fn parse(name: &str) -> Option<Self> {
        EVENTS.iter().find(|told| told.event == name).map(|told| Self(told.event))
    }

    /// What an entry tells, if it is one that anybody is told of.
    pub fn of(record: &Record) -> Option<Self> {
        let told = EVENTS.iter().find(|told| told.kind == record.kind && (told.when)(record))?;
        Some(Self(told.event))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// What happened, in one sentence of the gate's own words and names that it verified.
    fn sentence(self, about: &About<'_>) -> String {
        let told = EVENTS.iter().find(|told| told.event == self.0);
        told.map(|told| (told.says)(about)).unwrap_or_default()
    }
}

impl About<'_> {
    fn deployment(&self) -> String {
        match self.approval.map(|approval| approval.subject.subject()) {
            Some(Subject::Deployment(deployment)) => {
                let (one, all) = (deployment.service.service(), &deployment.service);
                format!("The deployment of {one} ({}, {})", all.project(), all.location())
            }
            Some(Subject::JobExecution(execution)) => {
                let (one, all) = (execution.job.job(), &execution.job);
                let what = match &execution.execution {
                    Some(_) => "job",
                    None => "update without a run of the job",
                };
                format!("The {what} {one} ({}, {})", all.project(), all.location())
            }
            Some(Subject::Action(action)) => format!("The call of {}", action.tool),
            Some(Subject::WorkflowRun(run)) => {
                format!("The run {} of {}", run.run, run.repository.name)
            }
            Some(Subject::RuleChange(_)) => "A change of the rules".to_owned(),
            None => "The deployment".to_owned(),
        }
    }

    fn done(&self) -> String {
        let job = self.approval.and_then(|approval| approval.subject.job_execution());
        let was = match job.map(|job| job.execution.is_some()) {
            Some(true) => "ran once, as signed",
            Some(false) => "was made, as signed",
            None => "was rolled out",
        };
        format!("{} {was}.", self.deployment())
    }

    /// The same within a sentence.
    fn deployment_within(&self) -> String {
        self.deployment().replacen('T', "t", 1)
    }

    fn taken_back(&self) -> String {
        let run = self.approval.and_then(|approval| approval.subject.workflow_run());
        match run {
            Some(_) => format!("{} waits no more at GitHub.", self.deployment()),
            None => format!("{} was taken back by whoever asked for it.", self.deployment()),
        }
    }

    /// The service that a record without an approval is about.
    fn service(&self) -> String {
        let name = self.record.data["service"].as_str().and_then(|name| name.parse().ok());
        let words = |one: ServiceName| {
            let (noun, name) = (one.kind().noun(), one.service());
            format!("The {noun} {name} ({}, {})", one.project(), one.location())
        };
        name.map_or_else(|| "A service".to_owned(), words)
    }

    /// Where something is frozen. Who is, requesters may have named themselves.
    fn frozen(&self) -> String {
        let read = RecordedFreeze::of_record(self.record);
        let scope = read.map(|(_, statement)| statement.predicate().change.scope().clone());
        match scope {
            Some(FreezeScope { environment, requesters: FrozenRequesters::Everybody {} }) => {
                environment.unwrap_or_else(|| "every environment".to_owned())
            }
            Some(FreezeScope { environment, .. }) => {
                let place = environment.unwrap_or_else(|| "every environment".to_owned());
                format!("some requesters in {place}")
            }
            None => "every environment".to_owned(),
        }
    }

    fn expires_at(&self) -> String {
        let at = self.approval.map(|approval| approval.subject.expires_at);
        at.map(|at| at.strftime("%H:%M UTC").to_string()).unwrap_or_default()
    }

    /// The state after the entry, which may not be the newest.
    fn status(&self) -> String {
        let status = self.record.approval.as_ref().map(|approval| approval.state.status());
        status.map(|status| status.as_str().replace('_', " ")).unwrap_or_default()
    }

    fn decided(&self) -> String {
        let decisions = self.record.approval.as_ref().map(|approval| &approval.decisions);
        let Some(decision) = decisions.and_then(|decisions| decisions.last()) else {
            return format!("{} was decided on.", self.deployment());
        };
        let word = match decision.verdict {
            Verdict::Approve => "signed yes",
            Verdict::Reject => "signed no",
            Verdict::Withdraw => "took their signature back",
            Verdict::BreakGlass => "broke the glass",
        };
        let (name, deployment, status) = (&decision.name, self.deployment(), self.status());
        format!("{deployment} is {status}: {name} {word}.")
    }

    /// Who it was, by the name of the directory where the entry has it: a subject is often a mere number.
    fn who(&self) -> String {
        let name = self.record.data["by_name"].as_str().filter(|name| !name.is_empty());
        name.or_else(|| self.record.party()).unwrap_or("Somebody").to_owned()
    }
}

/// Who wants to be told of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The receiver, as the outbox names it.
    pub receiver: String,
    /// Of which events.
    pub events: BTreeSet<Event>,
    /// Of one environment alone, if not of all.
    pub environment: Option<String>,
    /// Whether of what belongs to no environment as well: keys, the log.
    pub general: bool,
}

impl Subscription {
    /// Whether an event of this environment, or of none, is one of them.
    pub fn wants(&self, event: Event, environment: Option<&str>) -> bool {
        let is_theirs = match (environment, &self.environment) {
            (None, _) => self.general,
            (Some(_), None) => true,
            (Some(environment), Some(own)) => environment == own,
        };
        is_theirs && self.events.contains(&event)
    }
}

/// What one receiver is told of one entry. The same however often it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// The same for every attempt, and for no other entry or receiver.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// One sentence of it.
    pub sentence: String,
    /// The environment, if it belongs to one.
    pub environment: Option<String>,
    /// The page to read on.
    pub url: String,
    data: Value,
}

impl Notice {
    /// The notice of the entry with this index, hash and record, which were verified, for a receiver.
    /// `approval` is what the record is about, as it is now. None if nobody is told of such entries.
    pub fn new(
        receiver: &str,
        (index, entry_hash): (u64, &Digest),
        record: &Record,
        approval: Option<&Approval>,
        origin: &str,
    ) -> Option<Self> {
        let event = Event::of(record)?;
        let about = About { record, approval };
        let sentence = event.sentence(&about);
        let environment = approval
            .map(|approval| approval.subject.environment.clone())
            .or_else(|| record.data["environment"].as_str().map(str::to_owned));
        let url = format!("{origin}{}", page(event, approval));
        let id = Digest::of_parts(&[entry_hash.as_bytes(), receiver.as_bytes()]).to_string();
        let mut data = json!({
            "schema": NOTICE_SCHEMA,
            "entry": index,
            "summary": sentence,
            "url": url,
        });
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data[name] = value;
            }
        };
        put("environment", environment.clone().map(Value::from));
        put("approval", approval.map(|approval| facts(approval, record)));
        let decisions = record.approval.as_ref().map(|approval| &approval.decisions);
        let is_decision =
            ["approval.decided", "approval.withdrawn"].contains(&record.kind.as_str());
        put(
            "decision",
            decisions
                .filter(|_| is_decision)
                .and_then(|decisions| decisions.last())
                .map(|decision| json!({"verdict": decision.verdict, "person": decision.person})),
        );
        let members = ["person", "by"].map(|name| &record.data[name]);
        let person = members.into_iter().find(|person| person["subject"].is_string());
        put("person", person.cloned());
        put("key", Some(record.data["credential"].clone()).filter(Value::is_string));
        let id = format!("msg_{}", &id[..32]);
        Some(Self { id, event, at: record.at, sentence, environment, url, data })
    }

    /// What a webhook's receiver gets (Standard Webhooks, "payload structure").
    pub fn payload(&self) -> Value {
        json!({"type": self.event.name(), "timestamp": self.at.to_string(), "data": self.data})
    }
}

/// What an approval is about, and where it stood after the entry.
fn facts(approval: &Approval, record: &Record) -> Value {
    let asked = &approval.subject;
    let after = record.approval.as_ref();
    let mut facts = json!({
        "id": approval.id(),
        "status": after.map_or(approval.status(), |after| after.state.status()),
        "version": after.map_or(approval.version, |after| after.version),
        "requester": asked.requester.key,
        "short_code": asked.short_code(),
        "deployment_digest": asked.digest(),
        "expires_at": asked.expires_at,
    });
    match asked.subject() {
        Subject::Deployment(deployment) => {
            facts["service"] = json!(deployment.service);
            facts["image"] = json!(deployment.image);
        }
        Subject::JobExecution(execution) => {
            facts["job"] = json!(execution.job);
            facts["execution"] = json!(execution.execution);
            facts["image"] = json!(execution.image);
        }
        Subject::Action(action) => facts["tool"] = json!(action.tool),
        Subject::WorkflowRun(run) => {
            facts["repository"] = json!(run.repository.name);
            facts["run"] = json!(run.run);
            facts["attempt"] = json!(run.attempt);
        }
        Subject::RuleChange(_) => {}
    }
    facts
}

/// Where people read on.
fn page(event: Event, approval: Option<&Approval>) -> String {
    match (approval, event.name().split('.').next()) {
        (_, Some("exception")) => "/exceptions".to_owned(),
        (Some(approval), _) => format!("/approvals/{}", approval.id()),
        (None, Some("key")) => "/keys/all".to_owned(),
        (None, Some("drift")) => "/drift".to_owned(),
        (None, Some("agent")) => "/agents".to_owned(),
        (None, _) => "/audit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> Option<Event> {
        Event::of(&Record::of_event(kind, Value::Null, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn each_event_has_one_name() {
        let names: BTreeSet<&str> = Event::names().collect();
        assert_eq!(names.len(), EVENTS.len());
        for name in names {
            assert_eq!(Event::parse(name).map(Event::name), Some(name));
        }
        assert_eq!(Event::parse("approval"), None);
        assert_eq!(event("credential.registered"), Event::parse("key.added"));
        for nobody_is_told in ["person.signed_in", UNDELIVERED, "rollout.call_announced"] {
            assert_eq!(event(nobody_is_told), None, "{nobody_is_told}");
        }
    }

    #[test]
    fn each_receiver_is_told_what_it_asked_for() {
        let subscription = |environment: Option<&str>, general| Subscription {
            receiver: "r".to_owned(),
            events: Event::parse("key.added").into_iter().collect(),
            environment: environment.map(str::to_owned),
            general,
        };
        let added = Event::parse("key.added").unwrap();
        let revoked = Event::parse("key.revoked").unwrap();
        let all = subscription(None, true);
        assert!(all.wants(added, None) && all.wants(added, Some("production")));
        assert!(!all.wants(revoked, None));
        let one = subscription(Some("production"), false);
        assert!(one.wants(added, Some("production")));
        assert!(!one.wants(added, Some("staging")) && !one.wants(added, None));
    }
}
