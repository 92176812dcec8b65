//! What a configuration comes to, in lines for the person who wrote it. Without secrets.

use data_encoding::HEXLOWER;
use jiff::SignedDuration;

use crate::config::Config;
use crate::domain::notice::Event;
use crate::domain::policy::{BreakGlass, NewerRequest, Policy, RequesterMatch, TrustLevel};
use crate::domain::window::{ClosedTime, Window};
use crate::domain::workflow_run::run_in_words;
use crate::integrations::log_head::LogHeadPlace;
use crate::integrations::login_oidc::GroupsFrom;
use crate::proof::certificate::name_of_root;
use crate::web::proxy::ForwardingHeader;

/// Where values begin, so that they stand below each other.
const COLUMN: usize = 17;

struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push_str(format!("{name:COLUMN$} {value}").trim_end());
        self.0.push('\n');
    }

    /// A name with several values, one a line.
    fn list(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let mut name = name;
        for value in values {
            self.add(name, &value);
            name = "";
        }
    }
}

pub(super) fn of(config: &Config) -> String {
    let mut lines = Lines(String::new());
    lines.add("public origin", &config.relying_party.origin);
    lines.add("listen", &config.listen.to_string());
    lines.add("database", &config.database_shown());
    let public = HEXLOWER.encode(&config.log_key.public().0);
    lines.add("log key", &format!("public half {public}, for the trust anchor of verifiers"));
    lines.add("log head", &log_head(config));
    if let Some(notice) = &config.notice {
        lines.add("notice", notice);
    }
    let login = &config.login;
    lines.add("login", &format!("{}, client {}", login.issuer, login.client_id));
    lines
        .add("", &format!("scopes {}, groups from {}", login.scopes.join(" "), login.groups_claim));
    match &login.groups_from {
        GroupsFrom::Claim => {}
        GroupsFrom::Userinfo => {
            lines.add("", "where it is missing, from userinfo: the gate's word")
        }
        GroupsFrom::CloudIdentity(_) => {
            lines.add("", "where it is missing, from Cloud Identity: the gate's word");
        }
    }
    if let Some(domain) = &login.hosted_domain {
        lines.add("", &format!("accounts of {domain} alone"));
    }
    lines.list("trust", trust(config));
    lines.list("witnesses", witnesses(config));
    lines.add("drift", &drift(config));
    lines.list("receivers", receivers(config));
    lines.list("cloud run", cloud_run(config));
    lines.list("github", github(config));
    lines.list(
        "metrics",
        config.metrics.iter().map(|(name, source)| format!("{name}: {}", source.in_words())),
    );
    lines.add("proxies", &proxies(config));
    lines.list(
        "workload issuers",
        config.workload_issuers.iter().map(|issuer| {
            format!(
                "{}: {}, {:?}, for {}, told apart by {}",
                issuer.name,
                issuer.issuer,
                issuer.algorithm,
                issuer.audience,
                issuer.requester_claim()
            )
        }),
    );
    if !config.audit_readers.is_empty() {
        let readers = config.audit_readers.iter().map(|reader| String::from(reader.clone()));
        lines.add("audit readers", &readers.collect::<Vec<_>>().join(", "));
    }
    let roles = [("operators", &config.roles.operators), ("auditors", &config.roles.auditors)];
    for (role, principals) in roles.into_iter().filter(|(_, principals)| !principals.is_empty()) {
        let principals = principals.iter().map(|principal| String::from(principal.clone()));
        lines.add(role, &principals.collect::<Vec<_>>().join(", "));
    }
    for (name, policy) in &config.environments {
        environment(&mut lines, name, policy);
    }
    lines.0
}

fn log_head(config: &Config) -> String {
    match &config.log_head {
        LogHeadPlace::Memory => "kept by the process alone".to_owned(),
        LogHeadPlace::File(path) => format!("kept in {}", path.display()),
        LogHeadPlace::Object(object) => format!("kept in {} at {}", object.name, object.endpoint),
    }
}

fn cloud_run(config: &Config) -> Vec<String> {
    let endpoint = config.cloud_run.endpoint.as_ref();
    let endpoint = endpoint.map_or_else(|| "at Google".to_owned(), |url| format!("at {url}"));
    let own = format!("{endpoint}, {}", config.cloud_run.account);
    let others = config.cloud_run.accounts_by_name.iter();
    std::iter::once(own)
        .chain(others.map(|(service, account)| format!("{service} {account}")))
        .collect()
}

fn trust(config: &Config) -> Vec<String> {
    let pins = &config.pins;
    let level = match pins.level() {
        TrustLevel::Pinned => "pinned",
        TrustLevel::Unpinned => "unpinned: whose key is whose rests on the gate's word alone",
    };
    let needs = match pins.endorsements {
        0 => "a new key needs the directory's word and nobody's signature".to_owned(),
        1 => "a new key needs the signature of another approver".to_owned(),
        count => format!("a new key needs the signatures of {count} other approvers"),
    };
    let workloads: usize = pins.workload_keys.values().map(Vec::len).sum();
    let (endorsers, login) = (pins.endorsers.len(), pins.login_keys.len());
    let keys = format!(
        "keys pinned: {endorsers} of endorsers, {login} of the directory, {workloads} of workload issuers"
    );
    let makers = pins.attestation_roots.iter().map(|root| name_of_root(root));
    let makers = makers.map(|maker| format!("a maker of security keys is believed: {maker}"));
    let metadata = config.metadata.as_ref().map(|known| {
        format!(
            "FIDO's metadata number {}, to be replaced by {}; models: {}, suspended: {}",
            known.number(),
            known.next_update(),
            known.len(),
            known.suspended().count()
        )
    });
    [level.to_owned(), needs, keys].into_iter().chain(makers).chain(metadata).collect()
}

fn witnesses(config: &Config) -> Vec<String> {
    let mut told: Vec<String> = config
        .witnesses
        .iter()
        .map(|witness| format!("{} at {}", witness.name(), witness.url))
        .collect();
    match (told.len(), config.pins.witnesses_required) {
        (0, _) => told.push("none: nobody else sees the log grow".to_owned()),
        (_, 0) => told.push("a rollout waits for none of them".to_owned()),
        (_, needed) => told.push(format!("a rollout begins when {needed} signed the log")),
    }
    told
}

fn drift(config: &Config) -> String {
    let Some(drift) = &config.drift else {
        return "not watched for: what is changed beside the gate is not noticed".to_owned();
    };
    let every = SignedDuration::try_from(drift.every).unwrap_or_default();
    match &drift.push {
        Some(push) => format!(
            "looked for every {every:#}, and when {} tells of a change",
            push.service_account
        ),
        None => format!("looked for every {every:#}"),
    }
}

fn receivers(config: &Config) -> Vec<String> {
    config
        .receivers
        .iter()
        .map(|receiver| {
            let events = receiver.subscription.events.iter().map(|event| event.name());
            let events: Vec<&str> = events.collect();
            let events = match events.len() {
                0 => "what requesters ask it to be told".to_owned(),
                count if count == Event::names().count() => "everything".to_owned(),
                _ => events.join(", "),
            };
            format!("{} at {}, told of {events}", receiver.name(), receiver.shown())
        })
        .collect()
}

fn github(config: &Config) -> Vec<String> {
    let Some(github) = &config.github else { return vec!["not asked about commits".to_owned()] };
    let token = match &github.token {
        Some(_) => "with a token",
        None => "without a token: public repositories alone",
    };
    let mut told = vec![format!("{}, {token}", github.api)];
    if let Some(app) = &github.app {
        let repositories: usize = app.installations.iter().map(|one| one.repositories.len()).sum();
        let shows: Vec<&str> = app.shows.iter().map(|shown| shown.in_words()).collect();
        let shows = if shows.is_empty() { "nothing".to_owned() } else { shows.join(", ") };
        told.push(format!(
            "App {}, repositories pinned: {repositories}, shown there: {shows}",
            app.id
        ));
    }
    told
}

fn proxies(config: &Config) -> String {
    let header = match config.proxies.header {
        Some(ForwardingHeader::XForwardedFor) => "x-forwarded-for",
        Some(ForwardingHeader::Forwarded) => "forwarded",
        None => return "none trusted".to_owned(),
    };
    let ranges: Vec<String> = config.proxies.ranges.iter().map(ToString::to_string).collect();
    format!("{} are believed in {header}", ranges.join(", "))
}

fn plan(lines: &mut Lines, policy: &Policy) {
    let steps: Vec<String> = policy.default_steps.iter().map(ToString::to_string).collect();
    lines.add("  steps", &format!("{} percent", steps.join(", ")));
    lines.list("  plans", policy.plan.in_words());
    if let Some(note) = &policy.attestor {
        lines.add("  attested for", note.as_str());
    }
}

fn environment(lines: &mut Lines, name: &str, policy: &Policy) {
    lines.0.push_str(&format!("\nenvironment {name}\n"));
    lines.list("  services", policy.services.iter().map(ToString::to_string));
    lines.list("  jobs", policy.jobs.iter().map(ToString::to_string));
    lines.list("  images", policy.images.iter().cloned());
    lines.list("  may ask", policy.requesters.iter().map(RequesterMatch::in_words));
    lines.list("  runs signed for", policy.workflow_runs.iter().map(run_in_words));
    lines.list("  must sign", policy.rules.iter().map(|rule| rule.in_words()));
    if policy.separation.is_some() {
        lines.add("  separation", "nobody signs for commits that they had a hand in");
    }
    lines.list("  keys", policy.keys.iter().map(|keys| keys.in_words().join("; ")));
    plan(lines, policy);
    let seconds = i64::try_from(policy.expires_in_seconds).unwrap_or(i64::MAX);
    if policy.enrolment.requires_pinned_trust {
        lines.add("  trust", "must be pinned");
    }
    lines.add("  expires in", &format!("{:#}", SignedDuration::from_secs(seconds)));
    let seconds = i64::try_from(policy.execute_within_seconds).unwrap_or(i64::MAX);
    let within = SignedDuration::from_secs(seconds);
    lines.add("  begins within", &format!("{within:#} of the last signature"));
    let newer = match policy.newer_request {
        NewerRequest::Supersede => "supersedes an older one for the same service",
        NewerRequest::Queue => "waits beside older ones for the same service",
        NewerRequest::Refuse => "is refused while an older one for the same service waits",
    };
    lines.add("  a new request", newer);
    lines.list("  break glass", policy.break_glass.iter().map(BreakGlass::in_words));
    let grace = policy.break_glass.as_ref().and_then(|glass| glass.outage_grace_seconds);
    let grace = grace.map(|seconds| format!("with a last sign-in of {seconds} s at most"));
    lines.list("  in an outage", grace);
    lines.list("  windows", policy.windows.open.iter().map(Window::in_words));
    lines.list("  closed", policy.windows.closed.iter().map(ClosedTime::in_words));
    lines.add("  wait at once", &format!("at most {}", policy.max_pending));
}
