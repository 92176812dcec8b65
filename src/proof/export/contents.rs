//! What stands in an export, recomputed: it holds whoever signed the manifest, because all of it follows
//! from entries that the log key signed one by one and from the tree head that it signed over them.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use crate::domain::canonical::from_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::hold::{Freezes, goes_forward};
use crate::domain::ledger::{Frontier, RECORD_SCHEMA, Record, entry_hash, leaf_hash};
use crate::domain::period::Period;
use crate::domain::tree::cover;
use crate::proof::checkpoint::{Checkpoint, TrustedLog};
use crate::proof::evidence::{Cosignature, Evidence, Trust};
use crate::proof::export::check::{Folder, LineReader, Report, unreadable};
use crate::proof::export::rules::RulesTold;
use crate::proof::export::tables::{Lines, Population, Tables};
use crate::proof::export::{
    CHECKPOINT, COSIGNATURES, ENTRIES, Flaw, FlawCode, NEIGHBOURS, Query, RANGE, RANGE_SCHEMA,
    README, Range, evidence_file, fixed_files, readme,
};
use crate::proof::exported::{EntryFlaw, ExportedEntry};
use crate::proof::recovery::Recoveries;
use crate::proof::verify::{Code, Verified, successor_sentence, verify, verify_cosignatures};

/// Checks everything in an export but its manifest.
///
/// # Errors
/// The first thing that does not hold.
pub fn check_contents(folder: &Folder<'_>, trust: &Trust) -> Result<Report, Flaw> {
    let invalid = |sentence: &str| FlawCode::CheckpointInvalid.of(CHECKPOINT, sentence);
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| invalid("the pinned log key cannot be read"))?;
    let note = folder.text(CHECKPOINT)?;
    let checkpoint = log.verify(&note).ok_or_else(|| match log.successor_that_signed(&note) {
        Some(successor) => invalid(&successor_sentence(&log.name, &successor)),
        None => invalid("it is not a tree head that the pinned log key signed"),
    })?;
    check_witnesses(folder, &checkpoint, trust)?;
    let range = read_range(folder, &checkpoint)?;
    if folder.text(README)? != readme(&trust.origin, &range) {
        return Err(FlawCode::TableMismatch.of(README, "it is not the text of such an export"));
    }
    let mut lines = Comparison { folder, files: BTreeMap::new() };
    let mut tables = Tables::begin(&mut lines)?;
    let walk = Walk { folder, log: &log, trust, range: &range, checkpoint: &checkpoint };
    let mut rules = RulesTold::default();
    let held = walk.entries(&mut tables, &mut rules, &mut lines)?;
    check_names(folder, &tables)?;
    let approvals: Vec<(String, Population)> =
        tables.approvals().map(|(id, population)| (id.clone(), population.clone())).collect();
    let mut frozen = Vec::new();
    for (id, population) in &approvals {
        let verified = walk.approval(id, population, &mut tables, &mut rules, &mut lines)?;
        let own = population.entries.iter().map(|(index, _)| *index);
        frozen.extend(own.filter(|index| is_frozen(held.get(index), &verified)));
    }
    if let Some(entry) = rules.unsigned() {
        let sentence = format!("entry {entry} puts rules into force that nobody signed");
        return Err(FlawCode::RulesInvalid.of(ENTRIES, sentence));
    }
    frozen.sort_unstable();
    lines.finish()?;
    Ok(Report {
        first: range.first,
        end: range.end,
        size: checkpoint.size(),
        root: *checkpoint.root(),
        query: Query::of(Period { from: range.from, until: range.until }),
        rows: tables.rows().clone(),
        approvals: approvals.len() as u64,
        frozen,
    })
}

/// The witnesses' signatures of the tree head, by the rules of evidence.
fn check_witnesses(
    folder: &Folder<'_>,
    checkpoint: &Checkpoint,
    trust: &Trust,
) -> Result<(), Flaw> {
    let cosignatures: Vec<Cosignature> = from_canonical_json(&folder.text(COSIGNATURES)?)
        .map_err(|error| FlawCode::CosignatureInvalid.of(COSIGNATURES, error.to_string()))?;
    verify_cosignatures(&cosignatures, checkpoint, trust).map(|_| ()).map_err(|failure| {
        let code = match failure.code() {
            Code::NotWitnessed => FlawCode::NotWitnessed,
            _ => FlawCode::CosignatureInvalid,
        };
        code.of(COSIGNATURES, failure.to_string())
    })
}

fn read_range(folder: &Folder<'_>, checkpoint: &Checkpoint) -> Result<Range, Flaw> {
    let invalid = |sentence: String| FlawCode::RangeInvalid.of(RANGE, sentence);
    let range: Range = from_canonical_json(&folder.text(RANGE)?)
        .map_err(|error| invalid(format!("it cannot be read: {error}")))?;
    let size = checkpoint.size();
    let is_possible = range.schema == RANGE_SCHEMA
        && range.from < range.until
        && range.first <= range.end
        && range.end <= size;
    let (begin, end) = Range::with_neighbours(range.first, range.end, size);
    let covers = is_possible
        && range.before.len() == cover(0, begin).len()
        && range.after.len() == cover(end, size).len();
    if covers {
        Ok(range)
    } else {
        Err(invalid("it is not a range of the log whose head is there".to_owned()))
    }
}

/// The files that such an export has, and no other.
fn check_names(folder: &Folder<'_>, tables: &Tables) -> Result<(), Flaw> {
    let mut others = folder.names.clone();
    let evidence = tables.approvals().map(|(id, _)| evidence_file(id));
    for file in fixed_files().into_iter().chain(evidence) {
        if !others.remove(&file) {
            return Err(FlawCode::FileMissing.of(&file, "it is not there"));
        }
    }
    match others.first() {
        None => Ok(()),
        Some(file) => Err(FlawCode::FileUnexpected.of(file, "no such file belongs to an export")),
    }
}

/// The entries of a period that go forward while anything is frozen, by their indexes, each with its time and what is
/// frozen then. The log's word is taken for who lifted a freeze: the gate wrote it down after it verified that.
type Held = BTreeMap<u64, (Timestamp, Freezes)>;

/// Whether a freeze held what this approval is about when this entry was written.
fn is_frozen(held: Option<&(Timestamp, Freezes)>, verified: &Verified) -> bool {
    let asked = verified.subject();
    let overridden = verified.is_by_break_glass();
    held.filter(|_| !overridden).is_some_and(|(at, freezes)| {
        freezes.holding(&asked.environment, &asked.requester, *at).is_some()
    })
}

/// The walk along the log.
struct Walk<'a> {
    folder: &'a Folder<'a>,
    log: &'a TrustedLog,
    trust: &'a Trust,
    range: &'a Range,
    checkpoint: &'a Checkpoint,
}

impl Walk<'_> {
    /// Every entry of the period with its neighbours, on top of what stands before, below what stands
    /// after, to the signed root. Gives those that go forward while anything is frozen.
    fn entries(
        &self,
        tables: &mut Tables,
        rules: &mut RulesTold,
        lines: &mut Comparison<'_>,
    ) -> Result<Held, Flaw> {
        let range = self.range;
        let size = self.checkpoint.size();
        let (begin, end) = Range::with_neighbours(range.first, range.end, size);
        let mut tree = Frontier::default();
        Self::append(&mut tree, 0, begin, &range.before)?;
        let mut neighbours = LineReader::new(self.folder, NEIGHBOURS)?;
        if begin < range.first {
            self.neighbour(&mut neighbours, &mut tree, "before")?;
        }
        let mut entries = LineReader::new(self.folder, ENTRIES)?;
        let mut recoveries = Recoveries::default();
        let (mut freezes, mut held) = (Freezes::default(), Held::new());
        while let Some(line) = entries.next()? {
            let place = (ENTRIES, entries.line);
            if tree.size() == range.end {
                let sentence = "there are more entries than the range has";
                return Err(FlawCode::EntryMissing.at(ENTRIES, place.1, sentence));
            }
            let below = (tree.size(), tree.root());
            let (entry, record, hash, leaf) = self.entry(&line, place, &mut tree)?;
            recoveries.pass(below, &record, self.trust, &self.log.name).map_err(|refusal| {
                FlawCode::RecoveryInvalid.at(ENTRIES, place.1, refusal.to_string())
            })?;
            rules
                .take(entry.index, &record)
                .map_err(|why| FlawCode::RulesInvalid.at(ENTRIES, place.1, why))?;
            tables.entry(entry.index, &record, &leaf, lines)?;
            freezes.pass(&record);
            if goes_forward(&record) && !freezes.is_empty() {
                held.insert(entry.index, (record.at, freezes.clone()));
            }
            if let Some(said) = &record.approval {
                tables.follow(entry.index, said, (hash, leaf)).map_err(|_| {
                    let sentence = "it does not follow the entry before of its approval";
                    FlawCode::ChainBroken.at(ENTRIES, place.1, sentence)
                })?;
            }
        }
        if tree.size() != range.end {
            let sentence = format!("entry {} and all after it are missing", tree.size());
            return Err(FlawCode::EntryMissing.at(ENTRIES, entries.line + 1, sentence));
        }
        if range.end < end {
            self.neighbour(&mut neighbours, &mut tree, "after")?;
        }
        if neighbours.next()?.is_some() {
            let sentence = "there are more neighbours than two";
            return Err(FlawCode::EntryMissing.at(NEIGHBOURS, neighbours.line, sentence));
        }
        Self::append(&mut tree, end, size, &range.after)?;
        if tree.size() == size && tree.root() == *self.checkpoint.root() {
            Ok(held)
        } else {
            let sentence = "the entries and the range do not give the root that the log key signed";
            Err(FlawCode::RootMismatch.of(CHECKPOINT, sentence))
        }
    }

    fn append(tree: &mut Frontier, from: u64, to: u64, hashes: &[Digest]) -> Result<(), Flaw> {
        for (node, hash) in cover(from, to).into_iter().zip(hashes) {
            if !tree.append_subtree(node.level, *hash) {
                return Err(FlawCode::RangeInvalid.of(RANGE, "its subtrees do not fit together"));
            }
        }
        Ok(())
    }

    /// One entry in its place: form, record, signature; gives it with entry hash and leaf.
    fn entry(
        &self,
        line: &str,
        (file, number): (&str, u64),
        tree: &mut Frontier,
    ) -> Result<(ExportedEntry, Record, Digest, Digest), Flaw> {
        let flaw = |code: FlawCode, sentence: &str| code.at(file, number, sentence);
        let entry: ExportedEntry = from_canonical_json(line)
            .map_err(|error| flaw(FlawCode::EntryMalformed, &error.to_string()))?;
        if entry.index != tree.size() {
            let sentence = format!("entry {} stands in the place of {}", entry.index, tree.size());
            return Err(flaw(FlawCode::EntryMissing, &sentence));
        }
        if entry.previous_root != tree.root().to_string() {
            let sentence = "its previous root is not that of the entries before it";
            return Err(flaw(FlawCode::RootMismatch, sentence));
        }
        let (hash, leaf) = entry.check(&self.log.key).map_err(|found| match found {
            EntryFlaw::Malformed => flaw(FlawCode::EntryMalformed, "its hexadecimal is damaged"),
            EntryFlaw::Leaf => {
                flaw(FlawCode::EntryChanged, "its leaf is not the one of its record and salt")
            }
            EntryFlaw::Signature => flaw(
                FlawCode::EntrySignatureInvalid,
                "the log key did not sign this entry in this place",
            ),
        })?;
        let record = Record::parse(&entry.record)
            .ok()
            .filter(|record| record.schema == RECORD_SCHEMA)
            .ok_or_else(|| flaw(FlawCode::EntryMalformed, "its record cannot be read"))?;
        tree.append(leaf);
        Ok((entry, record, hash, leaf))
    }

    /// The entry beside the period, which must lie outside of it.
    fn neighbour(
        &self,
        lines: &mut LineReader<'_>,
        tree: &mut Frontier,
        side: &str,
    ) -> Result<(), Flaw> {
        let Some(line) = lines.next()? else {
            let sentence = format!("the entry right {side} the period is missing");
            return Err(FlawCode::EntryMissing.at(NEIGHBOURS, lines.line + 1, sentence));
        };
        let (_, record, ..) = self.entry(&line, (NEIGHBOURS, lines.line), tree)?;
        let is_outside = match side {
            "before" => record.at < self.range.from,
            _ => record.at >= self.range.until,
        };
        if is_outside {
            Ok(())
        } else {
            let sentence =
                format!("the entry right {side} the period lies in it: more are missing");
            Err(FlawCode::PeriodMismatch.at(NEIGHBOURS, lines.line, sentence))
        }
    }

    /// The evidence of one approval, verified: it holds, in the tree of this export, and has the entries of
    /// the period.
    fn approval(
        &self,
        id: &str,
        population: &Population,
        tables: &mut Tables,
        rules: &mut RulesTold,
        lines: &mut Comparison<'_>,
    ) -> Result<Verified, Flaw> {
        let file = evidence_file(id);
        let text = self.folder.text(&file)?;
        let verified = verify(text.as_bytes(), self.trust).map_err(|failure| {
            let code = failure.code();
            FlawCode::EvidenceInvalid.of(&file, format!("{}: {failure}", code.as_str()))
        })?;
        if let Some(why) = verified.outside_windows() {
            return Err(FlawCode::EvidenceInvalid.of(&file, format!("outside_window: {why}")));
        }
        let mismatch = |sentence: &str| FlawCode::EvidenceMismatch.of(&file, sentence);
        if verified.subject().approval.as_str() != id {
            return Err(mismatch("it is of another approval"));
        }
        let (size, root) = (verified.checkpoint().size(), verified.checkpoint().root());
        if (size, root) != (self.checkpoint.size(), self.checkpoint.root()) {
            return Err(mismatch("it leads to another tree head than the export"));
        }
        let range = self.range.first..self.range.end;
        let evidence: Evidence = serde_json::from_str(&text)
            .map_err(|error| mismatch(&format!("it cannot be read again: {error}")))?;
        let own = evidence.entries.iter().filter(|entry| range.contains(&entry.index));
        let own: Vec<(u64, Option<Digest>)> =
            own.map(|entry| (entry.index, leaf_of(&entry.salt, &entry.record))).collect();
        let told = population.entries.iter().map(|(index, leaf)| (*index, Some(*leaf)));
        if !told.eq(own) {
            return Err(mismatch("its entries in the period are not those of the export"));
        }
        let asked = evidence.entries.first().map_or(0, |entry| entry.index);
        rules.check(&verified, asked).map_err(|why| FlawCode::RulesInvalid.of(&file, why))?;
        tables.approval(&verified, population, lines)?;
        Ok(verified)
    }
}

fn leaf_of(salt: &str, record: &str) -> Option<Digest> {
    let salt: [u8; 32] = HEXLOWER.decode(salt.as_bytes()).ok()?.try_into().ok()?;
    Some(leaf_hash(&entry_hash(&salt, record)))
}

/// Compares tables with the files that are there, piece by piece.
struct Comparison<'a> {
    folder: &'a Folder<'a>,
    files: BTreeMap<String, Compared>,
}

struct Compared {
    reader: BufReader<Box<dyn Read>>,
    line: u64,
}

impl Lines for Comparison<'_> {
    type Error = Flaw;

    fn put(&mut self, file: &str, text: &str) -> Result<(), Flaw> {
        if !self.files.contains_key(file) {
            let compared = Compared { reader: self.folder.reader(file)?, line: 1 };
            self.files.insert(file.to_owned(), compared);
        }
        let Some(compared) = self.files.get_mut(file) else { return Ok(()) };
        let mut found = Vec::with_capacity(text.len());
        let length = text.len() as u64;
        let read = (&mut compared.reader).take(length).read_to_end(&mut found);
        read.map_err(|error| unreadable(file, &error))?;
        if found != text.as_bytes() {
            let sentence = "it does not say what follows from the entries and the evidence";
            return Err(FlawCode::TableMismatch.at(file, compared.line, sentence));
        }
        compared.line += text.matches('\n').count() as u64;
        Ok(())
    }
}

impl Comparison<'_> {
    /// Nothing stands after the last line.
    fn finish(self) -> Result<(), Flaw> {
        for (file, mut compared) in self.files {
            let read = compared.reader.read(&mut [0]).map_err(|error| unreadable(&file, &error))?;
            if read != 0 {
                let sentence = "it goes on after everything that follows from the entries";
                return Err(FlawCode::TableMismatch.at(&file, compared.line, sentence));
            }
        }
        Ok(())
    }
}
