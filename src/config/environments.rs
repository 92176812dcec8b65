//! The rules of each environment: refused where nobody could ask, nobody could sign, or more could
//! than the author can have meant.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Span, SpanRelativeTo};

use crate::config::Pins;
use crate::config::check::Check;
use crate::config::file::{EnvironmentSection, OneOrMany, RequesterSection, RuleSection};
use crate::config::plans::Plans;
use crate::config::{actions, key_rules};
use crate::domain::action::ActionType;
use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::check::MetricsKind;
use crate::domain::image::ImageReference;
use crate::domain::person::Person;
use crate::domain::plan::PlanRules;
use crate::domain::policy::{
    EnrolmentRules, NewerRequest, POLICY_SCHEMA, Policy, Principal, RequesterMatch, Rule,
};
use crate::domain::request::SHORTEST_EXPIRY;
use crate::domain::service::ServiceName;
use crate::integrations::workload_oidc::WorkloadKind;

/// More signatures than this on one deployment nobody collects.
const MOST_SIGNERS: u8 = 16;
/// A request that was open longer describes a service that has moved on.
pub(super) const LONGEST_EXPIRY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A worker that is idle begins within a second; less than this would race with a restart.
const SHORTEST_START: SignedDuration = SignedDuration::from_secs(10);
/// More requests than this nobody reads; the page of those that wait has to stay one.
const MOST_PENDING: u64 = 10_000;
/// GitHub's claims that never come to mean somebody else.
const GITHUB_IDS: [&str; 2] = ["repository_id", "repository_owner_id"];
/// A digest to complete a repository with, so that the image's own rules check it.
const ANY_DIGEST: &str = "@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The policies of all environments. Where one has left a problem behind, it is not to be used.
pub(super) fn policies(
    check: &mut Check,
    sections: BTreeMap<String, EnvironmentSection>,
    issuers: &BTreeMap<String, WorkloadKind>,
    pins: &Pins,
    declared: &BTreeMap<String, ActionType>,
    metrics: &BTreeMap<String, MetricsKind>,
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
            let policy = Environment { check, name: &name, declared, metrics }
                .policy(section, issuers, pins);
            (name, policy)
        })
        .collect();
    let mut covered: BTreeMap<&ServiceName, &str> = BTreeMap::new();
    for (name, policy) in &policies {
        for service in &policy.services {
            if let Some(other) = covered.insert(service, name) {
                check.problem(
                    &format!("environment.{name}.services"),
                    format!("{service} is also listed in environment.{other}, and the weaker rules would count: list it once"),
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
    declared: &'a BTreeMap<String, ActionType>,
    metrics: &'a BTreeMap<String, MetricsKind>,
}

impl Environment<'_> {
    fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.check.problem(&format!("environment.{}.{key}", self.name), text);
    }

    fn policy(
        mut self,
        section: EnvironmentSection,
        issuers: &BTreeMap<String, WorkloadKind>,
        pins: &Pins,
    ) -> Policy {
        self.check_name();
        let asks_nothing = section.actions.is_empty();
        let deploys = asks_nothing || !section.services.is_empty();
        let has_no_images = deploys && section.images.is_empty();
        for (key, is_empty, consequence) in [
            (
                "services",
                asks_nothing && section.services.is_empty(),
                "so nothing could be deployed",
            ),
            ("images", has_no_images, "so nothing could be deployed"),
            ("requesters", section.requesters.is_empty(), "so nobody could ask"),
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
        let metrics = self.metrics;
        let mut plans = Plans { problem: &mut |key, text| self.problem(key, text), metrics };
        let steps = plans.steps(section.steps);
        let plan = plans.rules(section.plan, &steps, &services);
        let expires_in = self.expires_in(&section.expires_in);
        let requesters = section.requesters.into_iter().enumerate();
        Policy {
            schema: POLICY_SCHEMA.to_owned(),
            environment: self.name.to_owned(),
            services,
            images: section.images,
            requesters: requesters
                .map(|(index, requester)| self.requester(index + 1, requester, issuers))
                .collect(),
            rules: self.rules(section.rules),
            expires_in_seconds: expires_in,
            execute_within_seconds: self.execute_within(&section.execute_within, expires_in),
            newer_request: section.newer_request,
            max_pending: self.max_pending(section.max_pending),
            default_steps: steps.iter().map(|step| step.percent).collect(),
            plan,
            keys: key_rules::rules(&mut |key, text| self.problem(key, text), section.keys),
            enrolment: EnrolmentRules {
                endorsements: pins.endorsements,
                trust: pins.level(),
                requires_pinned_trust: section.require_pinned_trust,
            },
            actions: actions::named(self.check, self.name, &section.actions, self.declared),
            requests_per_hour: self.requests_per_hour(section.requests_per_hour),
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

    fn requester(
        &mut self,
        number: usize,
        section: RequesterSection,
        issuers: &BTreeMap<String, WorkloadKind>,
    ) -> RequesterMatch {
        let issuer = section.issuer;
        if issuer == AGENT_ISSUER {
            return self.agents_with_credentials(number, &section.claims);
        }
        let claims: BTreeMap<String, Vec<String>> =
            section.claims.into_iter().map(|(name, values)| (name, values.into_values())).collect();
        let complain = |this: &mut Self, text: String| {
            this.problem("requesters", format!("requester {number} {text}"));
        };
        match issuers.get(&issuer) {
            None => complain(
                self,
                format!(
                    "names the issuer {issuer:?}, and no [[workload_issuer]] has that name: add it, or correct the name"
                ),
            ),
            Some(_) if claims.is_empty() => complain(
                self,
                format!(
                    "names no claims, so every workload that {issuer} knows could ask: name at least one"
                ),
            ),
            Some(WorkloadKind::Github) if !GITHUB_IDS.iter().any(|id| claims.contains_key(*id)) => {
                complain(
                    self,
                    "matches neither repository_id nor repository_owner_id: names and sub can come to mean another repository, numbers cannot. Find yours with `gh api repos/OWNER/NAME --jq .id`".to_owned(),
                );
            }
            Some(_) => {}
        }
        let kind = issuers.get(&issuer).copied().unwrap_or_default();
        for (name, values) in &claims {
            if values.is_empty() {
                complain(self, format!("lists no value for {name}: list one, or leave it out"));
            }
            for value in values {
                if let Some(fault) = fault_of_pattern(kind, name, value) {
                    complain(self, format!("has {value:?} for {name}, {fault}"));
                }
            }
        }
        RequesterMatch { issuer, claims }
    }

    /// Agents with credentials of the gate: each is for one environment, and may ask in no other.
    fn agents_with_credentials(
        &mut self,
        number: usize,
        claims: &BTreeMap<String, OneOrMany>,
    ) -> RequesterMatch {
        if !claims.is_empty() {
            self.problem(
                "requesters",
                format!("requester {number} names claims of {AGENT_ISSUER}, whose credentials are for this environment alone: leave claims out"),
            );
        }
        let environment = ("environment".to_owned(), vec![self.name.to_owned()]);
        RequesterMatch { issuer: AGENT_ISSUER.to_owned(), claims: [environment].into() }
    }

    fn rules(&mut self, sections: Vec<RuleSection>) -> Vec<Rule> {
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
                self.problem("rules", format!("rule {number} {fault}"));
            }
            rules.push(Rule { from, count: u8::try_from(count).unwrap_or_default() });
        }
        if self.check.problems.len() == before && !people_suffice(self.name, &rules) {
            self.problem(
                "rules",
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
    };
    policy.rules.is_empty() || policy.is_met(&signers)
}

/// What is wrong with one acceptable value of a claim.
fn fault_of_pattern(kind: WorkloadKind, claim: &str, value: &str) -> Option<&'static str> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.strip_suffix('*').unwrap_or(value) {
        "" if value == "*" => Some("which anything matches: name a value, or leave the claim out"),
        "" => Some("which is empty: name a value"),
        prefix if prefix.contains('*') => Some("but a * stands at the end alone"),
        _ if kind == WorkloadKind::Github && GITHUB_IDS.contains(&claim) && !is_number => {
            Some("but GitHub's ids are whole numbers: write one in full")
        }
        _ => None,
    }
}
