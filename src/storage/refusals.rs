//! Refusals on their way into the ledger: what was tried and did not hold.
//!
//! They are counted in memory and written by the sweep, so that a refusal costs its request no write,
//! waits for nobody and cannot fail. Whoever is known has an entry a minute for each of their reasons, the
//! first within a second or so; what anybody can send without limit is one entry a minute, with counts by
//! reason. What cannot be written stays counted until it can. A process that is killed loses what it
//! counted since it last wrote: a second's refusals, or a minute's repetitions of one that stands already.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::canonical::to_canonical_json;
use crate::storage::Storage;
use crate::storage::error::Result;

/// How long a reason of one party is only counted after it was written.
pub const REFUSAL_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// How many parties and reasons of one kind are told apart in a minute; the others are counted with the
/// strangers. Anybody can have GitHub sign them a token, from as many repositories as they like.
const MOST_TOLD_APART: usize = 20;
/// What the entry about strangers is called.
const STRANGERS: &str = "strangers.refused";

/// Something that a known party tried, and why it was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Refusal {
    /// The kind of the entry: `decision.refused`, `token.refused`, ...
    pub kind: &'static str,
    /// The stable name of the reason.
    pub code: &'static str,
    /// Who it was and what it was about: an object, without `code`, `count`, `first` and `last`.
    pub about: Value,
    /// When.
    pub at: Timestamp,
}

/// How often, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tally {
    /// Since it was last written.
    count: u64,
    first: Timestamp,
    last: Timestamp,
    written: Option<Timestamp>,
}

impl Tally {
    fn new(at: Timestamp) -> Self {
        Self { count: 0, first: at, last: at, written: None }
    }

    fn add(&mut self, at: Timestamp) {
        if self.count == 0 {
            self.first = at;
        }
        self.last = at;
        self.count += 1;
    }

    /// Whether so much time has passed since it was last written.
    fn is_past(&self, pause: SignedDuration, now: Timestamp) -> bool {
        self.written.is_none_or(|written| now.duration_since(written).abs() >= pause)
    }

    /// Takes off what was written.
    fn settle(&mut self, written: &Self, now: Timestamp) {
        self.count = self.count.saturating_sub(written.count);
        self.written = Some(now);
    }
}

/// What was counted and is not written yet.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// By kind and by what is told of them.
    known: BTreeMap<(&'static str, String), (Value, Tally)>,
    strangers: Option<(Reasons, Tally)>,
}

/// How often, by kind and code.
type Reasons = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

/// One entry to be written.
enum Due {
    Known { key: (&'static str, String), about: Value, tally: Tally },
    Strangers { reasons: Reasons, tally: Tally },
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot panic half-way, so what a panic elsewhere left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn note(&mut self, refusal: Refusal) {
        let Refusal { kind, code, mut about, at } = refusal;
        about["code"] = code.into();
        let Ok(text) = to_canonical_json(&about) else { return self.note_stranger(kind, code, at) };
        let key = (kind, text);
        let told_apart = self.known.keys().filter(|(other, _)| *other == kind).count();
        if !self.known.contains_key(&key) && told_apart >= MOST_TOLD_APART {
            return self.note_stranger(kind, code, at);
        }
        self.known.entry(key).or_insert_with(|| (about, Tally::new(at))).1.add(at);
    }

    fn note_stranger(&mut self, kind: &'static str, code: &'static str, at: Timestamp) {
        let (reasons, tally) =
            self.strangers.get_or_insert_with(|| (Reasons::new(), Tally::new(at)));
        *reasons.entry(kind).or_default().entry(code).or_default() += 1;
        tally.add(at);
    }

    fn due(&mut self, pause: SignedDuration, now: Timestamp) -> Vec<Due> {
        self.known.retain(|_, (_, tally)| tally.count > 0 || !tally.is_past(pause, now));
        let is_due = |tally: &Tally| tally.count > 0 && tally.is_past(pause, now);
        let known = self.known.iter().filter(|(_, (_, tally))| is_due(tally));
        let known = known.map(|(key, (about, tally))| Due::Known {
            key: key.clone(),
            about: about.clone(),
            tally: *tally,
        });
        let strangers = self.strangers.iter().filter(|(_, tally)| is_due(tally));
        let strangers = strangers
            .map(|(reasons, tally)| Due::Strangers { reasons: reasons.clone(), tally: *tally });
        known.chain(strangers).collect()
    }

    fn settle(&mut self, written: Due, now: Timestamp) {
        match written {
            Due::Known { key, tally, .. } => {
                if let Some((_, counted)) = self.known.get_mut(&key) {
                    counted.settle(&tally, now);
                }
            }
            Due::Strangers { reasons, tally } => {
                let Some((counted, total)) = &mut self.strangers else { return };
                total.settle(&tally, now);
                for (kind, codes) in reasons {
                    for (code, count) in codes {
                        if let Some(left) = counted.get_mut(kind).and_then(|of| of.get_mut(code)) {
                            *left -= count;
                        }
                    }
                }
                counted.values_mut().for_each(|codes| codes.retain(|_, count| *count > 0));
                counted.retain(|_, codes| !codes.is_empty());
            }
        }
    }
}

impl Due {
    /// The kind of the entry and what it says.
    fn entry(&self) -> (&'static str, Value) {
        let (kind, mut data, tally) = match self {
            Self::Known { key, about, tally } => (key.0, about.clone(), tally),
            Self::Strangers { reasons, tally } => (STRANGERS, json!({"counts": reasons}), tally),
        };
        data["count"] = tally.count.into();
        data["first"] = json!(tally.first);
        data["last"] = json!(tally.last);
        (kind, data)
    }
}

impl Storage {
    /// Counts a refusal of somebody who is known.
    pub fn note_refusal(&self, refusal: Refusal) {
        self.inner.refusals.lock().note(refusal);
    }

    /// Counts a refusal of somebody of whom nothing is known.
    pub fn note_stranger(&self, kind: &'static str, code: &'static str, now: Timestamp) {
        self.inner.refusals.lock().note_stranger(kind, code, now);
    }

    /// Writes what was counted, each reason of each party at most once in `pause`
    /// ([`REFUSAL_PAUSE`]; nothing at all for all that there is). Writes nothing if there is nothing.
    pub async fn write_refusals(&self, pause: SignedDuration, now: Timestamp) -> Result<()> {
        let due = self.inner.refusals.lock().due(pause, now);
        if due.is_empty() {
            return Ok(());
        }
        let mut writer = self.begin().await?;
        for entry in &due {
            let (kind, data) = entry.entry();
            writer.record(kind, data, now).await?;
        }
        writer.commit().await?;
        let mut counts = self.inner.refusals.lock();
        due.into_iter().for_each(|written| counts.settle(written, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn refusal(who: u64, seconds: i64) -> Refusal {
        Refusal {
            kind: "token.refused",
            code: "token_expired",
            about: json!({"requester": who}),
            at: at(seconds),
        }
    }

    fn write(counts: &mut Counts, seconds: i64) -> Vec<(&'static str, Value)> {
        let due = counts.due(REFUSAL_PAUSE, at(seconds));
        let entries = due.iter().map(Due::entry).collect();
        due.into_iter().for_each(|written| counts.settle(written, at(seconds)));
        entries
    }

    #[test]
    fn one_reason_of_one_party_is_written_at_once_and_then_once_a_minute() {
        let mut counts = Counts::default();
        assert!(write(&mut counts, 0).is_empty());
        counts.note(refusal(1, 1));
        let entries = write(&mut counts, 1);
        assert_eq!(entries[0].1["count"], 1);
        for second in 2..61 {
            counts.note(refusal(1, second));
            assert!(write(&mut counts, second).is_empty(), "{second}");
        }
        counts.note(refusal(2, 60));
        let entries = write(&mut counts, 61);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].1["count"], 59);
        assert_eq!(entries[0].1["first"], json!(at(2)));
        assert_eq!(entries[0].1["last"], json!(at(60)));
        assert!(write(&mut counts, 200).is_empty());
        assert!(counts.known.is_empty(), "what is silent is forgotten");
    }

    #[test]
    fn strangers_and_too_many_parties_are_one_entry() {
        let mut counts = Counts::default();
        for who in 0..1000 {
            counts.note(refusal(who, 5));
            counts.note_stranger("sign_in.refused", "stale_sign_in", at(5));
        }
        let entries = write(&mut counts, 6);
        assert_eq!(entries.len(), MOST_TOLD_APART + 1);
        let (kind, data) = entries.last().unwrap();
        assert_eq!(*kind, STRANGERS);
        assert_eq!(data["counts"]["sign_in.refused"]["stale_sign_in"], 1000);
        assert_eq!(data["counts"]["token.refused"]["token_expired"], 1000 - MOST_TOLD_APART);
        // What came while they were written is told the next time, and nothing twice.
        counts.note_stranger("sign_in.refused", "stale_sign_in", at(7));
        assert!(write(&mut counts, 8).is_empty());
        let entries = write(&mut counts, 66);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1["count"], 1);
        assert_eq!(entries[0].1["counts"], json!({"sign_in.refused": {"stale_sign_in": 1}}));
    }
}
