//! Who asks, as their verified token says, and what they say themselves.

use serde_json::Value;
use url::Url;

use crate::domain::action::Action;
use crate::domain::policy::Policy;
use crate::domain::separation::Shipped;
use crate::domain::subject::{Link, Requester, Subject};

use super::inert::Inert;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequesterView {
    /// The short name: a repository, an agent's name, or the subject.
    pub name: Inert,
    /// The token issuer whose signature was checked.
    pub issuer_url: Inert,
    /// What the token says that people want to know first.
    pub facts: Vec<Fact>,
    /// Every claim of the token.
    pub claims: Vec<(Inert, Inert)>,
}

/// One verified fact about the requester.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// What it is.
    pub label: &'static str,
    /// What the token says.
    pub value: Inert,
    /// Where it leads, only ever built by the gate.
    pub href: Option<String>,
}

/// What the requester wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// A headline.
    pub title: Option<Inert>,
    /// Why.
    pub reason: Inert,
    /// For whom the requester says that it acts.
    pub acts_for: Option<Inert>,
    /// What an action does, what should come of it and how to take it back.
    pub about: Vec<(&'static str, Inert)>,
    /// More.
    pub body: Option<Inert>,
    /// Whether the body scrolls by itself, so that it does not push the facts away.
    pub body_is_long: bool,
    /// Where to read more.
    pub links: Vec<LinkView>,
    /// The commit's headline and its author, as GitHub has them.
    pub commit: Option<(Inert, Option<Inert>)>,
}

/// A link that the requester gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// What the requester calls it.
    pub title: Inert,
    /// The whole address, as the browser would open it.
    pub url: Inert,
    /// The host that it leads to, and the address; none if it may not be followed.
    pub target: Option<(String, String)>,
}

impl RequesterView {
    pub(crate) fn new(subject: &Subject, policy: &Policy) -> Self {
        let requester = &subject.facts().requester;
        let shipped = subject.shipped();
        let mut facts = facts(requester, policy);
        facts.extend(shipped.into_iter().flat_map(of_shipped));
        let claims = requester
            .claims
            .iter()
            .map(|(name, value)| (Inert::new(name), Inert::new(&value_text(value))))
            .collect();
        Self {
            name: Inert::new(requester.display_name()),
            issuer_url: Inert::new(&requester.issuer_url),
            facts,
            claims,
        }
    }
}

/// More than about half a screen.
fn is_long(text: &str) -> bool {
    text.len() > 1500 || text.lines().count() > 20
}

impl Words {
    pub(crate) fn new(subject: &Subject) -> Self {
        let asked = subject.facts();
        let commit = subject.commit();
        let optional = |text: &Option<String>| text.as_deref().map(Inert::new);
        Self {
            title: optional(&asked.title),
            reason: Inert::new(&asked.reason),
            acts_for: optional(&asked.acts_for),
            about: subject.action().map(about).unwrap_or_default(),
            body: optional(&asked.body),
            body_is_long: asked.body.as_ref().is_some_and(|body| is_long(body)),
            links: asked.links.iter().map(link).collect(),
            commit: commit.map(|commit| {
                (Inert::new(&commit.headline), commit.author.as_deref().map(Inert::new))
            }),
        }
    }
}

fn about(action: &Action) -> Vec<(&'static str, Inert)> {
    let said = [
        ("What it does", &action.summary),
        ("Expected", &action.effect),
        ("To undo it", &action.undo),
    ];
    said.into_iter().filter_map(|(what, text)| Some((what, Inert::new(text.as_deref()?)))).collect()
}

/// The claims of GitHub Actions and of most other issuers that say where a request comes from.
const FACTS: [(&str, &str); 9] = [
    ("Repository", "repository"),
    ("Commit", "sha"),
    ("Branch or tag", "ref"),
    ("Workflow", "job_workflow_ref"),
    ("Run", "run_id"),
    ("Attempt", "run_attempt"),
    ("Event", "event_name"),
    ("Started by", "actor"),
    ("Agent", "name"),
];

fn facts(requester: &Requester, policy: &Policy) -> Vec<Fact> {
    let forge = forge(&requester.issuer_url);
    let repository = requester.claim("repository").filter(|name| is_repository(name));
    let page = |rest: String| -> Option<String> {
        Some(format!("{}/{}{rest}", forge.as_ref()?, repository?))
    };
    let plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut facts: Vec<Fact> = FACTS
        .iter()
        .filter_map(|(label, claim)| {
            let value = requester.claim(claim)?;
            let href = match *claim {
                "repository" => page(String::new()),
                "sha" if plain(value) => page(format!("/commit/{value}")),
                "run_id" if plain(value) => page(format!("/actions/runs/{value}")),
                _ => None,
            };
            Some(Fact { label, value: Inert::new(value), href })
        })
        .collect();
    facts.extend(principals(requester, policy));
    if facts.is_empty() {
        facts.push(Fact { label: "Subject", value: Inert::new(&requester.subject), href: None });
    }
    facts
}

/// Which commits ship, and whose they are, by GitHub's word: none of these people counts as an approver.
fn of_shipped(shipped: &Shipped) -> [Fact; 2] {
    let since: Vec<&str> = shipped.since.iter().map(|sha| sha.get(..12).unwrap_or(sha)).collect();
    let ships = match shipped.commits {
        0 => "Nothing new: what served before, or serves".to_owned(),
        1 => format!("1 commit since {}", since.join(" and ")),
        count => format!("{count} commits since {}", since.join(" and ")),
    };
    let names: Vec<&str> = shipped.accounts.iter().map(|account| account.login.as_str()).collect();
    let names = names.join(", ");
    [("Ships", ships), ("Had a hand in it, and cannot sign", names)].map(|(label, value)| Fact {
        label,
        value: Inert::new(&value),
        href: None,
    })
}

/// For whom a program acts, by its name in the directory. What a program says of it in words is no fact.
fn principals(requester: &Requester, policy: &Policy) -> impl Iterator<Item = Fact> {
    let people = policy.people_behind(requester).into_iter();
    people.map(|person| Fact { label: "Acts for", value: Inert::new(&person.subject), href: None })
}

/// The web pages of the forge whose Actions issued the token: github.com, or the GitHub
/// Enterprise Server that issues under `/_services/token`.
fn forge(issuer_url: &str) -> Option<String> {
    if issuer_url == "https://token.actions.githubusercontent.com" {
        return Some("https://github.com".to_owned());
    }
    let server = issuer_url.strip_suffix("/_services/token")?;
    server.starts_with("https://").then(|| server.to_owned())
}

pub(super) fn is_repository(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.split_once('/').is_some_and(|(owner, rest)| {
        [owner, rest].iter().all(|part| {
            !part.is_empty() && *part != "." && *part != ".." && part.bytes().all(known)
        })
    })
}

fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Only https is ever followed. What is shown is the address after parsing, so that a host in
/// look-alike letters shows as the `xn--` name that it is.
fn link(link: &Link) -> LinkView {
    let parsed = Url::parse(&link.url).ok().filter(|url| url.scheme() == "https");
    let title = Inert::new(&link.title);
    match parsed {
        Some(url) => LinkView {
            title,
            url: Inert::new(url.as_str()),
            target: url.host_str().map(|host| (host.to_owned(), url.to_string())),
        },
        None => LinkView { title, url: Inert::new(&link.url), target: None },
    }
}
