//! Endorsements: what proves that approvers signed for the keys of others.

use sqlx::{AnyConnection, FromRow};

use crate::domain::decision::SignedDecision;
use crate::domain::person::Person;
use crate::storage::Storage;
use crate::storage::column::{Row, big_int};
use crate::storage::error::{Result, StorageError};

/// One endorsement as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptEndorsement {
    /// The endorsed credential's id, raw.
    pub credential_id: Vec<u8>,
    /// Who endorsed it.
    pub endorser: Person,
    /// The index of its entry in the ledger.
    pub entry: u64,
    /// The signed statement, with the sign-in that it rests on.
    pub signed: SignedDecision,
}

#[derive(FromRow)]
pub(super) struct EndorsementRow {
    pub(super) credential_id: Vec<u8>,
    issuer: String,
    subject: String,
    entry_index: i64,
    statement: String,
    signed_with: Vec<u8>,
    authenticator_data: Vec<u8>,
    client_data_json: Vec<u8>,
    signature: Vec<u8>,
    user_handle: Option<Vec<u8>>,
    id_token: String,
    issuer_key: String,
    endorsed_at: i64,
}

/// The columns of [`EndorsementRow`], in the order in which they were recorded.
macro_rules! endorsement_columns {
    ($where:literal) => {
        concat!(
            "SELECT credential_id, issuer, subject, entry_index, statement, signed_with, \
             authenticator_data, client_data_json, signature, user_handle, id_token, issuer_key, \
             endorsed_at FROM endorsements ",
            $where,
            " ORDER BY entry_index"
        )
    };
}
pub(super) use endorsement_columns;

impl TryFrom<EndorsementRow> for KeptEndorsement {
    type Error = StorageError;

    fn try_from(columns: EndorsementRow) -> Result<Self> {
        let key = data_encoding::BASE64URL_NOPAD.encode(&columns.credential_id);
        let row = Row { table: "endorsements", key: &key };
        Ok(Self {
            entry: row.number("entry_index", columns.entry_index)?,
            credential_id: columns.credential_id,
            endorser: Person { issuer: columns.issuer, subject: columns.subject },
            signed: SignedDecision {
                statement: columns.statement,
                credential_id: columns.signed_with,
                authenticator_data: columns.authenticator_data,
                client_data_json: columns.client_data_json,
                signature: columns.signature,
                user_handle: columns.user_handle,
                id_token: columns.id_token,
                issuer_key: columns.issuer_key,
                decided_at: row.time("endorsed_at", columns.endorsed_at)?,
            },
        })
    }
}

impl Storage {
    /// Every endorsement of one credential, in the order in which they were recorded.
    pub async fn endorsements_of(&self, credential_id: &[u8]) -> Result<Vec<KeptEndorsement>> {
        const SQL: &str = endorsement_columns!("WHERE credential_id = $1");
        let rows: Vec<EndorsementRow> = sqlx::query_as(SQL)
            .bind(credential_id.to_vec())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.into_iter().map(KeptEndorsement::try_from).collect()
    }

    /// Every endorsement of all credentials, in the order in which they were recorded.
    pub async fn endorsements(&self) -> Result<Vec<KeptEndorsement>> {
        const SQL: &str = endorsement_columns!("");
        let rows: Vec<EndorsementRow> =
            sqlx::query_as(SQL).fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(KeptEndorsement::try_from).collect()
    }
}

pub(super) async fn insert_endorsement(
    connection: &mut AnyConnection,
    credential_id: &[u8],
    endorser: &Person,
    signed: &SignedDecision,
    entry: u64,
) -> Result<()> {
    const SQL: &str = "INSERT INTO endorsements (credential_id, issuer, subject, entry_index, \
         statement, signed_with, authenticator_data, client_data_json, signature, user_handle, \
         id_token, issuer_key, endorsed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(credential_id.to_vec())
        .bind(&endorser.issuer)
        .bind(&endorser.subject)
        .bind(big_int(entry)?)
        .bind(&signed.statement)
        .bind(&signed.credential_id)
        .bind(&signed.authenticator_data)
        .bind(&signed.client_data_json)
        .bind(&signed.signature)
        .bind(signed.user_handle.clone())
        .bind(&signed.id_token)
        .bind(&signed.issuer_key)
        .bind(signed.decided_at.as_microsecond())
        .execute(connection)
        .await?
        .rows_affected();
    let what = "an endorsement of this key by this person";
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate(what)) }
}
