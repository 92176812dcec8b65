//! `countersign audit verify --config`: recompute the ledger of a gate and compare every row with it.

use std::path::Path;
use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::cli::audit::{INVALID, load};
use crate::cli::failed;
use crate::config::Config;
use crate::gate::GateError;
use crate::gate::recover::learn_lineage;
use crate::storage::Storage;
use crate::storage::audit::{AuditReport, Finding, verify_ledger};

/// Checks the ledger of the configured database. Exit code 0: everything matches; 1: something does not.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub async fn verify(config: &Path, as_json: bool) -> ExitCode {
    let config = match load(config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let report = match try_verify(&config).await {
        Ok(report) => report,
        Err(why) => return failed(&why),
    };
    if as_json {
        println!("{}", machine(&report));
    } else {
        println!(
            "{} entries, {} approvals, root {}",
            report.entries, report.approvals, report.root
        );
        for finding in &report.findings {
            println!("{}: {}", finding.code, finding.sentence);
        }
        if report.findings.is_empty() {
            println!("Everything matches: tree, signatures, and the state of every approval.");
        } else {
            let count = report.findings.len();
            println!("{count} findings. Do not act on this database before they are explained.");
        }
    }
    if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

fn machine(report: &AuditReport) -> serde_json::Value {
    let findings = report.findings.iter();
    let findings = findings.map(|one| json!({"code": one.code, "sentence": one.sentence}));
    json!({
        "verdict": if report.findings.is_empty() { "holds" } else { "invalid" },
        "entries": report.entries,
        "approvals": report.approvals,
        "root": report.root,
        "findings": findings.collect::<Vec<_>>(),
    })
}

async fn try_verify(config: &Config) -> Result<AuditReport, String> {
    let url = config.database.expose_secret();
    let storage = Storage::open_beside(url, config.log_key.clone())
        .await
        .map_err(|error| format!("the database {}: {error}", config.database_shown()))?;
    let mut report = verify_ledger(&storage).await.map_err(|error| error.to_string())?;
    // Who may recover a log stands in the configuration, which storage does not know.
    match learn_lineage(&storage, &config.trust()).await {
        Ok(_) => {}
        Err(GateError::Recovery(refusal)) => report.findings.push(Finding {
            code: "recovery_invalid",
            sentence: format!("a log.recovered entry does not hold: {refusal}"),
        }),
        // A row that cannot be read is a finding already.
        Err(_) if !report.findings.is_empty() => {}
        Err(other) => return Err(other.to_string()),
    }
    storage.close().await;
    Ok(report)
}
