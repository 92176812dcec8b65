//! Rows that the gate never wrote: jobs, approvals, entries and decisions made by hand.

use countersign::domain::approval::Approval;
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::decision::{Decision, SignedDecision, Verdict};
use countersign::domain::deployment::Deployment;
use countersign::domain::digest::Digest;
use countersign::domain::ids::ApprovalId;
use countersign::domain::ledger::{Entry, Frontier, Record};
use countersign::domain::log_key::LogKey;
use countersign::domain::policy::Policy;
use countersign::domain::statement::FrozenStatement;
use countersign::domain::subject::FrozenSubject;
use countersign::domain::tree::Node;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::base64url;
use countersign::proof::jwk::thumbprint;
use countersign::proof::verify::Code::{
    ChainBroken, EntryNotIncluded, EntrySignatureInvalid, RequesterMismatch, StatementMismatch,
};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Bite::{Believed, Elsewhere, Without};
use super::attacker::quoted;
use super::{Act, Attack, Scene};
use crate::public_keys::other_s;

/// What is planted.
#[derive(Clone, Copy)]
pub enum Plant {
    Pending,
    Rejected,
    CancelledDeleted,
    CancelledHidden,
    CancelledRewritten,
    WeakerPolicy,
    OldApproval,
    OldApprovalWithToken,
    NoEntries,
    OtherSignature,
    TreeNode,
    EarlierRoot,
    UnsignedDecision,
    OtherLogKey,
    DecisionAtGap,
}

const READ_ON: &str = "the log is read on to its head";

pub fn attacks() -> Vec<Attack> {
    let attack =
        |name, wrote, plant, code, bite| Attack { name, wrote, act: Act::Plant(plant), code, bite };
    vec![
        attack(
            "a job for what nobody approved",
            "jobs, approvals.state",
            Plant::Pending,
            "not_approved",
            Elsewhere("genuine, and of no approval"),
        ),
        attack(
            "a job for what was rejected",
            "jobs, approvals.state",
            Plant::Rejected,
            "not_approved",
            Elsewhere("genuine, and of no approval"),
        ),
        attack(
            "the cancellation deleted",
            "ledger_entries, approvals, jobs",
            Plant::CancelledDeleted,
            "log_gap",
            Believed(READ_ON),
        ),
        attack(
            "the cancellation taken for something else",
            "ledger_entries.approval_id, approvals, jobs",
            Plant::CancelledHidden,
            "evidence_outdated",
            Believed(READ_ON),
        ),
        attack(
            "the cancellation overwritten",
            "ledger_entries.*, approvals, jobs",
            Plant::CancelledRewritten,
            "log_gap",
            Believed(READ_ON),
        ),
        attack(
            "a weaker policy",
            "policies, approvals.deployment",
            Plant::WeakerPolicy,
            "chain_broken",
            Without(&[ChainBroken, StatementMismatch]),
        ),
        attack(
            "an old approval under a new request",
            "ledger_entries, decisions, approvals, jobs",
            Plant::OldApproval,
            "chain_broken",
            Without(&[ChainBroken, RequesterMismatch, StatementMismatch]),
        ),
        attack(
            "the same with its token",
            "ledger_entries, decisions, approvals.token, jobs",
            Plant::OldApprovalWithToken,
            "chain_broken",
            Without(&[ChainBroken, RequesterMismatch, StatementMismatch]),
        ),
        attack(
            "an approval that nobody asked for",
            "approvals, jobs",
            Plant::NoEntries,
            "row_missing",
            Elsewhere("there is no entry to believe"),
        ),
        attack(
            "the other valid signature, (r, n-s)",
            "decisions.signature",
            Plant::OtherSignature,
            "statement_mismatch",
            Without(&[StatementMismatch]),
        ),
        attack(
            "another hash in the tree",
            "ledger_nodes.hash",
            Plant::TreeNode,
            "entry_not_included",
            Without(&[EntryNotIncluded]),
        ),
        attack(
            "another root before an entry",
            "ledger_entries.root",
            Plant::EarlierRoot,
            "entry_signature_invalid",
            Without(&[EntrySignatureInvalid]),
        ),
        attack(
            "a whole decision by hand, unsigned",
            "decisions, ledger_*, approvals, jobs",
            Plant::UnsignedDecision,
            "entry_signature_invalid",
            Without(&[EntrySignatureInvalid]),
        ),
        attack(
            "the same, signed by another key",
            "decisions, ledger_*, approvals, jobs",
            Plant::OtherLogKey,
            "entry_signature_invalid",
            Without(&[EntrySignatureInvalid]),
        ),
        attack(
            "the same, behind a gap",
            "decisions, ledger_entries, approvals, jobs",
            Plant::DecisionAtGap,
            "not_approved",
            Elsewhere("no proof leads from it to the tree"),
        ),
    ]
}

impl Scene {
    /// Plants it and gives the approval that it is about.
    pub(super) async fn plant(&mut self, plant: Plant) -> String {
        match plant {
            Plant::Pending => {
                let id = self.gate.asked(json!({})).await;
                self.attacker.approve_row(&id).await;
                id
            }
            Plant::Rejected => {
                let id = self.gate.asked(json!({})).await;
                self.alice.decide(&id, json!({"decision": "reject"})).await.unwrap();
                self.attacker.approve_row(&id).await;
                id
            }
            Plant::CancelledDeleted | Plant::CancelledHidden | Plant::CancelledRewritten => {
                self.cancelled(plant).await
            }
            Plant::WeakerPolicy => self.weaker_policy().await,
            Plant::OldApproval => self.old_approval(false).await,
            Plant::OldApprovalWithToken => self.old_approval(true).await,
            Plant::NoEntries => self.without_entries().await,
            Plant::OtherSignature => {
                let id = self.approved().await;
                let of = format!("WHERE approval_id = '{id}'");
                let signature = format!("SELECT signature FROM decisions {of}");
                let signature = self.attacker.read(&signature).await.unwrap();
                let other = other_s(&HEXLOWER.decode(signature.as_bytes()).unwrap());
                let other = self.attacker.bytes(&other);
                self.attacker.run(&format!("UPDATE decisions SET signature = {other} {of}")).await;
                id
            }
            Plant::TreeNode => {
                let id = self.approved().await;
                // Its neighbour in the tree must be there.
                self.gate.asked(json!({})).await;
                let beside = self.last_entry(&id).await ^ 1;
                let zeros = self.attacker.bytes(&[0; 32]);
                let at = format!("WHERE level = 0 AND position = {beside}");
                self.attacker.run(&format!("UPDATE ledger_nodes SET hash = {zeros} {at}")).await;
                id
            }
            Plant::EarlierRoot => {
                let id = self.approved().await;
                let before = self.last_entry(&id).await - 1;
                let root = Digest::of("another tree");
                let sql = format!(
                    "UPDATE ledger_entries SET root = '{root}' WHERE entry_index = {before}"
                );
                self.attacker.run(&sql).await;
                id
            }
            Plant::UnsignedDecision | Plant::OtherLogKey | Plant::DecisionAtGap => {
                self.decision_by_hand(plant).await
            }
        }
    }

    async fn last_entry(&mut self, id: &str) -> i64 {
        let sql = format!("SELECT MAX(entry_index) FROM ledger_entries WHERE approval_id = '{id}'");
        self.attacker.number(&sql).await
    }

    /// Approved, cancelled, and made to look as if it had not been cancelled.
    async fn cancelled(&mut self, plant: Plant) -> String {
        let id = self.approved().await;
        let column = |column: &str| format!("SELECT {column} FROM approvals WHERE id = '{id}'");
        let state = self.attacker.read(&column("state")).await.unwrap();
        let version = self.attacker.number(&column("version")).await;
        self.gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
        assert_eq!(self.gate.approval(&id).await["status"], "cancelled");
        let entry = format!("WHERE entry_index = {}", self.last_entry(&id).await);
        // The log goes on, so that it does not end where it has a gap. Once it has one, the gate may know.
        self.gate.asked(json!({})).await;
        let change = match plant {
            Plant::CancelledDeleted => format!("DELETE FROM ledger_entries {entry}"),
            Plant::CancelledHidden => {
                format!("UPDATE ledger_entries SET approval_id = NULL {entry}")
            }
            _ => {
                let record = Record::of_event("person.signed_in", json!({}), Timestamp::UNIX_EPOCH);
                let text = quoted(&record.text().unwrap());
                format!("UPDATE ledger_entries SET approval_id = NULL, record = '{text}' {entry}")
            }
        };
        self.attacker.run(&change).await;
        let (state, set) = (quoted(&state), "UPDATE approvals SET status = 'approved'");
        let row = format!("{set}, state = '{state}', version = {version} WHERE id = '{id}'");
        self.attacker.run(&row).await;
        self.attacker.plant_job(&id).await;
        id
    }

    async fn weaker_policy(&mut self) -> String {
        let id = self.approved().await;
        let policy = format!(
            "SELECT p.policy FROM policies p JOIN approvals a ON a.policy_digest = p.digest WHERE a.id = '{id}'"
        );
        let text = self.attacker.read(&policy).await.unwrap();
        let mut policy: Policy = serde_json::from_str(&text).unwrap();
        policy.rules[0].from.push("group:engineering".parse().unwrap());
        let (text, digest) = policy.canonical().unwrap();
        let values = format!("VALUES ('{digest}', '{}')", quoted(&text));
        self.attacker.run(&format!("INSERT INTO policies (digest, policy) {values}")).await;
        self.attacker.edit_deployment(&id, |deployment| deployment.policy_digest = digest).await;
        id
    }

    /// Everything that proves another approval, under a request that nobody decided on.
    async fn old_approval(&mut self, with_token: bool) -> String {
        let old = self.approved().await;
        let id = self.gate.asked(json!({})).await;
        let of = |column: &str| {
            format!("{column} = (SELECT {column} FROM approvals WHERE id = '{old}')")
        };
        let mut columns = vec![of("version"), of("state"), of("status"), of("decisions")];
        if with_token {
            columns.extend([of("token"), of("token_key")]);
        }
        for sql in [
            format!("UPDATE approvals SET {} WHERE id = '{id}'", columns.join(", ")),
            format!("UPDATE ledger_entries SET approval_id = NULL WHERE approval_id = '{id}'"),
            format!("UPDATE ledger_entries SET approval_id = '{id}' WHERE approval_id = '{old}'"),
            format!("UPDATE decisions SET approval_id = '{id}' WHERE approval_id = '{old}'"),
            format!("DELETE FROM jobs WHERE approval_id = '{old}'"),
        ] {
            self.attacker.run(&sql).await;
        }
        self.attacker.plant_job(&id).await;
        id
    }

    async fn without_entries(&mut self) -> String {
        let from = self.approved().await;
        let text = format!("SELECT deployment FROM approvals WHERE id = '{from}'");
        let text = self.attacker.read(&text).await.unwrap();
        let mut deployment: Deployment = serde_json::from_str(&text).unwrap();
        let id = ApprovalId::from_random(countersign::randomness::bytes());
        deployment.approval = id.clone();
        let frozen = FrozenSubject::freeze(deployment).unwrap();
        let same = "environment, service, requester_key";
        let rest = "request_digest, token, token_key, policy_digest, status, version, state, decisions, created_at, expires_at";
        self.attacker.run(&format!(
            "INSERT INTO approvals (id, first_entry, idempotency_key, deployment, deployment_digest, {same}, {rest}) \
             SELECT '{id}', 1000000, 'planted', '{}', '{}', {same}, {rest} FROM approvals WHERE id = '{from}'",
            quoted(frozen.text()),
            frozen.digest(),
        ))
        .await;
        self.attacker.plant_job(id.as_str()).await;
        id.to_string()
    }

    /// The decision that alice signed and did not send, written down as the gate would have done it, but
    /// for the log key's signature.
    async fn decision_by_hand(&mut self, plant: Plant) -> String {
        let id = self.gate.asked(json!({})).await;
        let statement = self.alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
        let sent = self.alice.signed(&statement, &[]).unwrap();
        let assertion: UnverifiedAssertion =
            serde_json::from_value(sent["credential"].clone()).unwrap();
        let statement = FrozenStatement::thaw(statement["statement"].as_str().unwrap()).unwrap();
        let session =
            "FROM sessions WHERE profile LIKE '%u-alice%' ORDER BY created_at DESC LIMIT 1";
        let signed = SignedDecision {
            statement: statement.text().to_owned(),
            credential_id: base64url::decode(&assertion.raw_id).unwrap(),
            authenticator_data: assertion.authenticator_data,
            client_data_json: assertion.client_data_json,
            signature: assertion.signature,
            user_handle: assertion.user_handle,
            id_token: self.attacker.read(&format!("SELECT id_token {session}")).await.unwrap(),
            issuer_key: self.attacker.read(&format!("SELECT issuer_key {session}")).await.unwrap(),
            decided_at: self.gate.servers.clock.now(),
        };
        let transition = {
            let approval = self.pending_approval(&id).await;
            let predicate = statement.predicate();
            let decision = Decision {
                person: predicate.approver.clone(),
                name: "Alice Adler".into(),
                groups: vec!["release-managers".into(), "engineering".into()],
                github_id: None,
                verdict: Verdict::Approve,
                reason: None,
                directory_unreachable_since: None,
                decided_at: signed.decided_at,
                statement_digest: Digest::of(&signed.statement),
                credential: base64url::encode(&signed.credential_id),
                assertion_digest: signed.assertion_digest().unwrap(),
                sign_in_key: thumbprint(&signed.issuer_key),
            };
            approval.decide(decision, signed.decided_at).unwrap()
        };
        let previous = format!("SELECT entry_hash FROM ledger_entries WHERE approval_id = '{id}'");
        let previous = self.attacker.read(&previous).await.unwrap().parse().unwrap();
        let record =
            Record::of_transition(&transition, Some(previous), Value::Null, signed.decided_at);
        self.write_entry(&id, &record, plant).await;
        self.write_decision(&id, &statement, &signed).await;
        let approval = transition.approval;
        self.attacker
            .run(&format!(
                "UPDATE approvals SET status = 'approved', version = 2, state = '{}', decisions = '{}' WHERE id = '{id}'",
                quoted(&to_canonical_json(&approval.state).unwrap()),
                quoted(&to_canonical_json(&approval.decisions).unwrap()),
            ))
            .await;
        self.attacker.plant_job(&id).await;
        id
    }

    async fn pending_approval(&mut self, id: &str) -> Approval {
        let text = format!("SELECT deployment FROM approvals WHERE id = '{id}'");
        let deployment = FrozenSubject::thaw(&self.attacker.read(&text).await.unwrap()).unwrap();
        let policy =
            format!("SELECT policy FROM policies WHERE digest = '{}'", deployment.policy_digest);
        let policy = serde_json::from_str(&self.attacker.read(&policy).await.unwrap()).unwrap();
        Approval::request(deployment, policy).approval
    }

    async fn write_entry(&mut self, id: &str, record: &Record, plant: Plant) {
        let size = self.attacker.number("SELECT size FROM ledger_head").await;
        let subtrees = self.attacker.read("SELECT subtrees FROM ledger_head").await.unwrap();
        let subtrees = HEXLOWER.decode(subtrees.as_bytes()).unwrap();
        let subtrees = subtrees.chunks(32).map(|hash| Digest::from_bytes(hash.try_into().unwrap()));
        let mut head = Frontier::restore(u64::try_from(size).unwrap(), subtrees.collect()).unwrap();
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let (mut entry, completed) = head.write(record, [9; 32], &key).unwrap();
        match plant {
            Plant::UnsignedDecision => entry.signature = vec![0; 64],
            Plant::DecisionAtGap => entry.index += 1000,
            _ => {}
        }
        let Entry { index, record: text, salt, entry_hash, root, signature } = entry;
        let (salt, signature) = (self.attacker.bytes(&salt), self.attacker.bytes(&signature));
        let at = record.at.as_microsecond();
        self.attacker
            .run(&format!(
                "INSERT INTO ledger_entries (entry_index, kind, approval_id, record, salt, entry_hash, root, signature, at) \
                 VALUES ({index}, 'approval.decided', '{id}', '{}', {salt}, '{entry_hash}', '{root}', {signature}, {at})",
                quoted(&text)
            ))
            .await;
        if matches!(plant, Plant::DecisionAtGap) {
            return;
        }
        for (Node { level, position }, hash) in completed {
            let hash = self.attacker.bytes(hash.as_bytes());
            let values = format!("VALUES ({level}, {position}, {hash})");
            self.attacker
                .run(&format!("INSERT INTO ledger_nodes (level, position, hash) {values}"))
                .await;
        }
        let subtrees: Vec<u8> = head.subtrees().iter().flat_map(|hash| *hash.as_bytes()).collect();
        let subtrees = self.attacker.bytes(&subtrees);
        let set = format!("size = {}, subtrees = {subtrees}", head.size());
        self.attacker.run(&format!("UPDATE ledger_head SET {set}")).await;
    }

    async fn write_decision(
        &mut self,
        id: &str,
        statement: &FrozenStatement,
        signed: &SignedDecision,
    ) {
        let person = &statement.predicate().approver;
        let bytes = |bytes: &[u8]| self.attacker.bytes(bytes);
        let handle = signed.user_handle.as_deref().map_or("NULL".to_owned(), bytes);
        let sql = format!(
            "INSERT INTO decisions (approval_id, issuer, subject, position, statement, credential_id, authenticator_data, \
             client_data_json, signature, user_handle, id_token, issuer_key, decided_at) \
             VALUES ('{id}', '{}', '{}', 1, '{}', {}, {}, {}, {}, {handle}, '{}', '{}', {})",
            person.issuer,
            person.subject,
            quoted(&signed.statement),
            bytes(&signed.credential_id),
            bytes(&signed.authenticator_data),
            bytes(&signed.client_data_json),
            bytes(&signed.signature),
            signed.id_token,
            quoted(&signed.issuer_key),
            signed.decided_at.as_microsecond(),
        );
        self.attacker.run(&sql).await;
    }
}
