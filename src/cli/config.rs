//! `countersign config`: whether the gate would start with a configuration, what it says, and what
//! whoever verifies the gate's evidence pins.

mod live;

use std::path::Path;
use std::process::ExitCode;

use crate::cli::failed;
use crate::clock::Clock;
use crate::config::Config;
use crate::integrations::log_head::LogHead;
use crate::integrations::outbound::OutboundHttp;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::log_head::SeenHead;

/// Checks file and environment without network or database, and with `live` also whether Cloud Run would
/// let the gate do its work. Exit code 0: the gate can start with them, and roll out; 1: it cannot, and
/// standard error says why.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
#[expect(clippy::print_stderr, reason = "warnings must not mix with the answer")]
pub async fn check(path: &Path, live: bool) -> ExitCode {
    let config = match Config::load_from_process(path) {
        Ok(config) => config,
        Err(error) => return failed(&error.to_string()),
    };
    print!("{}", config.summary());
    if let Ok(digest) = config.rulebook().and_then(|rules| rules.digest()) {
        println!(
            "\nrules digest {digest}: what /v1/environments says once these rules are in force"
        );
    }
    let overdue = config.metadata.as_ref().and_then(|known| known.overdue(Clock::system().now()));
    for warning in config.warnings.iter().chain(&overdue) {
        eprintln!("countersign: warning: {warning}");
    }
    if !live {
        return ExitCode::SUCCESS;
    }
    let report = live::ask(&config).await;
    print!("{}", report.text);
    match report.problems {
        0 => ExitCode::SUCCESS,
        1 => failed("Cloud Run would not let the gate roll out: see the line above marked with !"),
        count => failed(&format!(
            "Cloud Run would not let the gate roll out: see the {count} lines above marked with !"
        )),
    }
}

/// Prints the trust anchors that follow from a configuration, for auditors to keep. What the log is called
/// today, if it was recovered, says the head that is kept outside the database.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub async fn trust(path: &Path) -> ExitCode {
    let config = match Config::load_from_process(path) {
        Ok(config) => config,
        Err(error) => return failed(&error.to_string()),
    };
    let trust = match current_trust(&config).await {
        Ok(trust) => trust,
        Err(why) => return failed(&why),
    };
    match serde_json::to_string_pretty(&trust) {
        Ok(text) => println!("{text}"),
        Err(error) => return failed(&format!("the trust anchors have no JSON form: {error}")),
    }
    ExitCode::SUCCESS
}

async fn current_trust(config: &Config) -> Result<Trust, String> {
    let trust = config.trust();
    let log = TrustedLog::parse(&trust.log).ok_or("the log has no verifier key")?;
    let http = OutboundHttp::new().map_err(|error| error.to_string())?;
    let place = LogHead::new(config.log_head.clone(), &http);
    let kept = place.read().await.map_err(|error| error.to_string())?;
    let seen = kept.map(|text| SeenHead::parse(&text, &log)).transpose();
    let seen = seen.map_err(|error| error.to_string())?;
    Ok(trust.after(seen.map_or(0, |seen| seen.lineage.recoveries)))
}
