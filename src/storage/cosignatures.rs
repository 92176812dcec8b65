//! What witnesses signed of the log's heads. Rows are not believed: whoever reads one verifies it.

use crate::storage::Storage;
use crate::storage::column::{Row, big_int};
use crate::storage::error::Result;

impl Storage {
    /// Keeps what a witness (verifier key) signed of the tree of this size, in the place of what it signed
    /// before.
    pub async fn keep_cosignature(
        &self,
        size: u64,
        witness: &str,
        cosignature: &str,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO cosignatures (size, witness, cosignature) VALUES ($1, $2, $3) \
                           ON CONFLICT (size, witness) DO UPDATE SET cosignature = excluded.cosignature";
        sqlx::query(SQL)
            .bind(big_int(size)?)
            .bind(witness)
            .bind(cosignature)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// Witness and cosignature of each row about the tree of this size.
    pub async fn cosignatures_at(&self, size: u64) -> Result<Vec<(String, String)>> {
        const SQL: &str = "SELECT witness, cosignature FROM cosignatures WHERE size = $1";
        let rows =
            sqlx::query_as(SQL).bind(big_int(size)?).fetch_all(&mut *self.reader().await?).await?;
        Ok(rows)
    }

    /// The newest sizes from `first` to `last` with at least so many rows, at most `limit` of them.
    pub async fn cosigned_sizes(
        &self,
        first: u64,
        last: u64,
        rows: u8,
        limit: u32,
    ) -> Result<Vec<u64>> {
        const SQL: &str = "SELECT size FROM cosignatures WHERE size >= $1 AND size <= $2 \
                           GROUP BY size HAVING COUNT(*) >= $3 ORDER BY size DESC LIMIT $4";
        let sizes: Vec<i64> = sqlx::query_scalar(SQL)
            .bind(big_int(first)?)
            .bind(big_int(last)?)
            .bind(i64::from(rows))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let row = Row { table: "cosignatures", key: "of a size" };
        sizes.into_iter().map(|size| row.number("size", size)).collect()
    }
}
