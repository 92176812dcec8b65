//! `countersign policy check`: what an author of rules should know before they count.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use super::{CheckArguments, NO, answer};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, load_rules};
use crate::domain::person::Person;
use crate::domain::policy::{KeyOwner, Policy, PolicyFinding};
use crate::gate::keys::facts_now;
use crate::proof::token::unverified_claims;
use crate::storage::{CredentialStatus, Storage};

/// The keys are looked at beside the rules; nobody waits long for a database that is not needed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the rules, and who has a key where the gate's database can be read from here.
pub(super) async fn run(arguments: &CheckArguments) -> Result<ExitCode, String> {
    let rules = match load_rules(&arguments.config) {
        Ok(rules) => rules.environments,
        Err(ConfigError::Problems { problems, .. }) if arguments.json => {
            let problems = problems.iter();
            let problems: Vec<_> =
                problems.map(|one| json!({"key": one.key, "sentence": one.text})).collect();
            let text = json!({"problems": problems, "warnings": [], "keys": null}).to_string();
            return Ok(answer(false, &text));
        }
        Err(error @ ConfigError::Problems { .. }) => {
            crate::cli::failed(&error.to_string());
            return Ok(ExitCode::from(NO));
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut findings: Vec<PolicyFinding> = rules.values().flat_map(Policy::findings).collect();
    let now = Clock::system().now();
    findings.extend(rules.values().flat_map(|policy| policy.never_open(now)));
    let looked = match tokio::time::timeout(PATIENCE, known_signers(&arguments.config)).await {
        Ok(Ok(known)) => {
            for policy in rules.values() {
                let (signers, refused) = policy.with_keys(&known, now);
                findings.extend(refused);
                findings.extend(policy.without_keys(&signers));
            }
            Ok(known.len())
        }
        Ok(Err(why)) => Err(why),
        Err(_) => Err("the database does not answer".to_owned()),
    };
    Ok(answer(
        true,
        &if arguments.json {
            json!({"problems": [], "warnings": findings, "keys": looked.ok()}).to_string()
        } else {
            in_words(&rules, &findings, looked)
        },
    ))
}

fn in_words(
    rules: &BTreeMap<String, Policy>,
    findings: &[PolicyFinding],
    looked: Result<usize, String>,
) -> String {
    let mut text = String::new();
    for PolicyFinding { environment, code, sentence } in findings {
        text.push_str(&format!("warning: environment {environment}: {sentence} ({code})\n"));
    }
    let environments: Vec<&str> = rules.keys().map(String::as_str).collect();
    text.push_str(&format!("The rules of {} can be used.\n", environments.join(", ")));
    text.push_str(&match looked {
        Ok(1) => "1 person has a key that may sign.\n".to_owned(),
        Ok(people) => format!("{people} people have a key that may sign.\n"),
        Err(why) => format!("Who has a key was not looked at: {why}.\n"),
    });
    text
}

/// Everybody who has a key, with the groups of the sign-in that vouched for the newest.
async fn known_signers(path: &Path) -> Result<Vec<KeyOwner>, String> {
    let config = Config::load_from_process(path).map_err(|_| {
        "the configuration is not complete here (countersign config check says why)".to_owned()
    })?;
    let storage = Storage::open_beside(config.database.expose_secret(), config.log_key.clone())
        .await
        .map_err(|error| format!("the database cannot be read ({error})"))?;
    let credentials = storage.credentials().await;
    storage.close().await;
    let credentials = credentials.map_err(|error| format!("the keys cannot be read ({error})"))?;
    let trust = config.trust();
    let mut known: BTreeMap<Person, KeyOwner> = BTreeMap::new();
    // The newest comes last and stays.
    for credential in credentials.into_iter().filter(|one| one.status == CredentialStatus::Active) {
        let claims = unverified_claims(&credential.id_token).unwrap_or_default();
        let groups = claims[&config.login.groups_claim].as_array().cloned().unwrap_or_default();
        let groups = groups.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect();
        let person = credential.person.clone();
        let owner = known.entry(person.clone()).or_insert_with(|| KeyOwner {
            person,
            groups: Vec::new(),
            keys: Vec::new(),
        });
        owner.groups = groups;
        owner.keys.push(facts_now(&credential, &trust));
    }
    Ok(known.into_values().collect())
}
