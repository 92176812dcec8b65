//! The ledger as people check it.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::ledger::Record;
use crate::gate::trail::ProvedEntry;
use crate::web::audit::AuditQuery;
use crate::web::paths;

use super::{Frame, Inert, Moment, Surroundings};

/// `GET /audit`.
#[derive(Template, WebTemplate)]
#[template(path = "audit.html")]
pub struct AuditPage {
    frame: Frame,
    fields: Vec<Field>,
    kinds: Vec<Choice>,
    is_filtered: bool,
    /// The filter in words.
    filter: Inert,
    rows: u64,
    size: u64,
    root: String,
    failed: usize,
    entries: Vec<Item>,
    jsonl: String,
    csv: String,
    older: Option<String>,
    newest: Option<String>,
}

/// A tree head.
pub struct Head {
    /// How many entries it has.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

/// What the page is drawn from.
pub struct Shown<'a> {
    /// The entries, newest first.
    pub entries: &'a [ProvedEntry],
    /// The tree that they were verified against.
    pub head: Head,
    /// How many the filter lets through.
    pub rows: u64,
    /// The kinds that there are.
    pub kinds: Vec<String>,
    /// Whether older entries follow.
    pub has_more: bool,
}

/// A field of the filter.
struct Field {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
}

/// A kind to choose.
struct Choice {
    name: String,
    is_chosen: bool,
}

/// One entry.
struct Item {
    index: u64,
    href: String,
    at: Moment,
    kind: String,
    sentence: Inert,
    /// Who, and the link that shows only theirs.
    who: Option<(Inert, String)>,
    approval: Option<Linked>,
    /// Service and environment.
    about: Option<(Inert, Inert)>,
    flaw: Option<&'static str>,
}

/// An approval with its page and its evidence.
struct Linked {
    id: String,
    page: String,
    evidence: String,
}

impl AuditPage {
    /// Draws what was read for this query.
    pub fn new(query: &AuditQuery, shown: &Shown<'_>, around: Surroundings<'_>) -> Self {
        let kinds = shown
            .kinds
            .iter()
            .map(|kind| Choice { is_chosen: *kind == query.kind, name: kind.clone() });
        let fields = fields(query);
        let given: Vec<String> = fields
            .iter()
            .map(|field| (field.label, &field.value))
            .chain([("Kind", &query.kind)])
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(label, value)| format!("{label}: {}", value.trim()))
            .collect();
        let last = shown.entries.last().filter(|_| shown.has_more);
        Self {
            frame: Frame::new("Audit", paths::AUDIT, around),
            is_filtered: !given.is_empty(),
            filter: Inert::new(&if given.is_empty() {
                "none".to_owned()
            } else {
                given.join("; ")
            }),
            fields,
            kinds: kinds.collect(),
            rows: shown.rows,
            size: shown.head.size,
            root: shown.head.root.to_string(),
            failed: shown.entries.iter().filter(|entry| entry.flaw.is_some()).count(),
            entries: shown.entries.iter().map(|entry| item(entry, query, around)).collect(),
            jsonl: path(paths::AUDIT_JSONL, query, ""),
            csv: path(paths::AUDIT_CSV, query, ""),
            older: last.map(|last| path(paths::AUDIT, query, &last.listed.entry.index.to_string())),
            newest: (!query.before.is_empty()).then(|| path(paths::AUDIT, query, "")),
        }
    }
}

fn fields(query: &AuditQuery) -> Vec<Field> {
    let field =
        |name, label, kind, value: &String| Field { name, label, kind, value: value.clone() };
    vec![
        field("who", "Who", "text", &query.who),
        field("from", "From, UTC", "date", &query.from),
        field("to", "To, UTC, with that day", "date", &query.to),
        field("environment", "Environment", "text", &query.environment),
        field("service", "Service", "text", &query.service),
        field("approval", "Approval", "text", &query.approval),
    ]
}

/// The same query at another path and place.
fn path(path: &str, query: &AuditQuery, before: &str) -> String {
    let parameters = [
        ("who", query.who.trim()),
        ("kind", query.kind.trim()),
        ("from", query.from.trim()),
        ("to", query.to.trim()),
        ("environment", query.environment.trim()),
        ("service", query.service.trim()),
        ("approval", query.approval.trim()),
        ("before", before),
    ];
    paths::with_query(path, &parameters)
}

fn item(proved: &ProvedEntry, query: &AuditQuery, around: Surroundings<'_>) -> Item {
    let listed = &proved.listed;
    let index = listed.entry.index;
    let href = paths::entry(index);
    let Ok(record) = Record::parse(&listed.entry.record) else {
        return Item {
            index,
            href,
            at: Moment::new(around.now, around.now),
            kind: "unreadable".to_owned(),
            sentence: Inert::new("The record of this entry cannot be read."),
            who: None,
            approval: None,
            about: None,
            flaw: proved.flaw.or(Some("the record is not one that the gate writes")),
        };
    };
    let party = listed.party(&record);
    let theirs = AuditQuery { who: party.to_owned(), ..query.clone() };
    let id: Option<ApprovalId> = record.subject().and_then(|id| id.parse().ok());
    Item {
        index,
        href,
        at: Moment::new(record.at, around.now),
        sentence: Inert::new(&record.sentence()),
        who: (!party.is_empty()).then(|| (Inert::new(party), path(paths::AUDIT, &theirs, ""))),
        approval: id.map(|id| Linked {
            page: paths::approval(&id),
            evidence: paths::evidence(&id),
            id: id.to_string(),
        }),
        about: listed
            .about
            .as_ref()
            .map(|about| (Inert::new(&about.service), Inert::new(&about.environment))),
        kind: record.kind,
        flaw: proved.flaw,
    }
}
