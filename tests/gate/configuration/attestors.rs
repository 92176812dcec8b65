//! Attestations of approved images: what is accepted, and what each mistake is answered with.

use countersign::integrations::binary_authorization::AttestorKey;

use super::{Folder, GOOD};

const KEY: &str = "environment.production.binary_authorization";
const NOTE: &str = "projects/security/notes/production";
const KMS: &str =
    "projects/s/locations/europe/keyRings/gate/cryptoKeys/attestor/cryptoKeyVersions/1";
const PEM: &str = include_str!("../../data/attestor-key.pem");

fn folder(section: &str) -> Folder {
    let folder = Folder::new(&format!("{GOOD}\n[{KEY}]\n{section}\n"));
    folder.write("attestor.pem", PEM);
    folder.write("other.pem", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n");
    folder
}

#[test]
fn an_environment_may_have_its_images_attested() {
    let kms = folder(&format!("note = {NOTE:?}\nkms_key = {KMS:?}")).accepted();
    let attestor = kms.environments["production"].attestor.as_ref().unwrap();
    assert_eq!((attestor.as_str(), attestor.project()), (NOTE, "security"));
    assert_eq!(kms.environments["staging"].attestor, None);
    let settings = &kms.attestors.attestors["production"];
    assert_eq!(settings.key.id(), format!("//cloudkms.googleapis.com/v1/{KMS}"));
    assert!(kms.summary().contains(&format!("attested for    {NOTE}")), "{}", kms.summary());

    let file = folder(&format!("note = {NOTE:?}\nkey_file = \"attestor.pem\"")).accepted();
    let key = &file.attestors.attestors["production"].key;
    assert_eq!(key.id(), AttestorKey::from_pem(PEM).unwrap().id());
    assert!(key.id().starts_with("ni:///sha-256;"), "{}", key.id());
    let shown = format!("{file:?}");
    assert!(!shown.contains("PRIVATE KEY") && shown.contains("ni:///sha-256;"), "{shown}");
    assert_ne!(kms.digest().unwrap(), file.digest().unwrap());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (section, key, says) in [
        (
            format!("note = \"notes/production\"\nkms_key = {KMS:?}"),
            "note",
            "projects/PROJECT/notes/NOTE",
        ),
        (format!("note = \"projects/a b/notes/c\"\nkms_key = {KMS:?}"), "note", "is no note"),
        (
            format!("note = {NOTE:?}\nkms_key = \"projects/s/cryptoKeys/a\""),
            "kms_key",
            "cryptoKeyVersions/1",
        ),
        (format!("note = {NOTE:?}\nkey_file = \"missing.pem\""), "key_file", "cannot be read"),
        (format!("note = {NOTE:?}\nkey_file = \"other.pem\""), "key_file", "openssl genpkey"),
    ] {
        folder(&section).assert_refused(&format!("{KEY}.{key}"), says);
    }
    folder(&format!("note = {NOTE:?}")).assert_refused(KEY, "names no key or two");
    let two = format!("note = {NOTE:?}\nkms_key = {KMS:?}\nkey_file = \"attestor.pem\"");
    folder(&two).assert_refused(KEY, "names no key or two");
    let endpoint =
        format!("{GOOD}\n[binary_authorization]\nanalysis_endpoint = \"http://a.example.com\"\n");
    Folder::new(&endpoint).assert_refused("binary_authorization.analysis_endpoint", "use https");
}
