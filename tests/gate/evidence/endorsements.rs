//! Endorsements in evidence: chains that hold, and everything that is no chain.

use std::sync::Arc;

use countersign::domain::canonical::to_canonical_json;
use countersign::domain::digest::Digest;
use countersign::proof::evidence::{Evidence, Trust};
use countersign::proof::verify::{Code, verify};
use countersign::sandbox::authenticator::Fault;
use jiff::SignedDuration;
use serde_json::json;

use crate::evidence::codes::{Bad, text};
use crate::evidence::damage::variants;
use crate::evidence::keys::Keys;
use crate::evidence::maker::{ANCHOR, Maker};

/// Evidence whose keys are endorsed by a pinned one.
pub fn good(keys: &Arc<Keys>) -> Evidence {
    Maker::endorsed(keys).make()
}

type Add<'a> = dyn FnMut(&str, Code, &dyn Fn(&mut Maker)) + 'a;

/// Everything that the anchors of [`Keys::endorsing_trust`] refuse.
pub fn bad(keys: &Arc<Keys>) -> Vec<Bad> {
    let mut bad = Vec::new();
    let mut add = |name: &str, code: Code, change: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::endorsed(keys);
        change(&mut maker);
        let evidence = text(&maker.make());
        bad.push(Bad { name: name.into(), code: code.as_str().into(), evidence });
    };
    statements(&mut add);
    signatures(&mut add);
    chains(&mut add);
    bad
}

fn statements(add: &mut Add<'_>) {
    let invalid = Code::EndorsementInvalid;
    add("an endorsement of another record", invalid, &|maker| {
        maker.edit_endorsement = |statement| {
            statement.subject[0].digest.sha256 = Digest::of("another enrolment");
        };
    });
    add("an endorsement of a key by another name", invalid, &|maker| {
        maker.edit_endorsement = |statement| statement.subject[0].name.push('A');
    });
    add("an endorsement with a second subject", invalid, &|maker| {
        maker.edit_endorsement = |statement| {
            let subject = statement.subject[0].clone();
            statement.subject.push(subject);
        };
    });
    add("an endorsement that is a decision by its type", invalid, &|maker| {
        maker.edit_endorsement = |statement| {
            statement.predicate_type = "urn:countersign:predicate:decision:v1".into();
        };
    });
    add("an endorsement for another gate", invalid, &|maker| {
        maker.edit_endorsement = |statement| statement.predicate.audience.push('x');
    });
    add("an endorsement that another key was to sign", invalid, &|maker| {
        maker.edit_endorsement = |statement| statement.predicate.credentials.clear();
    });
    add("an endorsement signed after it ended", Code::StatementTime, &|maker| {
        maker.edit_endorsement = |statement| {
            let predicate = &mut statement.predicate;
            predicate.issued_at -= SignedDuration::from_secs(300);
            predicate.expires_at -= SignedDuration::from_secs(300);
        };
    });
    add("an endorsement that could be signed for an hour", Code::StatementTime, &|maker| {
        maker.edit_endorsement = |statement| {
            statement.predicate.expires_at += SignedDuration::from_secs(3600);
        };
    });
    add("an endorsement by somebody else than who signed in", Code::SignInMismatch, &|maker| {
        maker.edit_endorsing_token = |claims| drop(claims.insert("sub".into(), json!("u-eve")));
    });
    add("an endorsement under an old sign-in", Code::SignInMismatch, &|maker| {
        maker.edit_endorsing_token = |claims| {
            let issued = claims["iat"].as_i64().unwrap() - 3600;
            claims.insert("iat".into(), json!(issued));
        };
    });
    add("a nonce of an endorsement that is too short", Code::Malformed, &|maker| {
        maker.edit_endorsement = |statement| statement.predicate.nonce = "AAAA".into();
    });
}

fn signatures(add: &mut Add<'_>) {
    let invalid = Code::EndorsementInvalid;
    let faults = [
        ("signed by another key", Fault::WrongKey),
        ("signed without user verification", Fault::FlipFlags(0x04)),
        (
            "signed for another origin",
            Fault::ClientDataMember("origin", json!("https://evil.example")),
        ),
        ("signed with another challenge", Fault::ClientDataMember("challenge", json!("AAAA"))),
        ("signed as somebody else", Fault::UserHandle(Some(vec![1; 32]))),
    ];
    for (name, fault) in faults {
        add(&format!("an endorsement {name}"), Code::AssertionInvalid, &|maker| {
            maker.endorsement_faults = vec![fault.clone()];
        });
    }
    add("an endorsement that the log recorded as another kind", invalid, &|maker| {
        maker.edit_endorsed = |record| record.kind = "credential.praised".into();
    });
    add("an endorsement whose record names another statement", invalid, &|maker| {
        maker.edit_endorsed = |record| {
            record.data["statement_digest"] = json!(Digest::of("another"));
        };
    });
    add("an endorsement moved to another key", invalid, &|maker| {
        maker.edit_evidence = |evidence| {
            let moved = evidence.credentials[0].endorsements[0].clone();
            evidence.credentials[1].endorsements = vec![moved];
        };
    });
    add("an endorsement's entry with another signature", Code::EntrySignatureInvalid, &|maker| {
        maker.edit_evidence = |evidence| {
            let other = evidence.entries[0].signature.clone();
            evidence.credentials[0].endorsements[0].entry.signature = other;
        };
    });
    add("an endorsement's entry out of the tree", Code::EntryNotIncluded, &|maker| {
        maker.edit_evidence = |evidence| {
            evidence.credentials[0].endorsements[0].entry.inclusion.pop();
        };
    });
    add("an endorser's sign-in at another directory", Code::SignInInvalid, &|maker| {
        maker.edit_endorsing_token =
            |claims| drop(claims.insert("iss".into(), json!("https://evil.example")));
    });
    add("a key endorsed by its owner", invalid, &|maker| {
        maker.endorsements = vec![(0, 0), (1, ANCHOR)];
    });
    add("a key endorsed twice by one person", invalid, &|maker| {
        maker.endorsements.push((1, ANCHOR));
    });
    add("an endorsement without the key that signed it", Code::CredentialNotEnrolled, &|maker| {
        maker.edit_evidence = |evidence| drop(evidence.credentials.pop());
    });
}

fn chains(add: &mut Add<'_>) {
    let missing = Code::NotEndorsed;
    add("a key that nobody endorsed", missing, &|maker| maker.endorsements.truncate(1));
    add("an endorsement left out", missing, &|maker| {
        maker.edit_evidence = |evidence| evidence.credentials[1].endorsements.clear();
    });
    add("two keys that endorse each other", missing, &|maker| {
        maker.endorsements = vec![(0, 1), (1, 0)];
    });
    add("endorsed by a key that was endorsed later itself", missing, &|maker| {
        maker.endorsements = vec![(0, 1), (1, ANCHOR)];
    });
    add("a policy that asks for no endorsements", missing, &|maker| {
        maker.policy.enrolment.endorsements = 0;
        maker.endorsements.clear();
    });
    add("a policy that asks for more endorsements", missing, &|maker| {
        maker.policy.enrolment.endorsements = 2;
    });
    add("endorsed after the decision", missing, &|maker| {
        maker.endorses_late = true;
    });
    add("the endorser's enrolment in another place", Code::UnusedCredential, &|maker| {
        maker.edit_evidence = |evidence| evidence.credentials.rotate_right(1);
    });
}

#[test]
fn every_flaw_of_a_chain_is_found_by_its_code() {
    let keys = Keys::new();
    let trust = keys.endorsing_trust();
    for Bad { name, code, evidence } in bad(&keys) {
        let found = verify(evidence.as_bytes(), &trust).map_err(|failure| failure.code().as_str());
        assert_eq!(found.err(), Some(code.as_str()), "{name}");
    }
}

#[test]
fn chains_end_at_the_anchors() {
    let keys = Keys::new();
    let trust = keys.endorsing_trust();
    let holds = |maker: Maker, trust: &Trust| verify(text(&maker.make()).as_bytes(), trust);
    let verified = holds(Maker::endorsed(&keys), &trust).unwrap();
    assert!(verified.is_approved());
    assert!(verified.checks().iter().any(|check| check.contains("endorsed before")));
    // Carol is endorsed by the anchor, and Alice by Carol.
    let mut longer = Maker::endorsed(&keys);
    longer.endorsements = vec![(1, ANCHOR), (0, 1)];
    assert!(holds(longer, &trust).unwrap().is_approved());
    // Other anchors believe none of it; anchors that ask for nothing believe it all the same.
    let stranger = Keys::new().endorsing_trust().endorsers;
    for endorsers in [Vec::new(), stranger] {
        let other = Trust { endorsers, ..trust.clone() };
        let failure = holds(Maker::endorsed(&keys), &other).unwrap_err();
        assert_eq!(failure.code(), Code::NotEndorsed);
    }
    let two = Trust { endorsements: 2, ..trust.clone() };
    let failure = holds(Maker::endorsed(&keys), &two).unwrap_err();
    assert_eq!(failure.code(), Code::NotEndorsed);
    assert!(holds(Maker::short(&keys), &keys.trust()).unwrap().is_approved());
    let lenient = Trust { endorsements: 0, ..trust };
    assert!(holds(Maker::endorsed(&keys), &lenient).unwrap().is_approved());
}

#[test]
fn every_leaf_of_an_endorsement_matters() {
    let keys = Keys::new();
    let trust = keys.endorsing_trust();
    let mut maker = Maker::endorsed(&keys);
    maker.signers.pop();
    maker.policy.rules.pop();
    maker.endorsements.pop();
    let good = to_canonical_json(&maker.make()).unwrap();
    assert!(verify(good.as_bytes(), &trust).is_ok());
    let value: serde_json::Value = serde_json::from_str(&good).unwrap();
    let changed = variants(&value["credentials"], "");
    assert!(changed.len() > 100, "only {}", changed.len());
    for (path, credentials) in changed {
        let mut other = value.clone();
        other["credentials"] = credentials;
        let other = to_canonical_json(&other).unwrap();
        assert!(verify(other.as_bytes(), &trust).is_err(), "{path} can be changed");
    }
}
