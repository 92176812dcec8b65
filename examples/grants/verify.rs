//! Lets one call through that people signed: the enforcement point of a tool, in Rust.
//!
//!     cargo run --example grant -- GATE AUDIENCE TOOL < CALL
//!
//! CALL is {"grant": "...", "arguments": {...}}, as an agent presents it. Exit code 0 and the arguments on standard
//! output: call the tool with these now, once. Anything else: do not.
#![expect(clippy::print_stdout, reason = "the answer is what the program is for")]

use std::error::Error;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

/// The arguments to call the tool with.
///
/// # Errors
/// Whatever stands in the way: do not call the tool then.
async fn let_through(
    gate: &str,
    audience: &str,
    tool: &str,
    call: &Value,
) -> Result<Value, Box<dyn Error>> {
    let http = reqwest::Client::builder().timeout(std::time::Duration::from_secs(20)).build()?;
    let grant = call["grant"].as_str().ok_or("there is no grant")?;
    // 1. The gate signed it, for us, for this tool, and its time is not over. No more than a cheap first
    //    look: a token that nobody used yet looks like one that was used.
    let header = decode_header(grant)?;
    if header.typ.as_deref() != Some("countersign-grant+jwt") {
        return Err("this is a token of another kind".into());
    }
    let keys: JwkSet =
        http.get(format!("{gate}/.well-known/jwks.json")).send().await?.json().await?;
    let key = keys.find(header.kid.as_deref().unwrap_or_default()).ok_or("the key is unknown")?;
    let mut expected = Validation::new(Algorithm::EdDSA);
    expected.set_required_spec_claims(&["exp", "nbf", "aud", "iss"]);
    expected.set_issuer(&[gate]);
    expected.set_audience(&[audience]);
    expected.validate_nbf = true;
    let claims = decode::<Value>(grant, &DecodingKey::from_jwk(key)?, &expected)?.claims;
    if claims["tool"] != tool {
        return Err("this grant is for another tool".into());
    }
    // 2. The gate uses it up, for exactly these arguments. Only its 200 lets the call through.
    let presented =
        json!({"grant": grant, "audience": audience, "arguments": call["arguments"].clone()});
    let answer = http.post(format!("{gate}/v1/grants/consume")).json(&presented).send().await?;
    let is_used = answer.status() == reqwest::StatusCode::OK;
    let said: Value = answer.json().await?;
    if is_used {
        Ok(said["arguments"].clone())
    } else {
        Err(said["detail"].as_str().unwrap_or("the gate refused it").into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [gate, audience, tool] = &words[..] else { return Err("GATE AUDIENCE TOOL".into()) };
    let call = serde_json::from_reader(std::io::stdin())?;
    println!("{}", let_through(gate, audience, tool, &call).await?);
    Ok(())
}
