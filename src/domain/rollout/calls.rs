//! The calls of a rollout, as the ledger tells them.

use jiff::Timestamp;

use crate::domain::approval::State;
use crate::domain::check::CheckResult;
use crate::domain::ledger::{CALL_ANNOUNCED, CALL_ANSWERED, Record};
use crate::domain::rollout::{Answer, Call, Intent};

/// A call to Cloud Run that was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedCall {
    /// Which call.
    pub call: Call,
    /// The etag that made it conditional; none for a creation.
    pub etag: Option<String>,
    /// When it was announced.
    pub announced_at: Timestamp,
    /// What came back. `None`: nothing was recorded, so whether it was made at all is not known.
    pub answer: Option<Answer>,
}

/// Every call that the records of one approval announce, in their order, with what came back.
pub fn recorded_calls<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<RecordedCall> {
    let mut calls: Vec<RecordedCall> = Vec::new();
    for record in records {
        if !matches!(record.kind.as_str(), CALL_ANNOUNCED | CALL_ANSWERED) {
            continue;
        }
        let state = record.approval.as_ref().map(|approval| &approval.state);
        let Some(State::Executing { progress, .. }) = state else { continue };
        let Some(Intent { call, etag, at, answer }) = progress.intent.clone() else { continue };
        let recorded = RecordedCall { call, etag, announced_at: at, answer };
        match (calls.last_mut(), &recorded.answer) {
            (Some(last), Some(_)) => *last = recorded,
            _ => calls.push(recorded),
        }
    }
    calls
}

/// What the checks of one approval's steps found, as its records tell it last. Where people had checks
/// asked again, what they found before stands in earlier records.
pub fn recorded_checks<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<CheckResult> {
    let told = records.into_iter().filter_map(|record| {
        match record.approval.as_ref().map(|approval| &approval.state) {
            Some(State::Executing { progress, .. } | State::NeedsAttention { progress, .. }) => {
                Some(&progress.checks)
            }
            _ => None,
        }
    });
    told.filter(|checks| !checks.is_empty()).last().cloned().unwrap_or_default()
}
