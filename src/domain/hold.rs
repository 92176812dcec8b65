//! Whether something approved may begin or go on now, or is held by a freeze or by the windows of its rules.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::{Approval, State};
use crate::domain::digest::Digest;
use crate::domain::freeze::{FREEZE_BEGUN, FreezeChange, FreezeScope, RecordedFreeze};
use crate::domain::ledger::{CALL_ANNOUNCED, GRANT_CONSUMED, ROLLOUT_BEGUN, RUN_LET_ON, Record};
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::domain::rollout::Call;
use crate::domain::subject::Requester;
use crate::domain::time;
use crate::domain::window::Closure;

/// A freeze that somebody signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// What is frozen.
    pub scope: FreezeScope,
    /// Why, in the words of whoever signed it.
    pub reason: String,
    /// Who signed it.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// Since when.
    #[serde(deserialize_with = "time::deserialize")]
    pub since: Timestamp,
    /// When it ends by itself, if it does.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time::deserialize_some"
    )]
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it still holds.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The freezes that nobody has lifted, by their ids ([`crate::domain::freeze::FrozenFreeze::id`]).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Freezes(BTreeMap<Digest, Freeze>);

impl Freezes {
    /// None at all.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in one entry of the log. Whoever hands over one that lifts a freeze has verified it:
    /// [`crate::proof::verify::verify_act`].
    ///
    /// An entry that says that a freeze begins counts however its signature stands, and one that cannot be
    /// read freezes everything: too much is held then, and never too little.
    pub fn pass(&mut self, record: &Record) {
        self.0.retain(|_, freeze| freeze.is_in_force(record.at));
        let read = RecordedFreeze::of_record(record);
        match read.map(|(recorded, statement)| (statement.id(), recorded, statement)) {
            Some((id, recorded, statement)) => match &statement.predicate().change {
                FreezeChange::Begin { scope, reason, until } => {
                    let freeze = Freeze {
                        scope: scope.clone(),
                        reason: reason.clone(),
                        by: recorded.by,
                        by_name: recorded.by_name,
                        since: record.at,
                        until: *until,
                    };
                    self.0.insert(id, freeze);
                }
                FreezeChange::Lift { freeze, .. } => {
                    self.0.remove(freeze);
                }
            },
            None if record.kind == FREEZE_BEGUN => {
                let id = Digest::of(record.data.to_string());
                self.0.insert(id, unreadable(record.at));
            }
            None => {}
        }
    }

    /// Takes in those of another gate or of a lost part of the log, beside those that are there.
    pub fn keep(&mut self, others: &Self) {
        for (id, freeze) in &others.0 {
            self.0.entry(*id).or_insert_with(|| freeze.clone());
        }
    }

    /// The one of this id.
    pub fn get(&self, id: &Digest) -> Option<&Freeze> {
        self.0.get(id)
    }

    /// Those that hold now.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = (&Digest, &Freeze)> {
        self.0.iter().filter(move |(_, freeze)| freeze.is_in_force(now))
    }

    /// One that holds what this requester asked for in this environment; the one that lasts longest.
    pub fn holding(
        &self,
        environment: &str,
        requester: &Requester,
        now: Timestamp,
    ) -> Option<&Freeze> {
        self.longest(now, |scope| scope.covers(environment, requester))
    }

    /// One that holds whatever anybody asked for in this environment; the one that lasts longest.
    pub fn holding_everybody(&self, environment: &str, now: Timestamp) -> Option<&Freeze> {
        self.longest(now, |scope| scope.covers_everybody(environment))
    }

    fn longest(&self, now: Timestamp, covers: impl Fn(&FreezeScope) -> bool) -> Option<&Freeze> {
        self.in_force(now)
            .map(|(_, freeze)| freeze)
            .filter(|freeze| covers(&freeze.scope))
            .max_by_key(|freeze| freeze.until.unwrap_or(Timestamp::MAX))
    }
}

fn unreadable(since: Timestamp) -> Freeze {
    Freeze {
        scope: FreezeScope::everything(),
        reason: "An entry of the ledger begins a freeze that this version of the gate cannot read."
            .to_owned(),
        by: Person { issuer: String::new(), subject: String::new() },
        by_name: "The gate".to_owned(),
        since,
        until: None,
    }
}

/// Why something approved does not begin now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Somebody froze it.
    Frozen(Box<Freeze>),
    /// The rules let nothing begin now.
    Closed(Box<Closed>),
}

/// An environment whose windows are closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Which one.
    pub environment: String,
    /// Why, and when it opens.
    pub closure: Closure,
    /// When that was asked.
    pub now: Timestamp,
}

impl Hold {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Frozen(_) => "frozen",
            Self::Closed(_) => "closed",
        }
    }

    /// When it ends by itself, as far as is known now.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Frozen(freeze) => freeze.until,
            Self::Closed(closed) => closed.closure.opens.as_ref().map(|opening| opening.at),
        }
    }

    /// Why, and what ends it. It holds words that people wrote.
    pub fn sentence(&self) -> String {
        match self {
            Self::Frozen(freeze) => {
                let Freeze { scope, reason, by_name, since, until, .. } = &**freeze;
                let since = since.strftime("%-d %B %Y, %H:%M UTC");
                let end = until.map_or_else(
                    || "until an operator or an approver signs that it is lifted".to_owned(),
                    |until| {
                        let until = until.strftime("%-d %B %Y, %H:%M UTC");
                        format!("until {until}, or until an operator or an approver signs that it is lifted")
                    },
                );
                let (what, reason) = (scope.in_words(), reason.trim());
                format!("{by_name} froze {what} on {since}: “{reason}” It stays frozen {end}.")
            }
            Self::Closed(closed) => closed.closure.sentence(&closed.environment, closed.now),
        }
    }
}

/// What holds an approved act that has not begun, or the next step of a rollout that has. None: it may go on, as
/// whatever people broke the glass for.
pub fn hold_of(approval: &Approval, freezes: &Freezes, now: Timestamp) -> Option<Hold> {
    if approval.is_glass_broken() {
        return None;
    }
    let asked = &approval.subject;
    if asked.rule_change().is_some() {
        // Nothing runs because of it, and it is often what ends whatever was frozen for.
        return None;
    }
    let freeze = freezes.holding(&asked.environment, &asked.requester, now);
    hold_by(freeze, &approval.policy, now)
}

/// What holds whatever these rules are for, under this freeze if there is one.
pub fn hold_by(freeze: Option<&Freeze>, policy: &Policy, now: Timestamp) -> Option<Hold> {
    if let Some(freeze) = freeze {
        return Some(Hold::Frozen(Box::new(freeze.clone())));
    }
    let closure = policy.windows.closure(now)?;
    let environment = policy.environment.clone();
    Some(Hold::Closed(Box::new(Closed { environment, closure, now })))
}

/// Whether an entry says that something approved begins, or that a rollout takes a step: what is held. The way
/// back is not.
pub fn goes_forward(record: &Record) -> bool {
    match &*record.kind {
        ROLLOUT_BEGUN | RUN_LET_ON | GRANT_CONSUMED => true,
        CALL_ANNOUNCED => {
            let state = record.approval.as_ref().map(|approval| &approval.state);
            let Some(State::Executing { progress, .. }) = state else { return true };
            let call = progress.intent.as_ref().map(|intent| intent.call);
            call != Some(Call::Restore {})
        }
        _ => false,
    }
}

/// What holds an approval where it stands now: before its rollout begins, or between two steps of it.
pub fn hold_now(approval: &Approval, freezes: &Freezes, now: Timestamp) -> Option<Hold> {
    match &approval.state {
        State::Pending {} => hold_of(approval, freezes, now),
        State::Approved { .. } if now < approval.runs_out_at() => hold_of(approval, freezes, now),
        // What a job does, nothing holds once it runs.
        State::Executing { progress, .. }
            if progress.restoring.is_none() && progress.execution.is_none() =>
        {
            hold_of(approval, freezes, now)
        }
        _ => None,
    }
}
