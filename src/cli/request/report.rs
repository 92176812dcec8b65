//! What a command leaves behind: one line on standard output, and its exit code.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::outcome::Outcome;
use crate::client::{Approval, Failure};
use crate::domain::text::one_line;

/// How a command ended, with everything that is known then.
#[derive(Debug)]
pub struct Ended {
    /// The exit code's meaning.
    pub outcome: Outcome,
    /// The approval, as far as it is known.
    pub approval: Option<Box<Approval>>,
    /// What went wrong: a stable code and a sentence.
    pub error: Option<(String, String)>,
    /// Where the evidence was written.
    pub evidence: Option<PathBuf>,
}

impl Ended {
    /// An approval was seen to end, or stays.
    pub fn with(approval: Approval, outcome: Outcome) -> Self {
        Self { outcome, approval: Some(Box::new(approval)), error: None, evidence: None }
    }

    /// It went wrong before an approval was known.
    pub fn without_approval(outcome: Outcome, code: &str, why: impl Into<String>) -> Self {
        let error = Some((code.to_owned(), why.into()));
        Self { outcome, approval: None, error, evidence: None }
    }

    /// A call failed.
    pub fn failed(failure: &Failure, approval: Option<Approval>) -> Self {
        let error = Some((failure.code().to_owned(), failure.to_string()));
        Self {
            outcome: Outcome::of_failure(failure),
            approval: approval.map(Box::new),
            error,
            evidence: None,
        }
    }

    /// Speaks: for programs one JSON object, otherwise the approval's id alone, so that a shell can take
    /// it. What people read goes to standard error.
    #[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
    pub fn speak(&self, json: bool) -> ExitCode {
        if let Some((_, sentence)) = &self.error {
            eprintln!("countersign: {}", one_line(sentence));
        }
        let line = match &self.approval {
            _ if json => Some(self.json().to_string()),
            Some(approval) => Some(approval.id.to_string()),
            None => None,
        };
        if let Some(line) = line {
            // A reader that went away does not change how it ended.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        self.outcome.into()
    }

    fn json(&self) -> Value {
        let (exit_code, outcome, _) = self.outcome.row();
        json!({
            "exit_code": exit_code,
            "outcome": outcome,
            "approval": self.approval.as_ref().map(|approval| &approval.whole),
            "evidence": self.evidence,
            "error": self.error.as_ref().map(|(code, sentence)| json!({"code": code, "sentence": sentence})),
        })
    }
}
