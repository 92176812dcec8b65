//! Signs grants and verifies them, strictly.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::grant::{GRANT_ALGORITHM, GRANT_LIFETIME, GRANT_TYPE, GrantClaims, GrantKey};
use crate::proof::base64url;
use crate::proof::jwk::{ed25519_key, thumbprint};
use crate::proof::token::{CompactToken, Unreadable, is_signed_by};

/// How far the clocks of two gates may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// The key that signs grants, and the public keys of those that were signed before it was changed.
#[derive(Clone, Debug)]
pub struct GrantKeys {
    key: Arc<GrantKey>,
    /// The public keys that count, the signing one first, in the form that RFC 7638 hashes.
    public: Vec<String>,
}

/// A grant whose signature and times hold. Only [`GrantKeys::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedGrant {
    claims: GrantClaims,
}

impl VerifiedGrant {
    /// What it says.
    pub fn claims(&self) -> &GrantClaims {
        &self.claims
    }
}

/// Why a grant is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// It is no token.
    #[error("this is no grant of this gate: {0}")]
    Unreadable(#[from] Unreadable),
    /// It is a token of another kind.
    #[error("this is no grant of this gate: its {0} is not that of a grant")]
    OtherForm(&'static str),
    /// No key of this gate signed it.
    #[error("no key of this gate signed this grant")]
    Signature,
    /// Its time is over or not yet come.
    #[error(
        "this grant is not valid now: read the approval again for a new one, which works as long as it is approved"
    )]
    Time,
}

impl GrantFault {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::OtherForm(_) | Self::Signature => "invalid_grant",
            Self::Time => "grant_expired",
        }
    }
}

impl GrantKeys {
    /// The keys of a configuration. `previous` are public keys in the form of RFC 7638.
    pub fn new(key: Arc<GrantKey>, previous: &[String]) -> Self {
        let mut public = vec![ed25519_key(&key.public())];
        public.extend(previous.iter().cloned());
        Self { key, public }
    }

    /// The key set that enforcement points read (RFC 7517).
    pub fn key_set(&self) -> Value {
        let keys: Vec<Value> = self
            .public
            .iter()
            .filter_map(|key| {
                let mut members: Value = serde_json::from_str(key).ok()?;
                members["kid"] = json!(thumbprint(key));
                members["alg"] = json!(GRANT_ALGORITHM);
                members["use"] = json!("sig");
                Some(members)
            })
            .collect();
        json!({ "keys": keys })
    }

    /// Signs a grant.
    ///
    /// # Errors
    /// If the claims have no canonical form, which none lack.
    pub fn sign(&self, claims: &GrantClaims) -> Result<String, CanonicalError> {
        let kid = self.public.first().map(|key| thumbprint(key)).unwrap_or_default();
        let header = json!({"alg": GRANT_ALGORITHM, "kid": kid, "typ": GRANT_TYPE});
        let encode = |text: String| base64url::encode(text.as_bytes());
        let header = encode(to_canonical_json(&header)?);
        let input = format!("{header}.{}", encode(to_canonical_json(claims)?));
        let signature = base64url::encode(&self.key.sign(&input));
        Ok(format!("{input}.{signature}"))
    }

    /// Verifies everything about a grant that the grant itself can show.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(
        &self,
        token: &str,
        origin: &str,
        now: Timestamp,
    ) -> Result<VerifiedGrant, GrantFault> {
        let read = CompactToken::parse(token)?;
        let header = |name: &str| read.unverified_header.get(name).and_then(Value::as_str);
        if header("typ") != Some(GRANT_TYPE) || header("alg") != Some(GRANT_ALGORITHM) {
            return Err(GrantFault::OtherForm("header"));
        }
        // A key that the header brings says nothing: those of the configuration alone are tried.
        if !self.public.iter().any(|key| is_signed_by(token, key)) {
            return Err(GrantFault::Signature);
        }
        let claims: GrantClaims = serde_json::from_value(Value::Object(read.unverified_claims))
            .map_err(|_| GrantFault::OtherForm("list of claims"))?;
        if claims.iss != origin {
            return Err(GrantFault::OtherForm("issuer"));
        }
        let at = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| GrantFault::Time);
        let (begins, ends) = (at(claims.nbf)?, at(claims.exp)?);
        let is_short = ends.duration_since(begins) <= GRANT_LIFETIME;
        let has_begun = begins.duration_since(now) <= LEEWAY;
        // No leeway at the end: whoever is late reads a new one.
        if !is_short || !has_begun || now >= ends {
            return Err(GrantFault::Time);
        }
        Ok(VerifiedGrant { claims })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;
    use crate::domain::ids::ApprovalId;

    const ORIGIN: &str = "https://gate.example.com";

    fn keys(seed: u8, previous: &[String]) -> GrantKeys {
        GrantKeys::new(Arc::new(GrantKey::from_seed(&[seed; 32]).unwrap()), previous)
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn claims() -> GrantClaims {
        let (iat, exp) = GrantClaims::times(now(), Timestamp::MAX);
        GrantClaims {
            iss: ORIGIN.into(),
            aud: "https://db.example.com".into(),
            sub: "agent:1".into(),
            jti: "j".into(),
            iat,
            nbf: iat,
            exp,
            approval: ApprovalId::from_random([1; 16]),
            environment: "production".into(),
            tool: "restart".into(),
            action_digest: Digest::of("a"),
            arguments_digest: Digest::of("b"),
        }
    }

    fn code(keys: &GrantKeys, token: &str, at: Timestamp) -> Result<(), &'static str> {
        keys.verify(token, ORIGIN, at).map(|_| ()).map_err(|fault| fault.code())
    }

    #[test]
    fn a_grant_holds_for_its_keys_and_its_time_alone() {
        let old = keys(1, &[]);
        let token = old.sign(&claims()).unwrap();
        assert_eq!(old.verify(&token, ORIGIN, now()).unwrap().claims(), &claims());
        let after_change =
            keys(2, &[ed25519_key(&GrantKey::from_seed(&[1; 32]).unwrap().public())]);
        assert_eq!(code(&after_change, &token, now()), Ok(()));
        assert_eq!(after_change.key_set()["keys"].as_array().unwrap().len(), 2);
        assert_eq!(code(&keys(2, &[]), &token, now()), Err("invalid_grant"));
        let later = |seconds| now() + SignedDuration::from_secs(seconds);
        assert_eq!(code(&old, &token, later(299)), Ok(()));
        assert_eq!(code(&old, &token, later(300)), Err("grant_expired"));
        assert_eq!(code(&old, &token, later(-31)), Err("grant_expired"));
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        let keys = keys(1, &[]);
        let with = |change: &dyn Fn(&mut GrantClaims)| {
            let mut claims = claims();
            change(&mut claims);
            keys.sign(&claims).unwrap()
        };
        let long = with(&|claims| claims.exp += 1);
        assert_eq!(code(&keys, &long, now()), Err("grant_expired"));
        let other = with(&|claims| claims.iss = "https://other.example.com".into());
        assert_eq!(code(&keys, &other, now()), Err("invalid_grant"));
        let token = keys.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let sign = |header: Value, claims: &str| {
            let input = format!("{}.{claims}", base64url::encode(header.to_string().as_bytes()));
            format!("{input}.{}", base64url::encode(&keys.key.sign(&input)))
        };
        let header = |changes: Value| {
            let mut header = json!({"alg": "EdDSA", "typ": GRANT_TYPE});
            for (name, value) in changes.as_object().unwrap() {
                header[name] = value.clone();
            }
            header
        };
        assert_eq!(code(&keys, &sign(header(json!({})), parts[1]), now()), Ok(()));
        for bad in [
            sign(header(json!({"typ": "JWT"})), parts[1]),
            sign(header(json!({"typ": null})), parts[1]),
            sign(header(json!({"alg": "none"})), parts[1]),
            sign(header(json!({"alg": "HS256"})), parts[1]),
            sign(header(json!({"crit": ["x"]})), parts[1]),
            sign(header(json!({})), &base64url::encode(b"{}")),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}A", parts[0], parts[1], &parts[2][..85]),
            format!("{token}.x"),
            String::new(),
            "x".to_owned(),
        ] {
            assert_eq!(code(&keys, &bad, now()), Err("invalid_grant"), "{bad}");
        }
    }
}
