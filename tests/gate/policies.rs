//! `countersign policy`, as somebody runs it who changes the rules.

mod windows;

use std::collections::BTreeMap;
use std::process::Output;

use countersign::domain::policy::{Effect, Policy, policy_changes};
use countersign::domain::separation::SeparationRules;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sample_approval;
use crate::support::gate::{Engine, Gate, on_both_engines};
use crate::support::process::countersign;

on_both_engines!(the_past_is_played_again, who_has_no_key_is_said);

const RULES: &str = r#"
[[workload_issuer]]
name = "github"
kind = "github"
issuer = "https://token.actions.githubusercontent.com"
algorithm = "RS256"

[environment.production]
services = ["projects/p/locations/r/services/web"]
images = ["registry.example.com/app/web"]
requesters = [{ issuer = "github", claims = { repository_id = "1001", ref = "refs/heads/main" } }]
rules = [{ from = ["group:release-managers"], count = 2 }, { from = ["group:security", "person:u-dan"], count = 1 }]
expires_in = "8h"
"#;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("old.toml", RULES);
        files.write("request.json", &request("registry.example.com/app/web").to_string());
        files.write(
            "claims.json",
            &json!({"repository_id": "1001", "ref": "refs/heads/main"}).to_string(),
        );
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Runs `countersign policy` in the folder.
    fn policy(&self, words: &[&str]) -> Output {
        countersign().current_dir(self.0.path()).arg("policy").args(words).output().unwrap()
    }

    /// Explains the request for a person, with more words.
    fn explain(&self, person: &str, more: &[&str]) -> (Option<i32>, String) {
        let words = ["explain", "--config", "old.toml", "--environment", "production", "--request"];
        let words = [&words[..], &["request.json", "--as", person], more].concat();
        said(&self.policy(&words))
    }

    /// Compares the rules with those in which `part` is another text.
    fn diff(&self, part: &str, replacement: &str) -> (Option<i32>, String) {
        assert!(RULES.contains(part), "{part}");
        self.write("new.toml", &RULES.replace(part, replacement));
        said(&self.policy(&["diff", "old.toml", "new.toml"]))
    }
}

fn request(repository: &str) -> Value {
    json!({
        "environment": "production",
        "subject": {
            "kind": "deployment",
            "service": "projects/p/locations/r/services/web",
            "image": format!("{repository}@sha256:{}", "ab".repeat(32)),
        },
        "reason": "Fixes the checkout",
    })
}

/// The exit code, and what it said on both streams.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn differences_say_whose_rights_change() {
    let files = Files::new();
    let same = files.diff("expires_in = \"8h\"", "expires_in = \"8h\"");
    assert_eq!(same, (Some(0), "The rules are the same.\n".to_owned()));
    let cases = [
        (
            "count = 2",
            "count = 1",
            "wider     1 of release-managers must sign; before, 2 of release-managers",
        ),
        (
            "count = 1 }]",
            "count = 2 }]",
            "narrower  2 of security or u-dan must sign; before, 1 of security or u-dan",
        ),
        (", \"person:u-dan\"", "", "narrower  the person u-dan may no longer sign"),
        (
            "\"group:security\"",
            "\"group:security\", \"group:interns\"",
            "wider     interns may sign now",
        ),
        (
            ", { from = [\"group:security\", \"person:u-dan\"], count = 1 }",
            "",
            "wider     no longer needed: 1 of security or u-dan",
        ),
        (
            "ref = \"refs/heads/main\"",
            "ref = \"refs/heads/*\"",
            "wider     workloads of github with ref refs/heads/*, repository_id 1001 may ask now",
        ),
        (
            "services = [",
            "services = [\"projects/p/locations/r/services/api\", ",
            "wider     the service projects/p/locations/r/services/api is covered now",
        ),
        (
            "app/web\"]",
            "app/web2\"]",
            "narrower  images of registry.example.com/app/web may no longer be deployed",
        ),
        ("\"8h\"", "\"9h\"", "wider     seconds that a request stays open: 32400; before, 28800"),
        (
            "expires_in = \"8h\"",
            "expires_in = \"8h\"\nnewer_request = \"queue\"\nsteps = [10, 100]",
            "different the steps of a request that names none are [10, 100]; before, [100]",
        ),
        (
            "expires_in = \"8h\"",
            "expires_in = \"8h\"\nkeys = { kind = \"device_bound\" }",
            "narrower  only device-bound keys sign; before, keys of both kinds sign",
        ),
        (
            "expires_in = \"8h\"",
            "expires_in = \"8h\"\nkeys = { attestation = \"any\" }",
            "narrower  keys need a certificate of their authenticator; before, keys need nobody who vouches for their authenticator",
        ),
        (
            "expires_in = \"8h\"",
            "expires_in = \"8h\"\nkeys = { minimum_keys = 1 }",
            "wider     keys that whoever signs must have: 1; before, 2",
        ),
        ("[environment.production]", "[environment.staging]", "narrower  is gone"),
        (
            "expires_in = \"8h\"",
            "expires_in = \"8h\"\nrequire_pinned_trust = true",
            "narrower  nothing is done without pinned anchors now",
        ),
        (
            "[environment.production]",
            "[enrolment]\nendorsements = 1\n\n[environment.production]",
            "narrower  endorsements that a new key needs: 1; before, 0",
        ),
    ];
    for (part, replacement, says) in cases {
        let (code, text) = files.diff(part, replacement);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(says), "{says}\n{text}");
    }
    let output = files.policy(&["diff", "old.toml", "new.toml", "--json"]);
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(changes["changes"][0]["effect"], "narrower");
    assert_eq!(changes["changes"][0]["environment"], "production");
    let (code, text) = said(&files.policy(&["diff", "old.toml", "nowhere.toml"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("nowhere.toml cannot be read"), "{text}");
    let (code, text) = files.diff("count = 2", "count = 17");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("1 to 16"), "{text}");
}

#[test]
fn a_request_and_a_signature_are_explained() {
    let files = Files::new();
    let asks = ["--issuer", "github", "--claims", "claims.json"];
    let (code, text) =
        files.explain("u-alice", &[&asks[..], &["--group", "release-managers"]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        text,
        "The request would be accepted.\n\
         The workload may ask as github with ref refs/heads/main, repository_id 1001.\n\
         u-alice may sign for rule 1 (2 of release-managers), as a member of release-managers.\n\
         After it, 1 of release-managers and 1 of security or u-dan still have to sign.\n"
    );
    let (code, text) = files.explain("u-dan", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("rule 2 (1 of security or u-dan), by name"), "{text}");
    assert!(text.contains("Who asks was not looked at"), "{text}");
    let (code, text) = files.explain("u-eve", &["--group", "interns"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("u-eve may sign for none of the rules"), "{text}");
    // Another branch may not ask, whoever would sign.
    files
        .write("claims.json", &json!({"repository_id": "1001", "ref": "refs/heads/x"}).to_string());
    let (code, text) = files.explain("u-dan", &asks);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("(requester_not_allowed)"), "{text}");
    files.write("request.json", &request("registry.example.com/app/other").to_string());
    let (code, text) = files.explain("u-dan", &["--json"]);
    assert_eq!(code, Some(1), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["allowed"], false);
    assert_eq!(answer["request"]["code"], "image_not_allowed");
    assert_eq!(answer["may_sign"], json!([{"rule": 2, "why": "by name"}]));
    assert_eq!(answer["needed"], json!(["2 of release-managers"]));
    // What is no request, or one for something else, is not explained.
    for wrong in ["", "{}", "[1]", "{\"environment\": \"production\", \"reason\": 1}"] {
        files.write("request.json", wrong);
        let (code, text) = files.explain("u-dan", &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("request.json"), "{text}");
    }
    let mut elsewhere = request("registry.example.com/app/web");
    elsewhere["environment"] = "staging".into();
    files.write("request.json", &elsewhere.to_string());
    assert_eq!(files.explain("u-dan", &[]).0, Some(2));
    let unknown =
        ["explain", "--config", "old.toml", "--environment", "x", "--as", "y", "--request", "z"];
    let (code, text) = said(&files.policy(&unknown));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there are production"), "{text}");
}

#[test]
fn rules_are_checked_without_secrets_or_database() {
    let files = Files::new();
    let check =
        |more: &[&str]| said(&files.policy(&[&["check", "--config", "new.toml"], more].concat()));
    files.write("new.toml", RULES);
    let (code, text) = check(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("The rules of production can be used."), "{text}");
    assert!(text.contains("Who has a key was not looked at"), "{text}");
    let twice = "requesters = [{ issuer = \"github\", claims = { repository_id = \"1001\", ref = \"refs/heads/*\" } }, ";
    let doubtful = RULES.replace("requesters = [", twice).replace(
        "from = [\"group:release-managers\"]",
        "from = [\"group:release-managers\", \"group:release-managers\"]",
    );
    files.write("new.toml", &format!("{doubtful}require_pinned_trust = true\n"));
    let (code, text) = check(&["--json"]);
    assert_eq!(code, Some(0), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let codes: Vec<&str> = answer["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["trust_unpinned", "requester_redundant", "signer_repeated"]);
    assert_eq!(answer["keys"], Value::Null);
    // What one exact value lets ask is not all that a prefix does, and the other way round it is.
    let exact = "requesters = [{ issuer = \"github\", claims = { repository_id = \"1001\", ref = \"refs/heads/main*\" } }, ";
    files.write("new.toml", &RULES.replace("requesters = [", exact));
    let (_, text) = check(&[]);
    assert!(text.contains("requester 2 changes nothing"), "{text}");
    assert!(!text.contains("requester 1 changes nothing"), "{text}");
    // Nobody can meet these.
    files.write(
        "new.toml",
        &RULES.replace(
            "\"group:security\", \"person:u-dan\"], count = 1",
            "\"person:u-dan\"], count = 2",
        ),
    );
    let (code, text) = check(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("environment.production.rules: rule 2 wants 2"), "{text}");
    let (code, text) = check(&["--json"]);
    assert_eq!(code, Some(1), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["problems"][0]["key"], "environment.production.rules");
    files.write("new.toml", "[environment");
    assert_eq!(check(&[]).0, Some(2));
}

/// The configuration of a gate with a part of its rules replaced, beside it.
fn changed(gate: &Gate, part: &str, replacement: &str) -> String {
    let config = &gate.servers.files.config;
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(part), "{part}");
    let path = config.with_file_name("new.toml");
    std::fs::write(&path, text.replace(part, replacement)).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn the_past_is_played_again(engine: Engine) {
    let gate = Gate::start(engine).await;
    let mut alice = gate.approver("alice").await;
    let approved = gate.asked(json!({})).await;
    alice.approve(&approved).await.unwrap();
    gate.ended(&approved).await;
    let rejected = gate.asked(json!({})).await;
    let no = json!({"decision": "reject", "reason": "not today"});
    alice.decide(&rejected, no).await.unwrap();
    let waiting = gate.asked(json!({})).await;
    let config = gate.servers.files.config.to_str().unwrap().to_owned();
    let files = Files::new();
    let replay = |new: &str, more: &[&str]| {
        let words =
            ["replay", new, "--config", &config, "--from", "2020-01-01", "--to", "2099-12-31"];
        said(&files.policy(&[&words[..], more].concat()))
    };
    let rules = "from = [\"group:release-managers\"], count = 1";
    let same = changed(&gate, rules, rules);
    assert_eq!(
        replay(&same, &[]),
        (
            Some(0),
            "0 of 2 approvals would have ended otherwise; on 1 people may still decide.\n"
                .to_owned()
        )
    );
    // Two have to sign: the yes of one would not have been enough, the no would.
    let stricter = changed(&gate, rules, "from = [\"group:release-managers\"], count = 2");
    let (code, text) = replay(&stricter, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("{approved} (web in production")), "{text}");
    assert!(
        text.contains("approved then, not approved now: 2 of release-managers, of which 1 signed"),
        "{text}"
    );
    assert!(!text.contains(&rejected) && !text.contains(&waiting), "{text}");
    let elsewhere = changed(&gate, "repository_id = \"1001\"", "repository_id = \"1002\"");
    let (code, text) = replay(&elsewhere, &["--json"]);
    assert_eq!(code, Some(1), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((answer["played"].as_u64(), answer["pending"].as_u64()), (Some(2), Some(1)));
    assert_eq!(answer["different"][0]["id"], rejected.as_str());
    assert_eq!(answer["different"][0]["now"]["ending"], "refused");
    // Nothing was asked in another year, and no period is none.
    let words =
        ["replay", &stricter, "--config", &config, "--from", "2020-01-01", "--to", "2020-12-31"];
    assert!(said(&files.policy(&words)).1.starts_with("0 of 0 approvals"));
    let words = ["replay", &stricter, "--config", &config, "--from", "soon", "--to", "2020-12-31"];
    assert_eq!(said(&files.policy(&words)).0, Some(2));
    gate.finish().await;
}

async fn who_has_no_key_is_said(engine: Engine) {
    let gate = Gate::start(engine).await;
    let _alice = gate.approver("alice").await;
    let rules = "from = [\"group:release-managers\"], count = 1";
    let new =
        changed(&gate, rules, "from = [\"group:release-managers\", \"person:u-zoe\"], count = 2");
    let files = Files::new();
    let (code, text) = said(&files.policy(&["check", "--config", &new]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the person u-zoe, who has no key"), "{text}");
    let says = "rule 1 needs 2 of release-managers or u-zoe, and those who have a key make up 1";
    assert!(text.contains(says), "{text}");
    assert!(text.contains("1 person has a key that may sign."), "{text}");
    // And whose key is not one that the rules ask for.
    let new = changed(&gate, "keys = { minimum_keys = 1 }", "keys = { kind = \"synced\" }");
    let (code, text) = said(&files.policy(&["check", "--config", &new]));
    assert_eq!(code, Some(0), "{text}");
    let says = "no key of the person u-alice can sign now: it exists on one authenticator only";
    assert!(text.contains(says) && text.contains("(key_not_synced)"), "{text}");
    assert!(text.contains("those who have a key make up 0"), "{text}");
    gate.finish().await;
}

#[test]
fn a_listed_run_is_wider_and_an_account_narrower() {
    let (none, runs) = (sample_approval::policy(), sample_approval::run_policy());
    let owned = Policy {
        github_accounts: [("9001".to_owned(), "u-mira".to_owned())].into(),
        ..runs.clone()
    };
    let changes = |old: &Policy, new: &Policy| -> Vec<(Effect, String)> {
        let named = |policy: &Policy| [("production".to_owned(), policy.clone())].into();
        let found = policy_changes(&named(old), &named(new)).into_iter();
        found.map(|change| (change.effect, change.sentence)).collect()
    };
    let run = "runs with branch main or release/*, event push, repository_id 712345 may";
    assert_eq!(changes(&none, &runs), [(Effect::Wider, format!("{run} be signed for now"))]);
    assert_eq!(
        changes(&runs, &none),
        [(Effect::Narrower, format!("{run} no longer be signed for"))]
    );
    let owner = "runs started by the account 9001 of u-mira may";
    let narrower = format!("{owner} no longer be signed for by its owner");
    assert_eq!(changes(&runs, &owned), [(Effect::Narrower, narrower)]);
}

#[test]
fn separation_is_narrower_and_its_end_wider() {
    let with = |separation: Option<SeparationRules>| -> BTreeMap<String, Policy> {
        let policy = Policy { separation, ..sample_approval::policy() };
        [("production".to_owned(), policy)].into()
    };
    let rules = SeparationRules { github_id_claim: Some("github_id".into()), ..Default::default() };
    let other = SeparationRules {
        github_id_claim: Some("nickname".into()),
        bases: [("1001".to_owned(), "0".repeat(40))].into(),
    };
    let effects = |old: &Option<SeparationRules>, new: &Option<SeparationRules>| -> Vec<Effect> {
        let found = policy_changes(&with(old.clone()), &with(new.clone()));
        found.into_iter().map(|change| change.effect).collect()
    };
    let (none, some, other) = (None, Some(rules), Some(other));
    assert_eq!(effects(&none, &some), [Effect::Narrower]);
    assert_eq!(effects(&some, &none), [Effect::Wider]);
    assert_eq!(effects(&some, &other), [Effect::Different, Effect::Different]);
    assert_eq!(effects(&some, &some), []);
}
