//! The calls to Cloud Run that a rollout made, as the ledger tells them.

use crate::domain::approval::Status;
use crate::domain::rollout::{Answer, RecordedCall};

use super::{Inert, Moment, Surroundings};

/// One call.
pub struct CallView {
    /// What it does.
    pub words: String,
    /// When it was announced.
    pub announced: Moment,
    /// The etag that it was conditional on.
    pub etag: Option<Inert>,
    /// What came back; Cloud Run's own words are in it.
    pub answer: Inert,
    /// When that came.
    pub answered: Option<Moment>,
    /// How it looks: `yes`, `no` or `open`.
    pub class: &'static str,
}

/// Every call, in order.
pub fn calls(recorded: &[RecordedCall], status: Status, around: Surroundings<'_>) -> Vec<CallView> {
    let last = recorded.len().saturating_sub(1);
    let view = |(place, call): (usize, &RecordedCall)| {
        let words = call.call.in_words();
        let answer = match &call.answer {
            Some(answer) => answer.in_words(),
            None if place == last && status == Status::Executing => {
                "Cloud Run has not answered yet".to_owned()
            }
            None => "what came back was not recorded: whether this call was made is not known, so \
                     the gate looked before it went on"
                .to_owned(),
        };
        CallView {
            words: sentence_case(&words),
            announced: Moment::new(call.announced_at, around.now),
            etag: call.etag.as_deref().map(Inert::new),
            answer: Inert::new(&sentence_case(&answer)),
            answered: call.answer.as_ref().map(|answer| Moment::new(answer.at(), around.now)),
            class: match &call.answer {
                Some(Answer::Accepted { .. }) => "yes",
                Some(Answer::Refused { .. }) => "no",
                Some(Answer::NotNow { .. } | Answer::Unknown { .. }) | None => "open",
            },
        }
    };
    recorded.iter().enumerate().map(view).collect()
}

fn sentence_case(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
