//! Signed tree heads, as C2SP tlog-checkpoint and signed-note write them, read strictly: what is read
//! is written again and must be the same bytes.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;

use crate::domain::digest::Digest;
use crate::domain::log_key::{LogPublicKey, NOTE_ED25519, checkpoint_text, verifier_key};
use crate::domain::recovery::lineage;

/// The log that is trusted: its name and its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedLog {
    /// The name on the first line of its checkpoints.
    pub name: String,
    /// Its key.
    pub key: LogPublicKey,
}

/// A tree head that the log's key signed. Only [`TrustedLog::verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    size: u64,
    root: Digest,
    text: String,
}

impl Checkpoint {
    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> &Digest {
        &self.root
    }

    /// What the log's key signed: three lines.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl TrustedLog {
    /// Reads a verifier key, `name+hash+base64`, and no other spelling of it.
    pub fn parse(verifier_key: &str) -> Option<Self> {
        let (name, key) = read_verifier_key(verifier_key, NOTE_ED25519)?;
        Some(Self { name, key: LogPublicKey(key) })
    }

    /// The name of the same log after a recovery, if that is what signed this checkpoint.
    pub fn successor_that_signed(&self, note: &str) -> Option<String> {
        let (name, _) = note.split_once('\n')?;
        let ((first, before), (of, recoveries)) = (lineage(&self.name), lineage(name));
        let successor = Self { name: name.to_owned(), key: self.key };
        let is_one = first == of && recoveries > before && successor.verify(note).is_some();
        is_one.then_some(successor.name)
    }

    /// Verifies a checkpoint: three lines, an empty one, and exactly one signature, the log's.
    pub fn verify(&self, note: &str) -> Option<Checkpoint> {
        let (text, signatures) = note.split_once("\n\n")?;
        let mut lines = text.split('\n');
        let (name, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let (size, root): (u64, Digest) = (size.parse().ok()?, read_root(root)?);
        let signature = signatures.rsplit_once(' ')?.1.strip_suffix('\n')?;
        let signature = BASE64.decode(signature.as_bytes()).ok()?;
        let (hash, signature) = signature.split_first_chunk::<4>()?;
        let text = checkpoint_text(name, size, &root);
        let encoded = BASE64.encode(&[&hash[..], signature].concat());
        let rewritten = format!("{text}\n\u{2014} {name} {encoded}\n");
        let key = UnparsedPublicKey::new(&ED25519, self.key.0);
        let holds = name == self.name
            && *hash == self.key.note_key_hash(name)
            && rewritten == note
            && key.verify(text.as_bytes(), signature).is_ok();
        holds.then_some(Checkpoint { size, root, text })
    }
}

/// Name and key of `name+hash+base64` (C2SP signed-note), if it is a key of this signature type in its
/// one spelling. Names hold neither white space nor control characters, nor a plus sign.
pub(super) fn read_verifier_key(text: &str, signature_type: u8) -> Option<(String, [u8; 32])> {
    // Base64 may hold a plus sign.
    let mut parts = text.splitn(3, '+');
    let (name, _, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
    let key: [u8; 32] = bytes.split_first()?.1.try_into().ok()?;
    let is_plain = |character: char| !character.is_whitespace() && character >= ' ';
    let is_name = !name.is_empty() && name.chars().all(is_plain);
    let is_the_same = verifier_key(name, signature_type, &key) == text;
    (is_name && is_the_same).then(|| (name.to_owned(), key))
}

fn read_root(text: &str) -> Option<Digest> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log_key::LogKey;

    #[test]
    fn only_the_signed_bytes_verify() {
        let key = LogKey::from_seed(&[3; 32]).unwrap();
        let verifier_key = key.public().verifier_key("gate.example/log");
        let log = TrustedLog::parse(&verifier_key).unwrap();
        let root = Digest::of("root");
        let note = key.sign_checkpoint("gate.example/log", 42, &root);
        let checkpoint = log.verify(&note).unwrap();
        assert_eq!((checkpoint.size(), checkpoint.root()), (42, &root));
        for (at, character) in note.char_indices() {
            let (before, after) = (&note[..at], &note[at + character.len_utf8()..]);
            for other in ["", "A", "=", "\n", " ", "4"] {
                let changed = format!("{before}{other}{after}");
                assert!(changed == note || log.verify(&changed).is_none(), "{changed}");
            }
        }
        let (_, signature) = note.split_once("\n\n").unwrap();
        assert!(log.verify(&format!("{note}{signature}")).is_none(), "two signatures");
        assert!(log.verify(&key.sign_checkpoint("other/log", 42, &root)).is_none());
        for other in
            ["/12", "/0", "/01", "/", "/+1", "/-1", "/1/1", "/x", "1", "/99999999999999999999"]
        {
            let name = format!("gate.example/log{other}");
            assert!(log.verify(&key.sign_checkpoint(&name, 42, &root)).is_none(), "{name}");
        }
        let successor = key.sign_checkpoint("gate.example/log/recovered-2", 42, &root);
        assert!(log.verify(&successor).is_none());
        let name = "gate.example/log/recovered-2".to_owned();
        assert_eq!(log.successor_that_signed(&successor).as_ref(), Some(&name));
        let pinned = TrustedLog { name, ..log.clone() };
        for note in [&note, &successor, &successor.replace("recovered-2", "recovered-3")] {
            assert_eq!(pinned.successor_that_signed(note), None, "{note}");
        }
        assert!(LogKey::from_seed(&[4; 32]).is_ok_and(|other| {
            log.verify(&other.sign_checkpoint("gate.example/log", 42, &root)).is_none()
        }));
    }

    #[test]
    fn verifier_keys_have_one_spelling() {
        let key = LogKey::from_seed(&[3; 32]).unwrap().public().verifier_key("gate.example/log");
        assert!(TrustedLog::parse(&key).is_some());
        for other in
            [format!("{key} "), key.to_uppercase(), key.replace("gate", "gato"), String::new()]
        {
            assert!(TrustedLog::parse(&other).is_none(), "{other}");
        }
    }
}
