//! The rules of each environment: refused where nobody could ask, nobody could sign, or more could
//! than the author can have meant.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Span, SpanRelativeTo};

use crate::config::Pins;
use crate::config::break_glass::BreakGlassSection;
use crate::config::check::Check;
use crate::config::file::{EnvironmentSection, RuleSection};
use crate::config::plans::Plans;
use crate::config::windows::Calendars;
use crate::config::{
    actions, attestors, break_glass, key_rules, requesters, runs, separation, windows,
};
use crate::domain::action::ActionType;
use crate::domain::check::MetricsKind;
use crate::domain::image::ImageReference;
use crate::domain::job::JobName;
use crate::domain::person::Person;
use crate::domain::plan::PlanRules;
use crate::domain::policy::{
    BreakGlass, EnrolmentRules, NewerRequest, POLICY_SCHEMA, Policy, Principal, Rule,
};
use crate::domain::request::SHORTEST_EXPIRY;
use crate::domain::service::ServiceName;
use crate::domain::window::Windows;
use crate::integrations::workload_oidc::WorkloadKind;

/// More signatures than this on one deployment nobody collects.
const MOST_SIGNERS: u8 = 16;
/// A request that was open longer describes a service that has moved on.
pub(super) const LONGEST_EXPIRY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A worker that is idle begins within a second; less than this would race with a restart.
const SHORTEST_START: SignedDuration = SignedDuration::from_secs(10);
/// More requests than this nobody reads; the page of those that wait has to stay one.
const MOST_PENDING: u64 = 10_000;
/// A digest to complete a repository with, so that the image's own rules check it.
const ANY_DIGEST: &str = "@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// What the rest of the configuration says that rules rest on.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// The workload issuers, by their names.
    pub issuers: &'a BTreeMap<String, WorkloadKind>,
    /// The issuer URL of the directory that people sign in at.
    pub directory: &'a str,
    /// The claim of its ID tokens that names people's accounts at GitHub.
    pub github_id_claim: Option<&'a str>,
    /// What is pinned.
    pub pins: &'a Pins,
    /// The declared tools.
    pub declared: &'a BTreeMap<String, ActionType>,
    /// The metrics that checks may read, by their names.
    pub metrics: &'a BTreeMap<String, MetricsKind>,
    /// The closed times of the calendars, by their names.
    pub calendars: &'a Calendars,
}

/// The policies of all environments. Where one has left a problem behind, it is not to be used.
pub(super) fn policies(
    check: &mut Check,
    sections: BTreeMap<String, EnvironmentSection>,
    around: Around<'_>,
) -> BTreeMap<String, Policy> {
    if sections.is_empty() {
        check.problem(
            "environment",
            "there is none, so nobody could ask for anything: add [environment.production]",
        );
    }
    let policies: BTreeMap<String, Policy> = sections
        .into_iter()
        .map(|(name, section)| {
            let policy = Environment { check, name: &name, around }.policy(section);
            (name, policy)
        })
        .collect();
    let mut covered: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, policy) in &policies {
        let services = policy.services.iter().map(|service| ("services", service.as_str()));
        let jobs = policy.jobs.iter().map(|job| ("jobs", job.as_str()));
        for (key, one) in services.chain(jobs) {
            if let Some(other) = covered.insert(one, name) {
                check.problem(
                    &format!("environment.{name}.{key}"),
                    format!("{one} is also listed in environment.{other}, and the weaker rules would count: list it once"),
                );
            }
        }
    }
    policies
}

/// The check of one environment.
struct Environment<'a> {
    check: &'a mut Check,
    name: &'a str,
    around: Around<'a>,
}

impl Environment<'_> {
    fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.check.problem(&format!("environment.{}.{key}", self.name), text);
    }

    fn policy(mut self, section: EnvironmentSection) -> Policy {
        let (around, name) = (self.around, self.name);
        self.check_name();
        let has_jobs = !section.jobs.is_empty();
        let asks_nothing =
            section.actions.is_empty() && section.workflow_runs.is_empty() && !has_jobs;
        let deploys = asks_nothing || has_jobs || !section.services.is_empty();
        let has_no_images = deploys && section.images.is_empty();
        for (key, is_empty, consequence) in [
            (
                "services",
                asks_nothing && section.services.is_empty(),
                "so nothing could be deployed",
            ),
            ("images", has_no_images, "so nothing could be deployed"),
            (
                "requesters",
                section.requesters.is_empty() && section.workflow_runs.is_empty(),
                "so nobody could ask",
            ),
            ("rules", section.rules.is_empty(), "so nobody could sign"),
        ] {
            if is_empty {
                self.problem(key, format!("is empty, {consequence}: list at least one"));
            }
        }
        for image in &section.images {
            self.check_image(image);
        }
        let services: Vec<ServiceName> =
            section.services.iter().filter_map(|text| self.service(text)).collect();
        let jobs: Vec<JobName> = section.jobs.iter().filter_map(|text| self.job(text)).collect();
        let metrics = self.around.metrics;
        let mut plans = Plans { problem: &mut |key, text| self.problem(key, text), metrics };
        let steps = plans.steps(section.steps);
        let plan = plans.rules(section.plan, &steps, &services);
        let expires_in = self.expires_in(&section.expires_in);
        Policy {
            schema: POLICY_SCHEMA.to_owned(),
            environment: self.name.to_owned(),
            services,
            jobs,
            images: section.images,
            requesters: requesters::requesters(
                &mut |text| self.problem("requesters", text),
                name,
                section.requesters,
                around,
            ),
            rules: self.rules("rules", section.rules),
            expires_in_seconds: expires_in,
            execute_within_seconds: self.execute_within(&section.execute_within, expires_in),
            newer_request: section.newer_request,
            max_pending: self.max_pending(section.max_pending),
            default_steps: steps.iter().map(|step| step.percent).collect(),
            plan,
            keys: key_rules::rules(
                &mut |key, text| self.problem(key, text),
                section.keys,
                &around.pins.attestation_roots,
            ),
            enrolment: EnrolmentRules {
                endorsements: around.pins.endorsements,
                trust: around.pins.level(),
                requires_pinned_trust: section.require_pinned_trust,
            },
            actions: actions::named(self.check, self.name, &section.actions, around.declared),
            requests_per_hour: self.requests_per_hour(section.requests_per_hour),
            workflow_runs: runs::listed(
                &mut |key, text| self.problem(key, text),
                section.workflow_runs,
            ),
            github_accounts: runs::accounts(
                &mut |key, text| self.problem(key, text),
                section.github_accounts,
            ),
            groups_must_be_signed: section.groups_must_be_signed,
            separation: separation::rules(
                &mut |key, text| self.problem(key, text),
                section.separation,
                around.github_id_claim,
            ),
            windows: windows::windows(
                &mut |key, text| self.problem(key, text),
                section.window,
                &section.calendars,
                around.calendars,
            ),
            break_glass: section.break_glass.map(|section| self.break_glass(section)),
            attestor: attestors::note(
                &mut |key, text| self.problem(key, text),
                section.binary_authorization.as_ref(),
            ),
        }
    }

    fn requests_per_hour(&mut self, count: Option<i64>) -> Option<u64> {
        let count = count?;
        let number = u64::try_from(count).ok().filter(|count| *count > 0);
        if number.is_none() {
            self.problem("requests_per_hour", format!("is {count}: write how many requests one requester may make within an hour, at least 1, or leave it out"));
        }
        number
    }

    fn check_name(&mut self) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty() || self.name.len() > 63 || !self.name.bytes().all(plain) {
            self.problem("name", "the environment's name is not 1 to 63 letters, digits, hyphens and underscores: rename it");
        }
    }

    fn service(&mut self, text: &str) -> Option<ServiceName> {
        text.parse().map_err(|error| self.problem("services", format!("{error}"))).ok()
    }

    fn job(&mut self, text: &str) -> Option<JobName> {
        text.parse().map_err(|error| self.problem("jobs", format!("{error}"))).ok()
    }

    fn check_image(&mut self, image: &str) {
        if format!("{image}{ANY_DIGEST}").parse::<ImageReference>().is_err() {
            self.problem(
                "images",
                format!("{image:?} is no repository of images: write registry and path without tag or digest, such as \"europe-docker.pkg.dev/project/repository/image\""),
            );
        }
    }

    fn expires_in(&mut self, text: &str) -> u64 {
        match seconds_of(text, SHORTEST_EXPIRY, LONGEST_EXPIRY) {
            Some(seconds) => seconds,
            None => {
                self.problem(
                    "expires_in",
                    format!("{text:?} is no time between 30 seconds and 7 days: write \"8h\" or \"30m\", say"),
                );
                0
            }
        }
    }

    /// Never longer than the request itself stays open: its expiry ends both.
    fn execute_within(&mut self, text: &str, expires_in: u64) -> u64 {
        match seconds_of(text, SHORTEST_START, LONGEST_EXPIRY) {
            Some(seconds) => seconds.min(expires_in),
            None => {
                self.problem(
                    "execute_within",
                    format!("{text:?} is no time between 10 seconds and 7 days: write \"1h\" or \"15m\", say"),
                );
                0
            }
        }
    }

    fn max_pending(&mut self, count: i64) -> u64 {
        match u64::try_from(count) {
            Ok(count) if (1..=MOST_PENDING).contains(&count) => count,
            _ => {
                self.problem(
                    "max_pending",
                    format!(
                        "is {count}: write how many requests may wait at once, 1 to {MOST_PENDING}"
                    ),
                );
                0
            }
        }
    }

    fn break_glass(&mut self, section: BreakGlassSection) -> BreakGlass {
        let rules = self.rules("break_glass.rules", section.rules);
        let mut problem = |key: &str, text: String| self.problem(key, text);
        let times = (section.explain_within.as_str(), section.outage_grace.as_str());
        break_glass::break_glass(&mut problem, rules, times)
    }

    fn rules(&mut self, key: &str, sections: Vec<RuleSection>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let before = self.check.problems.len();
        for (index, RuleSection { from, count }) in sections.into_iter().enumerate() {
            let number = index + 1;
            let people: BTreeSet<&Principal> = from.iter().collect();
            let only_people =
                from.iter().all(|principal| matches!(principal, Principal::Person(_)));
            let fault = if from.is_empty() {
                Some("has an empty from, so nobody could sign for it: list groups and people, such as \"group:release-managers\"".to_owned())
            } else if !(1..=i64::from(MOST_SIGNERS)).contains(&count) {
                Some(format!(
                    "has the count {count}: write how many must sign, 1 to {MOST_SIGNERS}"
                ))
            } else if only_people && people.len() < usize::try_from(count).unwrap_or(usize::MAX) {
                let people = people.len();
                Some(format!(
                    "wants {count} to sign and lists {people}, each of whom counts once: lower count, or list more"
                ))
            } else {
                None
            };
            if let Some(fault) = fault {
                self.problem(key, format!("rule {number} {fault}"));
            }
            let count = u8::try_from(count).unwrap_or_default();
            rules.push(Rule { from, count, environment: None });
        }
        if self.check.problems.len() == before && !people_suffice(self.name, &rules) {
            self.problem(
                key,
                "cannot all be met: a person counts for one rule only, and the rules that list people alone list too few different ones",
            );
        }
        rules
    }
}

/// The whole seconds of a time such as `8h`, if it is one within these bounds.
pub(super) fn seconds_of(
    text: &str,
    shortest: SignedDuration,
    longest: SignedDuration,
) -> Option<u64> {
    let span = text.parse::<Span>().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (shortest..=longest).contains(&duration).then(|| duration.as_secs().unsigned_abs())
}

/// Whether the rules that list people alone are met when all of these people sign.
fn people_suffice(environment: &str, rules: &[Rule]) -> bool {
    let is_person = |principal: &Principal| matches!(principal, Principal::Person(_));
    let rules: Vec<Rule> =
        rules.iter().filter(|rule| rule.from.iter().all(is_person)).cloned().collect();
    let subjects =
        rules.iter().flat_map(|rule| &rule.from).filter_map(|principal| match principal {
            Principal::Person(subject) => Some(subject.clone()),
            Principal::Group(_) => None,
        });
    let signers: Vec<(Person, Vec<String>)> =
        subjects.map(|subject| (Person { issuer: String::new(), subject }, Vec::new())).collect();
    let policy = Policy {
        schema: POLICY_SCHEMA.to_owned(),
        environment: environment.to_owned(),
        services: Vec::new(),
        jobs: Vec::new(),
        images: Vec::new(),
        requesters: Vec::new(),
        rules,
        expires_in_seconds: 0,
        execute_within_seconds: 0,
        newer_request: NewerRequest::default(),
        max_pending: 0,
        default_steps: Vec::new(),
        plan: PlanRules::default(),
        enrolment: EnrolmentRules::default(),
        keys: None,
        actions: Vec::new(),
        requests_per_hour: None,
        workflow_runs: Vec::new(),
        github_accounts: BTreeMap::new(),
        separation: None,
        groups_must_be_signed: false,
        windows: Windows::default(),
        break_glass: None,
        attestor: None,
    };
    policy.rules.is_empty() || policy.is_met(&signers)
}
