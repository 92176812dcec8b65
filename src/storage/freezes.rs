//! Freezes are entries of the ledger. Beside them stands the sign-in that each signature rests on, which is
//! believed by nobody: its digest was signed.

use crate::domain::decision::SignedDecision;
use crate::domain::freeze::FREEZE_BEGUN;
use crate::storage::column::big_int;
use crate::storage::error::{Result, StorageError};
use crate::storage::writer::step;
use crate::storage::{Storage, Writer};

impl Storage {
    /// The ID token and the directory's key (RFC 7638 form) of the sign-in that the signature of the entry at
    /// this index rests on.
    pub async fn freeze_sign_in(&self, index: u64) -> Result<Option<(String, String)>> {
        const SQL: &str = "SELECT id_token, issuer_key FROM freeze_sign_ins WHERE entry_index = $1";
        Ok(sqlx::query_as(SQL)
            .bind(big_int(index)?)
            .fetch_optional(&mut *self.reader().await?)
            .await?)
    }
}

impl Writer {
    /// Keeps the sign-in that a signature rests on. The next entry of this change must be the one about it.
    ///
    /// # Errors
    /// [`StorageError::Duplicate`] if there is one already.
    pub async fn insert_freeze_sign_in(&mut self, signed: &SignedDecision) -> Result<()> {
        let entry = big_int(self.head.size())?;
        step!(self, async {
            const SQL: &str = "INSERT INTO freeze_sign_ins (entry_index, id_token, issuer_key) \
                 VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            let touched = sqlx::query(SQL)
                .bind(entry)
                .bind(&signed.id_token)
                .bind(&signed.issuer_key)
                .execute(&mut *self.transaction)
                .await?
                .rows_affected();
            if touched == 1 {
                Ok(())
            } else {
                Err(StorageError::Duplicate("a sign-in of a freeze"))
            }
        })
    }

    /// Whether a freeze begins at this index or later.
    pub async fn has_freeze_since(&mut self, index: u64) -> Result<bool> {
        self.has_kind_since(FREEZE_BEGUN, index).await
    }
}
