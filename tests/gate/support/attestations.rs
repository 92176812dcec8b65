//! What authenticators can say of their maker: what a maker says whose root is pinned, and every forgery of it
//! that we know of.

use std::sync::Arc;

use ciborium::Value as Cbor;
use countersign::sandbox::authenticator::certificates::{Form, Issuer, MODEL, NameOf};
use countersign::sandbox::authenticator::{AAGUID, Attestation, KeyAlgorithm};

/// A forgery: what it is, the attestation, and what is said of it where a pinned root is asked for.
pub type Forgery = (&'static str, Attestation, &'static str);

/// What is said of whoever is no maker with a pinned root.
const UNKNOWN: &str = "only makers count here whose roots are pinned";

pub fn root(name: &str) -> Issuer {
    Issuer::root(Form::authority(name)).unwrap()
}

fn leaf(maker: &Issuer, change: impl FnOnce(&mut Form)) -> Issuer {
    let mut form = Form::authenticator(AAGUID);
    change(&mut form);
    maker.issue(form).unwrap()
}

/// The same with what is changed in its certificate.
fn changed(maker: &Issuer, change: impl FnOnce(&mut Form)) -> Attestation {
    Attestation::by(leaf(maker, change), &[])
}

/// What this maker's authenticators say.
pub fn of(maker: &Issuer) -> Attestation {
    changed(maker, |_| {})
}

/// Everything that this maker may have them say.
pub fn all_good(maker: &Issuer) -> Vec<(&'static str, Attestation)> {
    let batch = maker.issue(Form { path_length: Some(0), ..Form::authority("Batch") }).unwrap();
    let rsa = Form { algorithm: KeyAlgorithm::Rs256, ..Form::authority("Batch") };
    let rsa = maker.issue(rsa).unwrap();
    let of_rsa = leaf(&rsa, |form| form.algorithm = KeyAlgorithm::Es384);
    let p384 = Form { algorithm: KeyAlgorithm::Es384, ..Form::authority("Batch") };
    let p384 = maker.issue(p384).unwrap();
    let of_p384 = leaf(&p384, |form| form.algorithm = KeyAlgorithm::Rs256);
    vec![
        ("with an authority of RSA and a key of P-384", Attestation::by(of_rsa, &[&rsa])),
        ("with an authority of P-384 and a key of RSA", Attestation::by(of_p384, &[&p384])),
        ("issued by the root", of(maker)),
        ("with the root behind it", Attestation::by(leaf(maker, |_| {}), &[maker])),
        ("with an authority between", Attestation::by(leaf(&batch, |_| {}), &[&batch])),
        ("with both behind it", Attestation::by(leaf(&batch, |_| {}), &[&batch, maker])),
        ("for no model by name", changed(maker, |form| form.model = None)),
    ]
}

fn chained(key: Issuer, chain: Vec<Vec<u8>>) -> Attestation {
    Attestation::Certified { key: Arc::new(key), chain }
}

/// A statement whose members are these.
fn statement(algorithm: i64, signature: Vec<u8>, chain: Vec<Cbor>) -> Vec<(Cbor, Cbor)> {
    vec![
        (Cbor::from("alg"), Cbor::from(algorithm)),
        (Cbor::from("sig"), Cbor::Bytes(signature)),
        (Cbor::from("x5c"), Cbor::Array(chain)),
    ]
}

/// Whoever has no key of the maker, and what the maker itself would not have meant.
pub fn forgeries(maker: &Issuer) -> Vec<Forgery> {
    [nothing(), of_others(maker), of_certificates(maker), of_chains(maker), of_statements(maker)]
        .into_iter()
        .flatten()
        .collect()
}

fn nothing() -> Vec<Forgery> {
    vec![
        ("none", Attestation::None, "passed no attestation on"),
        ("by the key itself", Attestation::OfItself, "vouches for itself alone"),
        (
            "in another format",
            Attestation::Replayed("fido-u2f", Vec::new()),
            "in the format \"fido-u2f\", and packed alone",
        ),
    ]
}

fn of_others(maker: &Issuer) -> Vec<Forgery> {
    let (eve, namesake) = (root("Eve Root"), root("Acme Root"));
    let stolen = leaf(maker, |_| {}).certificate;
    let by_namesake = leaf(&namesake, |_| {});
    vec![
        ("of another root", of(&eve), UNKNOWN),
        ("of a root of the same name", Attestation::by(by_namesake, &[]), UNKNOWN),
        (
            "with a root of the same name",
            Attestation::by(leaf(&namesake, |_| {}), &[&namesake]),
            UNKNOWN,
        ),
        (
            "with the real root behind a certificate of another",
            Attestation::by(leaf(&eve, |_| {}), &[maker]),
            "was not issued by the one that follows it",
        ),
        (
            "with a certificate without its key",
            chained(root("Eve"), vec![stolen]),
            "not signed by the certificate",
        ),
        (
            "of a certificate of another authenticator, used to issue one",
            {
                let real = leaf(maker, |_| {});
                Attestation::by(leaf(&real, |_| {}), &[&real])
            },
            "may not issue the one before it",
        ),
    ]
}

fn of_certificates(maker: &Issuer) -> Vec<Forgery> {
    let unit = |form: &mut Form, name: &str| {
        form.subject.retain(|(kind, _)| *kind != NameOf::Unit);
        form.subject.push((NameOf::Unit, name.to_owned()));
    };
    let valid = |from, to| changed(maker, |form| form.valid = [from, to]);
    let critical = vec![(vec![0x2a, 3], true, vec![5, 0])];
    let model = (MODEL.to_vec(), false, [&[4, 16][..], &AAGUID].concat());
    let mut trailing = leaf(maker, |_| {});
    trailing.certificate.push(0);
    vec![
        ("of another model", changed(maker, |form| form.model = Some([7; 16])), "another model"),
        (
            "with a model that is critical",
            changed(maker, |form| {
                form.model = None;
                form.more = vec![(model.0.clone(), true, model.2.clone())];
            }),
            "critical that is not understood",
        ),
        ("expired", valid("200101000000Z", "200201000000Z"), "was not valid at that time"),
        ("not valid yet", valid("480101000000Z", "491231235959Z"), "was not valid at that time"),
        (
            "of an authority",
            changed(maker, |form| form.is_authority = Some(true)),
            "may issue others",
        ),
        (
            "without constraints",
            changed(maker, |form| form.is_authority = None),
            "may issue others",
        ),
        ("of a server", changed(maker, |form| unit(form, "Web")), "does not call itself one"),
        (
            "of two units",
            changed(maker, |form| form.subject.push((NameOf::Unit, "Web".to_owned()))),
            "does not call itself one",
        ),
        (
            "of no country",
            changed(maker, |form| drop(form.subject.remove(0))),
            "does not call itself one",
        ),
        (
            "with something critical",
            changed(maker, |form| form.more = critical),
            "critical that is not understood here (1.2.3)",
        ),
        ("with a model twice", changed(maker, |form| form.more = vec![model]), "cannot be read"),
        ("with a byte behind the certificate", Attestation::by(trailing, &[]), "cannot be read"),
        (
            "with no certificate in its place",
            chained(root("Eve"), vec![vec![0x30]]),
            "cannot be read",
        ),
    ]
}

fn of_chains(maker: &Issuer) -> Vec<Forgery> {
    let one = maker.issue(Form { path_length: Some(0), ..Form::authority("One") }).unwrap();
    let two = one.issue(Form::authority("Two")).unwrap();
    let old = Form { valid: ["200101000000Z", "200201000000Z"], ..Form::authority("Old") };
    let old = maker.issue(old).unwrap();
    let long: Vec<Issuer> = (0..6).fold(vec![root("Zero")], |mut chain, place| {
        let next = chain[place].issue(Form::authority("Next")).unwrap();
        chain.push(next);
        chain
    });
    let above: Vec<&Issuer> = long.iter().rev().take(6).collect();
    let key = leaf(maker, |_| {});
    let backwards = vec![maker.certificate.clone(), key.certificate.clone()];
    vec![
        ("with a root twice", Attestation::by(leaf(maker, |_| {}), &[maker, maker]), "twice"),
        (
            "with a stranger behind the root",
            Attestation::by(leaf(maker, |_| {}), &[maker, &root("Eve")]),
            "was not issued by",
        ),
        ("backwards", chained(key, backwards), "was not issued by"),
        (
            "with more authorities between than may be",
            Attestation::by(leaf(&two, |_| {}), &[&two, &one]),
            "may not issue the one before it",
        ),
        (
            "with an authority between that had expired",
            Attestation::by(leaf(&old, |_| {}), &[&old]),
            "was not valid at that time",
        ),
        (
            "with a long chain",
            Attestation::by(leaf(&long[6], |_| {}), &above),
            "no certificate, or more than 6",
        ),
        ("with an empty chain", chained(root("Eve"), Vec::new()), "no certificate, or more than 6"),
    ]
}

fn of_statements(maker: &Issuer) -> Vec<Forgery> {
    let key = leaf(maker, |_| {});
    let chain = || vec![Cbor::Bytes(key.certificate.clone())];
    let replayed = key.sign(b"what another key was registered with").unwrap();
    let mut longer = statement(-7, replayed.clone(), chain());
    longer.push((Cbor::from("more"), Cbor::Null));
    let packed = |members| Attestation::Replayed("packed", members);
    vec![
        (
            "signed for another registration",
            packed(statement(-7, replayed.clone(), chain())),
            "not signed by the certificate",
        ),
        (
            "signed by another algorithm than it says",
            packed(statement(-257, replayed.clone(), chain())),
            "not signed by the certificate",
        ),
        (
            "with certificates that are none",
            packed(statement(-7, replayed, vec![Cbor::Null])),
            "is malformed",
        ),
        ("with another member", packed(longer), "is malformed"),
    ]
}
