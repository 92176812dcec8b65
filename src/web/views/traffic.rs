//! How the traffic moves, and how far it is.

use crate::domain::approval::State;
use crate::domain::check::CheckResult;
use crate::domain::deployment::{Deployment, Preconditions};
use crate::domain::observation::TrafficShare;
use crate::domain::rollout::Progress;

use super::inert::Inert;
use super::{Moment, Surroundings};

/// One line of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepView {
    /// What happens.
    pub title: String,
    /// The shares of the revisions then, the new one first.
    pub shares: Vec<ShareView>,
    /// What else happens at it.
    pub details: Vec<Inert>,
    /// Until when it is watched, if it is now.
    pub until: Option<Moment>,
    /// What its checks found.
    pub results: Vec<ResultLine>,
    /// How far it is.
    pub stage: Stage,
}

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResultLine {
    /// The name in the style sheet.
    pub class: &'static str,
    /// What was found; parts of it may be somebody else's words.
    pub words: Inert,
    /// When it was asked.
    pub at: Moment,
}

/// One revision's share at a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareView {
    /// The revision.
    pub revision: Inert,
    /// Its percentage.
    pub percent: u8,
    /// Where its piece of the bar begins, 0 to 100.
    pub offset: u8,
    /// Whether it is the revision that this approval creates.
    pub is_new: bool,
    /// Its colour: the earlier revisions keep theirs from step to step.
    pub shade: &'static str,
}

/// How far a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing is known of it or nothing happens any more.
    Planned,
    /// It was seen to serve.
    Done,
    /// It happens now.
    Current,
    /// It comes.
    Next,
}

impl Stage {
    /// The name in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Current => "current",
            Self::Next => "next",
        }
    }

    /// In words, for those who cannot see the colour.
    pub fn words(self) -> &'static str {
        match self {
            Self::Planned => "",
            Self::Done => "done",
            Self::Current => "now",
            Self::Next => "to come",
        }
    }
}

/// The plan from what serves when it is asked for to everything on the new revision.
pub fn steps(state: &State, deployment: &Deployment, around: Surroundings<'_>) -> Vec<StepView> {
    let (plan, kind) = (&deployment.plan, deployment.service.kind());
    let stage = |number: usize| stage_of(state, number);
    let mut steps = Vec::new();
    match &deployment.preconditions {
        Preconditions::Present { serving, .. } => {
            steps.push(StepView {
                title: "Before".to_owned(),
                shares: shares(serving, &plan.revision),
                details: Vec::new(),
                until: None,
                results: Vec::new(),
                stage: Stage::Planned,
            });
            steps.push(StepView {
                title: format!("New revision, without {}", kind.shared()),
                shares: Vec::new(),
                details: Vec::new(),
                until: None,
                results: Vec::new(),
                stage: stage(0),
            });
        }
        Preconditions::Absent {} => steps.push(StepView {
            title: format!("New {} with its first revision", kind.noun()),
            shares: Vec::new(),
            details: Vec::new(),
            until: None,
            results: Vec::new(),
            stage: stage(0),
        }),
    }
    let watched = match state {
        State::Executing { progress, .. } => progress.watched(plan),
        _ => None,
    };
    let count = plan.steps.len();
    steps.extend(plan.steps.iter().enumerate().map(|(index, step)| {
        StepView {
            title: format!("Step {} of {count}: {} %", index + 1, step.percent),
            shares: shares(&step.traffic, &plan.revision),
            details: step
                .details()
                .iter()
                .map(|detail| Inert::new(&sentence_case(detail)))
                .collect(),
            until: watched
                .filter(|watched| watched.number == index + 1 && step.bake_seconds > 0)
                .map(|watched| Moment::new(watched.until, around.now)),
            results: Vec::new(),
            stage: stage(index + 1),
        }
    }));
    steps
}

/// Puts what checks found beside the steps of the plan, which are the last `count` of these.
pub fn show_results(
    steps: &mut [StepView],
    count: usize,
    found: &[CheckResult],
    around: Surroundings<'_>,
) {
    let before = steps.len().saturating_sub(count);
    for result in found {
        let number = usize::try_from(result.step).ok().filter(|number| *number > 0);
        let Some(step) = number.and_then(|number| steps.get_mut(before + number - 1)) else {
            continue;
        };
        step.results.push(ResultLine {
            class: if result.passed() { "yes" } else { "no" },
            words: Inert::new(&result.in_words()),
            at: Moment::new(result.at, around.now),
        });
    }
}

/// The stage of the revision (0) or of a traffic step (from 1).
fn stage_of(state: &State, number: usize) -> Stage {
    let of = |progress: &Progress| {
        let done = if progress.revision_ready { progress.steps_done + 1 } else { 0 };
        // A step that is watched is not over.
        let watched = progress.served_at.is_some() && progress.intent.is_none();
        let done = done.saturating_sub(usize::from(watched && progress.restoring.is_none()));
        match number {
            number if number < done => Stage::Done,
            number if number == done && progress.restoring.is_none() => Stage::Current,
            _ => Stage::Next,
        }
    };
    match state {
        State::Executing { progress, .. } => of(progress),
        // Nothing goes on by itself any more: what was not done is only a plan.
        State::NeedsAttention { progress, .. } => match of(progress) {
            Stage::Done => Stage::Done,
            Stage::Current | Stage::Next | Stage::Planned => Stage::Planned,
        },
        State::Succeeded { .. } => Stage::Done,
        State::Approved { .. } => Stage::Next,
        _ => Stage::Planned,
    }
}

fn sentence_case(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// The colours of revisions that served before.
const EARLIER_SHADES: [&str; 3] = ["old-0", "old-1", "old-2"];

/// The shares as pieces of one bar.
pub fn shares(traffic: &[TrafficShare], new_revision: &str) -> Vec<ShareView> {
    let mut offset = 0_u8;
    let mut earlier = 0;
    traffic
        .iter()
        .map(|share| {
            let is_new = share.revision == new_revision;
            let view = ShareView {
                revision: Inert::new(&share.revision),
                percent: share.percent,
                offset,
                is_new,
                shade: if is_new { "new" } else { EARLIER_SHADES[earlier % EARLIER_SHADES.len()] },
            };
            earlier += usize::from(!is_new);
            offset = offset.saturating_add(share.percent);
            view
        })
        .collect()
}
