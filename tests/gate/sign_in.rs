//! Sign-in of people against the sandbox's OpenID provider, over HTTP.

mod groups;

use std::collections::HashMap;

use countersign::integrations::login_oidc::{
    Begin, GroupsFrom, LoginProvider, LoginSettings, SignInRefusal, VerifiedSignIn, check_state,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use url::Url;

use crate::identity_server::{GATE, IdentityServer, SECRET};

fn callback() -> String {
    format!("{GATE}/sign-in/callback")
}

fn settings(server: &IdentityServer) -> LoginSettings {
    LoginSettings {
        issuer: format!("{}/identity", server.base),
        client_id: "countersign".to_owned(),
        client_secret: SECRET.into(),
        scopes: ["openid", "profile", "email", "groups"].map(str::to_owned).to_vec(),
        groups_claim: "groups".to_owned(),
        github_id_claim: None,
        groups_from: GroupsFrom::Claim,
        hosted_domain: None,
    }
}

fn provider(server: &IdentityServer) -> LoginProvider {
    LoginProvider::new(settings(server), server.outbound())
}

async fn begin(server: &IdentityServer, provider: &LoginProvider) -> Begin {
    provider.begin(&callback(), None, None, server.clock.now()).await.unwrap()
}

/// What the browser brings back after this person chose their name.
async fn choose(server: &IdentityServer, begin: &Begin, login: &str) -> HashMap<String, String> {
    let url = format!("{}&login_hint={login}", begin.authorization_url);
    answer(server, &url).await
}

async fn answer(server: &IdentityServer, url: &str) -> HashMap<String, String> {
    let answer = server.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
    let location = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    assert!(location.as_str().starts_with(&callback()));
    location.query_pairs().into_owned().collect()
}

async fn finish(
    server: &IdentityServer,
    provider: &LoginProvider,
    begin: &Begin,
    code: &str,
) -> Result<VerifiedSignIn, SignInRefusal> {
    let now = server.clock.now();
    provider.finish(code, &begin.pkce_verifier, &begin.nonce, &callback(), now).await
}

async fn sign_in(
    server: &IdentityServer,
    provider: &LoginProvider,
    login: &str,
) -> Result<VerifiedSignIn, SignInRefusal> {
    let begin = begin(server, provider).await;
    let answer = choose(server, &begin, login).await;
    finish(server, provider, &begin, &answer["code"]).await
}

#[tokio::test]
async fn alice_signs_in() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    assert!(!provider.is_discovered().await);
    let begin = begin(&server, &provider).await;
    let answer = choose(&server, &begin, "alice").await;
    check_state(&begin.state, &answer["state"]).unwrap();
    assert_eq!(answer["iss"], format!("{}/identity", server.base));
    let alice = finish(&server, &provider, &begin, &answer["code"]).await.unwrap();
    assert_eq!(alice.issuer(), format!("{}/identity", server.base));
    assert_eq!(alice.subject(), "u-alice");
    assert_eq!(alice.name(), Some("Alice Adler"));
    assert_eq!(alice.email(), Some("alice@demo.example"));
    assert_eq!(alice.groups(), ["release-managers", "engineering"]);
    assert!(alice.auth_time().is_some());
    assert_eq!(alice.id_token().split('.').count(), 3);
    assert_eq!(serde_json::from_str::<Value>(alice.key()).unwrap()["kty"], "RSA");
    alice.require_fresh(0).unwrap();
    assert!(provider.is_discovered().await);
}

#[tokio::test]
async fn everybody_has_their_groups() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    for (login, groups) in [
        ("bob", vec!["release-managers"]),
        ("carol", vec!["security", "release-managers"]),
        ("dan", vec!["engineering"]),
    ] {
        let person = sign_in(&server, &provider, login).await.unwrap();
        assert_eq!(person.subject(), format!("u-{login}"));
        assert_eq!(person.groups(), groups);
    }
}

#[tokio::test]
async fn the_authorization_request_asks_for_everything_that_protects_it() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let now = server.clock.now();
    let begin = provider.begin(&callback(), Some("of-a-key"), Some(300), now).await.unwrap();
    let url = Url::parse(&begin.authorization_url).unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["client_id"], "countersign");
    assert_eq!(query["redirect_uri"], callback());
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["code_challenge"].len(), 43);
    assert_eq!(query["nonce"], "of-a-key");
    assert_eq!(query["state"], begin.state);
    assert_eq!(query["max_age"], "300");
    assert_eq!(query["scope"], "openid profile email groups");
    assert!(!begin.authorization_url.contains(&begin.pkce_verifier));
    // The caller's own nonce is in the token that the directory signs.
    let answer = choose(&server, &begin, "alice").await;
    finish(&server, &provider, &begin, &answer["code"]).await.unwrap();
}

#[tokio::test]
async fn an_answer_to_another_sign_in_is_refused() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let mine = begin(&server, &provider).await;
    let other = begin(&server, &provider).await;
    assert_eq!(check_state(&mine.state, &other.state), Err(SignInRefusal::StateMismatch));
    assert_eq!(check_state(&mine.state, ""), Err(SignInRefusal::StateMismatch));

    // Another browser's verifier.
    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    let refusal = finish(&server, &provider, &other, &code).await.unwrap_err();
    assert_eq!(refusal.code(), "code_refused");
    // Another browser's nonce.
    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    let now = server.clock.now();
    let verdict = provider.finish(&code, &mine.pkce_verifier, &other.nonce, &callback(), now).await;
    assert_eq!(verdict.unwrap_err().code(), "nonce_mismatch");
    // Another redirect URI.
    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    let elsewhere = format!("{GATE}/elsewhere");
    let verdict = provider.finish(&code, &mine.pkce_verifier, &mine.nonce, &elsewhere, now).await;
    assert_eq!(verdict.unwrap_err().code(), "code_refused");
    // A code of nobody's.
    let refusal = finish(&server, &provider, &mine, "made-up").await.unwrap_err();
    assert_eq!(refusal.code(), "code_refused");
}

#[tokio::test]
async fn a_code_is_used_once_and_soon() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let mine = begin(&server, &provider).await;
    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    finish(&server, &provider, &mine, &code).await.unwrap();
    let refusal = finish(&server, &provider, &mine, &code).await.unwrap_err();
    assert_eq!(refusal.code(), "code_refused");

    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    server.clock.shift(SignedDuration::from_secs(61));
    let refusal = finish(&server, &provider, &mine, &code).await.unwrap_err();
    assert_eq!(refusal.code(), "code_refused");
}

#[tokio::test]
async fn a_wrong_client_secret_is_said_to_be_one() {
    let server = IdentityServer::start().await;
    let mut wrong = settings(&server);
    wrong.client_secret = "another".into();
    let provider = LoginProvider::new(wrong, server.outbound());
    let refusal = sign_in(&server, &provider, "alice").await.unwrap_err();
    assert_eq!(refusal.code(), "client_refused");
}

#[tokio::test]
async fn wrong_id_tokens_are_refused_each_for_its_own_reason() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let at = |offset: i64| server.clock.now().as_second() + offset;
    let cases = [
        ("another nonce", json!({ "nonce": "other" }), "nonce_mismatch"),
        ("no nonce", json!({ "nonce": null }), "nonce_mismatch"),
        ("another issuer", json!({ "iss": "https://other.example" }), "wrong_issuer"),
        ("another audience", json!({ "aud": "somebody" }), "wrong_audience"),
        ("a further audience", json!({ "aud": ["countersign", "x"] }), "wrong_audience"),
        ("no audience", json!({ "aud": null }), "wrong_audience"),
        ("issued to another", json!({ "azp": "somebody" }), "wrong_audience"),
        ("expired", json!({ "iat": at(-600), "exp": at(-60) }), "id_token_expired"),
        ("issued in the future", json!({ "iat": at(90) }), "id_token_from_the_future"),
        ("begins in the future", json!({ "nbf": at(90) }), "id_token_from_the_future"),
        ("signed in in the future", json!({ "auth_time": at(90) }), "id_token_from_the_future"),
        ("no exp", json!({ "exp": null }), "malformed_id_token"),
        ("iat with a fraction", json!({ "iat": at(0) as f64 + 0.5 }), "malformed_id_token"),
        ("auth_time before 1970", json!({ "auth_time": -1 }), "malformed_id_token"),
        ("no subject", json!({ "sub": null }), "malformed_id_token"),
        ("empty subject", json!({ "sub": "" }), "malformed_id_token"),
        ("verified in words", json!({ "email_verified": "true" }), "malformed_id_token"),
        ("unsigned", json!({ "header": { "alg": "none" } }), "disallowed_algorithm"),
        ("HS256", json!({ "header": { "alg": "HS256" } }), "disallowed_algorithm"),
        ("PS256", json!({ "header": { "alg": "PS256" } }), "disallowed_algorithm"),
        ("broken", json!({ "signature": "broken" }), "bad_signature"),
        ("another key", json!({ "signature": "foreign" }), "bad_signature"),
        ("unknown key", json!({ "header": { "kid": "new" } }), "unknown_key"),
        ("groups a text", json!({ "groups": "release-managers" }), "unreadable_groups"),
        ("groups of numbers", json!({ "groups": [1] }), "unreadable_groups"),
        (
            "groups elsewhere",
            json!({
                "groups": null, "_claim_names": { "groups": "src1" },
            }),
            "unreadable_groups",
        ),
    ];
    for (case, changes, code) in cases {
        let lever = server.post("/_sandbox/id-token", changes).await;
        assert_eq!(lever.status(), 204);
        let refusal = sign_in(&server, &provider, "alice").await.expect_err(case);
        assert_eq!(refusal.code(), code, "{case}: {refusal}");
    }
    sign_in(&server, &provider, "alice").await.unwrap();
}

#[tokio::test]
async fn id_tokens_of_other_directories_are_read_with_care() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let alice = async |changes: Value| {
        server.post("/_sandbox/id-token", changes).await;
        sign_in(&server, &provider, "alice").await.unwrap()
    };
    assert!(alice(json!({ "groups": null })).await.groups().is_empty());
    assert_eq!(alice(json!({ "email_verified": false })).await.email(), None);
    assert_eq!(alice(json!({ "email_verified": null })).await.email(), None);
    assert_eq!(alice(json!({ "name": null })).await.name(), None);
    alice(json!({ "aud": ["countersign"], "azp": "countersign" })).await;
    // A directory that says nothing of the time of authentication, and one that says too much.
    let silent = alice(json!({ "auth_time": null })).await;
    assert_eq!(silent.auth_time(), None);
    silent.require_fresh(0).unwrap();
    let long_ago = server.clock.now().as_second() - 3600;
    let old = alice(json!({ "auth_time": long_ago })).await;
    assert_eq!(old.require_fresh(300), Err(SignInRefusal::TooOld));
    old.require_fresh(7200).unwrap();
}

#[tokio::test]
async fn rotated_keys_are_found() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    sign_in(&server, &provider, "alice").await.unwrap();
    server.rotate("identity", true).await;
    sign_in(&server, &provider, "alice").await.unwrap();
    assert_eq!(server.asked("/identity/.well-known/jwks"), 2);
}

#[tokio::test]
async fn an_outage_is_said_and_passes() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    server.outage(true).await;
    let now = server.clock.now();
    let refusal = provider.begin(&callback(), None, None, now).await.err().unwrap();
    assert_eq!(refusal.code(), "provider_unavailable");
    server.outage(false).await;
    let later = now + SignedDuration::from_secs(6);
    provider.begin(&callback(), None, None, later).await.unwrap();
}

/// The authorization request with one parameter changed; an empty value takes it away.
fn with(url: &str, name: &str, value: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.retain(|(other, _)| other != name);
    if !value.is_empty() {
        pairs.push((name.to_owned(), value.to_owned()));
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

#[tokio::test]
async fn the_provider_is_strict() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let url = begin(&server, &provider).await.authorization_url;
    // Wrong client or redirect URI: a page, and no redirect to an address that nobody registered.
    for (name, value) in [
        ("client_id", "other"),
        ("client_id", ""),
        ("redirect_uri", "http://localhost:8080/sign-in/callback/"),
        ("redirect_uri", "http://localhost:8080/sign-in/callback?x=1"),
        ("redirect_uri", "http://evil.example/sign-in/callback"),
        ("redirect_uri", ""),
    ] {
        let answer = server.http.get(with(&url, name, value)).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{name}={value}");
    }
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("prompt", "none", "login_required"),
        ("login_hint", "mallory", "access_denied"),
    ] {
        let answer = answer(&server, &with(&url, name, value)).await;
        assert_eq!(answer["error"], error, "{name}={value}");
        assert!(!answer.contains_key("code"));
        assert!(answer.contains_key("state"));
    }
    let twice = answer(&server, &format!("{url}&nonce=again")).await;
    assert_eq!(twice["error"], "invalid_request");
}

#[tokio::test]
async fn the_page_lists_the_people_and_quotes_what_it_was_given() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let url = begin(&server, &provider).await.authorization_url;
    let url = with(&url, "state", "\"><script>alert(1)</script>");
    let page = server.http.get(url).send().await.unwrap().text().await.unwrap();
    for login in ["alice", "bob", "carol", "dan"] {
        assert!(page.contains(&format!("name=\"login_hint\" value=\"{login}\"")));
    }
    assert!(!page.contains("<script"));
}

async fn exchange(
    server: &IdentityServer,
    form: &[(&str, &str)],
    basic: Option<&str>,
) -> (u16, Value) {
    let mut request = server.http.post(format!("{}/identity/token", server.base)).form(form);
    if let Some(secret) = basic {
        request = request.basic_auth("countersign", Some(secret));
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_token_endpoint_takes_the_secret_either_way_and_revokes_on_reuse() {
    let server = IdentityServer::start().await;
    let provider = provider(&server);
    let mine = begin(&server, &provider).await;
    let code = choose(&server, &mine, "alice").await.remove("code").unwrap();
    let callback = callback();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", callback.as_str()),
        ("code_verifier", mine.pkce_verifier.as_str()),
        ("client_id", "countersign"),
    ];
    let posted = [form.as_slice(), &[("client_secret", SECRET)]].concat();
    assert_eq!(exchange(&server, &form, None).await.1["error"], "invalid_client");
    assert_eq!(exchange(&server, &form, Some("wrong")).await.0, 401);
    assert_eq!(exchange(&server, &posted, Some("both")).await.1["error"], "invalid_request");
    let implicit = [("grant_type", "password"), ("client_id", "countersign"), posted[5]];
    assert_eq!(exchange(&server, &implicit, None).await.1["error"], "unsupported_grant_type");

    let (status, tokens) = exchange(&server, &posted, None).await;
    assert_eq!(status, 200);
    let access = tokens["access_token"].as_str().unwrap();
    let userinfo = || {
        let url = format!("{}/identity/userinfo", server.base);
        server.http.get(url).bearer_auth(access).send()
    };
    let person: Value = userinfo().await.unwrap().json().await.unwrap();
    assert_eq!(person["sub"], "u-alice");
    assert_eq!(person["groups"], json!(["release-managers", "engineering"]));
    assert_eq!(exchange(&server, &posted, None).await.1["error"], "invalid_grant");
    assert_eq!(userinfo().await.unwrap().status(), 401, "a code used twice revokes what it gave");
}
