//! Authorization codes and access tokens: what they are bound to, and that each is used once.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};

use super::people::Person;
use crate::randomness;

/// RFC 6749, section 4.1.2, asks for at most ten minutes; software needs seconds.
const CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);

const ACCESS_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_secs(300);

/// What a person's sign-in gave, bound to the request that asked for it.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) person: &'static Person,
    pub(super) redirect_uri: String,
    pub(super) nonce: Option<String>,
    pub(super) code_challenge: String,
    pub(super) auth_time: Timestamp,
}

/// Codes that were given out, and access tokens.
#[derive(Default)]
pub(super) struct Codes {
    waiting: HashMap<String, (Grant, Timestamp)>,
    /// Spent codes and the access token each gave: a code's second use revokes that token.
    spent: HashMap<String, String>,
    access: HashMap<String, (&'static Person, Timestamp)>,
}

impl Codes {
    pub(super) fn give(&mut self, grant: Grant, now: Timestamp) -> String {
        self.waiting.retain(|_, (_, made)| now.duration_since(*made) <= CODE_LIFETIME);
        let code = randomness::token::<32>();
        self.waiting.insert(code.clone(), (grant, now));
        code
    }

    /// Spends a code for its grant and a new access token.
    ///
    /// # Errors
    /// The reason, in words, when the code gives nothing. A code is spent by its first use,
    /// whether that use was right or wrong, so that nobody can guess a verifier twice.
    pub(super) fn spend(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<(Grant, String), &'static str> {
        if let Some(token) = self.spent.get(code) {
            self.access.remove(token);
            return Err("the code was used before; what it gave is revoked");
        }
        let (grant, made) = self.waiting.remove(code).ok_or("the code is not one of ours")?;
        let access_token = randomness::token::<32>();
        self.spent.insert(code.to_owned(), access_token.clone());
        if now.duration_since(made) > CODE_LIFETIME {
            return Err("the code has expired");
        }
        if grant.redirect_uri != redirect_uri {
            return Err("redirect_uri is not the one that the code was given for");
        }
        if challenge(verifier) != grant.code_challenge {
            return Err("code_verifier does not fit the code_challenge");
        }
        self.access.insert(access_token.clone(), (grant.person, now));
        Ok((grant, access_token))
    }

    /// Whose access token this is.
    pub(super) fn person(&self, access_token: &str, now: Timestamp) -> Option<&'static Person> {
        let (person, made) = self.access.get(access_token)?;
        (now.duration_since(*made) <= ACCESS_TOKEN_LIFETIME).then_some(*person)
    }
}

/// The S256 transformation of RFC 7636, section 4.2.
fn challenge(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    BASE64URL_NOPAD.encode(digest.as_ref())
}
