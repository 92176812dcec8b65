//! For every code evidence that fails that check and no other, and the vectors for other verifiers.

use std::path::PathBuf;
use std::sync::Arc;

use countersign::domain::approval::State;
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::decision::Verdict;
use countersign::domain::person::Person;
use countersign::proof::base64url;
use countersign::proof::evidence::{Evidence, Trust};
use countersign::proof::verify::{Code, verify};
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::evidence::keys::{DIRECTORY, Keys};
use crate::evidence::maker::{Maker, Signer, ask_with};
use crate::evidence::{
    acting, batches, broken_glass, checks, endorsements, key_rules, withdrawals, witnesses,
};
use crate::sample_approval;
/// Set it to write the vectors anew, after the format changed.
const REWRITE: &str = "COUNTERSIGN_REWRITE_VECTORS";

/// A bad file: what is wrong with it, and the code that every verifier must give.
#[derive(Clone, Serialize, Deserialize)]
pub struct Bad {
    pub name: String,
    pub code: String,
    pub evidence: String,
}

pub fn text(evidence: &Evidence) -> String {
    to_canonical_json(evidence).unwrap()
}

/// Changes the first character of a text of hexadecimal or base64url into another of it.
fn respell(text: &mut String) {
    let first = if text.starts_with('a') { "b" } else { "a" };
    text.replace_range(..1, first);
}

/// Somebody of the directory.
pub fn sample(subject: &str) -> Person {
    Person { issuer: DIRECTORY.into(), subject: subject.into() }
}

/// The registration with these bytes of its attestation object replaced.
fn respell_object(registration: &str, from: &[u8], to: &[u8]) -> String {
    let mut registration: Value = serde_json::from_str(registration).unwrap();
    let object = &mut registration["response"]["attestationObject"];
    let bytes = base64url::decode(object.as_str().unwrap()).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
    let changed = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
    *object = base64url::encode(&changed).into();
    registration.to_string()
}

fn bad(keys: &Arc<Keys>) -> Vec<Bad> {
    let mut bad = Vec::new();
    let mut add = |name: &str, code: Code, change: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::short(keys);
        change(&mut maker);
        let evidence = text(&maker.make());
        bad.push(Bad { name: name.into(), code: code.as_str().into(), evidence });
    };
    let parts = [file, witnesses::add_bad, tokens, decisions, key_rules::add_bad, outcome];
    let others = [acting::add_bad, withdrawals::add_bad, batches::add_bad, checks::add_bad];
    parts.into_iter().chain(others).for_each(|part| part(&mut add));
    broken_glass::add_bad(&mut add);
    bad
}

pub type Add<'a> = dyn FnMut(&str, Code, &dyn Fn(&mut Maker)) + 'a;

fn file(add: &mut Add<'_>) {
    add("the deployment is not canonical", Code::Malformed, &|maker| {
        maker.edit_evidence = |evidence| evidence.deployment.push(' ');
    });
    add("a time of the year 9999", Code::Malformed, &|maker| {
        maker.edit_evidence = |evidence| {
            let expires = "\"expires_at\":\"";
            let (before, after) = evidence.deployment.split_once(expires).unwrap();
            evidence.deployment = format!("{before}{expires}9999{}", &after[4..]);
        };
    });
    add("a statement about a deployment of another schema", Code::Malformed, &|maker| {
        maker.edit_evidence = |evidence| {
            let statement = &mut evidence.decisions[0].statement;
            *statement = statement.replace("/deployment/v1", "/deployment/v2");
        };
    });
    add("a salt in upper case", Code::Malformed, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.entries[0].salt =
                evidence.entries[0].salt.to_uppercase().replace(char::is_numeric, "A");
        };
    });
    add("made for another gate", Code::AudienceMismatch, &|maker| {
        maker.deployment.audience = "https://gate.evil.example".into();
    });
    add("a policy with fewer rules", Code::PolicyMismatch, &|maker| {
        maker.edit_evidence = |evidence| {
            let mut policy = sample_approval::policy();
            policy.rules.truncate(1);
            evidence.policy = policy.canonical().unwrap().0;
        };
    });
    add("the policy of another environment", Code::PolicyMismatch, &|maker| {
        maker.policy.environment = "staging".into();
    });
    add("a tree head with a second signature line", Code::CheckpointInvalid, &|maker| {
        maker.edit_evidence = |evidence| {
            let line = evidence.checkpoint.lines().last().unwrap().to_owned();
            evidence.checkpoint.push_str(&format!("{line}\n"));
        };
    });
    add("a tree head of another size", Code::CheckpointInvalid, &|maker| {
        maker.edit_evidence = |evidence| {
            let mut lines: Vec<String> = evidence.checkpoint.lines().map(str::to_owned).collect();
            lines[1].push('0');
            evidence.checkpoint = lines.join("\n") + "\n";
        };
    });
    add("another salt", Code::EntryNotIncluded, &|maker| {
        maker.edit_evidence = |evidence| respell(&mut evidence.entries[2].salt);
    });
    add("a credential's proof without its last hash", Code::EntryNotIncluded, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.credentials[0].entry.inclusion.pop();
        };
    });
    add("another signature of an entry", Code::EntrySignatureInvalid, &|maker| {
        maker.edit_evidence = |evidence| respell(&mut evidence.entries[1].signature);
    });
    add("another root before an entry", Code::EntrySignatureInvalid, &|maker| {
        maker.edit_evidence = |evidence| respell(&mut evidence.entries[1].previous_root);
    });
    add("the first decision's entry left out", Code::ChainBroken, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.entries.remove(1);
        };
    });
    add("no entries", Code::ChainBroken, &|maker| {
        maker.edit_evidence = |evidence| evidence.entries.clear();
    });
    add("a version twice", Code::ChainBroken, &|maker| {
        maker.edit_record = |record| {
            let approval = record.approval.as_mut().unwrap();
            approval.version = approval.version.min(3);
        };
    });
}

fn tokens(add: &mut Add<'_>) {
    add("another token of the same workload", Code::RequesterMismatch, &|maker| {
        maker.edit_evidence = |evidence| {
            ask_with(evidence, evidence.decisions[0].sign_in.id_token.clone());
        };
    });
    add("a token that had ended", Code::RequesterMismatch, &|maker| {
        let asked = maker.deployment.requested_at.as_second();
        maker.deployment.requester.claims.insert("exp".into(), json!(asked - 30));
    });
    add("a token that ends at a fraction of a second", Code::RequesterMismatch, &|maker| {
        let asked = maker.deployment.requested_at.as_second() as f64;
        maker.deployment.requester.claims.insert("exp".into(), json!(asked + 300.5));
    });
    add("a token for another audience", Code::RequesterMismatch, &|maker| {
        maker.deployment.requester.claims.insert("aud".into(), json!("sts.example"));
    });
    add("a token of an issuer's other key", Code::IssuerKeyNotPinned, &|maker| {
        maker.workload_key = |keys| &keys.stranger;
    });
    add("a token with a damaged signature", Code::TokenSignatureInvalid, &|maker| {
        maker.edit_token = |token| {
            let (input, signature) = token.rsplit_once('.').unwrap();
            let mut signature = signature.to_owned();
            respell(&mut signature);
            format!("{input}.{signature}")
        };
    });
    add("an image that the policy does not allow", Code::RequesterNotAllowed, &|maker| {
        maker.policy.images.clear();
    });
    add("a workload that the policy does not know", Code::RequesterNotAllowed, &|maker| {
        maker.policy.requesters[0].claims.insert("ref".into(), vec!["refs/tags/*".into()]);
    });
    add("an enrolment for another registration", Code::EnrolmentInvalid, &|maker| {
        maker.edit_enrolment_token = |claims| {
            claims.insert("nonce".into(), json!("another"));
        };
    });
    add("a registration that names a member twice", Code::EnrolmentInvalid, &|maker| {
        maker.edit_registration =
            |registration| registration.replacen('{', "{\"type\":\"public-key\",", 1);
    });
    add("an attestation statement of the format none", Code::EnrolmentInvalid, &|maker| {
        maker.edit_registration =
            |registration| respell_object(registration, b"gattStmt\xa0", b"gattStmt\xa1\x00\x00");
    });
    add("an attestation object that is not canonical", Code::EnrolmentInvalid, &|maker| {
        maker.edit_registration =
            |registration| respell_object(registration, b"\xa3cfmt", b"\xb8\x03cfmt");
    });
    add("an enrolment of another person", Code::EnrolmentInvalid, &|maker| {
        maker.edit_enrolment_token = |claims| {
            claims.insert("sub".into(), json!("u-mallory"));
        };
    });
    add("a sign-in for another client", Code::SignInInvalid, &|maker| {
        maker.edit_id_token = |claims| {
            claims.insert("aud".into(), json!("another"));
        };
    });
    add("another key of the directory was recorded", Code::SignInInvalid, &|maker| {
        maker.edit_record = |record| {
            for decision in &mut record.approval.as_mut().unwrap().decisions {
                respell(&mut decision.sign_in_key);
            }
        };
    });
}

fn decisions(add: &mut Add<'_>) {
    add("a statement for another gate", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.predicate.audience.push('x');
    });
    add("a statement about another image", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.subject[0].name.push('x');
    });
    add("a decision left out", Code::StatementMismatch, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.decisions.pop();
        };
    });
    add("the same nonce twice", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.predicate.nonce = "A".repeat(43);
    });
    add("one person twice", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.predicate.approver = sample("u-alice");
        maker.edit_record = |record| {
            for decision in &mut record.approval.as_mut().unwrap().decisions {
                decision.person = sample("u-alice");
            }
        };
    });
    add("signed after its five minutes", Code::StatementTime, &|maker| {
        maker.edit_statement = |statement| {
            let predicate = &mut statement.predicate;
            predicate.expires_at = predicate.issued_at + SignedDuration::from_secs(20);
        };
    });
    add("a statement that lives an hour", Code::StatementTime, &|maker| {
        maker.edit_statement = |statement| {
            let predicate = &mut statement.predicate;
            predicate.expires_at = predicate.issued_at + SignedDuration::from_hours(1);
        };
    });
    add("groups that the directory did not sign", Code::SignInMismatch, &|maker| {
        maker.edit_id_token = |claims| {
            claims.insert("groups".into(), json!(["interns"]));
        };
    });
    add("a sign-in at a fraction of a second", Code::SignInMismatch, &|maker| {
        maker.edit_id_token = |claims| {
            let issued = claims["iat"].as_f64().unwrap() + 0.5;
            claims.insert("iat".into(), json!(issued));
        };
    });
    add("a sign-in of yesterday", Code::SignInMismatch, &|maker| {
        maker.edit_id_token = |claims| {
            let issued = claims["iat"].as_i64().unwrap() - 86_400;
            claims.insert("iat".into(), json!(issued));
        };
    });
    add("a key that was enrolled after it signed", Code::CredentialNotEnrolled, &|maker| {
        maker.enrols_late = true;
    });
    add("a credential left out", Code::CredentialNotEnrolled, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.credentials.pop();
        };
    });
    add("a signature without user verification", Code::AssertionInvalid, &|maker| {
        maker.faults = vec![Fault::FlipFlags(0x04)];
    });
    add("a signature of another key", Code::AssertionInvalid, &|maker| {
        maker.faults = vec![Fault::WrongKey];
    });
    add("a signature made on another origin", Code::AssertionInvalid, &|maker| {
        maker.faults = vec![Fault::ClientDataMember("origin", json!("https://evil.example"))];
    });
    add("an enrolment of a key that did not sign", Code::UnusedCredential, &|maker| {
        maker.lists_an_unused_key = true;
    });
    add("the enrolments in another order", Code::UnusedCredential, &|maker| {
        maker.edit_evidence = |evidence| evidence.credentials.reverse();
    });
}

fn outcome(add: &mut Add<'_>) {
    let approves = |record: &mut countersign::domain::ledger::Record| {
        let at = record.at;
        let approval = record.approval.as_mut().unwrap();
        if !approval.decisions.is_empty() {
            approval.state = State::Approved { at };
        }
    };
    add("approved in spite of a rejection", Code::StateMismatch, &|maker| {
        maker.signers[1].verdict = Verdict::Reject;
        maker.rolls_out = false;
        maker.edit_record = approves;
    });
    add("approved by one of two", Code::QuorumNotMet, &|maker| {
        maker.signers.pop();
        maker.rolls_out = false;
        maker.edit_record = approves;
    });
    add("approved by two people of one group", Code::QuorumNotMet, &|maker| {
        maker.signers[1] =
            Signer { subject: "u-dan", group: "release-managers", verdict: Verdict::Approve };
        maker.rolls_out = false;
        maker.edit_record = approves;
    });
}

fn code_of(evidence: &str, trust: &Trust) -> String {
    match verify(evidence.as_bytes(), trust) {
        Ok(_) => "none".to_owned(),
        Err(failure) => failure.code().to_string(),
    }
}

fn assert_bad(bad: &[Bad], trust: &Trust) {
    for Bad { name, code, evidence } in bad {
        assert_eq!(code_of(evidence, trust), *code, "{name}");
    }
}

fn assert_all_codes(bad: &[Bad], endorsed: &[Bad]) {
    for code in Code::ALL {
        let mut all = bad.iter().chain(endorsed);
        assert!(all.any(|bad| bad.code == code.as_str()), "no bad file for {code}");
    }
}

#[test]
fn every_check_finds_what_it_is_for_and_gives_its_code() {
    let keys = Keys::new();
    assert_bad(&bad(&keys), &keys.trust());
    assert_all_codes(&bad(&keys), &endorsements::bad(&keys));
}

#[test]
fn made_evidence_verifies() {
    let keys = Keys::new();
    let approved = verify(text(&Maker::new(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert!(approved.is_approved());
    assert_eq!(approved.deciders().len(), 2);
    assert_eq!(approved.state().status().as_str(), "succeeded");
    let rejected = verify(text(&Maker::rejected(&keys)).as_bytes(), &keys.trust()).unwrap();
    assert!(!rejected.is_approved());
    // Other anchors believe none of it.
    for change in [
        |trust: &mut Trust| trust.log = Keys::new().trust().log,
        |trust: &mut Trust| trust.origin.push('x'),
        |trust: &mut Trust| trust.rp_id.push('x'),
        |trust: &mut Trust| trust.login.issuer.push('x'),
        |trust: &mut Trust| trust.login.client_id.push('x'),
        |trust: &mut Trust| trust.login.groups_claim.push('x'),
        |trust: &mut Trust| trust.login.keys = trust.workload_issuers[0].keys.clone(),
        |trust: &mut Trust| trust.workload_issuers[0].name.push('x'),
        |trust: &mut Trust| trust.workload_issuers[0].issuer.push('x'),
        |trust: &mut Trust| trust.workload_issuers[0].audience.push('x'),
        |trust: &mut Trust| trust.workload_issuers.clear(),
    ] {
        let mut trust = keys.trust();
        change(&mut trust);
        assert!(verify(text(&Maker::new(&keys).make()).as_bytes(), &trust).is_err());
    }
}

#[test]
fn anchors_that_cannot_be_used_are_refused() {
    let good = Keys::new().trust();
    let read = |trust: &Trust| Trust::read(&serde_json::to_vec(trust).unwrap());
    assert!(read(&good).is_ok());
    for change in [
        |trust: &mut Trust| {
            let mut second = trust.workload_issuers[0].clone();
            second.issuer.push('x');
            trust.workload_issuers.push(second);
        },
        |trust: &mut Trust| trust.schema.push('x'),
        |trust: &mut Trust| trust.log.push('x'),
        |trust: &mut Trust| trust.login.keys[0].push(' '),
    ] {
        let mut trust = good.clone();
        change(&mut trust);
        assert!(read(&trust).is_err());
    }
}

/// The saved files keep their verdicts: whoever verifies evidence elsewhere relies on them.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever changes the format says so")]
fn the_saved_vectors_have_their_verdicts() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/evidence");
    if std::env::var(REWRITE).is_ok() {
        let keys = Keys::new();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("trust.json", serde_json::to_string_pretty(&keys.trust()).unwrap() + "\n");
        write("good-approved.json", text(&Maker::new(&keys).make()));
        write("good-rejected.json", text(&Maker::rejected(&keys)));
        write("good-withdrawn.json", text(&withdrawals::again(&keys).make()));
        write("good-batch.json", text(&batches::of_three(&keys).make()));
        write("bad.json", serde_json::to_string_pretty(&bad(&keys)).unwrap() + "\n");
        let trust = serde_json::to_string_pretty(&keys.endorsing_trust()).unwrap();
        write("endorsed/trust.json", trust + "\n");
        write("endorsed/good-approved.json", text(&endorsements::good(&keys)));
        let bad = serde_json::to_string_pretty(&endorsements::bad(&keys)).unwrap();
        write("endorsed/bad.json", bad + "\n");
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let trust = Trust::read(&read("trust.json")).unwrap();
    assert!(verify(&read("good-approved.json"), &trust).unwrap().is_approved());
    assert!(!verify(&read("good-rejected.json"), &trust).unwrap().is_approved());
    for name in ["good-withdrawn.json", "good-batch.json"] {
        assert!(verify(&read(name), &trust).unwrap().is_approved());
    }
    let bad: Vec<Bad> = serde_json::from_slice(&read("bad.json")).unwrap();
    assert_bad(&bad, &trust);
    let trust = Trust::read(&read("endorsed/trust.json")).unwrap();
    assert!(verify(&read("endorsed/good-approved.json"), &trust).unwrap().is_approved());
    let endorsed: Vec<Bad> = serde_json::from_slice(&read("endorsed/bad.json")).unwrap();
    assert_bad(&endorsed, &trust);
    assert_all_codes(&bad, &endorsed);
}
