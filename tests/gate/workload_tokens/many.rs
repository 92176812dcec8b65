//! Every claim in every wrong form, of each kind of issuer: at least 150 tokens, and none of them is accepted.

use serde_json::{Value, json};

use super::{verifier, verify, wrong_claims, wrong_signatures};
use crate::identity_server::IdentityServer;

/// Claims with the values that none of them may have. `null` takes the claim out.
fn wrong_forms() -> Vec<(&'static str, Vec<Value>)> {
    let texts = || vec![json!(7), json!(true), json!([]), json!({}), json!("")];
    let times = || vec![json!("300"), json!(true), json!([]), json!({}), json!(-1), json!(1e300)];
    let and = |mut values: Vec<Value>, more: &[Value]| {
        values.extend(more.iter().cloned());
        values
    };
    vec![
        ("iss", and(texts(), &[Value::Null, json!("https://stranger.example"), json!(["x"])])),
        ("sub", and(texts(), &[Value::Null])),
        ("aud", and(texts(), &[Value::Null, json!("x"), json!([7]), json!(["x", "y"])])),
        ("exp", and(times(), &[Value::Null, json!(0)])),
        ("iat", and(times(), &[Value::Null, json!(100_000_000_000_i64)])),
        ("nbf", and(times(), &[json!(100_000_000_000_i64)])),
        ("jti", texts()),
    ]
}

#[tokio::test]
async fn a_hundred_and_fifty_bad_tokens_are_refused() {
    let server = IdentityServer::start().await;
    let verifier = verifier(&server);
    let mut bad: Vec<(String, Value)> = Vec::new();
    for (name, changes, _) in wrong_claims(&server).into_iter().chain(wrong_signatures(&server)) {
        bad.push((name.to_owned(), changes));
    }
    for issuer in ["github", "agent"] {
        for (claim, values) in wrong_forms() {
            for value in values {
                let changes = json!({ "issuer": issuer, claim: value });
                bad.push((format!("{claim} = {value} of {issuer}"), changes));
            }
        }
    }
    let mut refused = 0;
    for (name, changes) in bad {
        let verdict = verify(&server, &verifier, changes).await;
        assert!(verdict.is_err(), "{name}: {verdict:?}");
        refused += 1;
    }
    assert!(refused >= 150, "{refused}");
}
