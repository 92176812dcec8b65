//! Witnesses, and their cosignatures of tree heads (C2SP tlog-cosignature, the Ed25519 type): a witness
//! signs, with the time, that a tree is the largest that it saw of a log which never took anything back.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;
use jiff::Timestamp;

use crate::domain::log_key::note_key_hash;
use crate::proof::checkpoint::read_verifier_key;

/// Timestamped Ed25519 cosignatures among the signature types of C2SP signed-note.
const COSIGNATURE_V1: u8 = 4;
/// Key hash, seconds since 1970 in big endian, Ed25519 signature.
const LENGTH: usize = 4 + 8 + 64;
/// As in tokens: a time of more than eleven digits is none.
const SECONDS_END: u64 = 100_000_000_000;

/// A witness, known by its verifier key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    name: String,
    key: [u8; 32],
}

impl Witness {
    /// Reads a verifier key, `name+hash+base64` of type 4, and no other spelling of it.
    pub fn parse(verifier_key: &str) -> Option<Self> {
        let (name, key) = read_verifier_key(verifier_key, COSIGNATURE_V1)?;
        Some(Self { name, key })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the witness signed the tree head with this text, by its own clock; none if it did not.
    /// `cosignature` is the base64 of its line.
    pub fn verify(&self, head: &str, cosignature: &str) -> Option<Timestamp> {
        let bytes = BASE64.decode(cosignature.as_bytes()).ok()?;
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let (hash, rest) = bytes.split_first_chunk::<4>()?;
        let (seconds, signature) = rest.split_first_chunk::<8>()?;
        let seconds = u64::from_be_bytes(*seconds);
        if seconds >= SECONDS_END {
            return None;
        }
        let at = Timestamp::from_second(seconds.try_into().ok()?).ok()?;
        let message = format!("cosignature/v1\ntime {seconds}\n{head}");
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        let holds = *hash == note_key_hash(&self.name, COSIGNATURE_V1, &self.key)
            && key.verify(message.as_bytes(), signature).is_ok();
        holds.then_some(at)
    }

    /// The line of a signed note with this cosignature.
    pub fn line(&self, cosignature: &str) -> String {
        format!("\u{2014} {} {cosignature}\n", self.name)
    }

    /// The cosignature of this witness among the lines of a note or an answer, if there is one that
    /// verifies. Other lines are of others, or of other keys of its own.
    pub fn find<'a>(&self, lines: &'a str, head: &str) -> Option<(&'a str, Timestamp)> {
        let begin = format!("\u{2014} {} ", self.name);
        let own = lines.split('\n').filter_map(|line| line.strip_prefix(&begin));
        own.filter_map(|found| Some((found, self.verify(head, found)?))).next()
    }
}

/// The place (from 1) of the first witness that is no verifier key, or whose key stands there twice: one key
/// under two names would count as two (tlog-cosignature does not sign the name).
pub fn unusable_witness(verifier_keys: &[String]) -> Option<usize> {
    let mut keys = Vec::new();
    let unusable = verifier_keys.iter().position(|text| match Witness::parse(text) {
        Some(witness) if !keys.contains(&witness.key) => {
            keys.push(witness.key);
            false
        }
        _ => true,
    });
    unusable.map(|place| place + 1)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::domain::log_key::{NOTE_ED25519, verifier_key};

    /// What a witness on the internet signed of a log that is watched there, and its key.
    const REMORA: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    const SEEN: &str = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n";
    const LINES: &str = "\u{2014} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n";

    #[test]
    fn a_cosignature_of_the_internet_verifies() {
        let witness = Witness::parse(REMORA).unwrap();
        let (cosignature, at) = witness.find(LINES, SEEN).unwrap();
        assert_eq!(at.to_string(), "2026-05-23T21:50:24Z");
        assert!(LINES.ends_with(&witness.line(cosignature)));
        let changed = LINES.replace("2net5wAAAABqEiEg", "2net5wAAAABqEiEh");
        assert!(witness.find(&changed, SEEN).is_none(), "another time");
        for (from, to) in [("1432088532", "1432088531"), ("arche", "orche"), ("U7WM", "U7WN")] {
            assert!(witness.verify(&SEEN.replace(from, to), cosignature).is_none(), "{to}");
        }
        for bad in ["", "2net5w==", &cosignature[1..], &format!("{cosignature} ")] {
            assert!(witness.verify(SEEN, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_time_of_twelve_digits_is_none() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        let witness = Witness::parse(&verifier_key("w.example", COSIGNATURE_V1, &public)).unwrap();
        let sign = |seconds: u64| {
            let signature = key.sign(format!("cosignature/v1\ntime {seconds}\n{SEEN}").as_bytes());
            let hash = note_key_hash("w.example", COSIGNATURE_V1, &public);
            let parts = [&hash[..], &seconds.to_be_bytes(), signature.as_ref()];
            BASE64.encode(&parts.concat())
        };
        assert!(witness.verify(SEEN, &sign(SECONDS_END - 1)).is_some());
        for seconds in [SECONDS_END, u64::MAX >> 1, u64::MAX] {
            assert!(witness.verify(SEEN, &sign(seconds)).is_none(), "{seconds}");
        }
    }

    #[test]
    fn verifier_keys_of_witnesses_have_one_spelling_and_are_used_once() {
        let key = |name, kind, byte| verifier_key(name, kind, &[byte; 32]);
        let good = key("w.example/1", COSIGNATURE_V1, 1);
        assert_eq!(Witness::parse(&good).unwrap().name(), "w.example/1");
        for bad in [
            key("w.example/1", NOTE_ED25519, 1),
            key("w example", COSIGNATURE_V1, 1),
            key("w\u{1c}example", COSIGNATURE_V1, 1),
            key("w\u{2003}example", COSIGNATURE_V1, 1),
            key("", COSIGNATURE_V1, 1),
            good.replace("w.", "v."),
            good.to_uppercase(),
            format!("{good}\n"),
            String::new(),
        ] {
            assert_eq!(Witness::parse(&bad), None, "{bad}");
            assert_eq!(unusable_witness(&[good.clone(), bad]), Some(2));
        }
        assert_eq!(unusable_witness(&[good.clone(), key("w.example/1", COSIGNATURE_V1, 2)]), None);
        assert_eq!(unusable_witness(&[good, key("w.example/2", COSIGNATURE_V1, 1)]), Some(2));
    }
}
