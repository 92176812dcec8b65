//! The page of exceptions, and the banner that every page has while one is open.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::exception::{Exception, ExceptionStatus};
use crate::web::paths;

use super::{Frame, Inert, Moment, Surroundings};

/// `GET /exceptions`.
#[derive(Template, WebTemplate)]
#[template(path = "exceptions.html")]
pub struct ExceptionsPage {
    frame: Frame,
    open: usize,
    exceptions: Vec<ExceptionView>,
}

struct ExceptionView {
    entry: u64,
    href: String,
    target: Inert,
    environment: Inert,
    by: Inert,
    reason: Inert,
    /// Since when the directory could not be reached, if somebody signed in with a key alone for it.
    outage: Option<Moment>,
    at: Moment,
    before: Moment,
    tone: &'static str,
    word: &'static str,
    /// Whether the person who looks broke the glass.
    is_own: bool,
    may_sign: bool,
    review: Option<ReviewView>,
}

struct ReviewView {
    by: Inert,
    explanation: Inert,
    at: Moment,
}

impl ExceptionsPage {
    /// Draws these exceptions, each with whether the person who looks may sign for it.
    pub fn new(exceptions: &[(&Exception, bool)], around: Surroundings<'_>) -> Self {
        let views: Vec<ExceptionView> =
            exceptions.iter().map(|(one, may_sign)| view(one, *may_sign, around)).collect();
        Self {
            frame: Frame::new("Exceptions", paths::EXCEPTIONS, around),
            open: views.iter().filter(|one| one.review.is_none()).count(),
            exceptions: views,
        }
    }
}

fn view(exception: &Exception, may_sign: bool, around: Surroundings<'_>) -> ExceptionView {
    let glass = &exception.glass;
    let viewer = around.viewer.map(|viewer| &viewer.profile.person);
    let (tone, word) = match exception.status(around.now) {
        ExceptionStatus::Open => ("bad", "Open"),
        ExceptionStatus::Overdue => ("bad", "Overdue"),
        ExceptionStatus::Closed => ("good", "Closed"),
    };
    ExceptionView {
        entry: exception.entry,
        href: paths::approval(&glass.approval),
        target: Inert::new(&glass.target),
        environment: Inert::new(&glass.environment),
        by: Inert::new(&glass.by_name),
        reason: Inert::new(glass.reason.trim()),
        outage: glass.directory_unreachable_since.map(|since| Moment::new(since, around.now)),
        at: Moment::new(exception.at, around.now),
        before: Moment::new(glass.explain_before, around.now),
        tone,
        word,
        is_own: viewer.is_some_and(|viewer| glass.breakers.contains(viewer)),
        may_sign,
        review: exception.review.as_ref().map(|(at, review)| ReviewView {
            by: Inert::new(&review.by_name),
            explanation: Inert::new(review.explanation.trim()),
            at: Moment::new(*at, around.now),
        }),
    }
}

/// What is open, one sentence each, for everybody who reads of anything here.
pub(super) fn open(around: Surroundings<'_>) -> Vec<Inert> {
    if !around.viewer.is_some_and(|viewer| viewer.reads_ledger) {
        return Vec::new();
    }
    let sentence = |one: &Exception| {
        let glass = &one.glass;
        let what = format!(
            "{} broke the glass for {} in {}",
            glass.by_name, glass.target, glass.environment
        );
        let before = glass.explain_before.strftime("%-d %B, %H:%M UTC");
        match one.status(around.now) {
            ExceptionStatus::Closed => None,
            ExceptionStatus::Open => {
                Some(format!("{what}. Somebody else has to sign for it before {before}."))
            }
            ExceptionStatus::Overdue => Some(format!(
                "{what}, and nobody else had signed for it by {before}: it is overdue."
            )),
        }
    };
    around.exceptions.iter().filter_map(sentence).map(|text| Inert::new(&text)).collect()
}
