//! Rows that time has made useless.

use jiff::{SignedDuration, Timestamp};

use crate::storage::Storage;
use crate::storage::error::Result;

/// How long after its expiry a spent token is remembered. Tokens are accepted up to 30 seconds
/// late, and two gates may disagree about the time by some minutes: a row that is deleted while
/// any gate still accepts its token would let the token create a second approval.
const SPENT_TOKEN_MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// How long a webhook that was dealt with is remembered. GitHub delivers one again for three days; one that
/// comes later is looked up at GitHub, where nothing waits any more.
const RULE_MEMORY: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Storage {
    /// Deletes expired logins, ceremonies, sessions and last sign-ins, statements and links that were never used, and
    /// the memory of tokens that no gate accepts any more.
    pub async fn sweep(&self, now: Timestamp) -> Result<()> {
        const SQL: [&str; 7] = [
            "DELETE FROM logins WHERE expires_at <= $1",
            "DELETE FROM ceremonies WHERE expires_at <= $1",
            "DELETE FROM sessions WHERE expires_at <= $1",
            "DELETE FROM statements WHERE expires_at <= $1 AND used_at IS NULL",
            "DELETE FROM first_key_links WHERE expires_at <= $1 AND session IS NULL",
            "DELETE FROM recovery_links WHERE expires_at <= $1",
            "DELETE FROM last_sign_ins WHERE kept_until <= $1",
        ];
        let mut connection = self.writer().await?;
        for sql in SQL {
            sqlx::query(sql).bind(now.as_microsecond()).execute(&mut *connection).await?;
        }
        let rules = now.saturating_sub(RULE_MEMORY).unwrap_or(Timestamp::MIN);
        sqlx::query("DELETE FROM github_rules WHERE answer IS NOT NULL AND received_at <= $1")
            .bind(rules.as_microsecond())
            .execute(&mut *connection)
            .await?;
        let tokens = now.saturating_sub(SPENT_TOKEN_MARGIN).unwrap_or(Timestamp::MIN);
        sqlx::query("DELETE FROM spent_tokens WHERE expires_at <= $1")
            .bind(tokens.as_microsecond())
            .execute(&mut *connection)
            .await?;
        drop(connection);
        self.sweep_notices(now).await
    }
}
