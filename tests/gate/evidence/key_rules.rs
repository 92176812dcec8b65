//! What rules ask of keys, in evidence: everything that they refuse, and what they do not.

use std::sync::Arc;

use countersign::domain::key_rules::{Aaguid, AttestationAsked, KeyKind, KeyRules};
use countersign::domain::ledger::Record;
use countersign::proof::verify::{Code, Verified, verify};
use countersign::sandbox::authenticator::{AAGUID, Attestation};
use jiff::SignedDuration;
use serde_json::json;

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::support::attestations;
use crate::support::bundles::{case, leave};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Two keys of everybody who signs, and a day to replace one.
fn two_keys(maker: &mut Maker) {
    maker.other_keys = vec!["u-alice", "u-carol"];
    maker.policy.keys = Some(KeyRules {
        minimum_keys: Some(2),
        replacement_grace_seconds: Some(86_400),
        ..KeyRules::default()
    });
}

fn rules(maker: &mut Maker) -> &mut KeyRules {
    maker.policy.keys.get_or_insert_default()
}

/// Everything that a policy about keys refuses.
pub fn add_bad(add: &mut Add<'_>) {
    let refused = Code::KeyNotAccepted;
    add("a synced key where device-bound ones are asked for", refused, &|maker| {
        maker.synced = true;
        rules(maker).kind = Some(KeyKind::DeviceBound);
    });
    add("a device-bound key where synced ones are asked for", refused, &|maker| {
        rules(maker).kind = Some(KeyKind::Synced);
    });
    add("a key of a model that is not listed", refused, &|maker| {
        rules(maker).allow = vec![Aaguid([7; 16])];
    });
    add("a key of a model that may not sign", refused, &|maker| {
        rules(maker).deny = vec![Aaguid([7; 16]), Aaguid(AAGUID)];
    });
    add("a key of a model that was suspended", refused, &|maker| {
        rules(maker).suspended = vec![Aaguid([7; 16]), Aaguid(AAGUID)];
    });
    add("a key that signed before it was old enough", refused, &|maker| {
        // The first decision comes a minute after the request.
        maker.enrolled_before = HOUR;
        rules(maker).cool_down_seconds = Some(3_661);
    });
    add("the only key of its owner where two are asked for", refused, &|maker| {
        two_keys(maker);
        maker.other_keys.pop();
    });
    add("a second key of somebody else", refused, &|maker| {
        two_keys(maker);
        maker.other_keys = vec!["u-alice", "u-bob"];
    });
    add("a second key that is not of the kind that is asked for", refused, &|maker| {
        two_keys(maker);
        rules(maker).kind = Some(KeyKind::DeviceBound);
        maker.other_keys_are_synced = true;
    });
    add("a second key that was given up too long ago", refused, &|maker| {
        two_keys(maker);
        maker.gives_up = Some(HOUR * 24);
    });
    add("a second key that was given up where there is no time to replace it", refused, &|maker| {
        two_keys(maker);
        rules(maker).replacement_grace_seconds = None;
        maker.gives_up = Some(SignedDuration::ZERO);
    });
    add("the key that signed had been given up", refused, &|maker| {
        maker.policy.keys = Some(KeyRules::default());
        maker.gives_up = Some(HOUR);
    });
    add("a key is said to be given up by another entry", Code::EnrolmentInvalid, &|maker| {
        two_keys(maker);
        maker.gives_up = Some(HOUR);
        maker.edit_revocation = |record| record.kind = "credential.endorsed".into();
    });
    add(
        "a key is said to be given up by the entry of another key",
        Code::EnrolmentInvalid,
        &|maker| {
            two_keys(maker);
            maker.gives_up = Some(HOUR);
            maker.edit_revocation = |record| record.data["credential"] = json!("AAAA");
        },
    );
    add("an other key where one is enough", Code::UnusedCredential, &|maker| {
        two_keys(maker);
        rules(maker).minimum_keys = None;
    });
    add("one other key more than is asked for", Code::UnusedCredential, &|maker| {
        two_keys(maker);
        maker.other_keys.push("u-carol");
    });
    add("the other keys in another order", Code::UnusedCredential, &|maker| {
        two_keys(maker);
        maker.other_keys.reverse();
    });
    add("a minimum of no keys that is no number", Code::Malformed, &|maker| {
        two_keys(maker);
        maker.edit_evidence = |evidence| {
            evidence.policy = evidence.policy.replace("\"minimum_keys\":2", "\"minimum_keys\":-2");
        };
    });
    add("a key that nobody vouches for where a maker is asked for", refused, &|maker| {
        rules(maker).attestation = Some(AttestationAsked::Trusted);
    });
    add("a key that vouches for itself where any attestation is asked for", refused, &|maker| {
        maker.attestation = Attestation::OfItself;
        rules(maker).attestation = Some(AttestationAsked::Any);
    });
    add("a key of a maker whose root is not pinned", refused, &|maker| {
        maker.attestation = attestations::of(&attestations::root("Eve"));
        rules(maker).attestation = Some(AttestationAsked::Trusted);
    });
    add("an empty list of suspended models", Code::Malformed, &|maker| {
        two_keys(maker);
        maker.edit_evidence = |evidence| {
            evidence.policy = evidence.policy.replace("\"keys\":{", "\"keys\":{\"suspended\":[],");
        };
    });
    add("an empty list of models", Code::Malformed, &|maker| {
        two_keys(maker);
        maker.edit_evidence = |evidence| {
            evidence.policy = evidence.policy.replace("\"keys\":{", "\"keys\":{\"allow\":[],");
        };
    });
}

fn verified(maker: Maker, keys: &Keys) -> Result<Verified, Code> {
    verify(text(&maker.make()).as_bytes(), &keys.trust()).map_err(|failure| failure.code())
}

#[test]
fn keys_that_are_what_is_asked_for_sign() {
    let keys = Keys::new();
    let holds = |change: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::short(&keys);
        change(&mut maker);
        let verified = verified(maker, &keys).unwrap_or_else(|code| panic!("{code}"));
        assert!(verified.is_approved());
        verified
    };
    let told = holds(&|maker| {
        maker.enrolled_before = HOUR;
        *rules(maker) = KeyRules {
            kind: Some(KeyKind::DeviceBound),
            allow: vec![Aaguid(AAGUID)],
            deny: vec![Aaguid([7; 16])],
            suspended: vec![Aaguid([8; 16])],
            cool_down_seconds: Some(3_660),
            ..KeyRules::default()
        };
    });
    assert!(told.checks().iter().any(|check| check.contains("only device-bound keys sign")));
    assert!(told.other_keys().is_empty());
    holds(&|maker| {
        maker.synced = true;
        rules(maker).kind = Some(KeyKind::Synced);
    });
    let told = holds(&two_keys);
    assert_eq!(told.other_keys().len(), 2);
    assert!(told.other_keys().iter().all(|key| key.revoked.is_none()));
    // Carol lost one an hour before, and signs all the same until she can have another.
    let told = holds(&|maker| {
        two_keys(maker);
        maker.gives_up = Some(HOUR);
    });
    assert!(told.other_keys()[0].revoked.is_none() && told.other_keys()[1].revoked.is_some());
}

/// A policy's words about keys, and evidence under it, each against an answer that is worked out by itself.
#[test]
fn both_verifiers_judge_keys_alike() {
    let keys = Keys::new();
    let mut cases = Vec::new();
    let mut verdicts = [0, 0];
    for number in 0_u64..96 {
        let bit = |place: u32| number >> place & 1 == 1;
        let minimum = 1 + u8::from(bit(0)) + u8::from(bit(1));
        let others = usize::from(bit(2)) + usize::from(bit(3));
        let (gives_up, in_time) = (bit(4) && others > 0, bit(5));
        let young = number % 5 == 0;
        let mut maker = Maker::small(&keys);
        maker.rolls_out = false;
        maker.enrolled_before = HOUR;
        maker.other_keys = vec!["u-alice"; others];
        maker.gives_up = gives_up.then(|| HOUR * if in_time { 1 } else { 48 });
        *rules(&mut maker) = KeyRules {
            minimum_keys: Some(minimum),
            cool_down_seconds: Some(if young { 4_000 } else { 3_600 }),
            replacement_grace_seconds: Some(86_400),
            ..KeyRules::default()
        };
        let counting = 1 + others - usize::from(gives_up && !in_time);
        let expected = if young || counting < usize::from(minimum) {
            Err(Code::KeyNotAccepted)
        } else if 1 + others > usize::from(minimum) {
            Err(Code::UnusedCredential)
        } else {
            Ok(())
        };
        let evidence = text(&maker.make());
        let found = verify(evidence.as_bytes(), &keys.trust());
        let found = found.map(|_| ()).map_err(|failure| failure.code());
        assert_eq!(found, expected, "{number}");
        verdicts[usize::from(found.is_ok())] += 1;
        cases.push(case(&format!("keys {number}"), &evidence, &keys.trust()));
    }
    assert!(verdicts[0] > 20 && verdicts[1] > 5, "{verdicts:?}");
    leave("key-rules", &cases.into());
}

/// Everything that authenticators say of their maker, under rules that ask for nobody, anybody and a maker.
#[test]
fn both_verifiers_judge_attestations_alike() {
    let keys = Keys::new();
    let (any, trusted) = (AttestationAsked::Any, AttestationAsked::Trusted);
    let refused = Some(Code::KeyNotAccepted);
    let mut cases = Vec::new();
    let mut judged = |name: &str, attestation: &Attestation, asked, expected: Option<Code>| {
        let mut maker = Maker::small(&keys);
        maker.rolls_out = false;
        maker.attestation = attestation.clone();
        rules(&mut maker).attestation = asked;
        let evidence = text(&maker.make());
        let found = verify(evidence.as_bytes(), &keys.trust());
        assert_eq!(found.err().map(|failure| failure.code()), expected, "{name} {asked:?}");
        cases.push(case(&format!("attestation {name} {asked:?}"), &evidence, &keys.trust()));
    };
    for (name, attestation) in attestations::all_good(&keys.maker) {
        for asked in [None, Some(any), Some(trusted)] {
            judged(name, &attestation, asked, None);
        }
    }
    for (name, attestation, says) in attestations::forgeries(&keys.maker) {
        let is_certified = says.contains("whose roots are pinned");
        judged(name, &attestation, None, None);
        judged(name, &attestation, Some(any), refused.filter(|_| !is_certified));
        judged(name, &attestation, Some(trusted), refused);
    }
    leave("attestations", &cases.into());
}

/// Every member of the entry that gives a key up is bound to the log.
#[test]
fn a_key_that_was_given_up_has_its_own_entry() {
    let keys: Arc<Keys> = Keys::new();
    for change in [
        (|record: &mut Record| record.data["credential"] = json!(7)) as fn(&mut Record),
        |record| record.data = json!("credential"),
        |record| record.kind.push('x'),
    ] {
        let mut maker = Maker::short(&keys);
        two_keys(&mut maker);
        maker.gives_up = Some(HOUR);
        maker.edit_revocation = change;
        assert_eq!(verified(maker, &keys).unwrap_err(), Code::EnrolmentInvalid);
    }
}
