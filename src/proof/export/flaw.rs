//! What does not hold of an export, by a stable code, the file and the line.

use std::fmt;

/// The checks, by the codes of their failures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FlawCode {
    ManifestInvalid,
    FileMissing,
    FileUnexpected,
    FileUnreadable,
    FileChanged,
    CheckpointInvalid,
    CosignatureInvalid,
    NotWitnessed,
    RangeInvalid,
    EntryMalformed,
    EntryMissing,
    EntryChanged,
    EntrySignatureInvalid,
    RootMismatch,
    PeriodMismatch,
    RecoveryInvalid,
    RulesInvalid,
    ChainBroken,
    TableMismatch,
    EvidenceInvalid,
    EvidenceMismatch,
}

impl FlawCode {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManifestInvalid => "manifest_invalid",
            Self::FileMissing => "file_missing",
            Self::FileUnexpected => "file_unexpected",
            Self::FileUnreadable => "file_unreadable",
            Self::FileChanged => "file_changed",
            Self::CheckpointInvalid => "checkpoint_invalid",
            Self::CosignatureInvalid => "cosignature_invalid",
            Self::NotWitnessed => "not_witnessed",
            Self::RangeInvalid => "range_invalid",
            Self::EntryMalformed => "entry_malformed",
            Self::EntryMissing => "entry_missing",
            Self::EntryChanged => "entry_changed",
            Self::EntrySignatureInvalid => "entry_signature_invalid",
            Self::RootMismatch => "root_mismatch",
            Self::PeriodMismatch => "period_mismatch",
            Self::RecoveryInvalid => "recovery_invalid",
            Self::RulesInvalid => "rules_invalid",
            Self::ChainBroken => "chain_broken",
            Self::TableMismatch => "table_mismatch",
            Self::EvidenceInvalid => "evidence_invalid",
            Self::EvidenceMismatch => "evidence_mismatch",
        }
    }

    /// The flaw of a file as a whole.
    pub(super) fn of(self, file: &str, sentence: impl Into<String>) -> Flaw {
        Flaw { code: self, file: file.to_owned(), line: None, sentence: sentence.into() }
    }

    /// The flaw of one line, from 1.
    pub(super) fn at(self, file: &str, line: u64, sentence: impl Into<String>) -> Flaw {
        Flaw { line: Some(line), ..self.of(file, sentence) }
    }
}

/// The first thing that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// Which check.
    pub code: FlawCode,
    /// In which file.
    pub file: String,
    /// In which line, from 1.
    pub line: Option<u64>,
    /// What is wrong.
    pub sentence: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, sentence, .. } = self;
        match line {
            Some(line) => write!(formatter, "{file}, line {line}: {sentence}"),
            None => write!(formatter, "{file}: {sentence}"),
        }
    }
}
