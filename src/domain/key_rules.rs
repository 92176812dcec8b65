//! What a key must be so that its signatures count in an environment. That its owner was verified (PIN or
//! biometry) is asked of every key and stands in no rule.

mod model;
mod refusal;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use model::{Aaguid, InvalidAaguid};
pub use refusal::KeyRefusal;

/// What the keys of an environment must be. What is absent is not asked for.
///
/// The kind is what the authenticator signed of itself (WebAuthn Level 3, section 6.1, flag BE), and so is
/// the model; nothing but a verified attestation shows that the authenticator is one that tells the truth.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRules {
    /// Whether the private key may be copied to other devices; both are good if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KeyKind>,
    /// The models that may sign; every one if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<Aaguid>,
    /// The models that may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub deny: Vec<Aaguid>,
    /// The models that may not sign because of what FIDO's metadata said of them when something was asked for.
    /// No configuration and no rulebook lists them: that a model is suspended waits for nobody's signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub suspended: Vec<Aaguid>,
    /// Who must vouch for the authenticator; nobody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<AttestationAsked>,
    /// How long after its enrolment a key signs nothing yet, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_seconds: Option<u64>,
    /// How many such keys a person must have before one of them signs; one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_keys: Option<u8>,
    /// How long the remaining keys go on signing after one was given up, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement_grace_seconds: Option<u64>,
}

/// Whether the private key can leave its authenticator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// It never does.
    DeviceBound,
    /// Copies of it can exist on other devices of the same account.
    Synced,
}

/// Who must vouch for the authenticator of a key, so that not everything is one that says so.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AttestationAsked {
    /// A certificate. Anybody can make one: it tells models apart that mean well.
    Any,
    /// A maker whose root is pinned.
    Trusted,
}

/// Who vouches for the authenticator that made a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vouching {
    /// Nobody, for this reason.
    Nobody(String),
    /// A certificate that ends at no pinned root, but at one that calls itself so.
    Stranger(String),
    /// The maker with this pinned root.
    Maker(String),
}

/// What a key is, as its registration and the entry of its enrolment say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFacts {
    /// Whether copies of it can exist on other devices (flag BE).
    pub backup_eligible: bool,
    /// The authenticator's model; all zero when it does not say.
    pub aaguid: Aaguid,
    /// Who vouches for that.
    pub vouching: Vouching,
    /// What FIDO's metadata says against the model now, as far as whoever looks knows it.
    pub suspended: Option<String>,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
}

impl KeyRules {
    /// What keys must be that sign where these rules and those of another environment both count. Where no
    /// model is on both lists, those of either are good: a change that nobody can sign is one for ever.
    pub fn strictest(one: Option<Self>, other: Option<&Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (&one, other) else { return one.or_else(|| other.cloned()) };
        // Named one by one, so that a new requirement does not compile before it was thought of here.
        let Self {
            kind,
            allow,
            deny,
            suspended,
            attestation,
            cool_down_seconds,
            minimum_keys,
            replacement_grace_seconds,
        } = other;
        let both: BTreeSet<Aaguid> = match (one.allow.is_empty(), allow.is_empty()) {
            (false, false) => one.allow.iter().filter(|it| allow.contains(it)).copied().collect(),
            _ => BTreeSet::new(),
        };
        let either = || one.allow.iter().chain(allow).copied().collect();
        let both: BTreeSet<Aaguid> = if both.is_empty() { either() } else { both };
        let denied: BTreeSet<Aaguid> = one.deny.iter().chain(deny).copied().collect();
        let suspended: BTreeSet<Aaguid> = one.suspended.iter().chain(suspended).copied().collect();
        let grace = |seconds: &Option<u64>| seconds.unwrap_or_default();
        let shortest = grace(&one.replacement_grace_seconds).min(grace(replacement_grace_seconds));
        Some(Self {
            kind: match (one.kind, kind) {
                (Some(KeyKind::Synced) | None, Some(kind)) => Some(*kind),
                (kind, _) => kind,
            },
            allow: both.into_iter().collect(),
            deny: denied.into_iter().collect(),
            suspended: suspended.into_iter().collect(),
            cool_down_seconds: one.cool_down_seconds.max(*cool_down_seconds),
            attestation: one.attestation.max(*attestation),
            minimum_keys: one.minimum_keys.max(*minimum_keys),
            replacement_grace_seconds: (shortest > 0).then_some(shortest),
        })
    }

    /// Whether they ask for nothing, so that they need not be written down.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// How many keys a person must have.
    pub fn needed(&self) -> u8 {
        self.minimum_keys.unwrap_or(1).max(1)
    }

    /// Whether a key is one of those that are asked for, whatever its age and its owner's other keys.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn accept(&self, key: &KeyFacts) -> Result<(), KeyRefusal> {
        match (self.kind, key.backup_eligible) {
            (Some(KeyKind::DeviceBound), true) => return Err(KeyRefusal::NotDeviceBound),
            (Some(KeyKind::Synced), false) => return Err(KeyRefusal::NotSynced),
            _ => {}
        }
        if !self.allow.is_empty() && !self.allow.contains(&key.aaguid) {
            let allowed: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
            return Err(KeyRefusal::ModelNotAllowed(key.aaguid, allowed.join(", ")));
        }
        if self.deny.contains(&key.aaguid) {
            return Err(KeyRefusal::ModelDenied(key.aaguid));
        }
        if let Some(status) = &key.suspended {
            return Err(KeyRefusal::ModelSuspended(key.aaguid, status.clone()));
        }
        if self.suspended.contains(&key.aaguid) {
            let then = "so when this was asked for".to_owned();
            return Err(KeyRefusal::ModelSuspended(key.aaguid, then));
        }
        match (self.attestation, &key.vouching) {
            (None, _)
            | (Some(_), Vouching::Maker(_))
            | (Some(AttestationAsked::Any), Vouching::Stranger(_)) => Ok(()),
            (Some(_), Vouching::Nobody(why)) => Err(KeyRefusal::NotAttested(why.clone())),
            (Some(AttestationAsked::Trusted), Vouching::Stranger(root)) => {
                Err(KeyRefusal::MakerUnknown(root.clone()))
            }
        }
    }

    /// Whether a key that is accepted has waited long enough at `at`.
    ///
    /// # Errors
    /// Until when it waits.
    pub fn accept_age(&self, key: &KeyFacts, at: Timestamp) -> Result<(), KeyRefusal> {
        let waits = self.cool_down_seconds.unwrap_or_default();
        if has_passed(key.enrolled_at, at, waits) {
            return Ok(());
        }
        let until = i64::try_from(waits).ok().map(SignedDuration::from_secs);
        let until = until.and_then(|waits| key.enrolled_at.checked_add(waits).ok());
        Err(KeyRefusal::CoolingDown(until.unwrap_or(Timestamp::MAX)))
    }

    /// Whether a key that was given up at `given_up_at` still counts as one that its owner has: for as long
    /// as they may take to replace it.
    pub fn counts_still(&self, given_up_at: Timestamp, at: Timestamp) -> bool {
        let grace = self.replacement_grace_seconds.unwrap_or_default();
        !has_passed(given_up_at, at, grace)
    }

    /// Until when it counts.
    pub fn grace_ends(&self, given_up_at: Timestamp) -> Timestamp {
        let grace = i64::try_from(self.replacement_grace_seconds.unwrap_or_default());
        let grace = grace.ok().map(SignedDuration::from_secs);
        grace.and_then(|grace| given_up_at.checked_add(grace).ok()).unwrap_or(Timestamp::MAX)
    }

    /// Whether so many accepted keys are enough.
    ///
    /// # Errors
    /// How many are missing.
    pub fn accept_number(&self, has: usize) -> Result<(), KeyRefusal> {
        let needed = self.needed();
        if has >= usize::from(needed) {
            Ok(())
        } else {
            Err(KeyRefusal::TooFewKeys { needed, has })
        }
    }

    /// What is asked for, one sentence each without its full stop.
    pub fn in_words(&self) -> Vec<String> {
        let names = |models: &[Aaguid]| {
            models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let time = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            format!("{:#}", SignedDuration::from_secs(seconds))
        };
        let mut words = Vec::new();
        match self.kind {
            Some(KeyKind::DeviceBound) => words.push("only device-bound keys sign".to_owned()),
            Some(KeyKind::Synced) => words.push("only synced keys sign".to_owned()),
            None => {}
        }
        if !self.allow.is_empty() {
            words.push(format!("only these models sign: {}", names(&self.allow)));
        }
        if !self.deny.is_empty() {
            words.push(format!("these models do not sign: {}", names(&self.deny)));
        }
        if !self.suspended.is_empty() {
            words
                .push(format!("FIDO's metadata suspends these models: {}", names(&self.suspended)));
        }
        match self.attestation {
            Some(AttestationAsked::Any) => words
                .push("only keys sign that show a certificate of their authenticator".to_owned()),
            Some(AttestationAsked::Trusted) => words.push(
                "only keys sign whose authenticator a maker with a pinned root vouches for"
                    .to_owned(),
            ),
            None => {}
        }
        if let Some(seconds) = self.cool_down_seconds {
            words.push(format!("a new key signs {} after its enrolment", time(seconds)));
        }
        if self.needed() > 1 {
            words.push(format!("whoever signs has at least {} such keys", self.needed()));
        }
        if let Some(seconds) = self.replacement_grace_seconds {
            let grace = time(seconds);
            words.push(format!("after the loss of one the others go on signing for {grace}"));
        }
        words
    }
}

/// Whether so many seconds lie between two moments, to the nanosecond.
fn has_passed(from: Timestamp, to: Timestamp, seconds: u64) -> bool {
    to.as_nanosecond() - from.as_nanosecond() >= i128::from(seconds) * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(aaguid: u8, backup_eligible: bool) -> KeyFacts {
        let enrolled_at = "2026-11-24T14:00:00Z".parse().unwrap();
        let vouching = Vouching::Nobody("none".to_owned());
        let (aaguid, suspended) = (Aaguid([aaguid; 16]), None);
        KeyFacts { backup_eligible, aaguid, vouching, suspended, enrolled_at }
    }

    #[test]
    fn every_requirement_refuses_for_its_own_reason() {
        let one = Aaguid([1; 16]);
        let cases = [
            (
                KeyRules { kind: Some(KeyKind::DeviceBound), ..KeyRules::default() },
                true,
                "key_not_device_bound",
            ),
            (
                KeyRules { kind: Some(KeyKind::Synced), ..KeyRules::default() },
                false,
                "key_not_synced",
            ),
            (KeyRules { allow: vec![one], ..KeyRules::default() }, false, "key_model_not_allowed"),
            (
                KeyRules { deny: vec![Aaguid([2; 16])], ..KeyRules::default() },
                false,
                "key_model_denied",
            ),
            (
                KeyRules { suspended: vec![Aaguid([2; 16])], ..KeyRules::default() },
                false,
                "key_model_suspended",
            ),
        ];
        for (rules, backup_eligible, code) in cases {
            let refusal = rules.accept(&key(2, backup_eligible)).unwrap_err();
            assert_eq!(refusal.code(), code, "{rules:?}");
            // And the key beside it is good.
            let other =
                if code.contains("model") { key(1, false) } else { key(2, !backup_eligible) };
            assert_eq!(rules.accept(&other), Ok(()), "{rules:?}");
        }
        assert!(KeyRules::default().accept(&key(0, true)).is_ok());
        // What is known now refuses as well, whatever the rules say.
        let suspended = KeyFacts { suspended: Some("REVOKED".to_owned()), ..key(0, true) };
        let refusal = KeyRules::default().accept(&suspended).unwrap_err();
        assert!(refusal.to_string().contains("REVOKED"), "{refusal}");
    }

    #[test]
    fn who_vouches_must_be_who_is_asked_for() {
        let key = |vouching| KeyFacts { vouching, ..key(1, false) };
        let nobody = key(Vouching::Nobody("self-made".to_owned()));
        let stranger = key(Vouching::Stranger("Eve".to_owned()));
        let maker = key(Vouching::Maker("Acme".to_owned()));
        let rules = |attestation| KeyRules { attestation, ..KeyRules::default() };
        let (any, trusted) = (Some(AttestationAsked::Any), Some(AttestationAsked::Trusted));
        let (not_attested, unknown) = (Err("key_not_attested"), Err("key_maker_unknown"));
        for (asked, expected) in [
            (None, [Ok(()), Ok(()), Ok(())]),
            (any, [not_attested, Ok(()), Ok(())]),
            (trusted, [not_attested, unknown, Ok(())]),
        ] {
            for (key, expected) in [&nobody, &stranger, &maker].into_iter().zip(expected) {
                let found = rules(asked).accept(key).map_err(|refusal| refusal.code());
                assert_eq!(found, expected, "{asked:?} {key:?}");
            }
        }
        let strictest = KeyRules::strictest(Some(rules(any)), Some(&rules(trusted)));
        assert_eq!(strictest, Some(rules(trusted)));
        let strictest = KeyRules::strictest(Some(rules(any)), Some(&rules(None)));
        assert_eq!(strictest, Some(rules(any)));
    }

    #[test]
    fn a_new_key_waits_and_a_lost_one_counts_for_a_while() {
        let rules = KeyRules {
            cool_down_seconds: Some(60),
            replacement_grace_seconds: Some(60),
            minimum_keys: Some(2),
            ..KeyRules::default()
        };
        let key = key(1, false);
        let after = |seconds| key.enrolled_at + SignedDuration::from_secs(seconds);
        let waits = Err(KeyRefusal::CoolingDown(after(60)));
        assert_eq!(rules.accept_age(&key, after(60) - SignedDuration::from_nanos(1)), waits);
        assert_eq!(rules.accept_age(&key, after(60)), Ok(()));
        assert!(rules.counts_still(after(0), after(60) - SignedDuration::from_nanos(1)));
        assert!(!rules.counts_still(after(0), after(60)));
        assert_eq!(rules.accept_number(1).unwrap_err().code(), "too_few_keys");
        assert_eq!(rules.accept_number(2), Ok(()));
        // Without a grace a lost key counts for nothing at once.
        assert!(!KeyRules::default().counts_still(after(0), after(0)));
        let for_ever = KeyRules { cool_down_seconds: Some(u64::MAX), ..KeyRules::default() };
        assert!(for_ever.accept_age(&key, Timestamp::MAX).is_err());
    }
}
