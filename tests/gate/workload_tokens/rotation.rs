//! Keys of an issuer that change under load: while strangers make the gate search for keys that there are not.

use std::sync::Arc;

use countersign::integrations::workload_oidc::Verifier;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;

use super::verifier;
use crate::identity_server::IdentityServer;

/// How many jobs ask at once, and as many strangers.
const CALLERS: usize = 100;
const ROTATIONS: usize = 6;

/// Verifies all of them at once, a job's and a stranger's in turn. Gives the codes with which jobs were refused.
async fn load(
    verifier: &Arc<Verifier>,
    jobs: &[String],
    strangers: &[String],
    now: Timestamp,
) -> Vec<&'static str> {
    let mut calls = JoinSet::new();
    for (job, stranger) in jobs.iter().zip(strangers) {
        for (token, is_job) in [(stranger, false), (job, true)] {
            let (verifier, token) = (Arc::clone(verifier), token.clone());
            calls.spawn(async move { (verifier.verify(&token, now).await, is_job) });
        }
    }
    let mut refused = Vec::new();
    for (verdict, is_job) in calls.join_all().await {
        match verdict {
            Ok(_) => assert!(is_job, "a stranger was let in"),
            Err(refusal) if is_job => refused.push(refusal.code()),
            Err(refusal) => assert_eq!(refusal.code(), "unknown_key"),
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_after_keys_changed_under_load_no_job_is_refused() {
    let server = IdentityServer::start().await;
    let verifier = Arc::new(verifier(&server));
    let jwks = "/agent/.well-known/jwks";
    for turn in 0..ROTATIONS {
        let mut strangers = Vec::new();
        for caller in 0..CALLERS {
            let header = json!({"kid": format!("{turn}-{caller}")});
            strangers.push(server.token(json!({"issuer": "agent", "header": header})).await);
        }
        let of_jobs = async || {
            let mut jobs = Vec::new();
            for _ in 0..CALLERS {
                jobs.push(server.token(json!({"issuer": "agent"})).await);
            }
            jobs
        };
        // With the keys of before; the search of this minute goes to a stranger.
        let refused = load(&verifier, &of_jobs().await, &strangers, server.clock.now()).await;
        assert_eq!(refused, [""; 0], "before rotation {turn}");
        let searched = server.asked(jwks);

        // The old key stays published, or is gone at once.
        server.rotate("agent", turn % 2 == 0).await;
        let jobs = of_jobs().await;
        let now = server.clock.now();
        let refused = load(&verifier, &jobs, &strangers, now).await;
        assert!(refused.iter().all(|code| *code == "unknown_key"), "{refused:?}");

        server.clock.shift(SignedDuration::from_secs(60));
        let later = server.clock.now();
        let refused = load(&verifier, &jobs, &strangers, later).await;
        assert_eq!(refused, [""; 0], "a minute after rotation {turn}");
        let searches = server.asked(jwks) - searched;
        assert!((1..=2).contains(&searches), "{searches}");
        server.clock.shift(SignedDuration::from_secs(61));
    }
}
