//! Columns to values: what a row says is believed only after it was read strictly.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::storage::error::{Result, StorageError};

/// Whether a row can hold this text. PostgreSQL's TEXT holds every character but U+0000, so a text
/// with one names no row: it is not even looked for.
pub(super) fn can_be_stored(text: &str) -> bool {
    !text.contains('\0')
}

/// One row that is being read, named for the error that says what is wrong with it.
pub(super) struct Row<'a> {
    pub(super) table: &'static str,
    pub(super) key: &'a str,
}

impl Row<'_> {
    /// The error for a column of this row.
    pub(super) fn impossible(
        &self,
        column: &'static str,
        reason: impl std::fmt::Display,
    ) -> StorageError {
        StorageError::ImpossibleRow {
            table: self.table,
            column,
            row: self.key.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// A text that stands for a value: a digest, an approval's id.
    pub(super) fn parse<T>(&self, column: &'static str, text: &str) -> Result<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        text.parse().map_err(|error: T::Err| self.impossible(column, error))
    }

    /// JSON as the gate writes it.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.impossible(column, error))
    }

    /// A time in microseconds.
    pub(super) fn time(&self, column: &'static str, microseconds: i64) -> Result<Timestamp> {
        Timestamp::from_microsecond(microseconds).map_err(|error| self.impossible(column, error))
    }

    /// A number that is never negative, or smaller than 64 bits.
    pub(super) fn number<T>(&self, column: &'static str, number: i64) -> Result<T>
    where
        T: TryFrom<i64, Error: std::fmt::Display>,
    {
        T::try_from(number).map_err(|error| self.impossible(column, error))
    }

    /// A yes or no, 1 or 0.
    pub(super) fn flag(&self, column: &'static str, number: i64) -> Result<bool> {
        match number {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.impossible(column, format_args!("{other} is neither 0 nor 1"))),
        }
    }

    /// Bytes of a fixed length.
    pub(super) fn bytes<const N: usize>(
        &self,
        column: &'static str,
        bytes: Vec<u8>,
    ) -> Result<[u8; N]> {
        let found = bytes.len();
        bytes.try_into().map_err(|_| {
            self.impossible(column, format_args!("{found} bytes where {N} are expected"))
        })
    }

    /// Refuses the row unless `holds`.
    pub(super) fn must(
        &self,
        holds: bool,
        column: &'static str,
        reason: &'static str,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(self.impossible(column, reason)) }
    }
}

/// A value as the JSON of a column.
pub(super) fn json_text<T: Serialize>(value: &T) -> Result<String> {
    Ok(crate::domain::canonical::to_canonical_json(value)?)
}

/// A number for a BIGINT column.
pub(super) fn big_int(number: u64) -> Result<i64> {
    i64::try_from(number)
        .map_err(|_| StorageError::Contradiction("a counter is beyond 63 bits, which none reaches"))
}
