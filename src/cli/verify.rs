//! `countersign verify`: whether the evidence of an approval holds, offline, for somebody who believes
//! neither the gate nor its database.

mod subject;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::USAGE;
use crate::domain::approval::{State, Status};
use crate::domain::decision::Verdict;
use crate::domain::observation::TrafficShare;
use crate::domain::policy::TrustLevel;
use crate::domain::rollout::{recorded_calls, recorded_checks};
use crate::domain::subject::{FrozenSubject, Subject};
use crate::domain::text::one_line as shown;
use crate::proof::evidence::Trust;
use crate::proof::verify::{Cosigned, Decider, Failure, Verified, verify};
use subject::{describe_action, describe_job, describe_rollout, describe_rules, describe_run};

/// The options of `countersign verify`.
#[derive(clap::Args)]
pub struct VerifyArguments {
    /// The evidence: what GET /v1/approvals/{id}/evidence gave.
    file: PathBuf,
    /// What is taken as given: the log's key, the directory, the token issuers (`countersign config trust`).
    #[arg(long)]
    trust: PathBuf,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The evidence is genuine, and not of an approval.
const NOT_APPROVED: u8 = 3;
/// Something does not hold.
const INVALID: u8 = 1;

/// Verifies a file. Exit code 0: approved, and everything holds; 3: genuine but not approved;
/// 1: something does not hold; 2: the files cannot be read, or the trust anchors not used.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub fn run(arguments: &VerifyArguments) -> ExitCode {
    let trust = match read(&arguments.trust).and_then(|bytes| {
        Trust::read(&bytes).map_err(|error| format!("{}: {error}", arguments.trust.display()))
    }) {
        Ok(trust) => trust,
        Err(why) => return unusable(&why),
    };
    let file = match read(&arguments.file) {
        Ok(file) => file,
        Err(why) => return unusable(&why),
    };
    let verdict = verify(&file, &trust);
    if arguments.json {
        match serde_json::to_string(&Report::new(&verdict)) {
            Ok(report) => println!("{report}"),
            Err(error) => return unusable(&format!("the report has no JSON form: {error}")),
        }
    } else {
        print!("{}", in_words(&verdict, &trust));
    }
    match verdict {
        Ok(verified) if verified.is_approved() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(NOT_APPROVED),
        Err(_) => ExitCode::from(INVALID),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

#[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
fn unusable(why: &str) -> ExitCode {
    eprintln!("countersign: {why}");
    ExitCode::from(USAGE)
}

/// The answer for machines.
#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    status: Option<Status>,
    approval: Option<String>,
    code: Option<&'static str>,
    sentence: String,
    kind: Option<&'static str>,
    subject_digest: Option<String>,
    deployment_digest: Option<String>,
    short_code: Option<String>,
    service: Option<String>,
    image: Option<String>,
    tool: Option<String>,
    environment: Option<String>,
    /// What the gate's own configuration pinned.
    gate_trust: Option<TrustLevel>,
    endorsements: Option<u8>,
    /// Whether it was approved by breaking the glass.
    break_glass: Option<bool>,
    approvers: Vec<ReportedDecider>,
    checks: Vec<String>,
}

#[derive(Serialize)]
struct ReportedDecider {
    issuer: String,
    subject: String,
    name: String,
    decision: Verdict,
    decided_at: Timestamp,
    /// Since when the gate could not reach the directory, if they signed in with a key alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory_unreachable_since: Option<Timestamp>,
    credential: String,
    aaguid: String,
    backup_eligible: bool,
}

impl Report {
    fn new(verdict: &Result<Verified, Failure>) -> Self {
        let verified = verdict.as_ref().ok();
        let asked = verified.map(Verified::subject);
        let deployment = asked.and_then(FrozenSubject::deployment);
        let action = asked.and_then(FrozenSubject::action);
        Self {
            verdict: word(verdict),
            status: verified.map(|verified| verified.state().status()),
            approval: asked.map(|asked| asked.approval.to_string()),
            code: verdict.as_ref().err().map(|failure| failure.code().as_str()),
            sentence: shown(&sentence(verdict)),
            kind: asked.map(|asked| asked.subject().kind()),
            subject_digest: asked.map(|asked| asked.digest().to_string()),
            deployment_digest: deployment.and(asked).map(|asked| asked.digest().to_string()),
            short_code: asked.map(|asked| asked.short_code()),
            service: deployment.map(|deployment| deployment.service.to_string()),
            image: deployment.map(|deployment| deployment.image.to_string()),
            tool: action.map(|action| action.tool.clone()),
            environment: asked.map(|asked| asked.environment.clone()),
            gate_trust: verified.map(|verified| verified.policy().enrolment.trust),
            endorsements: verified.map(|verified| verified.policy().enrolment.endorsements),
            break_glass: verified
                .map(|verified| verified.is_approved() && verified.is_by_break_glass()),
            approvers: verified
                .map(Verified::deciders)
                .unwrap_or_default()
                .iter()
                .map(ReportedDecider::new)
                .collect(),
            checks: verified
                .map(Verified::checks)
                .unwrap_or_default()
                .iter()
                .map(|check| shown(check))
                .collect(),
        }
    }
}

impl ReportedDecider {
    fn new(decider: &Decider) -> Self {
        let decision = &decider.decision;
        Self {
            issuer: shown(&decision.person.issuer),
            subject: shown(&decision.person.subject),
            name: shown(&decision.name),
            decision: decision.verdict,
            decided_at: decision.decided_at,
            directory_unreachable_since: decision.directory_unreachable_since,
            credential: decision.credential.clone(),
            aaguid: HEXLOWER.encode(&decider.aaguid),
            backup_eligible: decider.backup_eligible,
        }
    }
}

fn word(verdict: &Result<Verified, Failure>) -> &'static str {
    match verdict {
        Ok(verified) if verified.is_approved() => "approved",
        Ok(_) => "not_approved",
        Err(_) => "invalid",
    }
}

fn sentence(verdict: &Result<Verified, Failure>) -> String {
    match verdict {
        Err(failure) => {
            let why = failure.to_string();
            format!("This does not hold, so the file proves nothing: {why}.")
        }
        Ok(verified) => {
            let status = verified.state().status().as_str().replace('_', " ");
            if verified.is_approved() && verified.is_by_break_glass() {
                format!(
                    "Approved by breaking the glass, and everything holds. By the last entry it is {status}."
                )
            } else if verified.is_approved() {
                format!("Approved, and everything holds. By the last entry it is {status}.")
            } else if let Some(why) = verified.outside_windows() {
                format!("Genuine, but not authorised by its rules: {why}")
            } else {
                format!("Genuine, but not approved: by the last entry it is {status}.")
            }
        }
    }
}

/// Lines of a name and a value, below each other.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Where values begin.
    const COLUMN: usize = 12;

    fn heading(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("{}\n", shown(text)));
    }

    fn add(&mut self, name: &str, value: &str) {
        let line = format!("  {name:width$} {}", shown(value), width = Self::COLUMN);
        self.0.push_str(&format!("{}\n", line.trim_end()));
    }

    fn item(&mut self, text: &str) {
        self.0.push_str(&format!("  - {}\n", shown(text)));
    }
}

/// The answer for people.
fn in_words(verdict: &Result<Verified, Failure>, trust: &Trust) -> String {
    let mut lines = Lines::default();
    lines.heading(&sentence(verdict));
    match verdict {
        Err(failure) => lines.add("code", failure.code().as_str()),
        Ok(verified) => {
            describe_subject(&mut lines, verified);
            describe_people(&mut lines, verified, trust);
            describe_course(&mut lines, verified);
            lines.heading("What was checked and holds");
            verified.checks().iter().for_each(|check| lines.item(check));
            lines.heading("The log");
            lines.add("name", trust.log.split('+').next().unwrap_or_default());
            lines.add("size", &verified.checkpoint().size().to_string());
            lines.add("root", &verified.checkpoint().root().to_string());
            describe_witnesses(&mut lines, verified);
            lines.heading("What this file cannot show");
            trust.not_pinned().iter().for_each(|sentence| lines.item(sentence));
            lines.item("That no later entry exists, and no key was revoked since: compare the log with a newer tree head.");
        }
    }
    lines.0
}

fn describe_witnesses(lines: &mut Lines, verified: &Verified) {
    if verified.cosigned().is_empty() {
        lines.add("witnesses", "none");
    }
    for Cosigned { witness, at, is_pinned } in verified.cosigned() {
        let standing =
            if *is_pinned { "pinned" } else { "not pinned: anybody can make such a key" };
        lines.add("cosigned", &format!("by {witness} at {at} ({standing})"));
    }
}

fn describe_subject(lines: &mut Lines, verified: &Verified) {
    let asked = verified.subject();
    lines.heading("What was asked for");
    lines.add("approval", asked.approval.as_str());
    lines.add("digest", &asked.digest().to_string());
    lines.add("short code", &asked.short_code());
    match asked.subject() {
        Subject::Deployment(deployment) => describe_rollout(lines, deployment),
        Subject::JobExecution(execution) => describe_job(lines, execution),
        Subject::Action(action) => describe_action(lines, action),
        Subject::WorkflowRun(run) => describe_run(lines, run),
        Subject::RuleChange(change) => describe_rules(lines, change),
    }
    lines.add("environment", &asked.environment);
    let requester = &asked.requester;
    lines.add("requester", &format!("{} ({})", requester.display_name(), requester.subject));
    lines.add("issuer", &requester.issuer_url);
    for (name, claim) in [("commit", "sha"), ("ref", "ref"), ("run", "run_id")] {
        if let Some(value) = requester.claim(claim) {
            lines.add(name, value);
        }
    }
    if let Some(commit) = asked.subject().commit() {
        lines.add("headline", &format!("{:?} (as GitHub's API said)", commit.headline));
    }
    lines.add("reason", &format!("{:?} (the requester's words)", asked.reason));
    lines.add("asked at", &asked.requested_at.to_string());
    lines.add("expires at", &asked.expires_at.to_string());
}

fn shares(traffic: &[TrafficShare]) -> String {
    let shares = traffic.iter().map(|share| format!("{} {} %", share.revision, share.percent));
    shares.collect::<Vec<_>>().join(", ")
}

fn describe_people(lines: &mut Lines, verified: &Verified, trust: &Trust) {
    lines.heading("Who decided");
    if verified.deciders().is_empty() {
        lines.item("Nobody.");
    }
    lines.add("trust", &rests_on(verified, trust));
    for decider in verified.deciders() {
        let decision = &decider.decision;
        let person = &decision.person;
        lines.item(&format!(
            "{} {} at {}",
            decision.name,
            decision.verdict.in_words(),
            decision.decided_at
        ));
        lines.add("person", &format!("{} of {}", person.subject, person.issuer));
        lines.add("groups", &decision.groups.join(", "));
        if let Some(reason) = &decision.reason {
            lines.add("reason", &format!("{reason:?}"));
        }
        if let Some(since) = decision.directory_unreachable_since {
            lines.add(
                "sign-in",
                &format!("an earlier one: the directory was not reached since {since}"),
            );
        }
        lines.add("key", &decision.credential);
        lines.add("model", &model(decider));
    }
}

/// What says whose key is whose: by these anchors, and by the gate's configuration when it was asked.
fn rests_on(verified: &Verified, trust: &Trust) -> String {
    let rules = &verified.policy().enrolment;
    let endorsed = match rules.endorsements {
        0 => "keys are endorsed by nobody".to_owned(),
        1 => "each key is endorsed by another approver".to_owned(),
        count => format!("each key is endorsed by {count} other approvers"),
    };
    let (here, there) = (trust.level().as_str(), rules.trust.as_str());
    format!("{here} by these anchors, {there} at the gate; {endorsed}")
}

/// What the authenticator says of itself, which nobody has to believe.
fn model(decider: &Decider) -> String {
    let aaguid = match decider.aaguid {
        model if model == [0; 16] => "not named".to_owned(),
        model => format!("AAGUID {}", HEXLOWER.encode(&model)),
    };
    let kind = if decider.backup_eligible {
        "a passkey that may be copied to other devices"
    } else {
        "bound to one device"
    };
    format!("{aaguid}, {kind}, attestation {}", decider.attestation)
}

fn describe_course(lines: &mut Lines, verified: &Verified) {
    lines.heading("What was done");
    let before = lines.0.len();
    for made in recorded_calls(verified.records()) {
        let condition = match &made.etag {
            Some(etag) => format!(", on condition that the service has the etag {etag}"),
            None => String::new(),
        };
        let call = made.call.in_words();
        lines.item(&format!("{} announced a call: {call}{condition}", made.announced_at));
        lines.item(&match &made.answer {
            Some(answer) => format!("{} {}", answer.at(), answer.in_words()),
            None => "What came back was not recorded: whether this call was made is not known"
                .to_owned(),
        });
    }
    for result in recorded_checks(verified.records()) {
        let (at, step) = (result.at, result.step);
        lines.item(&format!("{at} checked at step {step}: {}", result.in_words()));
    }
    match verified.state() {
        State::Succeeded { serving: Some(serving), .. } => {
            let image = serving.image_digest.as_ref();
            let image = image.map(|digest| format!(", of the image sha256:{digest}"));
            let at = if serving.uri.is_empty() { "" } else { " at " };
            lines.item(&format!(
                "{} observed at Cloud Run: {}{at}{}, generation {}{}",
                serving.observed_at,
                shares(&serving.traffic),
                serving.uri,
                serving.generation,
                image.unwrap_or_default()
            ));
        }
        State::Failed { at, reason, .. } | State::RolledBack { at, reason } => {
            lines.item(&format!("{at} ended: {reason}"));
        }
        State::NeedsAttention { at, reason, .. } => {
            lines.item(&format!("{at} stopped, a person has to look: {reason}"));
        }
        State::Succeeded { execution: Some(seen), .. } => lines.item(&format!(
            "{} the execution {} succeeded with image sha256:{}: {}",
            seen.observed_at,
            seen.name,
            seen.image_digest,
            seen.in_words()
        )),
        State::Succeeded { updated: Some(seen), .. } => lines.item(&format!(
            "{} the job has what was signed, with image sha256:{}, generation {}; nothing ran",
            seen.observed_at, seen.image_digest, seen.generation
        )),
        State::Succeeded { at, serving: None, execution: None, updated: None } => {
            lines.item(&format!("{at} its grant was used"))
        }
        State::Pending {}
        | State::Approved { .. }
        | State::Executing { .. }
        | State::Rejected { .. }
        | State::Expired { .. }
        | State::Cancelled { .. }
        | State::Superseded { .. }
        | State::Withdrawn { .. } => {}
    }
    if lines.0.len() == before {
        lines.item("Nothing: no call to Cloud Run was announced.");
    }
}
