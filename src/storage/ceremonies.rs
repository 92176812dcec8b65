//! Short-lived rows: sign-ins and registrations under way, statements that may be signed, spent tokens.

use jiff::Timestamp;
use sqlx::{AnyConnection, FromRow};

use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::storage::Storage;
use crate::storage::column::{Row, can_be_stored};
use crate::storage::error::{Result, StorageError};

/// A sign-in that was sent to the directory and has not come back yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// OpenID Connect `state`.
    pub state: String,
    /// OpenID Connect `nonce`.
    pub nonce: String,
    /// PKCE verifier (RFC 7636).
    pub pkce_verifier: String,
    /// SHA-256 of the cookie that binds it to one browser.
    pub browser: Digest,
    /// The page to return to.
    pub return_to: String,
    /// The registration that this sign-in confirms, if it is for one.
    pub ceremony: Option<String>,
    /// Until when it may come back.
    pub expires_at: Timestamp,
}

/// The registration of a key that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ceremony {
    /// Its random name.
    pub id: String,
    /// Who registers.
    pub person: Person,
    /// In which session.
    pub session: Digest,
    /// What the WebAuthn library wants to remember, as JSON.
    pub state: String,
    /// The browser's response, as JSON, once it is there.
    pub registration: Option<String>,
    /// What was found in the response, as JSON, once it is there.
    pub verified: Option<String>,
    /// Until when it may be finished.
    pub expires_at: Timestamp,
}

/// A statement that was given to a person to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuedStatement {
    /// Its nonce.
    pub nonce: String,
    /// What it is about: the approval's id, or that of a credential in base64url.
    pub about: String,
    /// The session that asked for it.
    pub session: Digest,
    /// Who may sign it.
    pub person: Person,
    /// The canonical bytes.
    pub text: String,
    /// Until when it may be signed.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct LoginRow {
    state: String,
    nonce: String,
    pkce_verifier: String,
    browser: String,
    return_to: String,
    ceremony: Option<String>,
    expires_at: i64,
}

impl TryFrom<LoginRow> for Login {
    type Error = StorageError;

    fn try_from(columns: LoginRow) -> Result<Self> {
        let row = Row { table: "logins", key: &columns.state };
        Ok(Self {
            browser: row.parse("browser", &columns.browser)?,
            expires_at: row.time("expires_at", columns.expires_at)?,
            nonce: columns.nonce,
            pkce_verifier: columns.pkce_verifier,
            return_to: columns.return_to,
            ceremony: columns.ceremony,
            state: columns.state,
        })
    }
}

#[derive(FromRow)]
struct CeremonyRow {
    id: String,
    issuer: String,
    subject: String,
    session: String,
    state: String,
    registration: Option<String>,
    verified: Option<String>,
    expires_at: i64,
}

impl TryFrom<CeremonyRow> for Ceremony {
    type Error = StorageError;

    fn try_from(columns: CeremonyRow) -> Result<Self> {
        let row = Row { table: "ceremonies", key: &columns.id };
        Ok(Self {
            session: row.parse("session", &columns.session)?,
            expires_at: row.time("expires_at", columns.expires_at)?,
            person: Person { issuer: columns.issuer, subject: columns.subject },
            state: columns.state,
            registration: columns.registration,
            verified: columns.verified,
            id: columns.id,
        })
    }
}

#[derive(FromRow)]
struct StatementRow {
    nonce: String,
    about: String,
    session: String,
    issuer: String,
    subject: String,
    statement: String,
    expires_at: i64,
    used_at: Option<i64>,
}

impl TryFrom<StatementRow> for IssuedStatement {
    type Error = StorageError;

    fn try_from(columns: StatementRow) -> Result<Self> {
        let row = Row { table: "statements", key: &columns.nonce };
        Ok(Self {
            session: row.parse("session", &columns.session)?,
            expires_at: row.time("expires_at", columns.expires_at)?,
            used_at: columns.used_at.map(|at| row.time("used_at", at)).transpose()?,
            person: Person { issuer: columns.issuer, subject: columns.subject },
            about: columns.about,
            text: columns.statement,
            nonce: columns.nonce,
        })
    }
}

impl Storage {
    /// Remembers a sign-in that goes to the directory.
    pub async fn put_login(&self, login: &Login) -> Result<()> {
        const SQL: &str = "INSERT INTO logins (state, nonce, pkce_verifier, browser, return_to, \
             ceremony, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let touched = sqlx::query(SQL)
            .bind(&login.state)
            .bind(&login.nonce)
            .bind(&login.pkce_verifier)
            .bind(login.browser.to_string())
            .bind(&login.return_to)
            .bind(login.ceremony.clone())
            .bind(login.expires_at.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("a login with this state")) }
    }

    /// Takes a sign-in that came back: it is there once, and only until it expires.
    pub async fn take_login(&self, state: &str, now: Timestamp) -> Result<Option<Login>> {
        const SQL: &str = "DELETE FROM logins WHERE state = $1 AND expires_at > $2 RETURNING \
                           state, nonce, pkce_verifier, browser, return_to, ceremony, expires_at";
        if !can_be_stored(state) {
            return Ok(None);
        }
        let row: Option<LoginRow> = sqlx::query_as(SQL)
            .bind(state)
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.writer().await?)
            .await?;
        row.map(Login::try_from).transpose()
    }

    /// The registration of this name, if its time is not over.
    pub async fn ceremony(&self, id: &str, now: Timestamp) -> Result<Option<Ceremony>> {
        const SQL: &str = "SELECT id, issuer, subject, session, state, registration, verified, \
                           expires_at FROM ceremonies WHERE id = $1 AND expires_at > $2";
        if !can_be_stored(id) {
            return Ok(None);
        }
        let row: Option<CeremonyRow> = sqlx::query_as(SQL)
            .bind(id)
            .bind(now.as_microsecond())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(Ceremony::try_from).transpose()
    }

    /// Remembers a registration that begins.
    pub async fn put_ceremony(&self, ceremony: &Ceremony) -> Result<()> {
        const SQL: &str = "INSERT INTO ceremonies (id, issuer, subject, session, state, \
             registration, verified, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT DO NOTHING";
        let touched = sqlx::query(SQL)
            .bind(&ceremony.id)
            .bind(&ceremony.person.issuer)
            .bind(&ceremony.person.subject)
            .bind(ceremony.session.to_string())
            .bind(&ceremony.state)
            .bind(ceremony.registration.clone())
            .bind(ceremony.verified.clone())
            .bind(ceremony.expires_at.as_microsecond())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("a ceremony of this name")) }
    }

    /// Writes what a registration got to: its state, response, findings and time. Whose it is
    /// and in which session never changes.
    pub async fn update_ceremony(&self, ceremony: &Ceremony) -> Result<()> {
        const SQL: &str = "UPDATE ceremonies SET state = $1, registration = $2, verified = $3, \
             expires_at = $4 WHERE id = $5 AND issuer = $6 AND subject = $7 AND session = $8";
        let touched = sqlx::query(SQL)
            .bind(&ceremony.state)
            .bind(ceremony.registration.clone())
            .bind(ceremony.verified.clone())
            .bind(ceremony.expires_at.as_microsecond())
            .bind(&ceremony.id)
            .bind(&ceremony.person.issuer)
            .bind(&ceremony.person.subject)
            .bind(ceremony.session.to_string())
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        let missing = || StorageError::Missing { table: "ceremonies", row: ceremony.id.clone() };
        if touched == 1 { Ok(()) } else { Err(missing()) }
    }

    /// The statement with this nonce, used or not.
    pub async fn statement(&self, nonce: &str) -> Result<Option<IssuedStatement>> {
        const SQL: &str = "SELECT nonce, about, session, issuer, subject, statement, \
                           expires_at, used_at FROM statements WHERE nonce = $1";
        if !can_be_stored(nonce) {
            return Ok(None);
        }
        let row: Option<StatementRow> =
            sqlx::query_as(SQL).bind(nonce).fetch_optional(&mut *self.reader().await?).await?;
        row.map(IssuedStatement::try_from).transpose()
    }

    /// Remembers a statement that is given to a person.
    pub async fn put_statement(&self, statement: &IssuedStatement) -> Result<()> {
        const SQL: &str = "INSERT INTO statements (nonce, about, session, issuer, subject, \
             statement, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT DO NOTHING";
        let touched = sqlx::query(SQL)
            .bind(&statement.nonce)
            .bind(&statement.about)
            .bind(statement.session.to_string())
            .bind(&statement.person.issuer)
            .bind(&statement.person.subject)
            .bind(&statement.text)
            .bind(statement.expires_at.as_microsecond())
            .bind(statement.used_at.map(Timestamp::as_microsecond))
            .execute(&mut *self.writer().await?)
            .await?
            .rows_affected();
        if touched == 1 { Ok(()) } else { Err(StorageError::Duplicate("a statement's nonce")) }
    }
}

/// Takes a registration: it is there once, and only until it expires.
pub(super) async fn take_ceremony(
    connection: &mut AnyConnection,
    id: &str,
    now: Timestamp,
) -> Result<Option<Ceremony>> {
    const SQL: &str = "DELETE FROM ceremonies WHERE id = $1 AND expires_at > $2 RETURNING \
                       id, issuer, subject, session, state, registration, verified, expires_at";
    let row: Option<CeremonyRow> =
        sqlx::query_as(SQL).bind(id).bind(now.as_microsecond()).fetch_optional(connection).await?;
    row.map(Ceremony::try_from).transpose()
}

/// Marks a statement as used, once.
pub(super) async fn use_statement(
    connection: &mut AnyConnection,
    nonce: &str,
    now: Timestamp,
) -> Result<bool> {
    const SQL: &str = "UPDATE statements SET used_at = $1 WHERE nonce = $2 AND used_at IS NULL";
    let touched = sqlx::query(SQL)
        .bind(now.as_microsecond())
        .bind(nonce)
        .execute(connection)
        .await?
        .rows_affected();
    Ok(touched == 1)
}
