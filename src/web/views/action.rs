//! What an act does, drawn from its canonical arguments and the words of whoever declared its tool, and
//! from nothing that the requester wrote about it.

use crate::domain::action::{Action, ActionType, value_text};
use crate::domain::policy::Policy;

use super::Inert;

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
    /// Whether it is a reference to a secret.
    pub is_secret: bool,
}

impl ActionView {
    pub(super) fn new(action: &Action, policy: &Policy) -> Self {
        let declared = policy.action(&action.tool);
        let shown = ActionType::draw(declared, &action.arguments);
        let views = |drawn: Vec<crate::domain::action::Drawn>| {
            drawn
                .into_iter()
                .map(|one| ArgumentView {
                    label: Inert::new(&one.label),
                    value: one.value.map(|value| Inert::new(&value_text(&value))),
                    is_secret: one.is_secret,
                })
                .collect()
        };
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
