//! Makes evidence from nothing, good and bad: every key is ours, so that what is wrong with it is one
//! thing alone and everything around it is signed as it should be.

use std::collections::HashMap;
use std::sync::Arc;

use countersign::domain::approval::{Approval, Transition};
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::decision::{Decision, Verdict, assertion_digest};
use countersign::domain::deployment::{Deployment, FrozenDeployment, Preconditions};
use countersign::domain::digest::Digest;
use countersign::domain::ledger::{Entry, Frontier, Record};
use countersign::domain::person::Person;
use countersign::domain::policy::{Policy, RequesterMatch};
use countersign::domain::rollout::{Answer, Call, Intent, Outcome, Progress};
use countersign::domain::statement::{Decider, FrozenStatement, Statement};
use countersign::domain::tree::{Node, fold_subtrees, inclusion_path};
use countersign::gate::evidence::log_name;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::base64url;
use countersign::proof::evidence::{
    CredentialEvidence, DecisionEvidence, EVIDENCE_SCHEMA, EntryEvidence, Evidence, SignIn,
    SignedToken,
};
use countersign::proof::jwk::thumbprint;
use countersign::proof::registration::{self, AttestedCredential};
use countersign::proof::user_handle::user_handle;
use countersign::randomness;
use countersign::sandbox::authenticator::{Fault, SoftwareAuthenticator};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::evidence::keys::{CLIENT, DIRECTORY, IssuerKey, Keys, ORIGIN, RP_ID};
use crate::sample_approval;

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
    pub signers: Vec<Signer>,
    pub rolls_out: bool,
    pub workload_key: fn(&Keys) -> &IssuerKey,
    pub edit_token: fn(&str) -> String,
    pub edit_id_token: fn(&mut Map<String, Value>),
    pub edit_enrolment_token: fn(&mut Map<String, Value>),
    pub edit_registration: fn(&str) -> String,
    pub edit_statement: fn(&mut Statement),
    pub edit_record: fn(&mut Record),
    pub edit_evidence: fn(&mut Evidence),
    pub faults: Vec<Fault>,
    pub enrols_late: bool,
    pub lists_an_unused_key: bool,
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
        policy.requesters =
            vec![RequesterMatch { issuer: "github".into(), claims: claims.into_iter().collect() }];
        policy.rules[0].count = 1;
        let claims = &mut deployment.requester.claims;
        let asked = deployment.requested_at.as_second();
        claims.insert("iss".into(), json!(deployment.requester.issuer_url));
        claims.insert("sub".into(), json!(deployment.requester.subject));
        claims.insert("aud".into(), json!(ORIGIN));
        claims.insert("iat".into(), json!(asked - 5));
        claims.insert("nbf".into(), json!(asked - 5));
        claims.insert("exp".into(), json!(asked + 300));
        let signer = |subject, group| Signer { subject, group, verdict: Verdict::Approve };
        Self {
            keys: keys.clone(),
            policy,
            deployment,
            signers: vec![signer("u-alice", "release-managers"), signer("u-carol", "security")],
            rolls_out: true,
            workload_key: |keys| &keys.workload,
            edit_token: str::to_owned,
            edit_id_token: |_| {},
            edit_enrolment_token: |_| {},
            edit_registration: str::to_owned,
            edit_statement: |_| {},
            edit_record: |_| {},
            edit_evidence: |_| {},
            faults: Vec::new(),
            enrols_late: false,
            lists_an_unused_key: false,
        }
    }

    /// The same with one signer, for tests that verify it thousands of times.
    pub fn small(keys: &Arc<Keys>) -> Self {
        let mut maker = Self::short(keys);
        maker.signers.pop();
        maker.policy.rules.pop();
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

    pub fn make(mut self) -> Evidence {
        self.deployment.policy_digest = self.policy.canonical().unwrap().1;
        let frozen = FrozenDeployment::freeze(self.deployment.clone()).unwrap();
        let mut log = Log::new();
        let start = self.deployment.requested_at;
        self.write(&mut log, &Record::of_event("gate.started", json!({"n": 1}), start));
        let mut people: Vec<Enrolled> =
            self.signers.iter().map(|signer| self.enrol(signer.subject, start)).collect();
        if !self.enrols_late {
            people.iter_mut().for_each(|person| person.write(&self, &mut log));
        }
        let signer = (self.workload_key)(&self.keys);
        let token = (self.edit_token)(&signer.sign(&self.deployment.requester.claims));
        let requester = SignedToken { token, key: signer.text() };
        let mut story = Story { log, own: Vec::new(), previous: None };
        let data = json!({"token_digest": Digest::of(&requester.token), "token_key": thumbprint(&requester.key)});
        let asked = Approval::request(frozen.clone(), self.policy.clone());
        let mut approval = story.tell(&self, asked, data, start);
        let mut decisions = Vec::new();
        for (place, signer) in self.signers.iter().enumerate() {
            let at = start + SignedDuration::from_secs(60 * (i64::try_from(place).unwrap() + 1));
            let (decision, evidence) = self.decide(&frozen, signer, &mut people[place], at);
            decisions.push(evidence);
            approval = story.tell(&self, approval.decide(decision, at).unwrap(), Value::Null, at);
        }
        if self.rolls_out {
            self.roll_out(&mut story, approval);
        }
        let Story { mut log, own, .. } = story;
        if self.enrols_late {
            people.iter_mut().for_each(|person| person.write(&self, &mut log));
        }
        if self.lists_an_unused_key {
            let mut unused = self.enrol("u-bob", start);
            unused.write(&self, &mut log);
            people.push(unused);
        }
        let mut evidence = Evidence {
            schema: EVIDENCE_SCHEMA.into(),
            deployment: frozen.text().to_owned(),
            policy: self.policy.canonical().unwrap().0,
            requester,
            decisions,
            credentials: people.into_iter().map(|person| person.evidence(&log)).collect(),
            entries: own.iter().map(|&index| log.evidence(index)).collect(),
            checkpoint: self.keys.log.sign_checkpoint(
                &log_name(ORIGIN),
                log.tree.size(),
                &log.tree.root(),
            ),
        };
        (self.edit_evidence)(&mut evidence);
        evidence
    }

    fn write(&self, log: &mut Log, record: &Record) -> usize {
        let previous_root = log.tree.root();
        let (entry, completed) =
            log.tree.write(record, randomness::bytes(), &self.keys.log).unwrap();
        log.nodes.extend(completed);
        log.entries.push((entry, previous_root));
        log.entries.len() - 1
    }

    fn id_token(
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

    fn enrol(&self, subject: &'static str, at: Timestamp) -> Enrolled {
        let mut authenticator = SoftwareAuthenticator::new();
        let options = json!({
            "rp": {"id": RP_ID, "name": "Countersign"},
            "user": {"id": base64url::encode(&user_handle(DIRECTORY, subject)), "name": subject, "displayName": subject},
            "challenge": randomness::token::<32>(),
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
        });
        let registration = authenticator.create(&options, ORIGIN).unwrap().to_string();
        let attested =
            registration::read(registration.as_bytes(), ORIGIN, RP_ID).unwrap().credential;
        let registration = (self.edit_registration)(&registration);
        let nonce = base64url::encode(Digest::of(&registration).as_bytes());
        let mut claims = self.id_token(subject, &nonce, "engineering", at);
        (self.edit_enrolment_token)(&mut claims);
        let key = &self.keys.directory;
        let sign_in = SignIn { id_token: key.sign(&claims), key: key.text() };
        Enrolled { subject, authenticator, attested, registration, sign_in, at, entry: None }
    }

    fn decide(
        &self,
        frozen: &FrozenDeployment,
        signer: &Signer,
        person: &mut Enrolled,
        at: Timestamp,
    ) -> (Decision, DecisionEvidence) {
        let mut claims =
            self.id_token(signer.subject, "n", signer.group, at - SignedDuration::from_secs(40));
        (self.edit_id_token)(&mut claims);
        let sign_in =
            SignIn { id_token: self.keys.directory.sign(&claims), key: self.keys.directory.text() };
        let approver = Person { issuer: DIRECTORY.into(), subject: signer.subject.into() };
        let decider = Decider {
            approver: approver.clone(),
            credentials: vec![person.id()],
            sign_in_digest: Digest::of(&sign_in.id_token),
        };
        let reason = (signer.verdict == Verdict::Reject).then(|| "Not on a Friday.".to_owned());
        let issued = at - SignedDuration::from_secs(20);
        let nonce = randomness::token::<32>();
        let prepared =
            FrozenStatement::prepare(frozen, signer.verdict, reason, decider, nonce, issued);
        let mut statement = prepared.unwrap().statement().clone();
        (self.edit_statement)(&mut statement);
        let statement = FrozenStatement::thaw(&to_canonical_json(&statement).unwrap()).unwrap();
        let options = json!({
            "challenge": base64url::encode(statement.challenge().as_bytes()),
            "rpId": RP_ID,
        });
        let assertion = person.authenticator.assert_with(&options, ORIGIN, &self.faults).unwrap();
        let assertion: UnverifiedAssertion = serde_json::from_value(assertion).unwrap();
        let decision = Decision {
            person: approver,
            name: signer.subject.into(),
            groups: vec![signer.group.into()],
            verdict: statement.predicate().decision,
            reason: statement.predicate().reason.clone(),
            decided_at: at,
            statement_digest: Digest::of(statement.text()),
            credential: person.id(),
            assertion_digest: assertion_digest(
                &assertion.authenticator_data,
                &assertion.client_data_json,
                &assertion.signature,
                assertion.user_handle.as_deref(),
            )
            .unwrap(),
            sign_in_key: thumbprint(&sign_in.key),
        };
        let evidence = DecisionEvidence {
            statement: statement.text().to_owned(),
            credential_id: person.id(),
            authenticator_data: base64url::encode(&assertion.authenticator_data),
            client_data_json: base64url::encode(&assertion.client_data_json),
            signature: base64url::encode(&assertion.signature),
            user_handle: assertion.user_handle.as_deref().map(base64url::encode),
            sign_in,
        };
        (decision, evidence)
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

struct Log {
    tree: Frontier,
    nodes: HashMap<Node, Digest>,
    entries: Vec<(Entry, Digest)>,
}

impl Log {
    fn new() -> Self {
        Self { tree: Frontier::default(), nodes: HashMap::new(), entries: Vec::new() }
    }

    fn evidence(&self, index: usize) -> EntryEvidence {
        let (entry, previous_root) = &self.entries[index];
        let steps = inclusion_path(entry.index, self.tree.size()).unwrap();
        let hash = |step: &Vec<Node>| {
            let hashes: Vec<Digest> = step.iter().map(|node| self.nodes[node]).collect();
            fold_subtrees(&hashes).unwrap().to_string()
        };
        EntryEvidence {
            index: entry.index,
            record: entry.record.clone(),
            salt: data_encoding::HEXLOWER.encode(&entry.salt),
            previous_root: previous_root.to_string(),
            signature: data_encoding::HEXLOWER.encode(&entry.signature),
            inclusion: steps.iter().map(hash).collect(),
        }
    }
}

struct Enrolled {
    subject: &'static str,
    authenticator: SoftwareAuthenticator,
    attested: AttestedCredential,
    registration: String,
    sign_in: SignIn,
    at: Timestamp,
    entry: Option<usize>,
}

impl Enrolled {
    fn id(&self) -> String {
        base64url::encode(&self.attested.credential_id)
    }

    fn write(&mut self, maker: &Maker, log: &mut Log) {
        let credential = &self.attested;
        let data = json!({
            "person": {"issuer": DIRECTORY, "subject": self.subject},
            "credential": self.id(),
            "public_key": base64url::encode(credential.public_key.cose()),
            "aaguid": data_encoding::HEXLOWER.encode(&credential.aaguid),
            "backup_eligible": credential.flags.backup_eligible(),
            "registration_digest": Digest::of(&self.registration),
            "sign_in_digest": Digest::of(&self.sign_in.id_token),
            "sign_in_key": thumbprint(&self.sign_in.key),
        });
        let record = Record::of_event("credential.registered", data, self.at);
        self.entry = Some(maker.write(log, &record));
    }

    fn evidence(self, log: &Log) -> CredentialEvidence {
        CredentialEvidence {
            registration: self.registration,
            sign_in: self.sign_in,
            entry: log.evidence(self.entry.unwrap()),
        }
    }
}
