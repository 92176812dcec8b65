//! The calls of a rollout, as the ledger tells them.

use jiff::Timestamp;

use crate::domain::approval::State;
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
