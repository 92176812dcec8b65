//! What is good once or for a while: tokens, nonces, sign-ins, registrations, sessions, counters.

use countersign::domain::digest::Digest;
use countersign::storage::{
    Ceremony, CredentialStatus, IssuedStatement, Login, SpentToken, Storage, StorageError,
};
use jiff::{SignedDuration, Timestamp};

use super::database::{Database, create, credential, now, person, register, session, sign_in};
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    a_token_is_spent_on_one_key,
    a_nonce_is_used_once,
    a_sign_in_comes_back_once_and_in_time,
    a_registration_is_finished_once_and_in_time,
    a_session_ends,
    a_counter_moves_on_from_what_was_read,
    a_suspended_key_counts_no_more,
    a_key_is_registered_once,
);

fn minutes(minutes: i64) -> Timestamp {
    now() + SignedDuration::from_mins(minutes)
}

async fn spend(storage: &Storage, token: &str, requester: &str, key: &str) -> SpentToken {
    let mut writer = storage.begin().await.unwrap();
    let spent = writer.spend_token(token, requester, key, minutes(5)).await.unwrap();
    writer.commit().await.unwrap();
    spent
}

async fn a_token_is_spent_on_one_key(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    assert_eq!(spend(&storage, "token", "github:1", "a").await, SpentToken::FirstUse);
    assert_eq!(spend(&storage, "token", "github:1", "a").await, SpentToken::SameKey);
    assert_eq!(spend(&storage, "token", "github:1", "b").await, SpentToken::OtherKey);
    assert_eq!(spend(&storage, "token", "github:2", "a").await, SpentToken::OtherKey);
    assert_eq!(spend(&storage, "other", "github:1", "a").await, SpentToken::FirstUse);
    // It is remembered longer than any gate accepts it.
    storage.sweep(minutes(14)).await.unwrap();
    assert_eq!(spend(&storage, "token", "github:1", "b").await, SpentToken::OtherKey);
    storage.sweep(minutes(16)).await.unwrap();
    assert_eq!(spend(&storage, "token", "github:1", "b").await, SpentToken::FirstUse);
}

async fn a_nonce_is_used_once(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let stored = create(&storage, database.request()).await;
    let issued = IssuedStatement {
        nonce: "nonce".into(),
        about: stored.approval.id().to_string(),
        session: Digest::of("session"),
        person: person("alice"),
        text: "{}".into(),
        expires_at: minutes(5),
        used_at: None,
    };
    storage.put_statement(&issued).await.unwrap();
    let again = storage.put_statement(&issued).await.unwrap_err();
    assert!(matches!(again, StorageError::Duplicate(_)), "{again}");
    assert_eq!(storage.statement("nonce").await.unwrap(), Some(issued.clone()));
    // Two changes at once: one of them uses it.
    let uses = (0..2).map(|_| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let mut writer = storage.begin().await.unwrap();
            let used = writer.use_statement("nonce", now()).await.unwrap();
            writer.commit().await.unwrap();
            used
        })
    });
    let mut used: Vec<bool> =
        futures::future::join_all(uses).await.into_iter().map(Result::unwrap).collect();
    used.sort_unstable();
    assert_eq!(used, [false, true]);
    let used = storage.statement("nonce").await.unwrap().unwrap();
    assert_eq!(used.used_at, Some(now()));
    let mut writer = storage.begin().await.unwrap();
    assert!(!writer.use_statement("unknown", now()).await.unwrap());
    drop(writer);
    // A used one is kept, whatever its time; one that was not is swept.
    let unused = IssuedStatement { nonce: "unused".into(), ..issued };
    storage.put_statement(&unused).await.unwrap();
    storage.sweep(minutes(5)).await.unwrap();
    assert!(storage.statement("nonce").await.unwrap().is_some());
    assert_eq!(storage.statement("unused").await.unwrap(), None);
}

async fn a_sign_in_comes_back_once_and_in_time(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let login = |state: &str| Login {
        state: state.into(),
        nonce: "nonce".into(),
        pkce_verifier: "verifier".into(),
        browser: Digest::of("cookie"),
        return_to: "/".into(),
        ceremony: None,
        expires_at: minutes(10),
    };
    storage.put_login(&login("a")).await.unwrap();
    storage.put_login(&login("b")).await.unwrap();
    let again = storage.put_login(&login("a")).await.unwrap_err();
    assert!(matches!(again, StorageError::Duplicate(_)), "{again}");
    assert_eq!(storage.take_login("a", now()).await.unwrap(), Some(login("a")));
    assert_eq!(storage.take_login("a", now()).await.unwrap(), None, "it came back before");
    assert_eq!(storage.take_login("b", minutes(10)).await.unwrap(), None, "it came too late");
    storage.sweep(minutes(10)).await.unwrap();
    assert_eq!(storage.take_login("b", now()).await.unwrap(), None, "it was swept");
}

async fn a_registration_is_finished_once_and_in_time(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let begun = Ceremony {
        id: "ceremony".into(),
        person: person("alice"),
        session: Digest::of("session"),
        state: "{}".into(),
        registration: None,
        verified: None,
        expires_at: minutes(10),
    };
    storage.put_ceremony(&begun).await.unwrap();
    assert_eq!(storage.ceremony("ceremony", now()).await.unwrap(), Some(begun.clone()));
    assert_eq!(storage.ceremony("ceremony", minutes(10)).await.unwrap(), None);
    let answered =
        Ceremony { registration: Some("{}".into()), verified: Some("{}".into()), ..begun.clone() };
    // Whose it is never changes.
    let stolen = Ceremony { person: person("mallory"), ..answered.clone() };
    let refused = storage.update_ceremony(&stolen).await.unwrap_err();
    assert!(matches!(refused, StorageError::Missing { table: "ceremonies", .. }), "{refused}");
    storage.update_ceremony(&answered).await.unwrap();
    let mut writer = storage.begin().await.unwrap();
    assert_eq!(writer.take_ceremony("ceremony", minutes(10)).await.unwrap(), None, "too late");
    assert_eq!(writer.take_ceremony("ceremony", now()).await.unwrap(), Some(answered));
    assert_eq!(writer.take_ceremony("ceremony", now()).await.unwrap(), None, "taken before");
    drop(writer);
    storage.sweep(minutes(10)).await.unwrap();
    assert_eq!(storage.ceremony("ceremony", now()).await.unwrap(), None, "it was swept");
}

async fn a_session_ends(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let alice = sign_in(&storage, "alice").await;
    let bob = sign_in(&storage, "bob").await;
    assert_eq!(storage.session(&alice.id, minutes(14)).await.unwrap(), Some(alice.clone()));
    assert_eq!(storage.session(&alice.id, minutes(15)).await.unwrap(), None);
    assert_eq!(storage.session(&Digest::of("guess"), now()).await.unwrap(), None);
    let mut writer = storage.begin().await.unwrap();
    let again = writer.insert_session(&session("alice")).await.unwrap_err();
    assert!(matches!(again, StorageError::Duplicate(_)), "{again}");
    drop(writer);
    storage.delete_session(&alice.id).await.unwrap();
    assert_eq!(storage.session(&alice.id, now()).await.unwrap(), None);
    storage.sweep(minutes(15)).await.unwrap();
    assert_eq!(storage.session(&bob.id, now()).await.unwrap(), None, "it was swept");
}

async fn advance(storage: &Storage, subject: &str, from: u32, to: u32) -> bool {
    let mut writer = storage.begin().await.unwrap();
    let id = credential(subject).id;
    let moved = writer.advance_sign_count(&id, from, to, minutes(1)).await.unwrap();
    writer.commit().await.unwrap();
    moved
}

async fn a_counter_moves_on_from_what_was_read(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let key = register(&storage, "alice").await;
    assert!(advance(&storage, "alice", 5, 6).await);
    assert!(!advance(&storage, "alice", 5, 7).await, "another signature came in between");
    let stored = storage.credential(&key.id).await.unwrap().unwrap();
    assert_eq!((stored.sign_count, stored.last_used_at), (6, Some(minutes(1))));
    assert!(!advance(&storage, "nobody", 5, 6).await);
}

async fn a_suspended_key_counts_no_more(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let key = register(&storage, "alice").await;
    let mut writer = storage.begin().await.unwrap();
    writer.suspend_credential(&key.id, "its counter went backwards", now()).await.unwrap();
    writer.commit().await.unwrap();
    let stored = storage.credential(&key.id).await.unwrap().unwrap();
    assert_eq!(stored.status, CredentialStatus::Suspended);
    assert!(!advance(&storage, "alice", 5, 6).await);
    let mut writer = storage.begin().await.unwrap();
    let unknown = writer.suspend_credential(b"unknown", "why", now()).await.unwrap_err();
    assert!(matches!(unknown, StorageError::Missing { table: "credentials", .. }), "{unknown}");
}

async fn a_key_is_registered_once(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let key = register(&storage, "alice").await;
    let stolen = countersign::storage::Credential { person: person("mallory"), ..key.clone() };
    let mut writer = storage.begin().await.unwrap();
    let refused = writer.insert_credential(&stolen).await.unwrap_err();
    assert!(matches!(refused, StorageError::Duplicate(_)), "{refused}");
    drop(writer);
    assert_eq!(storage.credentials_of(&person("alice")).await.unwrap(), [key]);
    assert_eq!(storage.credentials_of(&person("mallory")).await.unwrap(), []);
}
