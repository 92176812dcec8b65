//! What the demo says, and to whom: people read it on standard output, unless programs do.

use std::io::Write;

use serde_json::Value;

/// Where sentences and JSON lines go.
pub struct Narration {
    json: bool,
}

impl Narration {
    /// With `json`, standard output carries JSON lines alone and sentences go to standard error.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// A sentence for people.
    #[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
    pub fn say(&self, sentence: &str) {
        if self.json {
            eprintln!("{sentence}");
        } else {
            self.line(sentence);
        }
    }

    /// A line for programs, flushed at once so that a pipe delivers it.
    pub fn json(&self, value: &Value) {
        if self.json {
            self.line(&value.to_string());
        }
    }

    fn line(&self, text: &str) {
        let mut output = std::io::stdout().lock();
        // A reader that went away is no reason to stop the servers.
        let _ = writeln!(output, "{text}");
        let _ = output.flush();
    }
}
