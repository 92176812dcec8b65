//! Sessions and credentials: who is signed in, and whose keys are whose.

use jiff::Timestamp;
use sqlx::{AnyConnection, FromRow};

use crate::domain::digest::Digest;
use crate::domain::person::{Person, Profile};
use crate::storage::Storage;
use crate::storage::column::{Row, big_int, json_text};
use crate::storage::error::{Result, StorageError};

/// A browser that is signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// SHA-256 of the cookie's secret: the table alone signs nobody in.
    pub id: Digest,
    /// Who it is, as the directory said.
    pub profile: Profile,
    /// The directory's word for it, as it was received.
    pub id_token: String,
    /// The key that signed the ID token, as JWK JSON.
    pub issuer_key: String,
    /// When the person proved to the directory who they are.
    pub auth_time: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A person's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// The credential's id, raw.
    pub id: Vec<u8>,
    /// Whose it is.
    pub person: Person,
    /// What the person calls it.
    pub name: String,
    /// The public key, as COSE_Key (RFC 9052).
    pub public_key: Vec<u8>,
    /// The last signature counter that was seen.
    pub sign_count: u32,
    /// Whether it may be backed up.
    pub backup_eligible: bool,
    /// Whether it was backed up when it was registered.
    pub backup_state: bool,
    /// The authenticator's model.
    pub aaguid: [u8; 16],
    /// How to reach it, in WebAuthn's words.
    pub transports: Vec<String>,
    /// The registration response as JSON, as it was received.
    pub registration: String,
    /// The ID token whose nonce names the registration.
    pub id_token: String,
    /// The key that signed the ID token, as JWK JSON.
    pub issuer_key: String,
    /// Whether it may sign.
    pub status: CredentialStatus,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it signed last.
    pub last_used_at: Option<Timestamp>,
}

/// Whether a credential may sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialStatus {
    /// It may.
    Active,
    /// Something about it was wrong; a person has to look.
    Suspended,
    /// It was given up.
    Revoked,
}

impl CredentialStatus {
    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// The columns of [`SessionRow`].
macro_rules! session_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, profile, id_token, issuer_key, auth_time, created_at, expires_at \
             FROM sessions ",
            $rest
        )
    };
}
pub(super) use session_columns;

#[derive(FromRow)]
pub(super) struct SessionRow {
    id: String,
    profile: String,
    id_token: String,
    issuer_key: String,
    auth_time: Option<i64>,
    created_at: i64,
    expires_at: i64,
}

impl TryFrom<SessionRow> for Session {
    type Error = StorageError;

    fn try_from(columns: SessionRow) -> Result<Self> {
        let row = Row { table: "sessions", key: &columns.id };
        Ok(Self {
            id: row.parse("id", &columns.id)?,
            profile: row.json("profile", &columns.profile)?,
            auth_time: columns.auth_time.map(|at| row.time("auth_time", at)).transpose()?,
            created_at: row.time("created_at", columns.created_at)?,
            expires_at: row.time("expires_at", columns.expires_at)?,
            id_token: columns.id_token,
            issuer_key: columns.issuer_key,
        })
    }
}

/// The columns of [`CredentialRow`].
macro_rules! credential_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, issuer, subject, name, public_key, sign_count, backup_eligible, \
             backup_state, aaguid, transports, registration, id_token, issuer_key, status, \
             created_at, last_used_at FROM credentials ",
            $rest
        )
    };
}
pub(super) use credential_columns;

#[derive(FromRow)]
pub(super) struct CredentialRow {
    pub(super) id: Vec<u8>,
    issuer: String,
    subject: String,
    name: String,
    public_key: Vec<u8>,
    sign_count: i64,
    backup_eligible: i64,
    backup_state: i64,
    aaguid: Vec<u8>,
    transports: String,
    registration: String,
    id_token: String,
    issuer_key: String,
    status: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl TryFrom<CredentialRow> for Credential {
    type Error = StorageError;

    fn try_from(columns: CredentialRow) -> Result<Self> {
        let key = data_encoding::BASE64URL_NOPAD.encode(&columns.id);
        let row = Row { table: "credentials", key: &key };
        let status = CredentialStatus::parse(&columns.status)
            .ok_or_else(|| row.impossible("status", "no credential has this status"))?;
        Ok(Self {
            person: Person { issuer: columns.issuer, subject: columns.subject },
            sign_count: row.number("sign_count", columns.sign_count)?,
            backup_eligible: row.flag("backup_eligible", columns.backup_eligible)?,
            backup_state: row.flag("backup_state", columns.backup_state)?,
            aaguid: row.bytes("aaguid", columns.aaguid)?,
            transports: row.json("transports", &columns.transports)?,
            created_at: row.time("created_at", columns.created_at)?,
            last_used_at: columns
                .last_used_at
                .map(|at| row.time("last_used_at", at))
                .transpose()?,
            status,
            id: columns.id,
            name: columns.name,
            public_key: columns.public_key,
            registration: columns.registration,
            id_token: columns.id_token,
            issuer_key: columns.issuer_key,
        })
    }
}

impl Storage {
    /// The session of this name, if its time is not over.
    pub async fn session(&self, id: &Digest, now: Timestamp) -> Result<Option<Session>> {
        const SQL: &str = session_columns!("WHERE id = $1 AND expires_at > $2");
        let row: Option<SessionRow> = sqlx::query_as(SQL)
            .bind(id.to_string())
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(Session::try_from).transpose()
    }

    /// Ends a session; one that is gone already stays gone.
    pub async fn delete_session(&self, id: &Digest) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }

    /// Every key of a person, of any status, the oldest first.
    pub async fn credentials_of(&self, person: &Person) -> Result<Vec<Credential>> {
        const SQL: &str =
            credential_columns!("WHERE issuer = $1 AND subject = $2 ORDER BY created_at, id");
        let rows: Vec<CredentialRow> = sqlx::query_as(SQL)
            .bind(&person.issuer)
            .bind(&person.subject)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// Every key of everybody, of any status, the oldest of a person first.
    pub async fn credentials(&self) -> Result<Vec<Credential>> {
        const SQL: &str = credential_columns!("ORDER BY issuer, subject, created_at, id");
        let rows: Vec<CredentialRow> =
            sqlx::query_as(SQL).fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// The key with this id, of any status.
    pub async fn credential(&self, credential_id: &[u8]) -> Result<Option<Credential>> {
        const SQL: &str = credential_columns!("WHERE id = $1");
        let row: Option<CredentialRow> = sqlx::query_as(SQL)
            .bind(credential_id.to_vec())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(Credential::try_from).transpose()
    }
}

pub(super) async fn insert_session(
    connection: &mut AnyConnection,
    session: &Session,
) -> Result<()> {
    const SQL: &str = "INSERT INTO sessions (id, profile, id_token, issuer_key, auth_time, \
                       created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                       ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(session.id.to_string())
        .bind(json_text(&session.profile)?)
        .bind(&session.id_token)
        .bind(&session.issuer_key)
        .bind(session.auth_time.map(Timestamp::as_microsecond))
        .bind(session.created_at.as_microsecond())
        .bind(session.expires_at.as_microsecond())
        .execute(connection)
        .await?
        .rows_affected();
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("this session")) }
}

pub(super) async fn insert_credential(
    connection: &mut AnyConnection,
    credential: &Credential,
    enrolment_entry: u64,
) -> Result<()> {
    const SQL: &str = "INSERT INTO credentials (id, issuer, subject, name, public_key, sign_count, \
         backup_eligible, backup_state, aaguid, transports, registration, id_token, issuer_key, \
         status, created_at, last_used_at, enrolment_entry) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ON CONFLICT DO NOTHING";
    let touched = sqlx::query(SQL)
        .bind(&credential.id)
        .bind(&credential.person.issuer)
        .bind(&credential.person.subject)
        .bind(&credential.name)
        .bind(&credential.public_key)
        .bind(i64::from(credential.sign_count))
        .bind(i64::from(credential.backup_eligible))
        .bind(i64::from(credential.backup_state))
        .bind(credential.aaguid.to_vec())
        .bind(json_text(&credential.transports)?)
        .bind(&credential.registration)
        .bind(&credential.id_token)
        .bind(&credential.issuer_key)
        .bind(credential.status.as_str())
        .bind(credential.created_at.as_microsecond())
        .bind(credential.last_used_at.map(Timestamp::as_microsecond))
        .bind(big_int(enrolment_entry)?)
        .execute(connection)
        .await?
        .rows_affected();
    if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("a credential with this id")) }
}

/// Moves the signature counter of an active key, if it still stands at `from`.
pub(super) async fn advance_sign_count(
    connection: &mut AnyConnection,
    credential_id: &[u8],
    from: u32,
    to: u32,
    now: Timestamp,
) -> Result<bool> {
    const SQL: &str = "UPDATE credentials SET sign_count = $1, last_used_at = $2 \
                       WHERE id = $3 AND sign_count = $4 AND status = 'active'";
    let touched = sqlx::query(SQL)
        .bind(i64::from(to))
        .bind(now.as_microsecond())
        .bind(credential_id.to_vec())
        .bind(i64::from(from))
        .execute(connection)
        .await?
        .rows_affected();
    Ok(touched == 1)
}

/// Takes a key out of use. One that was given up before stays given up.
pub(super) async fn suspend_credential(
    connection: &mut AnyConnection,
    credential_id: &[u8],
    why: &str,
) -> Result<()> {
    const SQL: &str = "UPDATE credentials SET suspended_why = $1, \
         status = CASE WHEN status = 'revoked' THEN status ELSE 'suspended' END WHERE id = $2";
    let touched = sqlx::query(SQL)
        .bind(why)
        .bind(credential_id.to_vec())
        .execute(connection)
        .await?
        .rows_affected();
    let row = || data_encoding::BASE64URL_NOPAD.encode(credential_id);
    if touched == 1 {
        Ok(())
    } else {
        Err(StorageError::Missing { table: "credentials", row: row() })
    }
}
