//! The keys of token issuers: found, rotated, kept through an outage, and forgotten.

use countersign::integrations::workload_oidc::Verifier;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{issuers, seconds, verifier, verify};
use crate::identity_server::IdentityServer;

#[tokio::test]
async fn rotated_keys_are_found_and_withdrawn_ones_forgotten() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let old = server.token(json!({})).await;
    let now = server.clock.now();
    verifier.verify(&old, now).await.unwrap();
    server.rotate("github", false).await;
    verify(&server, &verifier, json!({})).await.unwrap();
    // The key before is still published.
    verifier.verify(&old, now).await.unwrap();
    assert_eq!(server.asked("/github/.well-known/jwks"), 2);

    server.rotate("github", true).await;
    let soon = now + SignedDuration::from_secs(30);
    let new = server.token(json!({})).await;
    let refusal = verifier.verify(&new, soon).await.unwrap_err();
    assert_eq!(refusal.code(), "unknown_key", "a second search within the minute");
    // Counted from now: the search before may itself have taken a while.
    let later = server.clock.now() + SignedDuration::from_secs(61);
    verifier.verify(&new, later).await.unwrap();
    assert_eq!(verifier.verify(&old, later).await.unwrap_err().code(), "unknown_key");
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_within_ten_minutes() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let now = server.clock.now();
    let long = json!({ "exp": seconds(&server, 3600) });
    let old = server.token(long).await;
    verifier.verify(&old, now).await.unwrap();
    server.rotate("github", true).await;
    verifier.verify(&old, now + SignedDuration::from_mins(9)).await.unwrap();
    let later = now + SignedDuration::from_mins(10);
    assert_eq!(verifier.verify(&old, later).await.unwrap_err().code(), "unknown_key");
}

#[tokio::test]
async fn an_outage_leaves_known_keys_known() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    verify(&server, &verifier, json!({})).await.unwrap();
    server.outage(true).await;
    verify(&server, &verifier, json!({})).await.unwrap();
    let unknown = json!({ "header": { "kid": "new" } });
    let refusal = verify(&server, &verifier, unknown).await.unwrap_err();
    assert_eq!(refusal.code(), "unknown_key");
    // Old keys that cannot be renewed are kept, and the renewal is tried once a minute.
    let token = server.token(json!({ "exp": seconds(&server, 3600) })).await;
    let later = server.clock.now() + SignedDuration::from_mins(20);
    let before = server.asked("/github/.well-known/openid-configuration");
    for _ in 0..5 {
        verifier.verify(&token, later).await.unwrap();
    }
    assert_eq!(server.asked("/github/.well-known/openid-configuration"), before + 1);

    // The other issuer was never read, and recovers by itself.
    let agent = server.token(json!({ "issuer": "agent" })).await;
    let now = server.clock.now();
    let refusal = verifier.verify(&agent, now).await.unwrap_err();
    assert_eq!(refusal.code(), "keys_unavailable");
    assert!(refusal.is_temporary());
    assert_eq!(verifier.issuers_without_keys(), ["agents"]);
    server.outage(false).await;
    verifier.verify(&agent, now + SignedDuration::from_secs(6)).await.unwrap();
}

#[tokio::test]
async fn unknown_keys_cause_one_search_a_minute_however_many_ask() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let now = server.clock.now();
    verify(&server, &verifier, json!({})).await.unwrap();
    let jwks = "/github/.well-known/jwks";
    assert_eq!(server.asked(jwks), 1);
    let mut tokens = Vec::new();
    for index in 0..40 {
        tokens.push(server.token(json!({ "header": { "kid": format!("k{index}") } })).await);
    }
    let ask_all = |now: Timestamp| {
        futures::future::join_all(tokens.iter().map(|token| verifier.verify(token, now)))
    };
    assert!(ask_all(now).await.iter().all(|verdict| verdict.is_err()));
    assert_eq!(server.asked(jwks), 2);
    ask_all(now + SignedDuration::from_secs(59)).await;
    assert_eq!(server.asked(jwks), 2);
    ask_all(now + SignedDuration::from_secs(60)).await;
    assert_eq!(server.asked(jwks), 3);
}

#[tokio::test]
async fn many_first_tokens_cause_one_search() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let token = server.token(json!({})).await;
    let now = server.clock.now();
    let all = (0..50).map(|_| verifier.verify(&token, now));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(server.asked("/github/.well-known/jwks"), 1);
}

#[tokio::test]
async fn the_clocks_difference_is_seen() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    assert_eq!(verifier.last_clock_skew(), None);
    let now = server.clock.now();
    server.clock.shift(SignedDuration::from_secs(300));
    verifier.refresh(now).await;
    let skew = verifier.last_clock_skew().unwrap();
    assert!((298..=310).contains(&skew.ahead.as_secs()), "{skew:?}");
    assert!(verifier.issuers_without_keys().is_empty());
}

#[tokio::test]
async fn keys_come_only_from_the_issuers_own_discovery_without_redirects() {
    let server = IdentityServer::start().await;
    // A discovery document that names another issuer is not this issuer's.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let imposter = format!("http://{}", listener.local_addr().unwrap());
    let document = json!({
        "issuer": "https://other.example", "jwks_uri": format!("{}/github/.well-known/jwks", server.base),
    });
    let moved = format!("{}/github/.well-known/openid-configuration", server.base);
    let router = axum::Router::new()
        .route(
            "/a/.well-known/openid-configuration",
            axum::routing::get(|| async { axum::Json(document) }),
        )
        .route(
            "/b/.well-known/openid-configuration",
            axum::routing::get(|| async move { axum::response::Redirect::temporary(&moved) }),
        )
        .route(
            "/c/.well-known/openid-configuration",
            axum::routing::get(|| async { "x".repeat(1 << 20) }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for path in ["/a", "/b", "/c", "/absent"] {
        let mut issuer = issuers(&server).remove(0);
        issuer.issuer = format!("{imposter}{path}");
        let token = server.token(json!({ "iss": issuer.issuer })).await;
        let verifier = Verifier::new(vec![issuer], server.outbound());
        let refusal = verifier.verify(&token, server.clock.now()).await.unwrap_err();
        assert_eq!(refusal.code(), "keys_unavailable", "{path}");
    }
}

#[tokio::test]
async fn tokens_stay_valid_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = IdentityServer::start_in(Some(directory.path())).await;
    let issuer = format!("{}/github", first.base);
    let token = first.token(json!({})).await;
    let second = IdentityServer::start_in(Some(directory.path())).await;
    let mut known = issuers(&first).remove(0);
    known.jwks_uri = Some(format!("{}/github/.well-known/jwks", second.base));
    let verifier = Verifier::new(vec![known], second.outbound());
    let requester = verifier.verify(&token, second.clock.now()).await.unwrap();
    assert_eq!(requester.issuer(), issuer);
}
