//! Checks a whole export against trust anchors: the signed manifest, every file by its hash, and then
//! everything in them again from the entries up ([`check_contents`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use aws_lc_rs::digest::{Context, SHA256};

use crate::domain::canonical::from_canonical_json;
use crate::domain::digest::Digest;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::envelope::Envelope;
use crate::proof::evidence::Trust;
use crate::proof::export::{
    CHECKPOINT, Flaw, FlawCode, MANIFEST, MANIFEST_ENVELOPE, MANIFEST_SCHEMA, MANIFEST_TYPE,
    Manifest, Query,
};

use crate::proof::verify::successor_sentence;

pub use super::contents::check_contents;

/// The largest document that is read as one, and the longest line.
const LARGEST_DOCUMENT: u64 = 64 * 1024 * 1024;

/// The files of a folder, wherever they are.
pub struct Folder<'a> {
    /// The paths of all files in it, with `/` between.
    pub names: BTreeSet<String>,
    /// Opens one of them.
    pub open: &'a dyn Fn(&str) -> std::io::Result<Box<dyn Read>>,
}

/// What a check of an export that holds came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The index of the first entry of the period.
    pub first: u64,
    /// The index after the last.
    pub end: u64,
    /// How many entries the log had when it was exported.
    pub size: u64,
    /// The root of its tree then.
    pub root: Digest,
    /// What was asked of the ledger.
    pub query: Query,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// How many approvals have verified evidence.
    pub approvals: u64,
    /// The entries with which something began, or went forward, under a freeze that the log tells of in the period.
    pub frozen: Vec<u64>,
}

impl Folder<'_> {
    pub(super) fn reader(&self, file: &str) -> Result<BufReader<Box<dyn Read>>, Flaw> {
        if !self.names.contains(file) {
            return Err(FlawCode::FileMissing.of(file, "it is not there"));
        }
        (self.open)(file).map(BufReader::new).map_err(|error| unreadable(file, &error))
    }

    /// A document as a whole.
    pub(super) fn text(&self, file: &str) -> Result<String, Flaw> {
        let mut text = String::new();
        let read = self.reader(file)?.take(LARGEST_DOCUMENT).read_to_string(&mut text);
        read.map_err(|error| unreadable(file, &error))?;
        Ok(text)
    }
}

pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Flaw {
    FlawCode::FileUnreadable.of(file, format!("it cannot be read: {error}"))
}

/// A file of lines, read one by one.
pub(super) struct LineReader<'f> {
    file: &'f str,
    reader: BufReader<Box<dyn Read>>,
    pub(super) line: u64,
}

impl<'f> LineReader<'f> {
    pub(super) fn new(folder: &Folder<'_>, file: &'f str) -> Result<Self, Flaw> {
        Ok(Self { file, reader: folder.reader(file)?, line: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<String>, Flaw> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LARGEST_DOCUMENT).read_until(b'\n', &mut line);
        if read.map_err(|error| unreadable(self.file, &error))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let text = String::from_utf8(line).ok().and_then(|mut text| {
            let is_whole = text.pop() == Some('\n');
            is_whole.then_some(text)
        });
        let sentence = "the line is not UTF-8, or does not end";
        text.map(Some).ok_or_else(|| FlawCode::EntryMalformed.at(self.file, self.line, sentence))
    }
}

/// Checks a whole export.
///
/// # Errors
/// The first thing that does not hold.
pub fn check(folder: &Folder<'_>, trust: &Trust) -> Result<Report, Flaw> {
    let manifest = check_manifest(folder, trust)?;
    check_files(folder, &manifest)?;
    let report = check_contents(folder, trust)?;
    if manifest.query != report.query || manifest.rows != report.rows {
        let sentence = "it tells of another period or of other numbers of rows than there are";
        return Err(FlawCode::ManifestInvalid.of(MANIFEST, sentence));
    }
    Ok(report)
}

/// The manifest that the log key signed.
fn check_manifest(folder: &Folder<'_>, trust: &Trust) -> Result<Manifest, Flaw> {
    let invalid = |file, sentence: &str| FlawCode::ManifestInvalid.of(file, sentence);
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| invalid(MANIFEST_ENVELOPE, "the pinned log key cannot be read"))?;
    let envelope = folder.text(MANIFEST_ENVELOPE)?;
    let signed = Envelope::open(&envelope, MANIFEST_TYPE, &log).ok_or_else(|| {
        let note = folder.text(CHECKPOINT).ok();
        match note.and_then(|note| log.successor_that_signed(&note)) {
            Some(successor) => {
                let sentence = successor_sentence(&log.name, &successor);
                FlawCode::CheckpointInvalid.of(CHECKPOINT, sentence)
            }
            None => invalid(MANIFEST_ENVELOPE, "the pinned log key did not sign this manifest"),
        }
    })?;
    let text = folder.text(MANIFEST)?;
    if signed != text.as_bytes() {
        return Err(invalid(MANIFEST, "it is not the manifest that was signed"));
    }
    let manifest: Manifest =
        from_canonical_json(&text).map_err(|error| invalid(MANIFEST, &error.to_string()))?;
    if manifest.schema != MANIFEST_SCHEMA
        || manifest.origin != trust.origin
        || manifest.log != trust.log
    {
        return Err(invalid(MANIFEST, "it is of another form, another gate or another log"));
    }
    Ok(manifest)
}

/// Every file that the manifest lists, and no other.
fn check_files(folder: &Folder<'_>, manifest: &Manifest) -> Result<(), Flaw> {
    let mut unlisted = folder.names.clone();
    unlisted.remove(MANIFEST);
    unlisted.remove(MANIFEST_ENVELOPE);
    for listed in &manifest.files {
        let path = &listed.path;
        if !unlisted.remove(path) {
            return Err(
                FlawCode::FileMissing.of(path, "the manifest lists it, and it is not there")
            );
        }
        let (size, digest) = hash(folder, path)?;
        if (size, digest) != (listed.size, listed.sha256) {
            let sentence = "its size or SHA-256 is not the one in the manifest";
            return Err(FlawCode::FileChanged.of(path, sentence));
        }
    }
    match unlisted.first() {
        None => Ok(()),
        Some(path) => {
            Err(FlawCode::FileUnexpected.of(path, "the manifest does not list it, and it is there"))
        }
    }
}

fn hash(folder: &Folder<'_>, path: &str) -> Result<(u64, Digest), Flaw> {
    let mut reader = folder.reader(path)?;
    let (mut context, mut size) = (Context::new(&SHA256), 0_u64);
    loop {
        let piece = reader.fill_buf().map_err(|error| unreadable(path, &error))?;
        if piece.is_empty() {
            break;
        }
        context.update(piece);
        let length = piece.len();
        size += length as u64;
        reader.consume(length);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok((size, Digest::from_bytes(bytes)))
}
