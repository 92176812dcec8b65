//! A person signs in with a key alone, while the directory cannot be reached. The session is of a kind of its own:
//! its person reads, and breaks the glass where its rules let them with so old a sign-in ([`crate::domain::policy::BreakGlass`]).
//!
//! What such a session rests on is the last thing that the directory signed of its person, kept where the rules
//! ask for it. That text is verified again, and the newest signed entry of that person's sign-ins must name it:
//! no row makes it another's, younger, or one of more groups.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::key_sign_in::{FrozenKeySignIn, SIGNED_IN_WITH_KEY};
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::domain::role::Authority;
use crate::domain::statement::{STATEMENT_LIFETIME, Signable};
use crate::gate::decide::{RelyingParty, encode, record_of};
use crate::gate::endorse::signing_keys;
use crate::gate::sign_in::SESSION_LIFETIME;
use crate::gate::{CeremonyRefusal, GateError, own_key};
use crate::integrations::login_oidc::DirectoryOutage;
use crate::proof::assertion::{AssertionRefusal, Expectation, UnverifiedAssertion, verify};
use crate::proof::base64url;
use crate::proof::evidence::{SignIn, Trust};
use crate::proof::jwk::thumbprint;
use crate::proof::sign_in::issued_at;
use crate::proof::verify::{LastSignIn, verify_last_sign_in};
use crate::randomness;
use crate::storage::{Credential, Login, Session, Storage};

/// Why nobody is signed in with a key alone, or why it does not do for what they want.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyAloneRefusal {
    /// No rules let a last sign-in count.
    #[error(
        "nobody signs in with a key alone here: no environment has an outage_grace in its break_glass"
    )]
    Off,
    /// There is no outage.
    #[error("the directory can be reached: sign in there")]
    DirectoryReachable,
    /// The statement is unknown, over, used, or of another browser.
    #[error("this sign-in is over, was used, or was begun in another browser: begin again")]
    Stale,
    /// The key does not say whose it is.
    #[error(
        "the key did not say whose it is, so it cannot sign you in alone: use a passkey, or a security key that keeps its keys itself"
    )]
    NotDiscoverable,
    /// The key is none that may sign.
    #[error(
        "this key signs nobody in: it is unknown, was given up, is suspended, or waits for endorsements"
    )]
    NoSuchKey,
    /// No last sign-in is known that counts.
    #[error(
        "your last sign-in at the directory is unknown, or longer ago than any rules let it count: wait until the directory can be reached, or ask somebody else who may break the glass"
    )]
    NoLastSignIn,
    /// It is too old for this environment.
    #[error(
        "you signed in with your key alone, and the rules of {0} do not let your last sign-in count for breaking the glass any more: somebody else has to, or the directory has to be reached again"
    )]
    NotBridged(String),
    /// Such a session does nothing else.
    #[error(
        "you signed in with your key alone, since the directory cannot be reached: you can read, and break the glass where its rules let you. Nothing was done; everything else takes a sign-in at the directory"
    )]
    BreaksGlassAlone,
}

impl KeyAloneRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off => "key_sign_in_off",
            Self::DirectoryReachable => "directory_reachable",
            Self::Stale => "stale_sign_in",
            Self::NotDiscoverable => "key_not_discoverable",
            Self::NoSuchKey => "key_signs_nobody_in",
            Self::NoLastSignIn => "no_last_sign_in",
            Self::NotBridged(_) => "outage_grace_over",
            Self::BreaksGlassAlone => "signed_in_with_key",
        }
    }
}

/// What comes back of a sign-in with a key.
pub struct Arrival<'a> {
    /// The digest of the cookie of the browser.
    pub browser: Digest,
    /// The statement's nonce.
    pub nonce: &'a str,
    /// What the key signed.
    pub assertion: &'a UnverifiedAssertion,
    /// That the directory cannot be reached.
    pub outage: DirectoryOutage,
}

/// Somebody who is signed in now.
pub struct SignedIn {
    /// The secret for the cookie; only its hash is stored.
    pub secret: String,
    /// The session.
    pub session: Session,
    /// The page to return to.
    pub return_to: String,
}

/// Makes the statement that a key signs in this browser to sign its owner in.
pub async fn begin(
    storage: &Storage,
    party: &RelyingParty,
    browser: Digest,
    return_to: String,
    now: Timestamp,
) -> Result<FrozenKeySignIn, GateError> {
    let nonce = randomness::token::<32>();
    let expires_at = now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now);
    let statement = FrozenKeySignIn::until(&party.origin, nonce.clone(), expires_at)?;
    // The directory's sign-ins have two texts here and a verifier; this has one text and none.
    let login = Login {
        state: nonce.clone(),
        nonce,
        pkce_verifier: String::new(),
        browser,
        return_to,
        ceremony: None,
        expires_at,
    };
    storage.put_login(&login).await?;
    Ok(statement)
}

/// Whether a sign-in under way is one with a key, which the directory answers nothing about.
pub fn is_with_key(login: &Login) -> bool {
    login.state == login.nonce && login.pkce_verifier.is_empty()
}

/// Signs the owner of a key in. Its statement is used up, whatever comes of it; counter, session and entry commit
/// together.
///
/// # Errors
/// [`KeyAloneRefusal`], or what is wrong with the assertion.
pub async fn finish(
    storage: &Storage,
    authority: &Authority,
    trust: &Trust,
    party: &RelyingParty,
    arrival: &Arrival<'_>,
    now: Timestamp,
) -> Result<SignedIn, GateError> {
    let grace = authority.longest_outage_grace().ok_or(KeyAloneRefusal::Off)?;
    let login = storage.take_login(arrival.nonce, now).await?;
    let login = login.filter(|login| is_with_key(login) && login.browser == arrival.browser);
    let login = login.ok_or(KeyAloneRefusal::Stale)?;
    let statement = FrozenKeySignIn::until(&party.origin, login.nonce, login.expires_at)?;
    let credential = known_key(storage, trust, arrival.assertion).await?;
    let expectation = Expectation {
        challenge: *statement.challenge().as_bytes(),
        origin: &party.origin,
        rp_id: &party.id,
        credentials: &[record_of(&credential).map_err(CeremonyRefusal::UnreadableCredential)?],
        device_bound: false,
    };
    let verified = match verify(&expectation, arrival.assertion) {
        Err(AssertionRefusal::SignCountRegressed { .. }) => {
            return Err(suspend(storage, &credential, now).await?.into());
        }
        other => other?,
    };
    let last = last_sign_in(storage, authority, trust, &credential.person, grace, now).await?;
    let secret = randomness::token::<32>();
    let ends = now.saturating_add(SESSION_LIFETIME).unwrap_or(now);
    let counts_until = last.read.issued_at().saturating_add(grace).unwrap_or(now);
    let mut profile = last.read.profile().clone();
    profile.directory_unreachable_since = Some(arrival.outage.since());
    let session = Session {
        id: Digest::of(&secret),
        profile,
        id_token: last.kept.text(),
        issuer_key: last.kept.key.clone(),
        auth_time: None,
        created_at: now,
        expires_at: ends.min(counts_until),
    };
    let mut writer = storage.begin().await?;
    let (from, to) = (credential.sign_count, verified.new_sign_count());
    if !writer.advance_sign_count(&credential.id, from, to, now).await? {
        return Err(KeyAloneRefusal::Stale.into());
    }
    writer.insert_session(&session).await?;
    writer.record(SIGNED_IN_WITH_KEY, told(&session, &credential, &last.read), now).await?;
    writer.commit().await?;
    Ok(SignedIn { secret, session, return_to: login.return_to })
}

/// What the ledger says of it.
fn told(session: &Session, credential: &Credential, last: &LastSignIn) -> serde_json::Value {
    json!({
        "person": session.profile.person,
        "name": session.profile.name,
        "groups": session.profile.groups,
        "auth_time": session.auth_time,
        "credential": encode(&credential.id),
        "directory_unreachable_since": session.profile.directory_unreachable_since,
        "signed_in_at": last.issued_at(),
        "sign_in_digest": Digest::of(&session.id_token),
        "sign_in_key": thumbprint(&session.issuer_key),
    })
}

/// The key that is said to have signed, if it is one that may sign, by signed entries as well as by rows, and says
/// whose it is.
async fn known_key(
    storage: &Storage,
    trust: &Trust,
    assertion: &UnverifiedAssertion,
) -> Result<Credential, GateError> {
    // Whose it is, the assertion is checked for; it has to say it.
    if assertion.user_handle.is_none() {
        return Err(KeyAloneRefusal::NotDiscoverable.into());
    }
    let unknown = || GateError::from(KeyAloneRefusal::NoSuchKey);
    let id = base64url::decode(&assertion.raw_id).ok_or_else(unknown)?;
    let credential = storage.credential(&id).await?.ok_or_else(unknown)?;
    let usable = match signing_keys(storage, trust, trust.endorsements, &credential.person).await {
        Err(GateError::Ceremony(_)) => Vec::new(),
        other => other?,
    };
    let known = own_key::known_keys(storage, &credential.person).await?;
    if usable.contains(&credential) && known.contains(&encode(&id)) {
        Ok(credential)
    } else {
        Err(unknown())
    }
}

async fn suspend(
    storage: &Storage,
    credential: &Credential,
    now: Timestamp,
) -> Result<CeremonyRefusal, GateError> {
    let mut writer = storage.begin().await?;
    writer.suspend_credential(&credential.id, "its signature counter went backwards", now).await?;
    writer.commit().await?;
    Ok(CeremonyRefusal::SuspendedCredential)
}

/// A last sign-in: what is kept of it, and what it says.
struct Last {
    kept: SignIn,
    read: LastSignIn,
}

/// The last sign-in of a person, if it is at most so old.
async fn last_sign_in(
    storage: &Storage,
    authority: &Authority,
    trust: &Trust,
    person: &Person,
    grace: SignedDuration,
    now: Timestamp,
) -> Result<Last, GateError> {
    let unknown = || GateError::from(KeyAloneRefusal::NoLastSignIn);
    let row = storage.last_sign_in(person).await?.ok_or_else(unknown)?;
    // The entry came after the directory's signature.
    let since = now.saturating_sub(grace).unwrap_or(Timestamp::MIN);
    let record = storage.newest_sign_in(person, since).await?.ok_or_else(unknown)?;
    if record.data["sign_in_digest"] != json!(Digest::of(&row.text)) {
        return Err(unknown());
    }
    let recorded_key = record.data["sign_in_key"].as_str().unwrap_or_default();
    let claim = authority.policies.values().find_map(Policy::github_id_claim);
    let kept = SignIn::of_text(row.text, row.issuer_key);
    let read = verify_last_sign_in(&kept, recorded_key, claim, trust);
    let read = read.map_err(|failure| {
        tracing::warn!(%failure, person = person.subject, "a last sign-in does not hold");
        unknown()
    })?;
    let age = now.duration_since(read.issued_at());
    if read.profile().person == *person && age <= grace {
        Ok(Last { kept, read })
    } else {
        Err(unknown())
    }
}

/// Refuses whoever signed in with a key alone to sign a statement that does not say so, and everybody else one that does.
pub fn require_said<P: Signable>(session: &Session, statement: &P) -> Result<(), CeremonyRefusal> {
    let said = statement.directory_unreachable_since();
    if session.profile.directory_unreachable_since == said {
        return Ok(());
    }
    Err(KeyAloneRefusal::BreaksGlassAlone.into())
}

/// Refuses whoever signed in with a key alone, unless the policy lets the glass be broken with so old a sign-in.
pub fn require_bridged(
    session: &Session,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), CeremonyRefusal> {
    if session.profile.directory_unreachable_since.is_none() {
        return Ok(());
    }
    let glass = policy.break_glass.as_ref();
    match issued_at(&session.id_token).zip(glass) {
        Some((signed_in, glass)) if glass.bridges(signed_in, now) => Ok(()),
        _ => Err(KeyAloneRefusal::NotBridged(policy.environment.clone()).into()),
    }
}
