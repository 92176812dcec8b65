//! How `countersign exec` ends: its exit codes, and what it says and writes down when it does not run the command.
//!
//! The command takes the place of this process, so that what ends it is its own exit code or signal, all 256 of
//! them. What this process itself ends with follows `env`, `nohup`, `timeout` and `docker run`: 125 when the
//! command was not run, 126 and 127 as a shell has them. One code for every reason, since each further one would
//! be one more that a command may have itself; which reason it was is in the report, by the words of
//! [`Outcome`] and those of [`Reason`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::request::outcome::Outcome;
use crate::cli::request::report::Ended;
use crate::client::{Approval, Failure};
use crate::domain::text::one_line;

/// The command was not run.
pub const NOT_RUN: u8 = 125;
/// It cannot be started.
pub const NOT_STARTED: u8 = 126;
/// There is no such program. Nothing was asked.
pub const NOT_FOUND: u8 = 127;

/// The exit codes, for `--help` and the README. Scripts rely on the numbers.
pub const EXIT_CODES: [(&str, &str); 4] = [
    ("the command's", "it was approved and ran; a signal that ended it ended this process"),
    ("125", "it was not run; the report says why"),
    (
        "126",
        "it cannot be started: the program may not be executed, or the system does not know its form",
    ),
    ("127", "there is no such program here; nothing was asked"),
];

/// Why a command is not run, beside the outcomes of `request` and `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As the request ended.
    Ended(Outcome),
    /// The approval was used up before, by an earlier run of this command or somebody else.
    Used,
    /// The evidence does not prove that people signed this command.
    NotProved,
    /// The command is not as it was when it was asked for.
    Changed,
    /// The system does not start it, or would not.
    NotStarted,
    /// There is no such program.
    NotFound,
}

impl Reason {
    /// The reasons that this command alone has.
    pub const OWN: [Self; 5] =
        [Self::Used, Self::NotProved, Self::Changed, Self::NotStarted, Self::NotFound];

    /// The word of the report, and what it means.
    pub const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Ended(outcome) => {
                let (_, word, meaning) = outcome.row();
                (word, meaning)
            }
            Self::Used => ("used", "the approval was used up before; a command runs once at most"),
            Self::NotProved => {
                ("not_proved", "the evidence does not hold, or is not about this very command")
            }
            Self::Changed => {
                ("changed", "the program or a file is not as it was when it was asked for")
            }
            Self::NotStarted => (
                "not_started",
                "the program may not be executed, or the system does not know its form",
            ),
            Self::NotFound => ("not_found", "there is no such program here; nothing was asked"),
        }
    }

    /// The exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NotStarted => NOT_STARTED,
            Self::NotFound => NOT_FOUND,
            Self::Ended(_) | Self::Used | Self::NotProved | Self::Changed => NOT_RUN,
        }
    }
}

/// The table, for `--help`.
pub fn exit_codes() -> String {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("  {code:<13}  {meaning}\n"));
    let words = Reason::OWN.map(|reason| {
        let (word, meaning) = reason.row();
        format!("  {word:<13}  {meaning}\n")
    });
    format!(
        "Exit codes:\n{}\nThe outcome in the report, beside those of `countersign request --help`:\n{}",
        codes.concat(),
        words.concat()
    )
}

/// A command that is not run, with everything that is known then.
#[derive(Debug)]
pub struct NotRun {
    /// Why.
    pub reason: Reason,
    /// The approval, as far as it is known.
    pub approval: Option<Box<Approval>>,
    /// What went wrong: a stable code and a sentence.
    pub error: Option<(String, String)>,
    /// Where the evidence was written.
    pub evidence: Option<PathBuf>,
}

impl NotRun {
    /// With a stable code and a sentence.
    pub fn because(reason: Reason, code: &str, why: impl Into<String>) -> Self {
        let error = Some((code.to_owned(), why.into()));
        Self { reason, approval: None, error, evidence: None }
    }

    /// The options or files of the command line cannot be used.
    pub fn usage(why: impl Into<String>) -> Self {
        Self::because(Reason::Ended(Outcome::Usage), "usage", why)
    }

    /// A call failed.
    pub fn failed(failure: &Failure) -> Self {
        Ended::failed(failure, None).into()
    }

    /// The same, of this approval.
    pub fn of(self, approval: &Approval) -> Self {
        Self { approval: Some(Box::new(approval.clone())), ..self }
    }

    /// Says why on standard error, since standard output is the command's, and writes the report.
    #[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
    pub fn speak(&self, report: Option<&Path>) -> ExitCode {
        let (word, meaning) = self.reason.row();
        let why = self.error.as_ref().map_or(meaning, |(_, sentence)| sentence);
        eprintln!("countersign: the command was not run ({word}): {}", one_line(why));
        if let Some(path) = report {
            let code = json!(self.reason.exit_code());
            let text = report_text(&code, word, self);
            if let Err(error) = std::fs::write(path, text) {
                eprintln!(
                    "countersign: the report cannot be written to {}: {error}",
                    path.display()
                );
            }
        }
        ExitCode::from(self.reason.exit_code())
    }
}

impl From<Ended> for NotRun {
    fn from(ended: Ended) -> Self {
        let Ended { outcome, approval, error, evidence } = ended;
        Self { reason: Reason::Ended(outcome), approval, error, evidence }
    }
}

fn report_text(exit_code: &Value, outcome: &str, known: &NotRun) -> String {
    let error = known.error.as_ref();
    let mut approval = known.approval.as_ref().map(|approval| approval.whole.clone());
    // A file that is kept with a job's logs is no place for what may still be used.
    if let Some(Value::Object(members)) = &mut approval {
        members.remove("grant");
    }
    let report = json!({
        "exit_code": exit_code,
        "outcome": outcome,
        "approval": approval,
        "evidence": known.evidence,
        "error": error.map(|(code, sentence)| json!({"code": code, "sentence": sentence})),
    });
    format!("{report}\n")
}

/// Writes down, right before it, that a command is started. Its exit code is not known then.
///
/// # Errors
/// If it cannot be written: whoever asked for it relies on it.
pub fn report_start(path: &Path, approval: &Approval, evidence: &Path) -> std::io::Result<()> {
    let (_, word, _) = Outcome::Done.row();
    let known = NotRun {
        reason: Reason::Ended(Outcome::Done),
        approval: Some(Box::new(approval.clone())),
        error: None,
        evidence: Some(evidence.to_owned()),
    };
    let mut file = std::fs::File::create(path)?;
    file.write_all(report_text(&Value::Null, word, &known).as_bytes())
}
