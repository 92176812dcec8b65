//! What an act does, drawn from its canonical arguments and the words of whoever declared its tool, and
//! from nothing that the requester wrote about it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::action::{Action, ActionType, Drawn, value_text};
use crate::domain::approval::Approval;
use crate::domain::policy::Policy;
use crate::web::paths;

use super::approval::StatusView;
use super::{Inert, Moment, Surroundings};

/// What the page shows of an action alone.
pub struct ActionView {
    /// The tool.
    pub tool: Inert,
    /// What it does, as it is declared.
    pub title: Inert,
    /// Who takes the grant.
    pub audience: Inert,
    /// The declared arguments, in their order.
    pub fields: Vec<ArgumentView>,
    /// How much it can touch.
    pub blast_radius: Vec<ArgumentView>,
    /// Every other argument.
    pub others: Vec<ArgumentView>,
}

/// One argument.
pub struct ArgumentView {
    /// What it is called.
    pub label: Inert,
    /// Its value; none if it is not given.
    pub value: Option<Inert>,
    /// Of a list, each of its items as JSON, in place of the value.
    pub items: Vec<Inert>,
    /// Whether it is a reference to a secret.
    pub is_secret: bool,
}

impl From<Drawn> for ArgumentView {
    fn from(drawn: Drawn) -> Self {
        let items = match &drawn.value {
            // As JSON, so that where an item begins and ends, and that one is empty, can be seen.
            Some(Value::Array(items)) => {
                items.iter().map(|item| Inert::new(&item.to_string())).collect()
            }
            _ => Vec::new(),
        };
        Self {
            label: Inert::new(&drawn.label),
            value: drawn.value.map(|value| Inert::new(&value_text(&value))),
            items,
            is_secret: drawn.is_secret,
        }
    }
}

impl ActionView {
    pub(super) fn new(action: &Action, policy: &Policy) -> Self {
        let declared = policy.action(&action.tool);
        let shown = ActionType::draw(declared, &action.arguments);
        let views = |drawn: Vec<Drawn>| drawn.into_iter().map(ArgumentView::from).collect();
        Self {
            tool: Inert::new(&action.tool),
            title: Inert::new(declared.map_or("", |declared| &declared.title)),
            audience: Inert::new(declared.map_or("", |declared| &declared.audience)),
            fields: views(shown.fields),
            blast_radius: views(shown.blast_radius),
            others: views(shown.others),
        }
    }
}

/// What the same requester asked before with the same tool.
pub struct EarlierView {
    /// How many times.
    pub count: u64,
    /// When it did last.
    pub asked: Moment,
    /// What became of that.
    pub status: &'static str,
    /// Its page.
    pub href: String,
    /// The arguments that differ from it.
    pub changes: Vec<ChangeView>,
}

/// An argument that is another one than the last time.
pub struct ChangeView {
    /// What it is called.
    pub label: Inert,
    /// Its value then.
    pub before: Option<Inert>,
    /// Its value now.
    pub after: Option<Inert>,
}

impl EarlierView {
    pub(super) fn new(
        approval: &Approval,
        count: u64,
        last: &Approval,
        around: Surroundings<'_>,
    ) -> Option<Self> {
        let (now, before) = (approval.subject.action()?, last.subject.action()?);
        let values = |action: &Action| -> BTreeMap<String, String> {
            let shown = ActionType::draw(approval.policy.action(&action.tool), &action.arguments);
            let all = [shown.fields, shown.blast_radius, shown.others].into_iter().flatten();
            all.filter_map(|one| Some((one.label, value_text(&one.value?)))).collect()
        };
        let (before, now) = (values(before), values(now));
        let labels: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changes = labels.into_iter().filter(|label| before.get(*label) != now.get(*label));
        let view = |values: &BTreeMap<String, String>, label: &String| {
            values.get(label).map(|value| Inert::new(value))
        };
        Some(Self {
            count,
            asked: Moment::new(last.subject.requested_at, around.now),
            status: StatusView::new(last.status()).words,
            href: paths::approval(last.id()),
            changes: changes
                .map(|label| ChangeView {
                    label: Inert::new(label),
                    before: view(&before, label),
                    after: view(&now, label),
                })
                .collect(),
        })
    }
}

/// The longest target in a headline, in characters: the whole stands among the arguments.
const LONGEST_TARGET: usize = 60;

/// What is done to what, in one line.
pub(super) fn headline(action: &Action, policy: &Policy) -> String {
    let environment = &action.environment;
    let declared = policy.action(&action.tool);
    let title = declared.map_or(action.tool.as_str(), |declared| &declared.title);
    let target = declared
        .and_then(|declared| declared.target_of(&action.arguments))
        .map(|value| value_text(&value));
    match target {
        Some(target) => {
            let short: String = target.chars().take(LONGEST_TARGET).collect();
            let more = if short.len() < target.len() { "…" } else { "" };
            format!("{title}: {short}{more} in {environment}")
        }
        None => format!("{title} in {environment}"),
    }
}
