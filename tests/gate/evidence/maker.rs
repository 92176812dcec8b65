//! Makes evidence from nothing, good and bad: every key is ours, so that what is wrong with it is one
//! thing alone and everything around it is signed as it should be.

use std::sync::Arc;

use countersign::domain::approval::{Approval, Transition};
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::decision::{Decision, Verdict};
use countersign::domain::deployment::{Deployment, Preconditions};
use countersign::domain::digest::Digest;
use countersign::domain::endorsement::Endorsement;
use countersign::domain::ids::ApprovalId;
use countersign::domain::ledger::Record;
use countersign::domain::person::Person;
use countersign::domain::policy::{Policy, RequesterMatch};
use countersign::domain::rollout::{Answer, Call, Intent, Outcome, Progress};
use countersign::domain::separation::github_id;
use countersign::domain::statement::{Decider, FrozenStatement, Saying, Statement};
use countersign::domain::subject::{FrozenSubject, Requester};
use countersign::domain::workflow_run::WorkflowRun;
use countersign::gate::evidence::log_name;
use countersign::proof::evidence::{
    Asker, DecisionEvidence, EVIDENCE_SCHEMA, Evidence, SignIn, SignedToken,
};
use countersign::proof::jwk::thumbprint;
use countersign::randomness;
use countersign::sandbox::authenticator::{Attestation, Fault};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::evidence::decided::decided;
use crate::evidence::keys::{CLIENT, DIRECTORY, IssuerKey, Keys, ORIGIN};
use crate::evidence::log::Log;
use crate::evidence::people::{Enrolled, digest_of, evidence_of};
use crate::evidence::witnesses::cosigned;
use crate::sample_approval;

/// The place of the person whose key is pinned.
pub const ANCHOR: usize = usize::MAX;

/// Somebody who decides.
pub struct Signer {
    pub subject: &'static str,
    pub group: &'static str,
    pub verdict: Verdict,
}

/// What to make, with one place for each thing that can be wrong.
pub struct Maker {
    pub keys: Arc<Keys>,
    pub policy: Policy,
    pub deployment: Deployment,
    /// What is asked for in the place of the deployment.
    pub run: Option<WorkflowRun>,
    pub signers: Vec<Signer>,
    pub rolls_out: bool,
    pub workload_key: fn(&Keys) -> &IssuerKey,
    pub edit_token: fn(&str) -> String,
    pub edit_id_token: fn(&mut Map<String, Value>),
    pub edit_enrolment_token: fn(&mut Map<String, Value>),
    pub edit_registration: fn(&str) -> String,
    pub edit_statement: fn(&mut Statement),
    /// How many other deployments each yes and no is on as well.
    pub others: u8,
    pub edit_record: fn(&mut Record),
    pub edit_evidence: fn(&mut Evidence),
    pub faults: Vec<Fault>,
    pub enrols_late: bool,
    pub lists_an_unused_key: bool,
    /// Who endorses whose key, in this order, by their places: the signers, then the anchor.
    pub endorsements: Vec<(usize, usize)>,
    pub edit_endorsement: fn(&mut Statement<Endorsement>),
    pub edit_endorsed: fn(&mut Record),
    pub edit_endorsing_token: fn(&mut Map<String, Value>),
    pub endorsement_faults: Vec<Fault>,
    pub endorses_late: bool,
    /// Whose other keys the file holds, behind the keys that sign.
    pub other_keys: Vec<&'static str>,
    /// How long before the request the last of them was given up.
    pub gives_up: Option<SignedDuration>,
    pub edit_revocation: fn(&mut Record),
    /// How long before the request the keys were enrolled.
    pub enrolled_before: SignedDuration,
    /// Whether the keys are ones that can be copied.
    pub synced: bool,
    pub other_keys_are_synced: bool,
    /// What the authenticators say of their maker.
    pub attestation: Attestation,
    /// The witnesses that sign the tree head, by their places among the keys.
    pub witnesses: Vec<usize>,
}

/// Puts another token in the place of the requester's.
pub fn ask_with(evidence: &mut Evidence, token: String) {
    if let Asker::Token(requester) = &mut evidence.requester {
        requester.token = token;
    }
}

fn reason_of(signer: &Signer) -> Option<String> {
    let gives_one = matches!(signer.verdict, Verdict::Reject | Verdict::BreakGlass);
    gives_one.then(|| "Not on a Friday.".to_owned())
}

impl Maker {
    /// Makes the evidence of a deployment that two people approved and that was rolled out.
    pub fn new(keys: &Arc<Keys>) -> Self {
        let mut deployment = sample_approval::deployment();
        deployment.audience = ORIGIN.into();
        let mut policy = sample_approval::policy();
        policy.services = vec![deployment.service.clone()];
        policy.images = vec![deployment.image.repository().to_owned()];
        let claims = [("repository_id".to_owned(), vec!["712345".to_owned()])];
        policy.requesters = vec![RequesterMatch {
            issuer: "github".into(),
            claims: claims.into_iter().collect(),
            acts_for: None,
        }];
        policy.rules[0].count = 1;
        let asked = deployment.requested_at.as_second();
        let Requester { issuer_url, subject, claims, .. } = &mut deployment.requester;
        claims.insert("iss".into(), json!(issuer_url));
        claims.insert("sub".into(), json!(subject));
        claims.insert("aud".into(), json!(ORIGIN));
        claims.insert("iat".into(), json!(asked - 5));
        claims.insert("nbf".into(), json!(asked - 5));
        claims.insert("exp".into(), json!(asked + 300));
        let signer = |subject, group| Signer { subject, group, verdict: Verdict::Approve };
        Self {
            keys: keys.clone(),
            policy,
            deployment,
            run: None,
            signers: vec![signer("u-alice", "release-managers"), signer("u-carol", "security")],
            rolls_out: true,
            workload_key: |keys| &keys.workload,
            edit_token: str::to_owned,
            edit_id_token: |_| {},
            edit_enrolment_token: |_| {},
            edit_registration: str::to_owned,
            edit_statement: |_| {},
            others: 0,
            edit_record: |_| {},
            edit_evidence: |_| {},
            faults: Vec::new(),
            enrols_late: false,
            lists_an_unused_key: false,
            endorsements: Vec::new(),
            edit_endorsement: |_| {},
            edit_endorsed: |_| {},
            edit_endorsing_token: |_| {},
            endorsement_faults: Vec::new(),
            endorses_late: false,
            other_keys: Vec::new(),
            gives_up: None,
            edit_revocation: |_| {},
            enrolled_before: SignedDuration::ZERO,
            synced: false,
            other_keys_are_synced: false,
            attestation: Attestation::None,
            witnesses: vec![0, 2],
        }
    }

    /// The same where the second says no.
    pub fn rejected(keys: &Arc<Keys>) -> Evidence {
        let mut maker = Self::new(keys);
        maker.signers[1].verdict = Verdict::Reject;
        maker.rolls_out = false;
        maker.make()
    }

    /// The same with one signer, for tests that verify it thousands of times.
    pub fn small(keys: &Arc<Keys>) -> Self {
        let mut maker = Self::short(keys);
        maker.signers.pop();
        maker.policy.rules.pop();
        maker.witnesses = vec![0];
        maker
    }

    /// The same with a short deployment.
    pub fn short(keys: &Arc<Keys>) -> Self {
        let mut maker = Self::new(keys);
        maker.deployment.preconditions = Preconditions::Absent {};
        maker.deployment.proposed = json!({"revision": maker.deployment.plan.revision});
        maker.deployment.plan.steps.truncate(1);
        maker.deployment.body = None;
        maker.deployment.commit = None;
        maker
    }

    /// The same where each key needs one endorsement, and has it of the anchor.
    pub fn endorsed(keys: &Arc<Keys>) -> Self {
        let mut maker = Self::short(keys);
        maker.policy.enrolment.endorsements = 1;
        maker.endorsements = vec![(0, ANCHOR), (1, ANCHOR)];
        maker
    }

    pub fn make(mut self) -> Evidence {
        self.deployment.policy_digest = self.policy.canonical().unwrap().1;
        let frozen = match &mut self.run {
            Some(run) => {
                run.policy_digest = self.deployment.policy_digest;
                FrozenSubject::freeze(run.clone())
            }
            None => FrozenSubject::freeze(self.deployment.clone()),
        };
        let frozen = frozen.unwrap();
        let mut log = Log::new();
        let start = self.deployment.requested_at;
        self.write(&mut log, &Record::of_event("gate.started", json!({"n": 1}), start));
        let enrolled_at = start - self.enrolled_before;
        let subjects = self.signers.iter().map(|signer| signer.subject);
        let subjects = subjects.chain(self.other_keys.iter().copied());
        let subjects = subjects.enumerate();
        let mut people: Vec<Enrolled> = subjects
            .map(|(place, subject)| {
                let is_other = place >= self.signers.len();
                let synced = if is_other { self.other_keys_are_synced } else { self.synced };
                self.enrol(subject, enrolled_at, synced)
            })
            .collect();
        if self.endorsements.iter().any(|(_, by)| *by == ANCHOR) {
            people.push(self.enrol_anchor(start));
        }
        if !self.enrols_late {
            people.iter_mut().for_each(|person| person.write(&self, &mut log));
        }
        if let Some(before) = self.gives_up {
            let last = self.signers.len() + self.other_keys.len() - 1;
            people[last].give_up(&self, &mut log, start - before);
        }
        let before = start - SignedDuration::from_secs(10);
        if !self.endorses_late {
            self.endorse(&mut people, &mut log, before);
        }
        let signer = (self.workload_key)(&self.keys);
        let token = (self.edit_token)(&signer.sign(&self.deployment.requester.claims));
        let mut requester = Asker::Token(SignedToken { token, key: signer.text() });
        if self.run.is_some() {
            requester = Asker::SAID;
        }
        let mut story = Story { log, own: Vec::new(), previous: None };
        let data = match (&requester, &self.run) {
            (Asker::Token(SignedToken { token, key }), _) => {
                json!({"token_digest": Digest::of(token), "token_key": thumbprint(key)})
            }
            (Asker::Said(_), run) => run.as_ref().unwrap().recorded(),
        };
        let asked = Approval::request(frozen.clone(), self.policy.clone());
        let mut approval = story.tell(&self, asked, data, start);
        let mut decisions = Vec::new();
        for (place, signer) in self.signers.iter().enumerate() {
            let at = start + SignedDuration::from_secs(60 * (i64::try_from(place).unwrap() + 1));
            let theirs = Person { issuer: DIRECTORY.into(), subject: signer.subject.into() };
            let stands = approval.standing_of(&theirs).map(|yes| yes.statement_digest);
            let withdraws = stands.filter(|_| signer.verdict == Verdict::Withdraw);
            let saying = Saying {
                decision: signer.verdict,
                reason: reason_of(signer),
                withdraws,
                directory_unreachable_since: None,
            };
            let (decision, evidence) = self.decide(&frozen, signer, saying, &mut people[place], at);
            decisions.push(evidence);
            approval = story.tell(&self, decided(approval, decision, at), Value::Null, at);
        }
        if self.rolls_out && self.run.is_none() {
            self.roll_out(&mut story, approval);
        } else if self.rolls_out {
            let at = sample_approval::now();
            story.tell(&self, approval.let_on(at).unwrap(), Value::Null, at);
        }
        let Story { mut log, own, .. } = story;
        if self.enrols_late {
            people.iter_mut().for_each(|person| person.write(&self, &mut log));
        }
        if self.endorses_late {
            self.endorse(&mut people, &mut log, before);
        }
        if self.lists_an_unused_key {
            let mut unused = self.enrol("u-bob", start, false);
            unused.write(&self, &mut log);
            people.push(unused);
        }
        let (size, root) = (log.tree.size(), log.tree.root());
        let checkpoint = self.keys.log.sign_checkpoint(&log_name(ORIGIN), size, &root);
        let mut evidence = Evidence {
            schema: EVIDENCE_SCHEMA.into(),
            deployment: frozen.text().to_owned(),
            policy: self.policy.canonical().unwrap().0,
            requester,
            decisions,
            credentials: people.into_iter().map(|person| person.evidence(&log)).collect(),
            entries: own.iter().map(|&index| log.evidence(index)).collect(),
            cosignatures: cosigned(&self.keys, &self.witnesses, &checkpoint),
            checkpoint,
        };
        (self.edit_evidence)(&mut evidence);
        evidence
    }

    pub fn write(&self, log: &mut Log, record: &Record) -> usize {
        let previous_root = log.tree.root();
        let (entry, completed) =
            log.tree.write(record, randomness::bytes(), &self.keys.log).unwrap();
        log.nodes.extend(completed);
        log.entries.push((entry, previous_root));
        log.entries.len() - 1
    }

    pub fn id_token(
        &self,
        subject: &str,
        nonce: &str,
        group: &str,
        at: Timestamp,
    ) -> Map<String, Value> {
        let at = at.as_second();
        let claims = json!({
            "iss": DIRECTORY, "aud": CLIENT, "sub": subject, "nonce": nonce,
            "iat": at, "exp": at + 300, "name": subject, "groups": [group],
        });
        claims.as_object().unwrap().clone()
    }

    fn decide(
        &self,
        frozen: &FrozenSubject,
        signer: &Signer,
        saying: Saying,
        person: &mut Enrolled,
        at: Timestamp,
    ) -> (Decision, DecisionEvidence) {
        let mut claims =
            self.id_token(signer.subject, "n", signer.group, at - SignedDuration::from_secs(40));
        (self.edit_id_token)(&mut claims);
        let sign_in = SignIn {
            id_token: self.keys.directory.sign(&claims),
            key: self.keys.directory.text(),
            gate_groups: None,
        };
        let approver = Person { issuer: DIRECTORY.into(), subject: signer.subject.into() };
        let decider = Decider {
            approver: approver.clone(),
            credentials: vec![person.id()],
            sign_in_digest: Digest::of(&sign_in.id_token),
        };
        let issued = at - SignedDuration::from_secs(20);
        let nonce = randomness::token::<32>();
        let others: Vec<FrozenSubject> = (0..self.others).map(|nth| self.other(nth)).collect();
        let prepared = if others.is_empty() || saying.decision == Verdict::Withdraw {
            FrozenStatement::prepare(frozen, saying, decider, nonce, issued)
        } else {
            let asked: Vec<_> = std::iter::once(frozen).chain(&others).collect();
            FrozenStatement::prepare_batch(&asked, saying, decider, nonce, issued)
        };
        let mut statement = prepared.unwrap().statement().clone();
        (self.edit_statement)(&mut statement);
        let statement = FrozenStatement::thaw(&to_canonical_json(&statement).unwrap()).unwrap();
        let assertion = person.assert(statement.challenge().as_bytes(), &self.faults);
        let decision = Decision {
            person: approver,
            name: signer.subject.into(),
            groups: vec![signer.group.into()],
            github_id: (self.policy.github_id_claim())
                .and_then(|name| github_id(claims.get(name)?)),
            verdict: statement.predicate().decision,
            reason: statement.predicate().reason.clone(),
            directory_unreachable_since: statement.predicate().directory_unreachable_since,
            decided_at: at,
            statement_digest: Digest::of(statement.text()),
            credential: person.id(),
            assertion_digest: digest_of(&assertion),
            sign_in_key: thumbprint(&sign_in.key),
        };
        let evidence = evidence_of(statement.text(), &person.id(), &assertion, sign_in);
        (decision, evidence)
    }

    /// What was asked for in the same batch.
    fn other(&self, nth: u8) -> FrozenSubject {
        let mut deployment = self.deployment.clone();
        deployment.approval = ApprovalId::from_random([100 + nth; 16]);
        deployment.policy_digest = Digest::of("another policy");
        deployment.reason = format!("Another of the batch, number {nth}");
        FrozenSubject::freeze(deployment).unwrap()
    }

    fn roll_out(&self, story: &mut Story, approval: Approval) {
        let at = sample_approval::now();
        let approval = story.tell(self, approval.begin(at).unwrap(), Value::Null, at);
        let call = Call::CreateRevision {};
        let mut intent = Intent { call, etag: Some("\"e1\"".into()), at, answer: None };
        let mut approval = approval;
        for answer in [None, Some(Answer::Accepted { at })] {
            intent.answer = answer;
            let progress = Progress { intent: Some(intent.clone()), ..Progress::default() };
            approval = story.tell(self, approval.advance(progress).unwrap(), Value::Null, at);
        }
        let seen = Progress {
            revision_ready: true,
            steps_done: 3,
            generation: Some(45),
            ..Progress::default()
        };
        let approval = story.tell(self, approval.advance(seen).unwrap(), Value::Null, at);
        let outcome = Outcome::Succeeded(sample_approval::serving());
        story.tell(self, approval.finish(outcome, at).unwrap(), Value::Null, at);
    }
}

/// The log, and where the approval's own entries are in it.
struct Story {
    log: Log,
    own: Vec<usize>,
    previous: Option<Digest>,
}

impl Story {
    fn tell(
        &mut self,
        maker: &Maker,
        transition: Transition,
        data: Value,
        at: Timestamp,
    ) -> Approval {
        let mut record = Record::of_transition(&transition, self.previous, data, at);
        (maker.edit_record)(&mut record);
        let index = maker.write(&mut self.log, &record);
        self.previous = Some(self.log.entries[index].0.entry_hash);
        self.own.push(index);
        maker.write(&mut self.log, &Record::of_event("person.signed_in", json!({}), at));
        transition.approval
    }
}
