//! What a configuration comes to as one canonical value, without secrets, so that its digest can stand in
//! the ledger: two starts with the same digest ran with the same settings.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::config::{Config, Pins};
use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::notice::Subscription;
use crate::integrations::github::GitHubSettings;
use crate::integrations::github::app::AppSettings;
use crate::integrations::log_head::LogHeadPlace;
use crate::integrations::receiver::ReceiverSettings;
use crate::integrations::witness::WitnessSettings;
use crate::integrations::workload_oidc::WorkloadIssuer;
use crate::proof::grant::GrantKeys;

/// SHA-256 of the canonical value.
pub(super) fn digest(config: &Config) -> Result<Digest, CanonicalError> {
    Ok(Digest::of(to_canonical_json(&value(config))?))
}

fn value(config: &Config) -> Value {
    // Every field is named, so that a new one does not compile before it was thought of here.
    let Config {
        public_origin: _,
        relying_party,
        listen,
        database: _,
        log_key,
        log_head,
        notice,
        login,
        workload_issuers,
        pins:
            Pins {
                endorsements,
                endorsers,
                recovery_signatures,
                login_keys,
                workload_keys,
                witnesses_required,
                attestation_roots,
                metadata_root,
            },
        metadata,
        witnesses,
        receivers,
        drift,
        reach: _,
        cloud_run,
        attestors,
        github,
        proxies,
        audit_readers,
        grant_keys,
        metrics,
        roles,
        environments,
        warnings: _,
    } = config;
    json!({
        "origin": relying_party.origin,
        "rp_id": relying_party.id,
        "listen": listen,
        "database": config.database_shown(),
        "log_key": HEXLOWER.encode(&log_key.public().0),
        "log_head": match log_head {
            LogHeadPlace::Memory => Value::Null,
            LogHeadPlace::File(path) => json!(path),
            LogHeadPlace::Object(object) => json!({
                "object": object.name.to_string(),
                "endpoint": object.endpoint.as_str(),
            }),
        },
        "trust": {
            "endorsements": endorsements,
            "endorsers": endorsers,
            "recovery_signatures": recovery_signatures,
            "login_keys": login_keys,
            "workload_keys": workload_keys,
            "witnesses_required": witnesses_required,
            "attestation_roots": attestation_roots,
            "metadata_root": metadata_root,
            "metadata": metadata.as_ref().map(|known| known.number()),
        },
        "witnesses": witnesses.iter().map(witness).collect::<Vec<_>>(),
        "drift": drift.as_ref().map(|drift| json!({
            "every": drift.every.as_secs(),
            "push": drift.push.as_ref().map(|push| json!({
                "issuer": issuer(&push.issuer),
                "service_account": push.service_account,
            })),
        })),
        "receivers": receivers.iter().map(receiver).collect::<Vec<_>>(),
        "notice": notice,
        "login": {
            "issuer": login.issuer,
            "client_id": login.client_id,
            "scopes": login.scopes,
            "groups_claim": login.groups_claim,
            "github_id_claim": login.github_id_claim,
            "groups_from": login.groups_from.name(),
            "hosted_domain": login.hosted_domain,
        },
        "workload_issuers": workload_issuers.iter().map(issuer).collect::<Vec<_>>(),
        "cloud_run": {
            "endpoint": cloud_run.endpoint.as_ref().map(ToString::to_string),
            "account": cloud_run.account.to_string(),
            "accounts": cloud_run.accounts_by_name.iter().map(|(service, account)| json!({
                "service": service,
                "account": account.to_string(),
            })).collect::<Vec<_>>(),
        },
        "binary_authorization": {
            "analysis": attestors.analysis.to_string(),
            "kms": attestors.kms.to_string(),
            "attestors": attestors.attestors.iter().map(|(name, one)| json!({
                "environment": name,
                "note": one.note,
                "key": one.key.id(),
            })).collect::<Vec<_>>(),
        },
        "github": github.as_ref().map(self::github),
        "proxies": {
            "trusted": proxies.ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "header": proxies.header.map(|header| format!("{header:?}")),
        },
        "audit_readers": audit_readers,
        "grants": grant_keys.as_ref().map(GrantKeys::key_set),
        "metrics": metrics.iter().map(|(name, one)| json!({
            "name": name,
            "kind": one.kind(),
            "at": one.in_words(),
        })).collect::<Vec<_>>(),
        "roles": roles,
        "environments": environments,
    })
}

fn github(github: &GitHubSettings) -> Value {
    let GitHubSettings { api, token, app } = github;
    let app = app.as_ref().map(|app| {
        let AppSettings { id, private_key: _, webhook_secret: _, installations, shows } = app;
        let installations: Vec<Value> = installations
            .iter()
            .map(|one| json!({"id": one.id, "repositories": one.repositories}))
            .collect();
        json!({"id": id, "installations": installations, "shows": shows})
    });
    json!({"api": api, "has_token": token.is_some(), "app": app})
}

fn witness(witness: &WitnessSettings) -> Value {
    let WitnessSettings { key, url } = witness;
    json!({"key": key, "url": url.as_str()})
}

fn receiver(receiver: &ReceiverSettings) -> Value {
    let Subscription { receiver: name, events, environment, general } = &receiver.subscription;
    json!({
        "name": name,
        "at": receiver.shown(),
        "events": events,
        "environment": environment,
        "general": general,
    })
}

fn issuer(issuer: &WorkloadIssuer) -> Value {
    let WorkloadIssuer {
        name,
        issuer,
        jwks_uri,
        algorithm,
        audience,
        requester_claim,
        kind,
        refused_events,
    } = issuer;
    json!({
        "name": name,
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "algorithm": format!("{algorithm:?}"),
        "audience": audience,
        "requester_claim": requester_claim,
        "kind": format!("{kind:?}"),
        "refused_events": refused_events,
    })
}
