//! Lists of approvals, page by page.

use sqlx::AssertSqlSafe;

use crate::domain::approval::Status;
use crate::storage::Storage;
use crate::storage::approvals::{ApprovalRow, StoredApproval, approval_columns, readable};
use crate::storage::column::can_be_stored;
use crate::storage::error::{Result, StorageError};

/// A page has at most so many approvals: each row carries its whole deployment, up to some tens of
/// kilobytes, so that a page stays within a few megabytes.
pub const LARGEST_PAGE: u32 = 200;

/// The first byte of a cursor names its form.
const CURSOR_FORM: u8 = 1;

/// Which approvals a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApprovalFilter {
    /// Only those of these requesters; an empty list shows none.
    pub requester_keys: Option<Vec<String>>,
    /// Only those of these environments; an empty list shows none.
    pub environments: Option<Vec<String>>,
    /// Only those with one of these statuses; empty for all.
    pub statuses: Vec<Status>,
    /// Where the page before ended ([`Page::next_cursor`]).
    pub cursor: Option<String>,
    /// How many at most, up to [`LARGEST_PAGE`]; 0 counts as 1.
    pub limit: u32,
}

/// A page of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// The approvals, newest first.
    pub approvals: Vec<StoredApproval>,
    /// How many more belong here that only a newer version of the gate can read.
    pub newer: u32,
    /// Where the next page begins, if there is more.
    pub next_cursor: Option<String>,
}

/// Conditions with numbered placeholders, and what is bound to them in order.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    texts: Vec<String>,
}

impl Conditions {
    /// `column IN ($n, ...)`; false for no values. Columns are ours, values are bound.
    fn one_of(&mut self, column: &'static str, values: impl IntoIterator<Item = String>) {
        let first = self.texts.len();
        self.texts.extend(values.into_iter().filter(|value| can_be_stored(value)));
        let places: Vec<String> =
            (first + 1..=self.texts.len()).map(|place| format!("${place}")).collect();
        self.sql.push(match places.len() {
            0 => "1 = 0".to_owned(),
            _ => format!("{column} IN ({})", places.join(", ")),
        });
    }
}

impl Storage {
    /// Approvals, newest first. Cursors stay good whatever is added or changed meanwhile.
    ///
    /// # Errors
    /// [`StorageError::InvalidCursor`] for a cursor that no page gave.
    pub async fn approvals(&self, filter: &ApprovalFilter) -> Result<Page> {
        let before = filter.cursor.as_deref().map(read_cursor).transpose()?.unwrap_or(i64::MAX);
        let limit = filter.limit.clamp(1, LARGEST_PAGE);
        let mut conditions = Conditions::default();
        if let Some(keys) = &filter.requester_keys {
            conditions.one_of("a.requester_key", keys.clone());
        }
        if let Some(environments) = &filter.environments {
            conditions.one_of("a.environment", environments.clone());
        }
        if !filter.statuses.is_empty() {
            let names = filter.statuses.iter().map(|status| status.as_str().to_owned());
            conditions.one_of("a.status", names);
        }
        let (cursor, count) = (conditions.texts.len() + 1, conditions.texts.len() + 2);
        conditions.sql.push(format!("a.first_entry < ${cursor}"));
        let sql = format!(
            "{}WHERE {} ORDER BY a.first_entry DESC LIMIT ${count}",
            approval_columns!(""),
            conditions.sql.join(" AND ")
        );
        // The text holds constants and numbered placeholders only, whatever the filter says.
        let mut query = sqlx::query_as::<_, ApprovalRow>(AssertSqlSafe(sql));
        for text in conditions.texts {
            query = query.bind(text);
        }
        let mut rows = query
            .bind(before)
            // One more than asked tells whether there is a next page.
            .bind(i64::from(limit) + 1)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_cursor = rows.last().filter(|_| more).map(|row| write_cursor(row.first_entry));
        let (approvals, newer) = readable(rows)?;
        Ok(Page { approvals, newer, next_cursor })
    }
}

fn write_cursor(first_entry: i64) -> String {
    let mut bytes = vec![CURSOR_FORM];
    bytes.extend_from_slice(&first_entry.to_be_bytes());
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

fn read_cursor(cursor: &str) -> Result<i64> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(cursor.as_bytes())
        .map_err(|_| StorageError::InvalidCursor)?;
    let Some((&CURSOR_FORM, place)) = bytes.split_first() else {
        return Err(StorageError::InvalidCursor);
    };
    let place = place.try_into().map_err(|_| StorageError::InvalidCursor)?;
    let first_entry = i64::from_be_bytes(place);
    if first_entry >= 0 { Ok(first_entry) } else { Err(StorageError::InvalidCursor) }
}
