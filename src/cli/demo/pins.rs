//! The demo's own anchors: the keys that the sandbox's issuers sign with.

use serde_json::Value;

use crate::cli::demo::pipeline::{client, read};
use crate::proof::jwk::canonical_key;

/// `[trust]` of a gate that believes this sandbox: the keys that its issuers have now.
pub async fn of_sandbox(sandbox: &str) -> Result<String, String> {
    let login = keys_of(sandbox, "identity").await?;
    let github = keys_of(sandbox, "github").await?;
    let agent = keys_of(sandbox, "agent").await?;
    Ok(format!(
        "# Pinned by the demo, which made these keys.\n[trust]\nlogin_keys = [{login}]\n\
         workload_keys = {{ github = [{github}], agent = [{agent}] }}\n"
    ))
}

/// The published keys of an issuer, as TOML literals.
async fn keys_of(sandbox: &str, issuer: &str) -> Result<String, String> {
    let url = format!("{sandbox}/{issuer}/.well-known/jwks");
    let set = read(client()?.get(&url)).await?;
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let keys: Option<Vec<String>> = keys.iter().map(literal).collect();
    keys.map(|keys| keys.join(", ")).ok_or_else(|| format!("{url} holds a key of an unknown kind"))
}

fn literal(jwk: &Value) -> Option<String> {
    canonical_key(jwk).map(|key| format!("'{key}'"))
}
