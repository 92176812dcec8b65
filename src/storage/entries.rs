//! Lists of the ledger's entries, page by page, newest first.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, FromRow};

use crate::domain::digest::Digest;
use crate::domain::ledger::{Entry, Frontier, Record};
use crate::storage::Storage;
use crate::storage::column::{Row, big_int, can_be_stored};
use crate::storage::error::Result;

/// A page has at most so many entries: a record has up to some tens of kilobytes.
pub const LARGEST_ENTRY_PAGE: u32 = 200;

/// How much of the ledger somebody may read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// All of it.
    #[default]
    Everything,
    /// What is about no approval, and what is about approvals of these environments.
    Environments(Vec<String>),
}

/// Which entries a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntryFilter {
    /// How much may be shown at all.
    pub scope: Scope,
    /// Only what this party did ([`crate::domain::ledger::Record::party`]) or asked for.
    pub party: Option<String>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only from this moment on.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
    /// Only about approvals of this service.
    pub service: Option<String>,
    /// Only about approvals of this environment.
    pub environment: Option<String>,
    /// Only about this approval.
    pub approval: Option<String>,
}

/// An entry with what its approval is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedEntry {
    /// The entry.
    pub entry: Entry,
    /// The root of the tree before it.
    pub previous_root: Digest,
    /// What its approval is about, if it has one.
    pub about: Option<About>,
}

impl ListedEntry {
    /// Who did it: what `record`, the entry's, says, and where it says nothing of a request, who asked.
    pub fn party<'a>(&'a self, record: &'a Record) -> &'a str {
        let is_requesters = ["approval.requested", "approval.cancelled"].contains(&&*record.kind);
        let requester = self.about.as_ref().filter(|_| is_requesters);
        record.party().or(requester.map(|about| &*about.requester)).unwrap_or_default()
    }
}

/// What an approval is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// Who asked.
    pub requester: String,
}

enum Bound {
    Text(String),
    Number(i64),
}

/// Conditions with numbered placeholders, and what is bound to them in order.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    bound: Vec<Bound>,
}

impl Conditions {
    /// Adds a condition in which `?` stands for the value each time.
    fn add(&mut self, sql: &str, value: Bound) {
        self.bound.push(value);
        self.sql.push(sql.replace('?', &format!("${}", self.bound.len())));
    }

    fn text(&mut self, sql: &str, value: Option<&String>) {
        let Some(value) = value else { return };
        if can_be_stored(value) {
            self.add(sql, Bound::Text(value.clone()));
        } else {
            self.sql.push("1 = 0".to_owned());
        }
    }

    fn of(filter: &EntryFilter) -> Self {
        let mut conditions = Self::default();
        if let Scope::Environments(environments) = &filter.scope {
            let mut places = Vec::new();
            for environment in environments {
                conditions.bound.push(Bound::Text(environment.clone()));
                places.push(format!("${}", conditions.bound.len()));
            }
            let own = match places.len() {
                0 => "1 = 0".to_owned(),
                _ => format!("a.environment IN ({})", places.join(", ")),
            };
            conditions.sql.push(format!("(e.approval_id IS NULL OR {own})"));
        }
        conditions.text("(e.party = ? OR a.requester_key = ?)", filter.party.as_ref());
        conditions.text("e.kind = ?", filter.kind.as_ref());
        conditions.text("a.service = ?", filter.service.as_ref());
        conditions.text("a.environment = ?", filter.environment.as_ref());
        conditions.text("e.approval_id = ?", filter.approval.as_ref());
        for (sql, moment) in [("e.at >= ?", filter.from), ("e.at < ?", filter.until)] {
            if let Some(moment) = moment {
                conditions.add(sql, Bound::Number(moment.as_microsecond()));
            }
        }
        conditions
    }

    fn clause(&self) -> String {
        if self.sql.is_empty() { "1 = 1".to_owned() } else { self.sql.join(" AND ") }
    }
}

const FROM: &str = "FROM ledger_entries e LEFT JOIN approvals a ON a.id = e.approval_id \
                    LEFT JOIN ledger_entries p ON p.entry_index = e.entry_index - 1";

#[derive(FromRow)]
struct ListedRow {
    entry_index: i64,
    record: String,
    salt: Vec<u8>,
    entry_hash: String,
    root: String,
    signature: Vec<u8>,
    previous_root: Option<String>,
    service: Option<String>,
    environment: Option<String>,
    requester_key: Option<String>,
}

impl TryFrom<ListedRow> for ListedEntry {
    type Error = crate::storage::StorageError;

    fn try_from(columns: ListedRow) -> Result<Self> {
        let key = columns.entry_index.to_string();
        let row = Row { table: "ledger_entries", key: &key };
        let about = match (columns.service, columns.environment, columns.requester_key) {
            (Some(service), Some(environment), Some(requester)) => {
                Some(About { service, environment, requester })
            }
            _ => None,
        };
        Ok(Self {
            previous_root: match columns.previous_root {
                Some(root) => row.parse("root", &root)?,
                None => Frontier::default().root(),
            },
            about,
            entry: Entry {
                index: row.number("entry_index", columns.entry_index)?,
                record: columns.record,
                salt: row.bytes("salt", columns.salt)?,
                entry_hash: row.parse("entry_hash", &columns.entry_hash)?,
                root: row.parse("root", &columns.root)?,
                signature: columns.signature,
            },
        })
    }
}

impl Storage {
    /// At most `limit` entries with an index below `before`, newest first.
    pub async fn list_entries(
        &self,
        filter: &EntryFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ListedEntry>> {
        let mut conditions = Conditions::of(filter);
        let before = before.map_or(Ok(i64::MAX), big_int).unwrap_or(i64::MAX);
        conditions.add("e.entry_index < ?", Bound::Number(before));
        let sql = format!(
            "SELECT e.entry_index, e.record, e.salt, e.entry_hash, e.root, e.signature, \
             p.root AS previous_root, a.service, a.environment, a.requester_key {FROM} \
             WHERE {} ORDER BY e.entry_index DESC LIMIT {}",
            conditions.clause(),
            limit.clamp(1, LARGEST_ENTRY_PAGE)
        );
        // The text holds constants and numbered placeholders only, whatever the filter says.
        let mut query = sqlx::query_as::<_, ListedRow>(AssertSqlSafe(sql));
        for bound in conditions.bound {
            query = match bound {
                Bound::Text(text) => query.bind(text),
                Bound::Number(number) => query.bind(number),
            };
        }
        let rows = query.fetch_all(&mut *self.reader().await?).await?;
        rows.into_iter().map(ListedEntry::try_from).collect()
    }

    /// The entry at this index.
    pub async fn list_entry(&self, index: u64) -> Result<Option<ListedEntry>> {
        let before = index.checked_add(1);
        let listed = self.list_entries(&EntryFilter::default(), before, 1).await?;
        Ok(listed.into_iter().find(|listed| listed.entry.index == index))
    }

    /// How many entries a filter lets through.
    pub async fn count_entries(&self, filter: &EntryFilter) -> Result<u64> {
        let conditions = Conditions::of(filter);
        let sql = format!(
            "SELECT COUNT(*) FROM ledger_entries e LEFT JOIN approvals a ON a.id = e.approval_id \
             WHERE {}",
            conditions.clause()
        );
        let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql));
        for bound in conditions.bound {
            query = match bound {
                Bound::Text(text) => query.bind(text),
                Bound::Number(number) => query.bind(number),
            };
        }
        let count = query.fetch_one(&mut *self.reader().await?).await?;
        Ok(count.unsigned_abs())
    }

    /// The kinds of entries that the ledger has, in alphabetical order.
    pub async fn entry_kinds(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT DISTINCT kind FROM ledger_entries ORDER BY kind";
        Ok(sqlx::query_scalar(SQL).fetch_all(&mut *self.reader().await?).await?)
    }

    /// The indices of the entries of a period: from the first that is not before it to the last that
    /// is not after it, so that whatever happened in it lies between. `(first, end)`, without `end`.
    pub async fn entries_between(&self, from: Timestamp, until: Timestamp) -> Result<(u64, u64)> {
        const FIRST: &str = "SELECT MIN(entry_index) FROM ledger_entries WHERE at >= $1";
        const LAST: &str = "SELECT MAX(entry_index) FROM ledger_entries WHERE at < $1";
        let mut reader = self.reader().await?;
        let first: Option<i64> =
            sqlx::query_scalar(FIRST).bind(from.as_microsecond()).fetch_one(&mut *reader).await?;
        let last: Option<i64> =
            sqlx::query_scalar(LAST).bind(until.as_microsecond()).fetch_one(&mut *reader).await?;
        let row = Row { table: "ledger_entries", key: "of the period" };
        let number = |index: i64| row.number::<u64>("entry_index", index);
        let end = last.map(number).transpose()?.map_or(0, |last| last + 1);
        let first = first.map(number).transpose()?.unwrap_or(end);
        Ok((first.min(end), end))
    }
}
