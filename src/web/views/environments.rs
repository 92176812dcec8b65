//! The page of the environments: what serves there, who has to sign, and what is frozen.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::approval::Approval;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::freeze::{FreezeScope, FrozenRequesters};
use crate::domain::hold::{Freeze, hold_by};
use crate::domain::observation::TrafficShare;
use crate::domain::policy::{NewerRequest, Policy};
use crate::domain::workflow_run::run_in_words;
use crate::web::paths;

use super::approval::{StatusView, headline_of};
use super::rules::RulesView;
use super::{Frame, Inert, Moment, Surroundings};

/// What serves now.
pub enum Serving {
    /// These shares.
    Seen(Vec<TrafficShare>),
    /// There is no such service yet.
    Absent,
    /// It could not be read.
    Unknown(String),
}

/// One environment with what was read for it.
pub struct EnvironmentListing<'a> {
    /// Its rules.
    pub policy: &'a Policy,
    /// What serves, in the order of its services.
    pub serving: Vec<Serving>,
    /// Its newest approvals.
    pub recent: Vec<Approval>,
    /// The agents that have a credential for it.
    pub agents: Vec<String>,
}

/// `GET /environments`.
#[derive(Template, WebTemplate)]
#[template(path = "environments.html")]
pub struct EnvironmentsPage {
    frame: Frame,
    has_key: bool,
    message: Option<&'static str>,
    /// The freezes of every environment.
    everywhere: Vec<FreezeView>,
    /// The switch for all of them, for those who may use it.
    switch: Option<Switch>,
    environments: Vec<EnvironmentView>,
    /// The rules in force, where they are bound.
    rules: Option<RulesView>,
}

struct EnvironmentView {
    name: String,
    is_frozen: bool,
    /// Why nothing begins by its rules now, and when it opens.
    closed: Option<Inert>,
    /// When something approved may begin.
    windows: Vec<Inert>,
    rules: Vec<Inert>,
    /// Who may break the glass, and how soon somebody else has to sign for it.
    glass: Option<(Inert, String)>,
    /// How old a last sign-in may be for that while the directory cannot be reached, if any counts.
    outage_grace: Option<String>,
    asks: Vec<Inert>,
    times: String,
    newer: &'static str,
    services: Vec<ServiceView>,
    /// Its jobs, each with its place.
    jobs: Vec<(String, String)>,
    freezes: Vec<FreezeView>,
    switch: Option<Switch>,
    recent: Vec<RecentView>,
}

struct ServiceView {
    name: String,
    place: String,
    /// Revision and percentage.
    shares: Vec<(Inert, u8)>,
    /// Where there are none: why.
    why: Option<Inert>,
}

struct RecentView {
    href: String,
    headline: Inert,
    status: StatusView,
    requested: Moment,
}

/// One freeze in force.
struct FreezeView {
    id: String,
    what: Inert,
    scope: String,
    by: Inert,
    reason: Inert,
    since: Moment,
    until: Option<Moment>,
    /// Whether whoever looks may lift it.
    is_ours: bool,
}

/// The form that freezes.
struct Switch {
    /// Its anchor.
    id: String,
    /// Empty for all.
    environment: String,
    what: String,
    whose: Vec<Whose>,
}

/// Whose requests can be frozen: a label, and the value as JSON.
struct Whose {
    label: Inert,
    value: String,
}

type MayFreeze<'a> = &'a dyn Fn(&FreezeScope) -> bool;

impl EnvironmentsPage {
    /// Draws these environments. `may_freeze` says what the person who looks may freeze and lift.
    pub fn new(
        listings: &[EnvironmentListing<'_>],
        may_freeze: MayFreeze<'_>,
        message: Option<&'static str>,
        around: Surroundings<'_>,
    ) -> Self {
        let everywhere = FreezeScope::everything();
        let environments = listings.iter().map(|listing| view(listing, may_freeze, around));
        Self {
            frame: Frame::new("Environments", paths::ENVIRONMENTS, around),
            has_key: around.viewer.is_none_or(|viewer| !viewer.keys.is_empty()),
            message,
            everywhere: freezes(None, may_freeze, around),
            switch: may_freeze(&everywhere).then(|| Switch {
                id: "all".to_owned(),
                environment: String::new(),
                what: "every environment".to_owned(),
                whose: whose(listings.iter()),
            }),
            environments: environments.collect(),
            rules: None,
        }
    }

    /// The same with the rules in force.
    #[must_use]
    pub fn with_rules(self, rules: Option<RulesView>) -> Self {
        Self { rules, ..self }
    }
}

fn view(
    listing: &EnvironmentListing<'_>,
    may_freeze: MayFreeze<'_>,
    around: Surroundings<'_>,
) -> EnvironmentView {
    let policy = listing.policy;
    let name = &policy.environment;
    let own =
        FreezeScope { environment: Some(name.clone()), requesters: FrozenRequesters::Everybody {} };
    let is_whole = |freeze: &Freeze| {
        let place = freeze.scope.environment.as_ref();
        freeze.scope.requesters == own.requesters && place.is_none_or(|place| place == name)
    };
    EnvironmentView {
        name: name.clone(),
        is_frozen: around.freezes.in_force(around.now).any(|(_, freeze)| is_whole(freeze)),
        closed: hold_by(None, policy, around.now).map(|hold| Inert::new(&hold.sentence())),
        windows: policy.windows.in_words(around.now).iter().map(|one| Inert::new(one)).collect(),
        rules: policy.rules.iter().map(|rule| Inert::new(&rule.in_words())).collect(),
        glass: policy
            .break_glass
            .as_ref()
            .map(|glass| (Inert::new(&glass.in_words()), span(glass.explain_within_seconds))),
        outage_grace: policy
            .break_glass
            .as_ref()
            .and_then(|glass| glass.outage_grace_seconds)
            .map(|seconds| span(seconds.get().into())),
        asks: asks(policy),
        times: times(policy),
        newer: match policy.newer_request {
            NewerRequest::Supersede => {
                "A newer request for a service takes the place of an older one that waits."
            }
            NewerRequest::Queue => "Requests for one service wait side by side.",
            NewerRequest::Refuse => "While a request for a service waits, no other one is taken.",
        },
        services: policy.services.iter().zip(&listing.serving).map(service).collect(),
        jobs: policy.jobs.iter().map(job).collect(),
        freezes: freezes(Some(name), may_freeze, around),
        switch: may_freeze(&own).then(|| Switch {
            id: format!("of-{name}"),
            environment: name.clone(),
            what: name.clone(),
            whose: whose(std::iter::once(listing)),
        }),
        recent: listing.recent.iter().map(|approval| recent(approval, around)).collect(),
    }
}

/// Who may ask, and for which runs of GitHub Actions people sign without that anybody asked.
fn asks(policy: &Policy) -> Vec<Inert> {
    let workloads = policy.requesters.iter().map(|one| asking(&one.in_words()));
    let runs = policy.workflow_runs.iter();
    let runs = runs.map(|listed| format!("runs of GitHub Actions with {}", run_in_words(listed)));
    workloads.chain(runs).map(|words| Inert::new(&words)).collect()
}

/// The gate's own credentials in plain words; they are for their environment alone.
fn asking(words: &str) -> String {
    if words.starts_with(AGENT_ISSUER) {
        "agents with a credential that an approver issued".to_owned()
    } else {
        words.to_owned()
    }
}

fn times(policy: &Policy) -> String {
    format!(
        "A request is open for {} at most, and its rollout begins within {} of the last needed signature.",
        span(policy.expires_in_seconds),
        span(policy.execute_within_seconds)
    )
}

/// Whole hours, minutes or seconds, in words.
pub(super) fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn job(name: &crate::domain::job::JobName) -> (String, String) {
    (name.job().to_owned(), format!("{}, {}", name.project(), name.location()))
}

fn service((name, serving): (&crate::domain::service::ServiceName, &Serving)) -> ServiceView {
    let (shares, why) = match serving {
        Serving::Seen(shares) if shares.is_empty() => {
            (Vec::new(), Some(format!("No revision gets any {}.", name.kind().shared())))
        }
        Serving::Seen(shares) => {
            let shares = shares.iter().map(|one| (Inert::new(&one.revision), one.percent));
            (shares.collect(), None)
        }
        Serving::Absent => (
            Vec::new(),
            Some("It does not exist yet: the first approved rollout creates it.".to_owned()),
        ),
        Serving::Unknown(why) => {
            let why = why.trim_end_matches('.');
            let sentence = format!(
                "What serves cannot be read from Cloud Run just now: {why}. Load the page again in a moment."
            );
            (Vec::new(), Some(sentence))
        }
    };
    ServiceView {
        name: name.service().to_owned(),
        place: name.place(),
        shares,
        why: why.map(|why| Inert::new(&why)),
    }
}

fn recent(approval: &Approval, around: Surroundings<'_>) -> RecentView {
    RecentView {
        href: paths::approval(approval.id()),
        headline: Inert::new(&headline_of(approval)),
        status: StatusView::of(approval),
        requested: Moment::new(approval.subject.requested_at, around.now),
    }
}

/// The freezes of one environment; those of every one for none.
fn freezes(
    environment: Option<&String>,
    may_freeze: MayFreeze<'_>,
    around: Surroundings<'_>,
) -> Vec<FreezeView> {
    let view = |(id, freeze): (&Digest, &Freeze)| FreezeView {
        id: id.to_string(),
        what: Inert::new(&freeze.scope.in_words()),
        scope: json(&freeze.scope),
        by: Inert::new(&freeze.by_name),
        reason: Inert::new(freeze.reason.trim()),
        since: Moment::new(freeze.since, around.now),
        until: freeze.until.map(|until| Moment::new(until, around.now)),
        is_ours: may_freeze(&freeze.scope),
    };
    let in_force = around.freezes.in_force(around.now);
    in_force
        .filter(|(_, freeze)| freeze.scope.environment.as_ref() == environment)
        .map(view)
        .collect()
}

/// Everybody; each issuer of those who may ask; each agent and requester that is known.
fn whose<'a>(listings: impl Iterator<Item = &'a EnvironmentListing<'a>>) -> Vec<Whose> {
    let mut known = vec![FrozenRequesters::Everybody {}];
    let mut single = Vec::new();
    for listing in listings {
        for requester in &listing.policy.requesters {
            known.push(FrozenRequesters::Issuer { issuer: requester.issuer.clone() });
        }
        let agents = listing.agents.iter().map(|name| (AGENT_ISSUER.to_owned(), name.clone()));
        let asked = listing.recent.iter().map(|approval| {
            let requester = &approval.subject.requester;
            (requester.issuer.clone(), requester.display_name().to_owned())
        });
        for (issuer, name) in agents.chain(asked) {
            single.push(FrozenRequesters::Requester { issuer, name });
        }
    }
    known.extend(single);
    let mut options: Vec<Whose> = Vec::new();
    for requesters in known {
        let (label, value) = (label(&requesters), json(&requesters));
        if options.iter().all(|option| option.value != value) {
            options.push(Whose { label: Inert::new(&label), value });
        }
    }
    options
}

fn label(requesters: &FrozenRequesters) -> String {
    match requesters {
        FrozenRequesters::Everybody {} => "Everything, whoever asked".to_owned(),
        FrozenRequesters::Issuer { issuer } if issuer == AGENT_ISSUER => {
            "All agents with a credential".to_owned()
        }
        FrozenRequesters::Issuer { issuer } => format!("All that {issuer} vouches for"),
        FrozenRequesters::Requester { issuer, name } if issuer == AGENT_ISSUER => {
            format!("The agent {name}")
        }
        FrozenRequesters::Requester { issuer, name } => format!("{name} ({issuer})"),
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    to_canonical_json(value).unwrap_or_default()
}
