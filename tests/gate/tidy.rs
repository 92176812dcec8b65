//! The tree keeps the order that `src/lib.rs` describes: this file reads the sources and says
//! where they do not.

mod imports;
mod migrations;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use imports::imports;

/// What each module may import from the crate: whole modules, or single paths where a module is
/// meant to know no more of another. The one list of it; `src/lib.rs` tells it in words.
const MAY_IMPORT: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("proof", &["domain"]),
    ("clock", &[]),
    ("randomness", &[]),
    ("storage", &["domain", "randomness"]),
    ("integrations", &["domain", "proof", "clock", "randomness"]),
    (
        "gate",
        &[
            "domain",
            "proof",
            "storage",
            "clock",
            "randomness",
            // The proof types and nothing that talks to the network.
            "integrations::workload_oidc::VerifiedRequester",
            "integrations::workload_oidc::Refused",
            "integrations::login_oidc::VerifiedSignIn",
            "integrations::login_oidc::DirectoryOutage",
            "integrations::passkeys::Registered",
        ],
    ),
    ("worker", &["domain", "proof", "storage", "integrations", "gate", "clock", "randomness"]),
    (
        "config",
        &[
            "domain",
            "integrations",
            "proof::certificate",
            "proof::evidence",
            "proof::grant",
            "proof::jwk",
            "proof::metadata",
            "gate::decide::RelyingParty",
            "gate::evidence::log_name",
            "web::proxy",
            "randomness",
        ],
    ),
    (
        "app",
        &[
            "domain",
            "proof",
            "storage",
            "integrations",
            "gate",
            "worker::log::LogFollower",
            "clock",
            "config",
            "web::proxy",
        ],
    ),
    ("api", API_AND_WEB),
    ("web", API_AND_WEB),
    // Agents get what the API gives, by the API's own functions.
    ("mcp", &["domain", "proof", "storage", "gate", "app", "api", "integrations::workload_oidc"]),
    ("server", &["api", "mcp", "web", "app", "domain::log_fault"]),
    ("client", &["domain", "randomness"]),
    // The demo shows everything, the sandbox included.
    ("cli", &[EVERYTHING]),
    ("sandbox", &["clock", "randomness"]),
];

/// Any module of the crate.
const EVERYTHING: &str = "";

/// Pages and API are two faces of the same handlers: sessions and problems are common to both.
const API_AND_WEB: &[&str] = &[
    "domain",
    "proof",
    "storage",
    "gate",
    "app",
    "api",
    "web",
    "randomness",
    "integrations::workload_oidc",
    "integrations::login_oidc",
    "integrations::passkeys",
    "integrations::cloud_run",
    "integrations::audit_events",
    "integrations::github::commits",
    "integrations::github::delivery",
];

/// The only place that knows each outside party's crate.
const CRATES: [(&str, &str); 8] = [
    ("webauthn_rs", "src/integrations/passkeys"),
    ("octocrab", "src/integrations/github"),
    ("jsonwebtoken", "src/integrations/workload_oidc"),
    ("google_cloud", "src/integrations/cloud_"),
    ("openidconnect", "src/integrations/login_oidc"),
    ("sqlx", "src/storage/"),
    ("rmcp", "src/mcp/"),
    ("x509_parser", "src/proof/certificate"),
];

/// A file that needs more lines than this has more than one subject.
const MOST_LINES: usize = 450;
/// Longer files, each with the reason.
const LONGER: [(&str, &str); 0] = [];
/// All files of the second verifier together have fewer.
const LINES_OF_SECOND_VERIFIER: usize = 600;
/// `main` parses the command line and calls one function.
const MOST_LINES_OF_MAIN: usize = 60;

/// A text file of the tree, by its path from the root.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The module of `src` that it belongs to.
    fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let first = inner.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// The source without its comments.
    fn code(&self) -> String {
        self.text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .fold(String::new(), |code, line| code + line + "\n")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file under these folders, and the files of the root itself.
fn files(folders: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "{folders:?} hold no files: the paths in this test are wrong");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(path: &Path, found: &mut Vec<File>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.retain(|entry| {
            let name = entry.file_name().unwrap_or_default();
            // What package managers and tests put there is not ours.
            name != "node_modules" && name != ".cache"
        });
        entries.iter().for_each(|entry| walk(entry, found));
    } else if let Ok(text) = std::fs::read_to_string(path) {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        found.push(File { path, text });
    }
}

/// Everything that we wrote by hand.
fn everything() -> Vec<File> {
    files(&[
        "src",
        "tests",
        "benches",
        "templates",
        "migrations",
        "actions",
        "pipelines",
        "Cargo.toml",
    ])
}

fn assert_none(complaints: &[String], rule: &str) {
    let list = complaints.iter().fold(String::new(), |mut list, complaint| {
        let _ = writeln!(list, "  {complaint}");
        list
    });
    assert!(complaints.is_empty(), "{rule}\n{list}");
}

fn is_within(path: &str, allowed: &str) -> bool {
    allowed == EVERYTHING
        || path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn modules_import_what_the_table_allows() {
    let mut complaints = Vec::new();
    for file in files(&["src"]).iter().filter(|file| file.is_rust()) {
        let module = file.module().unwrap();
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let row = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = row else {
            complaints.push(format!("{}: the table has no row for {module}", file.path));
            continue;
        };
        let code = file.code();
        for path in imports(&code) {
            let fits = is_within(&path, module) || allowed.iter().any(|row| is_within(&path, row));
            if !fits {
                complaints.push(format!("{}: {module} may not import {path}", file.path));
            }
        }
        // A way around the table: a top-level module that climbs out of itself.
        let is_top =
            file.path == format!("src/{module}.rs") || file.path == format!("src/{module}/mod.rs");
        if is_top && code.lines().any(|line| line.starts_with("use super::")) {
            complaints.push(format!("{}: write crate::, not super::", file.path));
        }
    }
    assert_none(&complaints, "imports beside the table at the top of tests/gate/tidy.rs:");
}

#[test]
fn the_map_lists_the_modules_that_exist() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: BTreeSet<String> = files(&["src"])
        .iter()
        .filter_map(File::module)
        .filter(|module| !["lib", "main"].contains(module))
        .map(str::to_owned)
        .collect();
    let declared: BTreeSet<String> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, modules, "the modules that src/lib.rs declares");
    let rows = library.lines().filter_map(|line| line.strip_prefix("//! | [`"));
    let mapped: BTreeSet<String> = rows
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split("], [`"))
        .map(|name| name.trim_end_matches([']', '`', ' ']).to_owned())
        .collect();
    assert_eq!(mapped, modules, "the modules that the map in src/lib.rs describes");
    let table: BTreeSet<String> =
        MAY_IMPORT.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(table, modules, "the modules that the table in tests/gate/tidy.rs has rows for");
}

#[test]
fn each_outside_party_has_one_place() {
    let mut complaints = Vec::new();
    for file in files(&["src"]).iter().filter(|file| file.is_rust()) {
        let code = file.code();
        for (name, place) in CRATES {
            let names_it = code.match_indices(name).any(|(at, _)| {
                let before = code[..at].chars().next_back().unwrap_or(' ');
                let after =
                    code[at..].trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                !before.is_alphanumeric() && !"_\"-".contains(before) && after.starts_with("::")
            });
            if names_it && !file.path.starts_with(place) {
                complaints.push(format!("{}: {name} belongs to {place}", file.path));
            }
        }
    }
    assert_none(&complaints, "an outside party's crate is known in one place only:");
}

#[test]
fn files_are_of_a_readable_size() {
    let mut complaints = Vec::new();
    for file in everything() {
        let lines = file.text.lines().count();
        let is_ours = [".rs", ".mjs", ".js", ".css", ".html", ".py", ".sql"]
            .iter()
            .any(|end| file.path.ends_with(end));
        let is_excepted = LONGER.iter().any(|(path, _)| *path == file.path);
        if is_ours && lines > MOST_LINES && !is_excepted {
            complaints.push(format!("{}: {lines} lines", file.path));
        }
        if file.path == "src/main.rs" && lines >= MOST_LINES_OF_MAIN {
            complaints.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert_none(&complaints, &format!("files of more than {MOST_LINES} lines:"));
}

#[test]
fn the_second_verifier_is_read_in_one_sitting() {
    let verifier = files(&["tests/verifier"]);
    let lines: usize = verifier
        .iter()
        .filter(|file| file.path.ends_with(".py"))
        .map(|file| file.text.lines().count())
        .sum();
    assert!(lines > 0, "tests/verifier has no Python: the path in this test is wrong");
    assert!(
        lines < LINES_OF_SECOND_VERIFIER,
        "tests/verifier/*.py has {lines} lines. Whoever checks an approval without trusting the \
         gate has to read them first: they stay small enough to be read in one sitting, under \
         {LINES_OF_SECOND_VERIFIER} lines. What is form belongs into tests/verifier/shapes.txt."
    );
}

#[test]
fn names_say_what_is_inside() {
    const EMPTY: [&str; 8] =
        ["util", "utils", "common", "helper", "helpers", "types", "misc", "shared"];
    let mut complaints = Vec::new();
    for file in everything() {
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or_default();
            if EMPTY.contains(&stem) {
                complaints.push(format!("{}: what is in {stem}?", file.path));
            }
        }
    }
    assert_none(&complaints, "names that say nothing:");
}

#[test]
fn nothing_is_left_undone_or_machine_bound() {
    // Written in two parts, so that this file is not what it looks for.
    let undone = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
    ];
    let machine =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tm", "p/")];
    let mut complaints = Vec::new();
    for file in everything() {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in undone.iter().chain(&machine).filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    assert_none(&complaints, "work left behind, or a path of one machine:");
}

#[test]
fn pages_hold_no_code_and_no_style_of_their_own() {
    let mut complaints = Vec::new();
    for file in files(&["templates"]).iter().filter(|file| file.path.ends_with(".html")) {
        let text = file.text.to_lowercase();
        for (at, _) in text.match_indices("<script") {
            let rest = &text[at..];
            let tag = &rest[..rest.find('>').map_or(rest.len(), |end| end + 1)];
            if !tag.contains("src=") || !rest[tag.len()..].starts_with("</script>") {
                complaints.push(format!("{}: a script with a body", file.path));
            }
        }
        // The sandbox's pages are not the gate's: they bring their style along.
        if text.contains("<style") && !file.path.starts_with("templates/sandbox/") {
            complaints.push(format!("{}: a style sheet inside the page", file.path));
        }
        for (at, _) in text.match_indices('=') {
            let attribute = text[..at].rsplit(|c: char| !c.is_ascii_alphabetic()).next();
            let attribute = attribute.unwrap_or_default();
            let before = text[..at - attribute.len()].chars().next_back().unwrap_or(' ');
            let is_handler = attribute.starts_with("on") && attribute.len() > 2;
            if before.is_whitespace() && (attribute == "style" || is_handler) {
                complaints.push(format!("{}: an attribute {attribute}=", file.path));
            }
        }
    }
    assert_none(&complaints, "the Content-Security-Policy forbids it, so the page would break:");
}

#[test]
fn every_template_is_used() {
    let templates = files(&["templates"]);
    let sources = files(&["src"]);
    let mut complaints = Vec::new();
    for file in &templates {
        let name = file.path.strip_prefix("templates/").unwrap();
        let quoted = format!("\"{name}\"");
        let is_view =
            sources.iter().any(|source| source.text.contains(&format!("path = {quoted}")));
        let is_part = templates.iter().any(|template| template.text.contains(&quoted));
        let is_embedded = sources.iter().any(|source| {
            source.text.contains("include_str!")
                && source.text.contains(&format!("/{}\"", file.path))
        });
        let is_used = match name.rsplit('/').next().unwrap_or_default() {
            "base.html" => is_part,
            part if part.starts_with('_') => is_part && !is_view,
            page if page.ends_with(".html") => is_view,
            _ => is_embedded || is_part,
        };
        if !is_used {
            complaints.push(format!("{}: no view draws it and nothing includes it", file.path));
        }
    }
    assert_none(&complaints, "templates without a view:");
}
