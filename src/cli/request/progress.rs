//! What people see while a command waits: one line that moves on a terminal, plain lines in a log.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Approval, News};
use crate::domain::text::one_line;

/// How often a log hears of a wait in which nothing happens, so that nobody takes it for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5 * 60);
/// How much of a sentence fits beside the time on a line of 80 columns.
const COLUMNS: usize = 66;

/// Standard error, and what was last said on it.
pub struct Progress {
    is_terminal: bool,
    begun: Instant,
    said: Mutex<Said>,
}

struct Said {
    approval: Option<Approval>,
    /// What is going on now.
    line: String,
    at: Instant,
    has_line: bool,
}

impl Progress {
    /// Nothing was said yet.
    pub fn begin() -> Self {
        let begun = Instant::now();
        let said = Said { approval: None, line: "asking".to_owned(), at: begun, has_line: false };
        Self { is_terminal: std::io::stderr().is_terminal(), begun, said: Mutex::new(said) }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        self.say_as(text, &mut self.said());
    }

    /// Tells news.
    pub fn tell(&self, news: News<'_>) {
        let mut said = self.said();
        match news {
            News::Changed(approval) => {
                said.approval = Some(approval.clone());
                // Versions count what the gate does, sentences what a person has to know.
                if said.line != approval.sentence {
                    said.line.clone_from(&approval.sentence);
                    self.say_as(&approval.sentence, &mut said);
                }
            }
            News::AskingAgain(failure) => {
                let line = format!("No answer yet, asking again: {failure}");
                // The same outage is told once.
                if said.line != line {
                    said.line.clone_from(&line);
                    self.say_as(&line, &mut said);
                }
            }
            News::AnswersAgain => {
                let line = said.approval.as_ref().map(|approval| approval.sentence.clone());
                said.line = line.unwrap_or_default();
                self.say_as("The gate answers again.", &mut said);
            }
        }
    }

    /// The approval as it was last seen.
    pub fn latest(&self) -> Option<Approval> {
        self.said().approval.clone()
    }

    /// Shows signs of life until a future is through.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    self.clear(&mut self.said());
                    return done;
                }
                _ = seconds.tick() => self.tick(),
            }
        }
    }

    fn tick(&self) {
        let mut said = self.said();
        let waited = self.begun.elapsed().as_secs();
        if self.is_terminal {
            let shown: String = one_line(&said.line).chars().take(COLUMNS).collect();
            let (hours, minutes, seconds) = (waited / 3600, waited / 60 % 60, waited % 60);
            self.clear(&mut said);
            write_error(&format!("{hours:02}:{minutes:02}:{seconds:02}  {shown}"));
            said.has_line = true;
        } else if said.at.elapsed() >= SIGN_OF_LIFE {
            let text = format!("After {} minutes: {}", waited / 60, said.line);
            self.say_as(&text, &mut said);
        }
    }

    fn say_as(&self, text: &str, said: &mut Said) {
        self.clear(said);
        said.at = Instant::now();
        write_error(&format!("{}\n", one_line(text)));
    }

    /// Takes the moving line away.
    fn clear(&self, said: &mut Said) {
        if std::mem::take(&mut said.has_line) {
            write_error("\r\x1b[2K");
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A terminal that went away is no reason to stop waiting.
fn write_error(text: &str) {
    let mut output = std::io::stderr().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}
