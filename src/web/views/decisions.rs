//! Who may sign, who has, and what the person who looks can do.

use crate::domain::approval::{Approval, Status, TransitionRefusal};
use crate::domain::decision::{Verdict, standing, with_withdrawals};
use crate::domain::hold::hold_now;
use crate::domain::person::Profile;
use crate::domain::policy::Principal;
use crate::domain::subject::Subject;
use crate::web::paths;

use super::environments::span;
use super::inert::Inert;
use super::moment::Moment;
use super::{Surroundings, Viewer};

/// How far one rule is met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleView {
    /// How many signatures count.
    pub met: usize,
    /// How many it needs.
    pub needed: usize,
    /// Out of whom.
    pub from: Inert,
    /// How many more it waits for.
    pub missing: usize,
}

/// One recorded decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecisionView {
    /// Who decided.
    pub name: Inert,
    /// The directory's own name for the person.
    pub subject: Inert,
    /// Whether it is a yes, or a broken glass.
    pub approves: bool,
    /// Whether it is a broken glass.
    pub breaks_glass: bool,
    /// When the person took it back, and why.
    pub withdrawal: Option<Withdrawal>,
    /// Whether it counts no more, since its key was given up.
    pub is_void: bool,
    /// Since when the directory could not be reached then, if the person signed in with a key alone.
    pub outage: Option<Moment>,
    /// Why, in the person's words.
    pub reason: Option<Inert>,
    /// When the gate recorded it.
    pub at: Moment,
    /// The credential that signed, base64url.
    pub credential: String,
    /// SHA-256 of the statement that was signed.
    pub statement_digest: String,
}

/// A signature was taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdrawal {
    /// When.
    pub at: Moment,
    /// Why, in the person's words.
    pub reason: Option<Inert>,
}

/// What the person who looks can do about it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nobody decides any more.
    Over,
    /// Nobody is signed in.
    SignIn {
        /// The sign-in that leads back here.
        href: String,
    },
    /// The person may not sign.
    MayNot {
        /// Why.
        why: Inert,
    },
    /// The person may sign and has no key.
    NeedsKey,
    /// The person may sign, and none of their keys is what the rules ask for.
    OtherKey {
        /// Why, and what would do.
        why: Inert,
    },
    /// The person signed a yes and may take it back with these keys.
    Withdraw {
        /// Their names.
        keys: Vec<Inert>,
        /// SHA-256 of the statement that they signed.
        statement: String,
        /// Whether everybody who has to sign has signed.
        is_approved: bool,
    },
    /// The person may sign with these keys.
    Sign {
        /// Their names.
        keys: Vec<Inert>,
        /// Whether nobody else has to sign after this person.
        completes: bool,
        /// Until when they may although another key has to be registered.
        until: Option<Moment>,
        /// The groups, where they are the gate's own word.
        gate_groups: Option<Inert>,
    },
}

/// What the person who looks can do in an emergency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlassView {
    /// The names of the keys that sign it.
    pub keys: Vec<Inert>,
    /// Who has to.
    pub who: Inert,
    /// What holds it now and would not any more.
    pub overrides: Option<Inert>,
    /// How soon somebody else has to sign for it.
    pub within: String,
    /// Whether nobody else has to break it too.
    pub completes: bool,
    /// What they sign of an outage of the directory, if they signed in with their key alone.
    pub outage: Option<OutageView>,
}

/// That the directory cannot be reached, as somebody signs it who signed in with a key alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutageView {
    /// Since when, exactly as it is signed.
    pub signed: String,
    /// Since when.
    pub since: Moment,
    /// When the person signed in there last.
    pub signed_in: Moment,
}

/// Every rule with its progress.
pub fn rules(approval: &Approval) -> Vec<RuleView> {
    let progress = approval.progress();
    progress
        .iter()
        .zip(&approval.policy.rules)
        .map(|(progress, rule)| {
            let names: Vec<String> = rule.from.iter().map(Principal::in_words).collect();
            RuleView {
                met: progress.met,
                needed: progress.needed,
                from: Inert::new(&format!("{}{}", names.join(" or "), rule.place())),
                missing: progress.needed.saturating_sub(progress.met),
            }
        })
        .collect()
}

/// Every decision so far.
pub fn decisions(approval: &Approval, around: Surroundings<'_>) -> Vec<DecisionView> {
    with_withdrawals(&approval.decisions)
        .into_iter()
        .map(|(decision, withdrawal)| DecisionView {
            name: Inert::new(&decision.name),
            subject: Inert::new(&decision.person.subject),
            approves: matches!(decision.verdict, Verdict::Approve | Verdict::BreakGlass),
            breaks_glass: decision.verdict == Verdict::BreakGlass,
            withdrawal: withdrawal.map(|withdrawal| Withdrawal {
                at: Moment::new(withdrawal.decided_at, around.now),
                reason: withdrawal.reason.as_deref().map(Inert::new),
            }),
            is_void: false,
            outage: decision
                .directory_unreachable_since
                .map(|since| Moment::new(since, around.now)),
            reason: decision.reason.as_deref().map(Inert::new),
            at: Moment::new(decision.decided_at, around.now),
            credential: decision.credential.clone(),
            statement_digest: decision.statement_digest.to_string(),
        })
        .collect()
}

/// What the person who looks can do.
pub fn turn(approval: &Approval, around: Surroundings<'_>) -> Turn {
    if let Some(viewer) = around.viewer
        && viewer.profile.directory_unreachable_since.is_none()
        && let Some(turn) = withdrawal_turn(approval, viewer, around)
    {
        return turn;
    }
    if approval.status() != Status::Pending || around.now >= approval.subject.expires_at {
        return Turn::Over;
    }
    let Some(viewer) = around.viewer else {
        return Turn::SignIn { href: paths::sign_in(&paths::approval(approval.id())) };
    };
    if viewer.is_auditor {
        return Turn::MayNot {
            why: Inert::new("You are one of the auditors, who read everything and sign nothing."),
        };
    }
    if viewer.profile.directory_unreachable_since.is_some() {
        let why = "You signed in with your key alone, since the directory cannot be reached. By the rules above it takes a sign-in at the directory to decide.";
        return Turn::MayNot { why: Inert::new(why) };
    }
    match refusal(approval, viewer, around) {
        Some(TransitionRefusal::AlreadyDecided(_)) => {
            Turn::MayNot { why: Inert::new("You have signed this approval. A person counts once.") }
        }
        Some(TransitionRefusal::OwnRequest(_)) => Turn::MayNot {
            why: Inert::new(match approval.subject.subject() {
                Subject::WorkflowRun(_) => {
                    "You started this run, so you count as its requester. Somebody else has to decide."
                }
                Subject::Deployment(_)
                | Subject::JobExecution(_)
                | Subject::Action(_)
                | Subject::RuleChange(_) => {
                    "This was asked for on your behalf, so you count as its requester. Somebody else has to decide."
                }
            }),
        },
        Some(TransitionRefusal::NotAnApprover(_)) => {
            Turn::MayNot { why: not_an_approver(approval) }
        }
        Some(TransitionRefusal::OwnCommits(_)) => Turn::MayNot {
            why: Inert::new(
                "You had a hand in the commits that this ships, and nobody signs for their own here. Somebody else has to decide.",
            ),
        },
        Some(TransitionRefusal::AccountUnknown(_)) => Turn::MayNot {
            why: Inert::new(
                "Nobody signs for their own commits here, and which account at GitHub is yours is not known. Ask whoever runs the gate to have its number written into the directory, or into github_accounts of the environment.",
            ),
        },
        Some(TransitionRefusal::CommitsUnknown) => Turn::MayNot {
            why: Inert::new(
                "Nobody signs for their own commits here, and whose commits this ships is not known. It has to be asked for again, from a job of GitHub Actions.",
            ),
        },
        Some(
            TransitionRefusal::Closed(_)
            | TransitionRefusal::Expired(_)
            | TransitionRefusal::NothingToWithdraw(_)
            | TransitionRefusal::NoBreakGlass(_)
            | TransitionRefusal::MayNotBreakGlass(_)
            | TransitionRefusal::NotPossible(..)
            | TransitionRefusal::WindowOver(_),
        ) => Turn::Over,
        None if viewer.keys_refused.is_some() => {
            let why = viewer.keys_refused.as_deref().unwrap_or_default();
            Turn::OtherKey { why: Inert::new(why) }
        }
        None if viewer.keys.is_empty() => Turn::NeedsKey,
        None => Turn::Sign {
            until: viewer.keys_until.map(|until| Moment::new(until, around.now)),
            keys: names_of_keys(viewer),
            completes: completes(approval, viewer),
            gate_groups: gate_groups(&viewer.profile),
        },
    }
}

/// What a person who signed can still do: take it back, as long as the rollout has not begun.
fn withdrawal_turn(approval: &Approval, viewer: &Viewer, around: Surroundings<'_>) -> Option<Turn> {
    let profile = &viewer.profile;
    let yes = approval.may_withdraw(&profile.person, &profile.name, around.now).ok()?;
    if viewer.keys.is_empty() {
        let why = "You approved this. You have no key that can sign now, so you cannot take it back: ask another approver to reject it, or the requester to cancel it.";
        return Some(Turn::MayNot { why: Inert::new(why) });
    }
    Some(Turn::Withdraw {
        keys: names_of_keys(viewer),
        statement: yes.statement_digest.to_string(),
        is_approved: approval.status() == Status::Approved,
    })
}

/// The groups that the directory did not sign, if that is how they came.
fn gate_groups(profile: &Profile) -> Option<Inert> {
    let names = profile.groups.join(", ");
    let names = if names.is_empty() { "none" } else { &names };
    profile.gate_groups.then(|| Inert::new(names))
}

fn names_of_keys(viewer: &Viewer) -> Vec<Inert> {
    viewer.keys.iter().map(|name| Inert::new(name)).collect()
}

fn completes(approval: &Approval, viewer: &Viewer) -> bool {
    let mut signers = approval.signers();
    let groups = viewer.profile.groups_under(&approval.policy).to_vec();
    signers.push((viewer.profile.person.clone(), groups));
    approval.policy.is_met(&signers)
}

/// What the person who looks can do in an emergency, where anything waits or is held.
pub fn glass(approval: &Approval, around: Surroundings<'_>) -> Option<GlassView> {
    let viewer = around.viewer.filter(|viewer| !viewer.is_auditor && !viewer.keys.is_empty())?;
    let glass = approval.policy.break_glass.as_ref()?;
    let profile = &viewer.profile;
    let Profile { person, name, github_id, .. } = profile;
    let groups = profile.groups_under(&approval.policy);
    approval.may_break_glass(person, name, groups, *github_id, around.now).ok()?;
    let outage = match profile.directory_unreachable_since {
        None => None,
        Some(since) => {
            let signed_in = viewer.signed_in_at;
            let signed_in = signed_in.filter(|at| glass.bridges(*at, around.now))?;
            Some(OutageView {
                signed: since.to_string(),
                since: Moment::new(since, around.now),
                signed_in: Moment::new(signed_in, around.now),
            })
        }
    };
    let hold = hold_now(approval, around.freezes, around.now);
    if viewer.keys_refused.is_some() || approval.status() == Status::Approved && hold.is_none() {
        return None;
    }
    let broke = standing(&approval.decisions).into_iter();
    let broke = broke.filter(|decision| decision.verdict == Verdict::BreakGlass);
    let mut breakers: Vec<_> = broke.map(|one| (one.person.clone(), one.groups.clone())).collect();
    breakers.push((person.clone(), groups.to_vec()));
    Some(GlassView {
        keys: names_of_keys(viewer),
        who: Inert::new(&glass.in_words()),
        overrides: hold.map(|hold| Inert::new(&hold.sentence())),
        within: span(glass.explain_within_seconds),
        completes: glass.is_met(&breakers),
        outage,
    })
}

/// Why the viewer cannot decide now, if so.
pub fn refusal(
    approval: &Approval,
    viewer: &Viewer,
    around: Surroundings<'_>,
) -> Option<TransitionRefusal> {
    let Profile { person, name, github_id, .. } = &viewer.profile;
    let groups = viewer.profile.groups_under(&approval.policy);
    approval.may_decide(person, name, groups, *github_id, around.now).err()
}

fn not_an_approver(approval: &Approval) -> Inert {
    let names: Vec<String> =
        approval.policy.rules.iter().flat_map(|rule| &rule.from).map(Principal::in_words).collect();
    Inert::new(&format!(
        "You may not sign for {}. Its rules name {}, and your sign-in did not say that you are \
         one of them. If a group of yours is new, sign out and in again.",
        approval.subject.environment,
        names.join(", ")
    ))
}
