//! `countersign audit export`: everything that happened in a period, for an auditor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use crate::cli::audit::{ExportArguments, load, usage};
use crate::cli::failed;
use crate::clock::Clock;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::ledger::{Frontier, Record};
use crate::domain::period::Period;
use crate::domain::tree::cover;
use crate::gate::evidence::{current_log_name, gather_at};
use crate::gate::recover::learn_lineage;
use crate::gate::witnessed::{cosignatures, newest_cosigned};
use crate::proof::envelope::Envelope;
use crate::proof::evidence::Trust;
use crate::proof::export::tables::{Lines, Population, Tables};
use crate::proof::export::{
    CHECKPOINT, COSIGNATURES, ENTRIES, ListedFile, MANIFEST, MANIFEST_ENVELOPE, MANIFEST_SCHEMA,
    MANIFEST_TYPE, Manifest, NEIGHBOURS, Query, RANGE, RANGE_SCHEMA, README, Range, TRUST,
    evidence_file, readme,
};
use crate::proof::exported::ExportedEntry;
use crate::proof::verify::verify;
use crate::storage::Storage;

/// How many entries are read at once.
const PAGE: u32 = 200;

/// Writes the folder. Exit code 0: written and checked; 1: it could not be, and says why; 2: usage.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub(super) async fn run(arguments: &ExportArguments) -> ExitCode {
    let period = match Period::parse(&arguments.from, &arguments.to) {
        Ok(period) => period,
        Err(error) => return usage(&error.to_string()),
    };
    if let Err(why) = make_folder(&arguments.out) {
        return usage(&why);
    }
    let config = match load(&arguments.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let url = config.database.expose_secret();
    let storage = match Storage::open_beside(url, config.log_key.clone()).await {
        Ok(storage) => storage,
        Err(error) => return failed(&format!("the database {}: {error}", config.database_shown())),
    };
    let now = Clock::system().now();
    let exported = export(&storage, &config.trust(), period, &arguments.out, now).await;
    storage.close().await;
    let folder = arguments.out.display();
    match exported {
        Ok(Exported { entries, approvals, manifest }) => {
            println!(
                "{entries} entries, {approvals} approvals, from {} to before {} (UTC)",
                period.from, period.until
            );
            println!("manifest {manifest}");
            println!(
                "Written to {folder}; check it with: countersign audit verify {folder} --trust TRUST.json"
            );
            ExitCode::SUCCESS
        }
        Err(why) => failed(&format!("the export was given up, and {folder} proves nothing: {why}")),
    }
}

/// What was written.
pub struct Exported {
    /// How many entries the period has.
    pub entries: u64,
    /// How many approvals have an entry in it.
    pub approvals: u64,
    /// SHA-256 of the manifest.
    pub manifest: Digest,
}

fn make_folder(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).map_err(|error| format!("{shown} cannot be made: {error}"))?;
    let mut files =
        std::fs::read_dir(folder).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if files.next().is_some() {
        return Err(format!("{shown} is not empty: name a new folder"));
    }
    std::fs::create_dir(folder.join("evidence"))
        .map_err(|error| format!("{shown} cannot be written to: {error}"))
}

/// Writes the export of a period into an empty folder that has a folder `evidence`, as the ledger is now.
/// Reads it page by page, so that memory stays flat; each approval's evidence is verified on the way.
///
/// # Errors
/// A sentence, if something cannot be read or written, or does not hold.
pub async fn export(
    storage: &Storage,
    trust: &Trust,
    period: Period,
    folder: &Path,
    now: Timestamp,
) -> Result<Exported, String> {
    let recovered = learn_lineage(storage, trust).await;
    let recovered =
        recovered.map_err(|error| format!("a recovery of the log does not hold: {error}"))?;
    let trust = &trust.after(recovered.recoveries);
    let head = head_of(storage, trust, period).await?;
    let signed = cosignatures(storage, trust, &head).await.map_err(say)?;
    if signed.len() < usize::from(trust.witnesses_required) {
        return Err(format!(
            "only {} of the {} witnesses that [trust] asks for have signed a head that covers the period: /health/ready of the gate says why; try again when they have",
            signed.len(),
            trust.witnesses_required
        ));
    }
    let mut output = Output { folder: folder.to_owned(), open: BTreeMap::new(), files: Vec::new() };
    let mut tables = Tables::begin(&mut output)?;
    let range = range_of(storage, period, &head).await?;
    write_entries(storage, &range, &head, &mut tables, &mut output).await?;
    let approvals: Vec<(String, Population)> =
        tables.approvals().map(|(id, population)| (id.clone(), population.clone())).collect();
    for (id, population) in &approvals {
        let text = evidence_of(storage, trust, id, &head).await?;
        let verified = verify(text.as_bytes(), trust)
            .map_err(|failure| format!("the evidence of {id} does not hold: {failure}"))?;
        output.document(&evidence_file(id), &text)?;
        tables.approval(&verified, population, &mut output)?;
    }
    let anchors = serde_json::to_string_pretty(trust).map_err(say)?;
    output.document(TRUST, &(anchors + "\n"))?;
    let name = current_log_name(storage, &trust.origin);
    output.document(CHECKPOINT, &storage.sign_checkpoint(&name, &head))?;
    output.document(COSIGNATURES, &to_canonical_json(&signed).map_err(say)?)?;
    output.document(RANGE, &to_canonical_json(&range).map_err(say)?)?;
    output.document(README, &readme(&trust.origin, &range))?;
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        origin: trust.origin.clone(),
        log: trust.log.clone(),
        exported_at: now,
        query: Query::of(period),
        rows: tables.rows().clone(),
        files: output.finish()?,
    };
    let text = to_canonical_json(&manifest).map_err(say)?;
    let signature = storage.sign_envelope(MANIFEST_TYPE, text.as_bytes());
    let envelope = Envelope::new(MANIFEST_TYPE, text.as_bytes(), trust.log.clone(), &signature);
    write(folder, MANIFEST_ENVELOPE, &to_canonical_json(&envelope).map_err(say)?)?;
    write(folder, MANIFEST, &text)?;
    match super::check_folder(folder, trust)? {
        Ok(_) => Ok(Exported {
            entries: range.end - range.first,
            approvals: approvals.len() as u64,
            manifest: Digest::of(&text),
        }),
        Err(flaw) => Err(format!("what was written does not hold: {}: {flaw}", flaw.code.as_str())),
    }
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The head that everything leads to: the newest that covers the period with its neighbour and that witnesses
/// signed; the present one, where none did.
async fn head_of(storage: &Storage, trust: &Trust, period: Period) -> Result<Frontier, String> {
    let head = storage.head().await.map_err(say)?;
    let (_, end) = storage.entries_between(period.from, period.until).await.map_err(say)?;
    let least = end.saturating_add(1).min(head.size());
    let cosigned = newest_cosigned(storage, trust, least, &head).await.map_err(say)?;
    Ok(cosigned.unwrap_or(head))
}

/// Where the period is in the log, and the hashes around it.
async fn range_of(storage: &Storage, period: Period, head: &Frontier) -> Result<Range, String> {
    let Period { from, until } = period;
    let (first, end) = storage.entries_between(from, until).await.map_err(say)?;
    // What came after the head was read belongs to a later export.
    let (first, end) = (first.min(head.size()), end.min(head.size()));
    let (begin, stop) = Range::with_neighbours(first, end, head.size());
    let mut sides = [Vec::new(), Vec::new()];
    for (side, (start, end)) in sides.iter_mut().zip([(0, begin), (stop, head.size())]) {
        for node in cover(start, end) {
            side.extend(storage.nodes(node, 1).await.map_err(say)?);
        }
    }
    let [before, after] = sides;
    Ok(Range { schema: RANGE_SCHEMA.to_owned(), from, until, first, end, before, after })
}

async fn write_entries(
    storage: &Storage,
    range: &Range,
    head: &Frontier,
    tables: &mut Tables,
    output: &mut Output,
) -> Result<(), String> {
    let (begin, stop) = Range::with_neighbours(range.first, range.end, head.size());
    output.put(NEIGHBOURS, "")?;
    output.put(ENTRIES, "")?;
    let mut previous_root = storage.tree_at(begin).await.map_err(say)?.root();
    let mut next = begin;
    while next < stop {
        let before = next;
        let page = storage.entries(next, PAGE).await.map_err(say)?;
        for entry in page.into_iter().filter(|entry| entry.index < stop) {
            if entry.index != next {
                return Err(format!("entry {next} of the ledger is missing"));
            }
            next += 1;
            let exported = ExportedEntry::new(&entry, &previous_root);
            previous_root = entry.root;
            let line = to_canonical_json(&exported).map_err(say)? + "\n";
            if entry.index < range.first || entry.index >= range.end {
                output.put(NEIGHBOURS, &line)?;
                continue;
            }
            output.put(ENTRIES, &line)?;
            let record = Record::parse(&entry.record)
                .map_err(|error| format!("entry {}: {error}", entry.index))?;
            tables.entry(entry.index, &record, &entry.leaf(), output)?;
            if let Some(said) = &record.approval {
                let hashes = (entry.entry_hash, entry.leaf());
                tables.follow(entry.index, said, hashes).map_err(|_| {
                    format!("entry {} does not follow the one before of {}", entry.index, said.id)
                })?;
            }
        }
        if next == before {
            return Err(format!("entry {next} of the ledger is missing"));
        }
    }
    Ok(())
}

async fn evidence_of(
    storage: &Storage,
    trust: &Trust,
    id: &str,
    head: &Frontier,
) -> Result<String, String> {
    let known = id.parse().map_err(say)?;
    let stored = storage.approval(&known).await.map_err(say)?;
    let stored = stored.ok_or_else(|| format!("the approval {id} is gone"))?;
    let evidence = gather_at(storage, trust, &stored, head).await;
    let evidence = evidence.map_err(|error| format!("the evidence of {id}: {error}"))?;
    to_canonical_json(&evidence).map_err(say)
}

/// The files of the folder, hashed while they are written.
struct Output {
    folder: PathBuf,
    open: BTreeMap<String, Written>,
    files: Vec<ListedFile>,
}

struct Written {
    file: BufWriter<File>,
    context: Context,
    size: u64,
}

impl Lines for Output {
    type Error = String;

    fn put(&mut self, file: &str, text: &str) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("{file} cannot be written: {error}");
        if !self.open.contains_key(file) {
            let made = File::create_new(self.folder.join(file)).map_err(cannot)?;
            let written =
                Written { file: BufWriter::new(made), context: Context::new(&SHA256), size: 0 };
            self.open.insert(file.to_owned(), written);
        }
        let Some(written) = self.open.get_mut(file) else { return Ok(()) };
        written.context.update(text.as_bytes());
        written.size += text.len() as u64;
        written.file.write_all(text.as_bytes()).map_err(cannot)
    }
}

impl Output {
    /// A file that is written at once.
    fn document(&mut self, path: &str, text: &str) -> Result<(), String> {
        write(&self.folder, path, text)?;
        let (size, sha256) = (text.len() as u64, Digest::of(text));
        self.files.push(ListedFile { path: path.to_owned(), size, sha256 });
        Ok(())
    }

    /// Ends every file and lists them by path.
    fn finish(mut self) -> Result<Vec<ListedFile>, String> {
        for (path, mut written) in self.open {
            let flushed = written.file.flush().and_then(|()| written.file.get_ref().sync_all());
            flushed.map_err(|error| format!("{path} cannot be written: {error}"))?;
            let mut digest = [0; 32];
            digest.copy_from_slice(written.context.finish().as_ref());
            let sha256 = Digest::from_bytes(digest);
            self.files.push(ListedFile { path, size: written.size, sha256 });
        }
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(self.files)
    }
}

fn write(folder: &Path, path: &str, text: &str) -> Result<(), String> {
    std::fs::write(folder.join(path), text)
        .map_err(|error| format!("{path} cannot be written: {error}"))
}
