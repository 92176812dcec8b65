//! `countersign audit verify FOLDER --trust`: whether an export holds, offline, for somebody who believes
//! neither the gate nor its database.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::audit::{INVALID, usage};
use crate::proof::evidence::Trust;
use crate::proof::export::Flaw;
use crate::proof::export::check::{Folder, Report, check};

/// Checks a folder. Exit code 0: everything holds; 1: something does not; 2: the folder or the trust
/// anchors cannot be read.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub(super) fn run(folder: &Path, trust: &Path, as_json: bool) -> ExitCode {
    let trust = std::fs::read(trust)
        .map_err(|error| error.to_string())
        .and_then(|bytes| Trust::read(&bytes).map_err(|error| error.to_string()))
        .map_err(|error| format!("{}: {error}", trust.display()));
    let verdict = trust.and_then(|trust| check_folder(folder, &trust));
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(why) => return usage(&why),
    };
    println!("{}", if as_json { machine(&verdict) } else { in_words(&verdict) });
    if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

/// Checks a folder on disk.
///
/// # Errors
/// If the folder cannot be read; what does not hold is the inner error.
pub fn check_folder(folder: &Path, trust: &Trust) -> Result<Result<Report, Flaw>, String> {
    let mut names = BTreeSet::new();
    collect(folder, "", &mut names)
        .map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    let open = |name: &str| -> std::io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(folder.join(name))?))
    };
    Ok(check(&Folder { names, open: &open }, trust))
}

/// Every file below a folder, also what lies deeper than an export does. A name that is no text, or a
/// link, belongs to no export and is named all the same.
fn collect(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.insert(name);
        }
    }
    Ok(())
}

fn machine(verdict: &Result<Report, Flaw>) -> String {
    let answer = match verdict {
        Ok(report) => json!({
            "verdict": "holds",
            "from": report.query.from,
            "until": report.query.until,
            "first_entry": report.first,
            "end": report.end,
            "approvals": report.approvals,
            "frozen": report.frozen,
            "rows": report.rows,
            "log_size": report.size,
            "root": report.root,
        }),
        Err(flaw) => json!({
            "verdict": "invalid",
            "code": flaw.code.as_str(),
            "file": flaw.file,
            "line": flaw.line,
            "sentence": flaw.to_string(),
        }),
    };
    answer.to_string()
}

/// What went forward although somebody had frozen it.
fn frozen(entries: &[u64]) -> String {
    if entries.is_empty() {
        return "nothing began or went forward under a freeze that began in the period".to_owned();
    }
    let entries: Vec<String> = entries.iter().map(u64::to_string).collect();
    format!(
        "LOOK AT THIS: under a freeze went forward what the entries {} tell",
        entries.join(", ")
    )
}

fn in_words(verdict: &Result<Report, Flaw>) -> String {
    match verdict {
        Ok(report) => format!(
            "Everything holds.\n\
             Period: from {from} to before {until} (UTC).\n\
             Entries: {first} to before {end} of a log of {size} entries, each in its place, signed, and none missing.\n\
             Approvals: {approvals}, each with evidence that verifies and has exactly these entries.\n\
             Freezes: {frozen}.
             Tables: recomputed from the entries and the evidence, line by line.\n\
             Tree head: root {root}. Compare it with a newer one from the gate to see that the log only grew.",
            from = report.query.from,
            until = report.query.until,
            first = report.first,
            end = report.end,
            size = report.size,
            approvals = report.approvals,
            frozen = frozen(&report.frozen),
            root = report.root,
        ),
        Err(flaw) => {
            format!(
                "This does not hold, so the folder proves nothing.\n{}: {flaw}",
                flaw.code.as_str()
            )
        }
    }
}
