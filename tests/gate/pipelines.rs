//! The snippets in `pipelines/`, for each CI that is no GitHub: its own claims are accepted by a gate that is configured as the
//! snippet says, wrong ones are refused, and the command in the pipeline's file asks and ends as in a job of that CI.

mod claims;
mod job;

use countersign::proof::verify::verify;
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate};
use claims::Ci;
use job::run_snippet;

/// A gate that lets the jobs of this CI ask and nobody else, with the sandbox as the CI's issuer.
async fn gate_of(ci: &Ci) -> Gate {
    let snippet: toml::Table = ci.read("toml").parse().unwrap();
    Gate::start_with(Engine::Sqlite, |text| {
        let mut config: toml::Table = text.parse().unwrap();
        let mut issuer = snippet["workload_issuer"][0].as_table().unwrap().clone();
        let name = issuer["name"].as_str().unwrap().to_owned();
        issuer.insert("audience".into(), config["public_origin"].clone());
        let issuers = config["workload_issuer"].as_array_mut().unwrap();
        // The sandbox's key for GitHub signs with RS256, as all of them do.
        let stand_in = issuers.iter().position(|one| one["name"].as_str() == Some("github"));
        let stand_in = &mut issuers[stand_in.unwrap()];
        issuer.insert("issuer".into(), stand_in["issuer"].clone());
        *stand_in = issuer.into();
        let keys = config["trust"]["workload_keys"].as_table_mut().unwrap();
        let key = keys.remove("github").unwrap();
        keys.insert(name, key);
        let requesters = snippet["environment"]["production"]["requesters"].clone();
        config["environment"]["production"]["requesters"] = requesters;
        config.to_string()
    })
    .await
}

/// A token of this CI, with changes: null takes a claim away.
async fn token(gate: &Gate, ci: &Ci, changes: &Value) -> String {
    let mut claims = ci.claims(gate.servers.clock.now());
    claims["iss"] = json!(format!("{}/github", gate.servers.sandbox));
    let here = Value::from(gate.servers.gate.as_str());
    claims["aud"] = if claims["aud"].is_array() { json!([here]) } else { here };
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    // None of them writes typ but GitLab and Jenkins; all of them write kid.
    gate.token(json!({"payload": claims.to_string(), "header": {"typ": null}})).await
}

async fn asks(gate: &Gate, ci: &Ci, changes: &Value) -> (u16, Option<String>) {
    let token = token(gate, ci, changes).await;
    let key = format!("key-{}", gate.unique());
    let answer = gate.ask_as(&token, &key, &gate.request_body(json!({}))).await;
    let code = (!answer.status.is_success()).then(|| answer.code().to_owned());
    (answer.status.as_u16(), code)
}

/// How many wrong tokens are tried for each CI beside those of its own claims.
const WRONG_FOR_EACH: usize = 10;

async fn holds(ci: Ci) {
    let gate = gate_of(&ci).await;
    let now = gate.servers.clock.now().as_second();
    let mut wrong = ci.wrong();
    wrong.extend([
        (json!({"aud": "https://sts.example"}), "wrong_audience"),
        (json!({"aud": ["https://sts.example"]}), "wrong_audience"),
        (json!({"aud": [gate.servers.gate, "https://sts.example"]}), "audience_is_list"),
        (json!({"aud": null}), "missing_audience"),
        (json!({"iss": "https://issuer.example"}), "unknown_issuer"),
        (json!({"iat": now - 900, "nbf": now - 900, "exp": now - 600}), "token_expired"),
        (json!({"exp": null}), "missing_expiry"),
        (json!({"iat": now, "exp": now + 90_000}), "lives_too_long"),
        (json!({"sub": null}), "missing_subject"),
        (json!({"sub": 7}), "malformed_claim"),
    ]);
    assert_eq!(wrong.len(), ci.wrong().len() + WRONG_FOR_EACH);
    for (changes, code) in &wrong {
        let (status, found) = asks(&gate, &ci, changes).await;
        assert!((401..=403).contains(&status), "{}: {changes} gave {status}", ci.name);
        assert_eq!(found.as_deref(), Some(*code), "{}: {changes}", ci.name);
    }
    let listed = gate.get_as("/v1/approvals", &token(&gate, &ci, &json!({})).await).await;
    assert_eq!(listed.body["items"], json!([]), "{}: something was asked for", ci.name);

    let mut alice = gate.approver("alice").await;
    let tokens = [token(&gate, &ci, &json!({})).await, token(&gate, &ci, &json!({})).await];
    let (ran, id) = run_snippet(&gate, &ci, &tokens[0], &mut alice).await;
    assert_eq!(ran.code, 0, "{}: {ran:#?}", ci.name);
    let evidence = gate.http.get(gate.url(&format!("/v1/approvals/{id}/evidence")));
    let evidence = evidence.bearer_auth(&tokens[1]).send().await.unwrap().bytes().await.unwrap();
    let trust = std::fs::read(&gate.servers.files.trust).unwrap();
    let trust = countersign::proof::evidence::Trust::read(&trust).unwrap();
    let verified = verify(&evidence, &trust).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(verified.is_approved(), "{}", ci.name);
    gate.finish().await;
}

macro_rules! snippets {
    ($($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            holds(claims::$name()).await;
        })*

        #[test]
        fn every_snippet_is_tried() {
            let tried = [$(claims::$name().name),*];
            let mut files: Vec<String> = std::fs::read_dir(claims::folder())
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut expected: Vec<String> = [$(claims::$name()),*]
                .iter()
                .flat_map(|ci| [format!("{}.toml", ci.name), format!("{}.{}", ci.name, ci.kind)])
                .collect();
            expected.sort();
            assert_eq!(files, expected);
            assert_eq!(tried.len(), 6);
            let wrong = [$(claims::$name()),*].map(|ci| ci.wrong().len() + WRONG_FOR_EACH);
            assert!(wrong.iter().sum::<usize>() >= 100, "{wrong:?}");
        }
    };
}
snippets!(gitlab, buildkite, circleci, jenkins, tekton, argo_workflows);
