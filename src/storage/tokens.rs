//! Requesters' tokens that were spent: each creates under one idempotency key only.

use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::storage::error::Result;

/// What became of a requester's token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpentToken {
    /// It was never used to create anything.
    FirstUse,
    /// It was used before, by the same requester under the same key: a retry.
    SameKey,
    /// It was used before under another key: a replay.
    OtherKey,
}

/// Remembers that a token created something under a key, or says that it did before.
pub(super) async fn spend_token(
    connection: &mut AnyConnection,
    token_id: &str,
    requester_key: &str,
    idempotency_key: &str,
    expires_at: Timestamp,
) -> Result<SpentToken> {
    const INSERT: &str = "INSERT INTO spent_tokens (token_id, requester_key, idempotency_key, \
         expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (token_id) DO NOTHING";
    const SELECT: &str =
        "SELECT requester_key, idempotency_key FROM spent_tokens WHERE token_id = $1";
    let touched = sqlx::query(INSERT)
        .bind(token_id)
        .bind(requester_key)
        .bind(idempotency_key)
        .bind(expires_at.as_microsecond())
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if touched == 1 {
        return Ok(SpentToken::FirstUse);
    }
    let (spender, key): (String, String) =
        sqlx::query_as(SELECT).bind(token_id).fetch_one(connection).await?;
    let same = spender == requester_key && key == idempotency_key;
    Ok(if same { SpentToken::SameKey } else { SpentToken::OtherKey })
}
