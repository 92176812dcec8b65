//! Workload tokens against the sandbox's issuers: which are accepted, and why each other is not.

mod issuer_keys;
mod many;
mod rotation;

use countersign::integrations::workload_oidc::{
    Refused, TokenAlgorithm, VerifiedRequester, Verifier, WorkloadIssuer,
};
use data_encoding::BASE64URL_NOPAD;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::identity_server::{GATE, IdentityServer};

fn issuers(server: &IdentityServer) -> Vec<WorkloadIssuer> {
    serde_json::from_value(json!([
        {
            "name": "github", "kind": "github", "issuer": format!("{}/github", server.base),
            "algorithm": "RS256", "audience": GATE,
        },
        {
            "name": "agents", "issuer": format!("{}/agent", server.base),
            "jwks_uri": format!("{}/agent/.well-known/jwks", server.base),
            "algorithm": "ES256", "audience": GATE,
        },
    ]))
    .unwrap()
}

fn verifier(server: &IdentityServer) -> Verifier {
    Verifier::new(issuers(server), server.outbound())
}

async fn verify(
    server: &IdentityServer,
    verifier: &Verifier,
    changes: Value,
) -> Result<VerifiedRequester, Refused> {
    verifier.verify(&server.token(changes).await, server.clock.now()).await
}

/// Seconds from now, as a NumericDate.
fn seconds(server: &IdentityServer, offset: i64) -> i64 {
    server.clock.now().as_second() + offset
}

/// A token made by hand: header and payload as they are, and a signature of nonsense.
fn by_hand(header: &str, payload: &str) -> String {
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.{}", encode(header), encode(payload), encode("not a signature"))
}

#[tokio::test]
async fn a_github_job_is_a_requester() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let token = server.token(json!({})).await;
    let requester = verifier.verify(&token, server.clock.now()).await.unwrap();
    assert_eq!(requester.issuer_name(), "github");
    assert_eq!(requester.issuer(), format!("{}/github", server.base));
    assert_eq!(requester.subject(), "repo:demo/web:ref:refs/heads/main");
    let key = format!("{}/github#repository_id=1001", server.base);
    assert_eq!(requester.requester_key(), key);
    assert_eq!(requester.claim("event_name"), Some(&json!("push")));
    assert_eq!(requester.claims()["repository_owner_id"], "2001");
    assert!(requester.token_id().starts_with("jti:"));
    assert_eq!(serde_json::from_str::<Value>(requester.key()).unwrap()["kty"], "RSA");
    assert_eq!(requester.token(), token);
    let life = requester.expires_at().duration_since(requester.issued_at());
    assert_eq!(life, SignedDuration::from_mins(5));

    let again = verifier.verify(&token, server.clock.now()).await.unwrap();
    assert_eq!(again.token_id(), requester.token_id());
    let fresh = verify(&server, &verifier, json!({})).await.unwrap();
    assert_ne!(fresh.token_id(), requester.token_id());
    assert_eq!(fresh.requester_key(), requester.requester_key());
}

#[tokio::test]
async fn good_shapes_are_accepted() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let agent = |mut changes: Value| {
        changes["issuer"] = "agent".into();
        changes
    };
    let good = [
        ("an agent's without typ", agent(json!({ "header": { "typ": null } }))),
        ("an agent's for us alone in a list", agent(json!({ "aud": [GATE] }))),
        ("an agent's, ten seconds ahead", agent(json!({ "iat": seconds(&server, 10) }))),
        ("an agent's with more claims", agent(json!({ "act": { "sub": "u-alice" }, "n": 1 }))),
        ("started again", json!({ "run_attempt": "3" })),
        ("on a runner of one's own", json!({ "runner_environment": "self-hosted" })),
        ("an agent's", json!({ "issuer": "agent" })),
        ("github named", json!({ "issuer": "github" })),
        ("without nbf", json!({ "nbf": null })),
        ("without typ", json!({ "header": { "typ": null } })),
        ("typ in lower case", json!({ "header": { "typ": "jwt" } })),
        ("with x5t, as GitHub's", json!({ "header": { "x5t": "aGFzaA" } })),
        ("a minute old", json!({ "iat": seconds(&server, -60) })),
        (
            "ended within the leeway",
            json!({
                "iat": seconds(&server, -300), "exp": seconds(&server, -10),
            }),
        ),
        ("begins within the leeway", json!({ "nbf": seconds(&server, 20) })),
        ("array aud with us alone, as Kubernetes'", json!({ "aud": [GATE] })),
        ("on a tag", json!({ "ref": "refs/tags/v1", "ref_type": "tag" })),
        ("a manual run", json!({ "event_name": "workflow_dispatch" })),
        ("on a schedule", json!({ "event_name": "schedule" })),
        ("a release", json!({ "event_name": "release" })),
        ("an agent's without jti", json!({ "issuer": "agent", "jti": null })),
        ("an agent's without nbf", json!({ "issuer": "agent", "nbf": null })),
        ("issued within the leeway", json!({ "iat": seconds(&server, 20), "nbf": null })),
        ("an hour long", json!({ "exp": seconds(&server, 3600) })),
        ("with claims that nobody knows", json!({ "extra": { "a": [1, { "b": null }] } })),
        ("with a name beyond ASCII", json!({ "actor": "Zoë" })),
    ];
    assert!(good.len() >= 20, "{}", good.len());
    for (case, changes) in good {
        let verdict = verify(&server, &verifier, changes).await;
        assert!(verdict.is_ok(), "{case}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_token_without_jti_is_known_by_its_signing_input() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let changes = json!({ "issuer": "agent", "jti": null });
    let token = server.token(changes).await;
    let one = verifier.verify(&token, server.clock.now()).await.unwrap();
    assert!(one.token_id().starts_with("sha256:"));
    // The same content signed anew has another ECDSA signature, and is the same token.
    let payload = token.split('.').nth(1).unwrap();
    let payload = String::from_utf8(BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
    let resigned = server.token(json!({ "issuer": "agent", "payload": payload })).await;
    assert_ne!(resigned, token);
    let two = verifier.verify(&resigned, server.clock.now()).await.unwrap();
    assert_eq!(two.token_id(), one.token_id());
}

/// Each wrong token, and the one reason that it must be refused for.
fn wrong_claims(server: &IdentityServer) -> Vec<(&'static str, Value, &'static str)> {
    let at = |offset| seconds(server, offset);
    vec![
        ("expired", json!({ "iat": at(-600), "nbf": at(-600), "exp": at(-300) }), "token_expired"),
        ("expired at the leeway", json!({ "iat": at(-600), "exp": at(-31) }), "token_expired"),
        ("not yet valid", json!({ "nbf": at(120) }), "token_not_yet_valid"),
        ("issued in the future", json!({ "iat": at(120), "nbf": null }), "issued_in_future"),
        ("no exp", json!({ "exp": null }), "missing_expiry"),
        ("no iat", json!({ "iat": null }), "missing_issued_at"),
        ("no aud", json!({ "aud": null }), "missing_audience"),
        ("no sub", json!({ "sub": null }), "missing_subject"),
        ("empty sub", json!({ "sub": "" }), "missing_subject"),
        ("no iss", json!({ "iss": null }), "missing_issuer"),
        ("array iss", json!({ "iss": [format!("{}/github", server.base)] }), "missing_issuer"),
        ("array aud with us twice", json!({ "aud": [GATE, GATE] }), "audience_is_list"),
        ("array aud with another alone", json!({ "aud": ["x"] }), "wrong_audience"),
        ("array aud with us in a list", json!({ "aud": [[GATE]] }), "audience_is_list"),
        ("array aud with others", json!({ "aud": [GATE, "x"] }), "audience_is_list"),
        ("empty array aud", json!({ "aud": [] }), "audience_is_list"),
        ("another aud", json!({ "aud": "https://other.example" }), "wrong_audience"),
        ("aud with a slash more", json!({ "aud": format!("{GATE}/") }), "wrong_audience"),
        ("aud in upper case", json!({ "aud": GATE.to_uppercase() }), "wrong_audience"),
        ("aud a number", json!({ "aud": 7 }), "malformed_claim"),
        ("a stranger", json!({ "iss": "https://stranger.example" }), "unknown_issuer"),
        (
            "iss with a slash",
            json!({ "iss": format!("{}/github/", server.base) }),
            "unknown_issuer",
        ),
        (
            "iss of the people",
            json!({ "iss": format!("{}/identity", server.base) }),
            "unknown_issuer",
        ),
        ("exp a text", json!({ "exp": at(300).to_string() }), "malformed_claim"),
        ("exp with a fraction", json!({ "exp": at(100) as f64 + 0.5 }), "malformed_claim"),
        ("iat of twelve digits", json!({ "iat": 100_000_000_000_i64 }), "malformed_claim"),
        ("nbf before 1970", json!({ "nbf": -1 }), "malformed_claim"),
        ("exp beyond all time", json!({ "exp": 1e300 }), "malformed_claim"),
        ("iat a text", json!({ "iat": "now" }), "malformed_claim"),
        ("nbf an object", json!({ "nbf": {} }), "malformed_claim"),
        ("sub a number", json!({ "sub": 1001 }), "malformed_claim"),
        ("jti a number", json!({ "jti": 5 }), "malformed_claim"),
        ("jti empty", json!({ "jti": "" }), "malformed_claim"),
        ("ends before it begins", json!({ "exp": at(-5), "iat": at(0) }), "ends_before_it_begins"),
        ("lives for a year", json!({ "exp": at(31_536_000) }), "lives_too_long"),
        ("no repository_id", json!({ "repository_id": null }), "missing_requester_claim"),
        ("repository_id a number", json!({ "repository_id": 1001 }), "missing_requester_claim"),
        ("repository_id empty", json!({ "repository_id": "" }), "missing_requester_claim"),
        ("no event", json!({ "event_name": null }), "missing_event"),
        ("event a list", json!({ "event_name": ["push"] }), "malformed_claim"),
        ("pull_request", json!({ "event_name": "pull_request" }), "refused_event"),
        ("pull_request_target", json!({ "event_name": "pull_request_target" }), "refused_event"),
        ("workflow_run", json!({ "event_name": "workflow_run" }), "refused_event"),
        ("oversized", json!({ "padding": "x".repeat(17_000) }), "token_too_large"),
    ]
}

fn wrong_signatures(server: &IdentityServer) -> Vec<(&'static str, Value, &'static str)> {
    let agent = format!("{}/agent", server.base);
    let twice = format!(r#"{{"iss":"{0}/github","aud":"x","aud":"{GATE}"}}"#, server.base);
    let deep = format!(r#"{{"iss":"{0}/github","a":[{{"b":1,"b":2}}]}}"#, server.base);
    let header = |name: &str, value: Value| json!({ "header": { name: value } });
    vec![
        ("alg none", header("alg", json!("none")), "unsigned_token"),
        ("alg None", header("alg", json!("None")), "unsigned_token"),
        ("HS256 with the public key", header("alg", json!("HS256")), "wrong_algorithm"),
        (
            "HS256, agent",
            json!({ "issuer": "agent", "header": { "alg": "HS256" } }),
            "wrong_algorithm",
        ),
        ("RS512 of the same key", header("alg", json!("RS512")), "wrong_algorithm"),
        ("PS256 of the same key", header("alg", json!("PS256")), "wrong_algorithm"),
        ("no alg", header("alg", Value::Null), "wrong_algorithm"),
        ("alg a list", header("alg", json!(["RS256"])), "wrong_algorithm"),
        ("unknown kid", header("kid", json!("nobody-published-this")), "unknown_key"),
        ("no kid", header("kid", Value::Null), "missing_key_id"),
        ("kid a number", header("kid", json!(1)), "missing_key_id"),
        ("crit", header("crit", json!(["exp"])), "critical_header"),
        ("crit empty", header("crit", json!([])), "critical_header"),
        ("own key", header("jwk", json!({ "kty": "RSA" })), "embedded_key"),
        ("own key set", header("jku", json!("https://evil.example/jwks")), "embedded_key"),
        ("own certificate", header("x5u", json!("https://evil.example/cert")), "embedded_key"),
        ("typ of an access token", header("typ", json!("at+jwt")), "wrong_token_type"),
        ("typ a number", header("typ", json!(1)), "wrong_token_type"),
        ("nested", header("cty", json!("JWT")), "wrong_token_type"),
        ("broken signature", json!({ "signature": "broken" }), "bad_signature"),
        ("no signature", json!({ "signature": "absent" }), "bad_signature"),
        ("a key nobody published", json!({ "signature": "foreign" }), "bad_signature"),
        ("broken, agent", json!({ "issuer": "agent", "signature": "broken" }), "bad_signature"),
        ("foreign, agent", json!({ "issuer": "agent", "signature": "foreign" }), "bad_signature"),
        ("signed by GitHub as an agent", json!({ "iss": agent }), "wrong_algorithm"),
        ("a member twice", json!({ "payload": twice }), "duplicate_member"),
        ("a member twice, deep", json!({ "payload": deep }), "duplicate_member"),
        ("payload an array", json!({ "payload": "[]" }), "malformed_token"),
        ("payload not JSON", json!({ "payload": "hello" }), "malformed_token"),
        ("payload and more", json!({ "payload": "{} {}" }), "malformed_token"),
    ]
}

#[tokio::test]
async fn wrong_tokens_are_refused_each_for_its_own_reason() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let mut cases = wrong_claims(&server);
    cases.extend(wrong_signatures(&server));
    // With those of pipelines.rs more than 150.
    assert!(cases.len() >= 70);
    for (case, changes, code) in cases {
        let refusal = verify(&server, &verifier, changes).await.expect_err(case);
        assert_eq!(refusal.code(), code, "{case}: {refusal}");
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let now = server.clock.now();
    let good = server.token(json!({})).await;
    let header = r#"{"alg":"RS256","kid":"k"}"#;
    let many = "x".repeat(16 * 1024 + 1);
    let cases = [
        ("nothing", String::new(), "malformed_token"),
        ("a word", "token".to_owned(), "malformed_token"),
        ("dots", "..".to_owned(), "malformed_token"),
        ("two parts", "e30.e30".to_owned(), "malformed_token"),
        ("four parts", format!("{good}.e30"), "malformed_token"),
        ("a space before", format!(" {good}"), "malformed_token"),
        ("a line end after", format!("{good}\n"), "malformed_token"),
        ("padding", format!("{good}="), "malformed_token"),
        ("not base64", "&&&.e30.e30".to_owned(), "malformed_token"),
        ("not ASCII", "é.ü.ß".to_owned(), "malformed_token"),
        ("header not an object", by_hand("[]", "{}"), "malformed_token"),
        ("header not UTF-8", "gYGB.e30.e30".to_owned(), "malformed_token"),
        ("nested too deep", by_hand(header, &"[".repeat(5000)), "malformed_token"),
        ("alg twice", by_hand(r#"{"alg":"none","alg":"RS256"}"#, "{}"), "duplicate_member"),
        ("too long", many, "token_too_large"),
    ];
    for (case, token, code) in cases {
        let refusal = verifier.verify(&token, now).await.expect_err(case);
        assert_eq!(refusal.code(), code, "{case}: {refusal}");
    }
    assert_eq!(server.asked("/github/.well-known/jwks"), 0, "garbage fetches no keys");
}

#[tokio::test]
async fn a_respelled_signature_is_not_another_token() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let token = server.token(json!({})).await;
    // 256 bytes are 342 characters, and the last holds four bits that mean nothing.
    let last = token.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let respelled = format!("{}{next}", &token[..token.len() - 1]);
    let refusal = verifier.verify(&respelled, server.clock.now()).await.unwrap_err();
    assert_eq!(refusal.code(), "malformed_token");
}

#[tokio::test]
async fn a_strangers_text_is_shown_inert() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let changes = json!({ "iss": format!("<b>\u{202e}\n{}", "x".repeat(500)) });
    let refusal = verify(&server, &verifier, changes).await.unwrap_err().to_string();
    assert!(refusal.chars().all(|character| character == ' ' || character.is_ascii_graphic()));
    assert!(refusal.len() < 300);
}

#[tokio::test]
async fn a_runner_gives_tokens_for_the_audience_asked() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let ask = |query: &str, authorization: &str| {
        let url = format!("{}/github/runner-token?x=1{query}", server.base);
        server.http.get(url).header("authorization", authorization).send()
    };
    let answer = ask("&audience=http%3A%2F%2Flocalhost%3A8080", "bearer anything").await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["value"].as_str().unwrap();
    verifier.verify(token, server.clock.now()).await.unwrap();

    let answer: Value = ask("", "Bearer anything").await.unwrap().json().await.unwrap();
    let refusal =
        verifier.verify(answer["value"].as_str().unwrap(), server.clock.now()).await.unwrap_err();
    assert_eq!(refusal.code(), "wrong_audience");
    for authorization in ["", "bearer ", "basic abc"] {
        assert_eq!(ask("", authorization).await.unwrap().status(), 401, "{authorization}");
    }
}

#[tokio::test]
async fn the_mint_says_what_it_does_not_understand() {
    let server = IdentityServer::start().await;
    for body in [
        json!({ "issuer": "gitlab" }),
        json!({ "issuer": 7 }),
        json!({ "signature": "odd" }),
        json!({ "header": "alg" }),
        json!({ "payload": {} }),
    ] {
        let answer = server.post("/tokens", body.clone()).await;
        assert_eq!(answer.status(), 400, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"], "invalid_request");
    }
}

#[test]
fn the_configuration_of_an_issuer_is_strict() {
    let read = |value: Value| serde_json::from_value::<WorkloadIssuer>(value);
    let good = json!({
        "name": "ci", "issuer": "https://ci.example", "algorithm": "EdDSA", "audience": GATE,
    });
    let issuer = read(good.clone()).unwrap();
    assert_eq!(issuer.algorithm, TokenAlgorithm::EdDSA);
    assert_eq!(issuer.requester_claim(), "sub");
    assert_eq!(issuer.refused_events, ["pull_request", "pull_request_target", "workflow_run"]);
    for (name, value) in [
        ("algorithm", json!("HS256")),
        ("algorithm", json!("none")),
        ("algorithm", json!(["RS256", "ES256"])),
        ("kind", json!("gitlab")),
        ("leeway", json!(600)),
    ] {
        let mut wrong = good.clone();
        wrong[name] = value.clone();
        assert!(read(wrong).is_err(), "{name} = {value}");
    }
}
