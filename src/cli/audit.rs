//! `countersign audit verify`: recompute the ledger and say what does not match.

use std::path::Path;
use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::cli::failed;
use crate::config::Config;
use crate::storage::Storage;
use crate::storage::audit::verify_ledger;

/// Checks the ledger of the configured database. Exit code 0: everything matches; 1: something does not.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub async fn verify(config: &Path) -> ExitCode {
    let report = match try_verify(config).await {
        Ok(report) => report,
        Err(why) => return failed(&why),
    };
    println!("{} entries, {} approvals, root {}", report.entries, report.approvals, report.root);
    for finding in &report.findings {
        println!("{}: {}", finding.code, finding.sentence);
    }
    if report.findings.is_empty() {
        println!("Everything matches: tree, signatures, and the state of every approval.");
        ExitCode::SUCCESS
    } else {
        println!(
            "{} findings. Do not act on this database before they are explained.",
            report.findings.len()
        );
        ExitCode::FAILURE
    }
}

async fn try_verify(config: &Path) -> Result<crate::storage::audit::AuditReport, String> {
    let config = Config::load_from_process(config).map_err(|error| error.to_string())?;
    let storage = Storage::open(config.database.expose_secret(), config.log_key.clone())
        .await
        .map_err(|error| format!("the database {}: {error}", config.database_shown()))?;
    let report = verify_ledger(&storage).await.map_err(|error| error.to_string());
    storage.close().await;
    report
}
