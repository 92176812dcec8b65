//! `countersign policy explain`: would this be allowed, and by which rule.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{ExplainArguments, answer, rules_of};
use crate::api::ask::{Asked, read_request};
use crate::clock::Clock;
use crate::domain::hold::{Hold, hold_by};
use crate::domain::person::Person;
use crate::domain::policy::{Policy, Principal, Rule};
use crate::domain::unique_json;

/// What the rules say to a request and to a person.
struct Explanation {
    /// Why the request would be refused, if it would: its stable code, and a sentence.
    refusal: Option<(String, String)>,
    /// The rule by which the workload may ask; none where nobody said who asks.
    requester: Option<usize>,
    /// The rules for which the person may sign, each with the reason.
    signs: Vec<(usize, String)>,
    /// Whether they may break the glass: none where nobody may.
    breaks_glass: Option<bool>,
    /// What is still needed when the person has signed.
    needed: Vec<String>,
    /// When the rules let something approved begin, in words.
    windows: Vec<String>,
    /// What holds it now by these rules.
    hold: Option<Hold>,
}

/// Explains what an environment's rules say to a request, and to a person who would sign it.
pub(super) fn run(arguments: &ExplainArguments) -> Result<ExitCode, String> {
    let rules = rules_of(&arguments.config)?;
    let name = &arguments.environment;
    let policy = rules.get(name).ok_or_else(|| {
        let known: Vec<&str> = rules.keys().map(String::as_str).collect();
        format!("there is no environment {name:?}: there are {}", known.join(", "))
    })?;
    let (named, request) = read_request(&read(&arguments.request)?)
        .map_err(|problem| format!("{}: {}", arguments.request.display(), problem.detail))?;
    if named != *name {
        return Err(format!(
            "{} asks for the environment {named:?}, not for {name:?}",
            arguments.request.display()
        ));
    }
    let workload = match (&arguments.issuer, &arguments.claims) {
        (Some(issuer), Some(claims)) => Some((issuer.as_str(), read_claims(claims)?)),
        _ => None,
    };
    let explanation = explain(policy, &request, workload, &arguments.person, &arguments.groups);
    let is_allowed = explanation.refusal.is_none() && !explanation.signs.is_empty();
    Ok(answer(
        is_allowed,
        &if arguments.json {
            machine(&explanation, is_allowed).to_string()
        } else {
            in_words(&explanation, policy, &arguments.person)
        },
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read ({error})", path.display()))
}

fn read_claims(path: &Path) -> Result<Map<String, Value>, String> {
    match unique_json::parse(&read(path)?) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(format!("{} is no JSON object of claims", path.display())),
        Err(error) => Err(format!("{} is no JSON ({error})", path.display())),
    }
}

fn explain(
    policy: &Policy,
    request: &Asked,
    workload: Option<(&str, Map<String, Value>)>,
    subject: &str,
    groups: &[String],
) -> Explanation {
    let mut refusal = request
        .check_contents(policy)
        .err()
        .map(|refusal| (refusal.code().to_owned(), refusal.to_string()));
    let mut requester = None;
    if let Some((issuer, claims)) = workload {
        requester = policy.requesters.iter().position(|one| one.admits(issuer, &claims));
        if requester.is_none() {
            let why = format!(
                "none of the requesters of {} is a workload with these claims",
                policy.environment
            );
            refusal = Some(("requester_not_allowed".to_owned(), why));
        }
    }
    // The directory is the configured one: rules name its people by their subject alone.
    let person = Person { issuer: String::new(), subject: subject.to_owned() };
    let reason = |rule: &Rule| {
        let named = rule.from.iter().find(|principal| principal.names(&person, groups))?;
        Some(match named {
            Principal::Group(name) => format!("as a member of {name}"),
            Principal::Person(_) => "by name".to_owned(),
        })
    };
    let signs = policy.rules.iter().enumerate();
    let signs = signs.filter_map(|(index, rule)| Some((index, reason(rule)?))).collect();
    let progress = policy.progress(&[(person.clone(), groups.to_vec())]);
    let needed = policy.rules.iter().zip(progress).filter_map(|(rule, progress)| {
        let missing = progress.needed.saturating_sub(progress.met);
        let count = u8::try_from(missing).unwrap_or(u8::MAX);
        let rest = Rule { count, ..rule.clone() };
        (missing > 0).then(|| rest.in_words())
    });
    let glass = policy.break_glass.as_ref();
    let breaks_glass = glass.map(|glass| glass.admits(&person, groups));
    let now = Clock::system().now();
    let (windows, hold) = (policy.windows.in_words(now), hold_by(None, policy, now));
    let needed = needed.collect();
    Explanation { refusal, requester, signs, breaks_glass, needed, windows, hold }
}

fn in_words(explanation: &Explanation, policy: &Policy, person: &str) -> String {
    let mut text = match &explanation.refusal {
        Some((code, why)) => format!("The request would be refused: {why} ({code}).\n"),
        None => "The request would be accepted.\n".to_owned(),
    };
    if let Some(requester) = explanation.requester.and_then(|index| policy.requesters.get(index)) {
        text.push_str(&format!("The workload may ask as {}.\n", requester.in_words()));
    } else if explanation.refusal.is_none() {
        text.push_str("Who asks was not looked at: name a token's --issuer and --claims.\n");
    }
    for (index, why) in &explanation.signs {
        let rule = policy.rules.get(*index).map(Rule::in_words).unwrap_or_default();
        text.push_str(&format!("{person} may sign for rule {} ({rule}), {why}.\n", index + 1));
    }
    if policy.separation.is_some() && !explanation.signs.is_empty() {
        text.push_str("That holds if they had no hand in the commits that it ships: nobody signs for their own here.\n");
    }
    if explanation.signs.is_empty() {
        text.push_str(&format!(
            "{person} may sign for none of the rules. Name the groups of their sign-in with --group.\n"
        ));
    } else if explanation.needed.is_empty() {
        text.push_str("With this signature the rules are met.\n");
    } else {
        let needed = explanation.needed.join(" and ");
        text.push_str(&format!("After it, {needed} still have to sign.\n"));
    }
    if let (Some(may), Some(glass)) = (explanation.breaks_glass, &policy.break_glass) {
        let (may, who) = (if may { "may" } else { "may not" }, glass.in_words());
        text.push_str(&format!("{person} {may} break the glass ({who}).\n"));
    }
    if !explanation.windows.is_empty() {
        let windows = explanation.windows.join("; ");
        text.push_str(&format!("What is approved begins by these windows: {windows}.\n"));
    }
    if let Some(hold) = &explanation.hold {
        text.push_str(&format!("Nothing begins now: {}\n", hold.sentence()));
    }
    text
}

fn machine(explanation: &Explanation, is_allowed: bool) -> Value {
    let refusal = explanation.refusal.as_ref();
    let signs = explanation.signs.iter();
    json!({
        "allowed": is_allowed,
        "request": {
            "accepted": refusal.is_none(),
            "code": refusal.map(|(code, _)| code),
            "sentence": refusal.map(|(_, sentence)| sentence),
            "requester": explanation.requester.map(|index| index + 1),
        },
        "may_sign": signs.map(|(index, why)| json!({"rule": index + 1, "why": why})).collect::<Vec<_>>(),
        "may_break_glass": explanation.breaks_glass,
        "needed": explanation.needed,
        "windows": explanation.windows,
        "hold": explanation.hold.as_ref().map(|hold| json!({
            "code": hold.code(),
            "sentence": hold.sentence(),
            "ends_at": hold.ends_at(),
        })),
    })
}
