//! What keys must be: more that is asked of them is narrower.

use super::{Changes, Effect};
use crate::domain::key_rules::{Aaguid, AttestationAsked, KeyKind, KeyRules};

impl Changes {
    /// What the keys must be that sign.
    pub(super) fn of_keys(&mut self, old: Option<&KeyRules>, new: Option<&KeyRules>) {
        let nothing = KeyRules::default();
        let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        let kind = |kind: Option<KeyKind>| match kind {
            None => "keys of both kinds sign",
            Some(KeyKind::DeviceBound) => "only device-bound keys sign",
            Some(KeyKind::Synced) => "only synced keys sign",
        };
        if old.kind != new.kind {
            let effect = match (old.kind, new.kind) {
                (None, _) => Effect::Narrower,
                (_, None) => Effect::Wider,
                _ => Effect::Different,
            };
            self.add(effect, format!("{}; before, {}", kind(new.kind), kind(old.kind)));
        }
        match (old.allow.is_empty(), new.allow.is_empty()) {
            (false, true) => self.add(Effect::Wider, "keys of every model may sign now"),
            (true, false) => self.add(
                Effect::Narrower,
                format!("only keys of listed models sign now: {}", listed(&new.allow)),
            ),
            _ => self.of_lists(&old.allow, &new.allow, "keys of the model", ("may", "sign")),
        }
        self.of_lists(&new.deny, &old.deny, "keys of the model", ("may", "sign"));
        self.of_attestation(old.attestation, new.attestation);
        for (old, new, effect, what) in [
            (
                old.cool_down_seconds,
                new.cool_down_seconds,
                Effect::Narrower,
                "seconds that a new key waits before it signs",
            ),
            (
                Some(old.needed().into()),
                Some(new.needed().into()),
                Effect::Narrower,
                "keys that whoever signs must have",
            ),
            (
                old.replacement_grace_seconds,
                new.replacement_grace_seconds,
                Effect::Wider,
                "seconds that the others go on signing after the loss of a key",
            ),
        ] {
            self.of_amount((old.unwrap_or_default(), new.unwrap_or_default()), effect, what);
        }
    }

    fn of_attestation(&mut self, old: Option<AttestationAsked>, new: Option<AttestationAsked>) {
        let words = |asked: Option<AttestationAsked>| match asked {
            None => "keys need nobody who vouches for their authenticator",
            Some(AttestationAsked::Any) => "keys need a certificate of their authenticator",
            Some(AttestationAsked::Trusted) => {
                "keys need a maker with a pinned root who vouches for their authenticator"
            }
        };
        if old != new {
            let effect = if new > old { Effect::Narrower } else { Effect::Wider };
            self.add(effect, format!("{}; before, {}", words(new), words(old)));
        }
    }
}

fn listed(models: &[Aaguid]) -> String {
    models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
