//! Witnesses with keys of our own, and what of their cosignatures is refused.

use countersign::domain::log_key::verifier_key;
use countersign::proof::evidence::{Cosignature, Evidence, InvalidTrust, Trust};
use countersign::proof::verify::{Code, verify};

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::{Keys, WitnessKey};
use crate::evidence::maker::Maker;
use crate::support::bundles::{case, leave};

/// What these witnesses of `keys` sign of a tree head, in the order of evidence.
pub fn cosigned(keys: &Keys, witnesses: &[usize], checkpoint: &str) -> Vec<Cosignature> {
    let sign = |place: &usize| keys.witnesses[*place].cosign(checkpoint);
    let mut cosigned: Vec<Cosignature> = witnesses.iter().map(sign).collect();
    cosigned.sort_by(|one, other| one.witness.cmp(&other.witness));
    cosigned
}

/// Changes one character of a cosignature's base64.
fn respell(cosignature: &mut Cosignature, place: usize) {
    let before = cosignature.cosignature.as_bytes()[place];
    let other = if before == b'A' { "B" } else { "A" };
    cosignature.cosignature.replace_range(place..=place, other);
}

/// Evidence that fails the checks of cosignatures.
pub fn add_bad(add: &mut Add<'_>) {
    type Edit = fn(&mut Evidence);
    let edits: [(&str, Edit); 10] = [
        ("a cosignature of another witness key", |evidence| {
            respell(&mut evidence.cosignatures[0], 0);
        }),
        ("a cosignature with another time", |evidence| respell(&mut evidence.cosignatures[1], 14)),
        ("another signature of a witness", |evidence| respell(&mut evidence.cosignatures[0], 60)),
        ("a cosignature that is cut", |evidence| {
            evidence.cosignatures[0].cosignature.truncate(100);
        }),
        ("the cosignatures of two witnesses exchanged", |evidence| {
            let first = evidence.cosignatures[0].cosignature.clone();
            let second = std::mem::replace(&mut evidence.cosignatures[1].cosignature, first);
            evidence.cosignatures[0].cosignature = second;
        }),
        ("a witness twice", |evidence| {
            evidence.cosignatures[1] = evidence.cosignatures[0].clone();
        }),
        ("the witnesses in another order", |evidence| evidence.cosignatures.reverse()),
        ("a witness under another name", |evidence| {
            evidence.cosignatures[0].witness.insert(0, 'a');
        }),
        ("a verifier key that is no witness's", |evidence| {
            let log = evidence.checkpoint.lines().next().unwrap();
            evidence.cosignatures[0].witness = verifier_key(log, 1, &[9; 32]);
        }),
        ("a witness without a key", |evidence| evidence.cosignatures[0].witness = "w".into()),
    ];
    for (name, edit) in edits {
        add(name, Code::CosignatureInvalid, &|maker| {
            maker.witnesses = vec![0, 1];
            maker.edit_evidence = edit;
        });
    }
    add("no cosignature", Code::NotWitnessed, &|maker| maker.witnesses.clear());
    add("a cosignature that nobody pinned", Code::NotWitnessed, &|maker| maker.witnesses = vec![2]);
}

#[test]
fn as_many_pinned_witnesses_as_are_asked_for_must_have_signed() {
    let keys = Keys::new();
    let evidence = |witnesses: &[usize]| {
        let mut maker = Maker::small(&keys);
        maker.witnesses = witnesses.to_vec();
        maker.make()
    };
    let asking = |required| Trust { witnesses_required: required, ..keys.trust() };
    let mut cases = Vec::new();
    for (witnesses, required, pinned) in [
        (&[][..], 0, Some(0)),
        (&[2], 0, Some(0)),
        (&[0, 2], 0, Some(1)),
        (&[0], 1, Some(1)),
        (&[1, 2], 1, Some(1)),
        (&[0, 1, 2], 2, Some(2)),
        (&[], 1, None),
        // A key that is not pinned counts as nobody's, however many there are.
        (&[2], 1, None),
        (&[0], 2, None),
        (&[0, 2], 2, None),
    ] {
        let (file, trust) = (text(&evidence(witnesses)), asking(required));
        match (verify(file.as_bytes(), &trust), pinned) {
            (Ok(verified), Some(pinned)) => {
                let found = verified.cosigned();
                assert_eq!(found.len(), witnesses.len());
                assert_eq!(found.iter().filter(|one| one.is_pinned).count(), pinned);
            }
            (Err(failure), None) => assert_eq!(failure.code(), Code::NotWitnessed),
            (found, _) => panic!("{witnesses:?} where {required} are asked for: {found:?}"),
        }
        cases.push(case(&format!("{witnesses:?} of {required}"), &file, &trust));
    }
    // The same key under another name is another witness, which nobody pinned.
    let mut renamed = evidence(&[]);
    let other = WitnessKey::of_seed("renamed.example", &[1; 32]);
    renamed.cosignatures = vec![other.cosign(&renamed.checkpoint)];
    let pinned = WitnessKey::of_seed("witness.example", &[1; 32]);
    let trust = Trust { witnesses: vec![pinned.verifier_key()], ..asking(1) };
    let failure = verify(text(&renamed).as_bytes(), &trust).unwrap_err();
    assert_eq!(failure.code(), Code::NotWitnessed);
    cases.push(case("renamed", &text(&renamed), &trust));
    leave("witnesses", &cases.into());
}

#[test]
fn witnesses_that_cannot_be_meant_make_no_anchors() {
    let keys = Keys::new();
    let trust = keys.trust();
    let read = |trust: &Trust| Trust::read(&serde_json::to_vec(trust).unwrap());
    read(&trust).unwrap();
    let with = |witnesses: Vec<String>| Trust { witnesses, ..trust.clone() };
    let log = trust.log.clone();
    assert_eq!(read(&with(vec![log])), Err(InvalidTrust::Witness(1)));
    let twice = keys.witnesses[0].verifier_key();
    assert_eq!(read(&with(vec![twice.clone(), twice.clone()])), Err(InvalidTrust::Witness(2)));
    let renamed = WitnessKey::of_seed("one", &[1; 32]);
    let again = WitnessKey::of_seed("two", &[1; 32]);
    let one_key = with(vec![renamed.verifier_key(), again.verifier_key()]);
    assert_eq!(read(&one_key), Err(InvalidTrust::Witness(2)));
    let more = Trust { witnesses_required: 2, ..with(vec![twice]) };
    assert_eq!(read(&more), Err(InvalidTrust::WitnessesRequired(2, 1)));
    for (from, to) in [
        ("\"witnesses_required\":1", "\"witnesses_required\":256"),
        ("\"witnesses\":[", "\"witnesses\":[null,"),
    ] {
        let text = serde_json::to_string(&trust).unwrap().replace(from, to);
        assert!(matches!(Trust::read(text.as_bytes()), Err(InvalidTrust::Form(_))), "{to}");
    }
}
