//! Public keys and their signatures: read in one form only, refused in every other.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use ciborium::Value as Cbor;
use countersign::proof::public_key::PublicKey;
use countersign::sandbox::authenticator::{Fault, KeyAlgorithm};

use super::ceremony::Signer;

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The two numbers of a DER signature, as minimal big-endian integers.
fn numbers(signature: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = usize::from(signature[3]);
    (signature[4..4 + length].to_vec(), signature[6 + length..].to_vec())
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [&[2, r.len() as u8], r, &[2, s.len() as u8], s].concat();
    [&[0x30, body.len() as u8], body.as_slice()].concat()
}

/// The other valid signature of the same message: (r, n-s).
pub fn other_s(signature: &[u8]) -> Vec<u8> {
    let (r, s) = numbers(signature);
    let padded = [vec![0; 33 - s.len()], s].concat();
    let (mut difference, mut borrow) = (vec![0; 33], 0);
    for index in (1..33).rev() {
        let value = i16::from(ORDER[index - 1]) - i16::from(padded[index]) - borrow;
        borrow = i16::from(value < 0);
        difference[index] = (value & 0xff) as u8;
    }
    let first = difference.iter().position(|byte| *byte != 0).unwrap();
    let sign = if difference[first] & 0x80 != 0 { first - 1 } else { first };
    der(&r, &difference[sign..])
}

/// What is made of some bytes.
pub type Change = fn(&[u8]) -> Vec<u8>;

/// Spellings of a signature over P-256 that only a lenient reader takes for it.
pub const WRONG_SPELLINGS: [Change; 7] = [
    // Fixed-length r and s instead of DER.
    |der| {
        let (r, s) = numbers(der);
        let fixed = |n: Vec<u8>| [vec![0; 33 - n.len()], n].concat()[1..].to_vec();
        [fixed(r), fixed(s)].concat()
    },
    // A byte behind the sequence, and one inside it.
    |der| [der, &[0]].concat(),
    |der| {
        let mut longer = [der, &[0]].concat();
        longer[1] += 1;
        longer
    },
    // A leading zero that is not needed.
    |signature| {
        let (r, s) = numbers(signature);
        der(&[vec![0], r].concat(), &s)
    },
    // BER's long form of a short length.
    |der| [&[0x30, 0x81], &der[1..]].concat(),
    // BER's indefinite length.
    |der| [&[0x30, 0x80], &der[2..], &[0, 0]].concat(),
    // s + n is the same number for whoever forgets the range check.
    |signature| {
        let (r, s) = numbers(signature);
        let padded = [vec![0; 33 - s.len()], s].concat();
        let (mut sum, mut carry) = (vec![0; 33], 0);
        for index in (1..33).rev() {
            let value = u16::from(ORDER[index - 1]) + u16::from(padded[index]) + carry;
            carry = value >> 8;
            sum[index] = (value & 0xff) as u8;
        }
        sum[0] = carry as u8;
        let sum = if sum[0] == 0 && sum[1] & 0x80 == 0 { &sum[1..] } else { &sum[..] };
        der(&r, sum)
    },
];

#[test]
fn ecdsa_signatures_are_strict_der() {
    let mut signer = Signer::new(KeyAlgorithm::Es256);
    for change in WRONG_SPELLINGS {
        assert_eq!(signer.refusal(&[Fault::Signature(change)]), "signature_invalid");
    }
}

/// The COSE key of a fresh signer, as members to change.
fn cose_members(algorithm: KeyAlgorithm) -> Vec<(Cbor, Cbor)> {
    let key = Signer::new(algorithm).record.public_key;
    let value: Cbor = ciborium::from_reader(key.cose()).unwrap();
    value.into_map().unwrap()
}

fn cose_refusal(members: Vec<(Cbor, Cbor)>) -> &'static str {
    let mut bytes = Vec::new();
    ciborium::into_writer(&Cbor::Map(members), &mut bytes).unwrap();
    PublicKey::from_cose(&bytes).expect_err("a wrong key was read").code()
}

fn changed(algorithm: KeyAlgorithm, change: impl FnOnce(&mut Vec<(Cbor, Cbor)>)) -> &'static str {
    let mut members = cose_members(algorithm);
    change(&mut members);
    cose_refusal(members)
}

#[test]
fn public_keys_are_read_in_one_form_only() {
    use KeyAlgorithm::{EdDsa, Es256, Es384, Rs256};
    let malformed = "public_key_malformed";
    assert_eq!(PublicKey::from_cose(&[]).unwrap_err().code(), malformed);
    assert_eq!(PublicKey::from_cose(&[0x80]).unwrap_err().code(), malformed);
    assert_eq!(PublicKey::from_cose(&[0xa0]).unwrap_err().code(), malformed);
    assert_eq!(changed(Es256, |key| drop(key.remove(4))), malformed);
    assert_eq!(changed(Es256, |key| key[3].1 = Cbor::from("x")), malformed);

    let not_canonical = "public_key_not_canonical";
    assert_eq!(changed(Es256, |key| key.swap(0, 1)), not_canonical);
    assert_eq!(changed(Es256, |key| key.push((Cbor::from(4), Cbor::from(1)))), not_canonical);
    assert_eq!(changed(Es256, |key| key.push(key[4].clone())), not_canonical);
    assert_eq!(changed(Es256, |key| key.push((Cbor::from("x"), Cbor::from(1)))), not_canonical);
    let good = Signer::new(Es256).record.public_key;
    let followed = [good.cose(), &[0]].concat();
    assert_eq!(PublicKey::from_cose(&followed).unwrap_err().code(), not_canonical);
    let long = [&[0xb8, 5], &good.cose()[1..]].concat();
    assert_eq!(PublicKey::from_cose(&long).unwrap_err().code(), not_canonical);
    let indefinite = [&[0xbf], &good.cose()[1..], &[0xff]].concat();
    assert_eq!(PublicKey::from_cose(&indefinite).unwrap_err().code(), not_canonical);

    // Another algorithm or curve beside the same numbers.
    assert_eq!(changed(Es256, |key| key[1].1 = Cbor::from(-36)), "unsupported_algorithm");
    assert_eq!(changed(Rs256, |key| key[1].1 = Cbor::from(-65535)), "unsupported_algorithm");
    let wrong_curve = "public_key_wrong_curve";
    assert_eq!(changed(Es256, |key| key[1].1 = Cbor::from(-35)), wrong_curve);
    assert_eq!(changed(Es256, |key| key[2].1 = Cbor::from(8)), wrong_curve);
    assert_eq!(changed(Es384, |key| key[1].1 = Cbor::from(-7)), wrong_curve);
    assert_eq!(changed(EdDsa, |key| key[0].1 = Cbor::from(2)), wrong_curve);
    assert_eq!(changed(Rs256, |key| key[0].1 = Cbor::from(2)), wrong_curve);

    // Numbers that are no key.
    let invalid = "public_key_invalid";
    assert_eq!(changed(Es256, |key| key[3].1 = Cbor::Bytes(vec![1; 32])), invalid);
    assert_eq!(changed(Es256, |key| key[3].1 = Cbor::Bytes(vec![1; 31])), invalid);
    assert_eq!(
        changed(Es256, |key| {
            key[3].1 = Cbor::Bytes(vec![0; 32]);
            key[4].1 = Cbor::Bytes(vec![0; 32]);
        }),
        invalid
    );
    assert_eq!(changed(EdDsa, |key| key[3].1 = Cbor::Bytes(vec![1; 31])), invalid);
    assert_eq!(changed(Rs256, |key| key[2].1 = Cbor::Bytes(vec![0xff; 128])), invalid);
    for (first, length) in [(0x7f, 256), (0x80, 255), (0x80, 1025), (0, 257)] {
        let n = [vec![first], vec![0xff; length - 1]].concat();
        assert_eq!(changed(Rs256, |key| key[2].1 = Cbor::Bytes(n)), invalid, "{first} {length}");
    }
    assert_eq!(changed(Rs256, |key| key[3].1 = Cbor::Bytes(vec![3])), invalid);
    assert_eq!(changed(Rs256, |key| key[3].1 = Cbor::Bytes(vec![0, 1, 0, 1])), invalid);
}

#[test]
fn a_key_that_anybody_can_sign_for_is_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let anybodys = [neutral.as_slice(), &[0; 32]].concat();
    let bare = UnparsedPublicKey::new(&ED25519, neutral);
    assert!(bare.verify(b"whatever", &anybodys).is_ok(), "the library alone would accept it");
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let mut negative = neutral;
    negative[31] = 0x80;
    let points = [
        neutral.to_vec(),
        negative.to_vec(),
        vec![0; 32],
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    for point in points {
        let refusal = changed(KeyAlgorithm::EdDsa, |key| key[3].1 = Cbor::Bytes(point));
        assert_eq!(refusal, "public_key_invalid");
    }
}
