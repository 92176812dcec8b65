//! `[environment.NAME.keys]`: what the keys must be that sign.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::config::environments::seconds_of;
use crate::config::file::{AttestationOrNone, KeyKindOrAny, KeysSection};
use crate::domain::key_rules::{Aaguid, AttestationAsked, KeyKind, KeyRules};

/// More keys than this of one person nobody keeps apart.
const MOST_KEYS: u8 = 8;
/// A key that is not to sign for longer than this need not be registered yet.
const LONGEST_COOL_DOWN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Whoever has not replaced a key after so long does not mean to.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The rules of a section, and nothing where it asks for nothing: then the policy's bytes say nothing of it.
/// What must be changed goes to `problem`, with its key. `roots` are those of makers that are pinned.
pub(super) fn rules(
    problem: &mut dyn FnMut(&str, String),
    section: KeysSection,
    roots: &[String],
) -> Option<KeyRules> {
    let minimum = u8::try_from(section.minimum_keys).ok();
    let minimum = minimum.filter(|count| (1..=MOST_KEYS).contains(count));
    if minimum.is_none() {
        let count = section.minimum_keys;
        problem(
            "keys.minimum_keys",
            format!("is {count}: write how many keys whoever signs must have, 1 to {MOST_KEYS}"),
        );
    }
    let minimum_keys = minimum.filter(|count| *count > 1);
    let grace = time(problem, "keys.replacement_grace", &section.replacement_grace, LONGEST_GRACE);
    let cool_down = time(problem, "keys.cool_down", &section.cool_down, LONGEST_COOL_DOWN);
    let allow = models(problem, "keys.allow", &section.allow);
    let deny = models(problem, "keys.deny", &section.deny);
    if let Some(model) = allow.iter().find(|model| deny.contains(model)) {
        problem(
            "keys.deny",
            format!("lists {model}, which allow lists as well: remove it from one of them"),
        );
    }
    if section.attestation == AttestationOrNone::Trusted && roots.is_empty() {
        problem(
            "keys.attestation",
            "is \"trusted\", and no root is pinned, so that no key could sign: name the roots of makers in trust.attestation_roots".to_owned(),
        );
    }
    let rules = KeyRules {
        kind: match section.kind {
            KeyKindOrAny::Any => None,
            KeyKindOrAny::DeviceBound => Some(KeyKind::DeviceBound),
            KeyKindOrAny::Synced => Some(KeyKind::Synced),
        },
        allow,
        deny,
        suspended: Vec::new(),
        attestation: match section.attestation {
            AttestationOrNone::None => None,
            AttestationOrNone::Any => Some(AttestationAsked::Any),
            AttestationOrNone::Trusted => Some(AttestationAsked::Trusted),
        },
        cool_down_seconds: cool_down.filter(|seconds| *seconds > 0),
        // Whoever needs one key has nothing to replace.
        replacement_grace_seconds: grace.filter(|_| minimum_keys.is_some()),
        minimum_keys,
    };
    (!rules.is_nothing()).then_some(rules)
}

fn time(
    problem: &mut dyn FnMut(&str, String),
    key: &str,
    text: &str,
    longest: SignedDuration,
) -> Option<u64> {
    let seconds = seconds_of(text, SignedDuration::ZERO, longest);
    if seconds.is_none() {
        let days = longest.as_hours() / 24;
        problem(
            key,
            format!(
                "{text:?} is no time between 0 seconds and {days} days: write \"24h\" or \"7d\", say"
            ),
        );
    }
    seconds
}

fn models(problem: &mut dyn FnMut(&str, String), key: &str, texts: &[String]) -> Vec<Aaguid> {
    let mut models = BTreeSet::new();
    for text in texts {
        match text.parse::<Aaguid>() {
            Ok(model) if models.insert(model) => {}
            Ok(_) => problem(key, format!("lists {text} twice: remove one of them")),
            Err(error) => problem(key, error.to_string()),
        }
    }
    models.into_iter().collect()
}
