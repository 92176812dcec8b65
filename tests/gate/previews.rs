//! Writes every page with its assets under `target/previews`, to be looked at in a browser.

use std::fs;
use std::path::Path;

use askama::Template;
use countersign::domain::action::Action;
use countersign::domain::agent_credential::{AgentGrant, IssuedAgentCredential};
use countersign::domain::approval::{Approval, Status};
use countersign::domain::command::{Command, HashedFile, RUN_COMMAND, command_type};
use countersign::domain::deployment::Preconditions;
use countersign::domain::digest::Digest;
use countersign::domain::drift::{Finding, RecordedExplanation, ServiceState, Sighting};
use countersign::domain::hold::Freezes;
use countersign::domain::policy::{Policy, TrustLevel};
use countersign::domain::rollout::Progress;
use countersign::domain::subject::FrozenSubject;
use countersign::storage::{KeptAgentCredential, NoticeStanding};
use countersign::web::assets;
use countersign::web::views::Surroundings;
use countersign::web::views::agents::{AgentListing, AgentsPage};
use countersign::web::views::approval::ApprovalPage;
use countersign::web::views::drift::DriftPage;
use countersign::web::views::endorsement::EndorsementPage;
use countersign::web::views::inbox::InboxPage;
use countersign::web::views::keys::{AllKeysPage, FirstKeyPage, KeysPage};
use countersign::web::views::notices::{NoticesPage, ReceiverListing};
use countersign::web::views::problem::{Action as WayOut, ProblemPage, SignedOutPage};
use countersign::web::views::recovery::RecoveryPage;

use jiff::SignedDuration;

use crate::evidence::checks::{checks, results};
use crate::pages::exceptions::{closed, exceptions_page};
use crate::pages::hostile;
use crate::pages::sample_keys::{enrolment, keys, loss_page, notes, people, recovery};
use crate::sample_approval::{
    after_pending, approval_of, approved, calls, deployment, executing, minutes_ago, now, pending,
    pending_rules, pending_run, person, policy, progress, running, share, signed_once, taken_back,
    viewer, workflow_run,
};

#[test]
fn every_page_is_written_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/previews");
    let asset_folder = folder.join(assets::base().trim_start_matches('/'));
    fs::create_dir_all(&asset_folder).unwrap();
    for (name, content) in assets::all() {
        fs::write(asset_folder.join(name), content).unwrap();
    }
    for (name, page) in pages() {
        fs::write(folder.join(format!("{name}.html")), page).unwrap();
    }
}

fn pages() -> Vec<(String, String)> {
    let bob = viewer("Bob Lindqvist", &["release-managers"], &["Blue YubiKey", "Phone"]);
    let newcomer = viewer("Dan Okafor", &["release-managers"], &[]);
    let signer = viewer("Alice Moreau", &["release-managers"], &["Blue YubiKey"]);
    let visitor = viewer("Eve Park", &["marketing"], &["Phone"]);
    let notice = "This gate is a demo: everything runs on this machine and nothing is deployed.";
    let bobs = Surroundings {
        viewer: Some(&bob),
        notice: None,
        alarm: None,
        trust: TrustLevel::Pinned,
        freezes: Freezes::NONE,
        exceptions: &[],
        now: now(),
    };
    let of = |viewer| Surroundings { viewer: Some(viewer), ..bobs };
    let nobody = Surroundings {
        viewer: None,
        notice: Some(notice),
        alarm: None,
        trust: TrustLevel::Unpinned,
        freezes: Freezes::NONE,
        exceptions: &[],
        now: now(),
    };
    let alarm = "Nothing is decided and nothing is rolled out: the log has 48102 entries and had 48231 when it was last seen.";
    let alarmed = Surroundings { alarm: Some(alarm), trust: TrustLevel::Pinned, ..nobody };
    let (statement, mut lost) = recovery();
    lost.open = after_pending().into_iter().take(2).map(|(_, one)| one).collect();
    let mut first = deployment();
    first.preconditions = Preconditions::Absent {};
    first.plan.rollback.clear();
    first.plan.steps.truncate(1);
    first.plan.steps[0].percent = 100;
    first.plan.steps[0].traffic = vec![share(&first.plan.revision, 100)];
    first.title = None;
    first.body = None;
    first.links.clear();
    let mut same = deployment();
    same.proposed = running();
    let mut approvals = vec![pending(), signed_once()];
    approvals.extend(after_pending().into_iter().map(|(_, approval)| approval));
    let key_page =
        |message| KeysPage::new(&keys(minutes_ago(9)), &notes(), message, true, bobs).render();
    let mut pages = vec![
        ("pending".to_owned(), show(&signed_once(), bobs)),
        ("pending-take-back".to_owned(), show(&signed_once(), of(&signer))),
        ("approved-take-back".to_owned(), show(&approved(), of(&signer))),
        ("pending-taken-back".to_owned(), show(&taken_back(), bobs)),
        ("pending-signed-out".to_owned(), show(&pending(), nobody)),
        ("pending-no-key".to_owned(), show(&pending(), of(&newcomer))),
        ("pending-not-allowed".to_owned(), show(&pending(), of(&visitor))),
        ("new-service".to_owned(), show(&approval_of(first), bobs)),
        ("checked".to_owned(), checked(bobs)),
        ("unchanged".to_owned(), show(&approval_of(same), bobs)),
        ("run".to_owned(), show(&pending_run(workflow_run()), bobs)),
        ("rules".to_owned(), show(&pending_rules(), bobs)),
        ("hostile".to_owned(), show(&hostile(), bobs)),
        ("command".to_owned(), show(&command(), bobs)),
        ("inbox".to_owned(), InboxPage::new(&approvals, bobs).render().unwrap()),
        ("inbox-empty".to_owned(), InboxPage::new(&[], of(&newcomer)).render().unwrap()),
        ("keys".to_owned(), key_page(Some("The key is registered and can sign.")).unwrap()),
        ("key-loss".to_owned(), loss_page(bobs).render().unwrap()),
        (
            "keys-all".to_owned(),
            AllKeysPage::new(&people(minutes_ago(9)), None, bobs).render().unwrap(),
        ),
        ("endorse".to_owned(), EndorsementPage::new(&enrolment(), bobs).render().unwrap()),
        ("recovery".to_owned(), RecoveryPage::new(&statement, &lost, alarmed).render().unwrap()),
        ("recovery-link".to_owned(), RecoveryPage::without_link(alarmed).render().unwrap()),
        ("recovery-done".to_owned(), RecoveryPage::done(nobody).render().unwrap()),
        ("agents".to_owned(), agents(bobs)),
        ("drift".to_owned(), drift(bobs)),
        ("exceptions".to_owned(), exceptions_page("The checkout is down, incident 4711", bobs)),
        ("pending-closed".to_owned(), show(&closed(), bobs)),
        ("notices".to_owned(), notices(bobs)),
        ("notices-empty".to_owned(), NoticesPage::new(&[], bobs).render().unwrap()),
        ("first-key".to_owned(), FirstKeyPage::new(nobody).render().unwrap()),
        ("keys-empty".to_owned(), KeysPage::new(&[], &[], None, false, bobs).render().unwrap()),
        ("signed-out".to_owned(), SignedOutPage::new("/", false, nobody).render().unwrap()),
        ("problem".to_owned(), problem(nobody)),
    ];
    let others = after_pending();
    pages.extend(others.iter().map(|(name, one)| ((*name).to_owned(), show(one, bobs))));
    pages
}

/// A command that people sign, with a word that is empty and one that is not what it looks like.
fn command() -> Approval {
    let file = |path: &str| HashedFile { path: path.into(), sha256: Digest::of(path) };
    let words = ["psql", "--file", "migrations/0042.sql", "", "a  b", "<b>\u{202e}gpj"];
    let command = Command {
        command: words.map(str::to_owned).to_vec(),
        program: file("/usr/bin/psql"),
        directory: "/srv/checkout".into(),
        files: vec![file("migrations/0042.sql"), file("migrations/roles.sql")],
        host: None,
    };
    let action = Action {
        facts: deployment().facts,
        tool: RUN_COMMAND.into(),
        arguments: command.arguments(),
        summary: None,
        effect: None,
        undo: None,
    };
    let policy = Policy { actions: vec![command_type(RUN_COMMAND)], ..policy() };
    Approval::request(FrozenSubject::freeze(action).unwrap(), policy).approval
}

fn agents(around: Surroundings<'_>) -> String {
    let listing = |index, agent: &str, days: i64, is_revoked| AgentListing {
        kept: KeptAgentCredential {
            index,
            at: minutes_ago(90),
            issued: IssuedAgentCredential {
                grant: AgentGrant {
                    agent: agent.into(),
                    environment: "production".into(),
                    valid_until: now() + SignedDuration::from_hours(24 * days),
                    secret_digest: Digest::of("secret"),
                },
                by: person("u-alice"),
                by_name: "Alice Moreau".into(),
                signed_with: String::new(),
                statement: String::new(),
                authenticator_data: String::new(),
                client_data_json: String::new(),
                signature: String::new(),
                sign_in_key: String::new(),
            },
        },
        is_revoked,
    };
    let listings = [
        listing(17, "Old assistant", -1, false),
        listing(40, "Lost assistant", 20, true),
        listing(52, "Release assistant", 30, false),
    ];
    AgentsPage::new(&listings, vec!["production".into(), "staging".into()], None, around)
        .render()
        .unwrap()
}

fn drift(around: Surroundings<'_>) -> String {
    let explained = |subject: &str, name: &str, text: &str| RecordedExplanation {
        entry: 0,
        environment: "production".into(),
        service: deployment().service,
        explanation: text.into(),
        by: person(subject),
        by_name: name.into(),
        signed_with: String::new(),
        statement: String::new(),
        authenticator_data: String::new(),
        client_data_json: String::new(),
        signature: String::new(),
        sign_in_key: String::new(),
    };
    let finding = |entry, minutes, facts: &[&str], explanations| Finding {
        entry,
        at: minutes_ago(minutes),
        entry_hash: Digest::of("entry"),
        found: Sighting {
            service: deployment().service,
            environment: "production".into(),
            state: Some(ServiceState {
                uid: String::new(),
                generation: 9,
                serving: vec![share("web-00009-hotfix", 100)],
                latest_revision: "web-00009-hotfix".into(),
            }),
            explained_by: None,
            unexplained: facts.iter().map(|fact| (*fact).to_owned()).collect(),
            changed_by: Some("mallory@example.com".into()),
        },
        explanations,
    };
    let facts = [
        "The revision web-00009-hotfix was created.",
        "The traffic was 100 % to web-00008-abc and is 100 % to web-00009-hotfix.",
    ];
    let why = "Hotfix by hand in the night, incident 7: the gate was down. Asked for again and approved since.";
    let findings = [
        finding(812, 3, &facts, vec![]),
        finding(790, 45, &facts[1..], vec![explained("u-alice", "Alice Moreau", why)]),
        finding(
            640,
            9_000,
            &facts,
            vec![
                explained("u-alice", "Alice Moreau", why),
                explained("u-bob", "Bob Lindqvist", why),
            ],
        ),
    ];
    DriftPage::new(&findings, &["production".into()], true, around).render().unwrap()
}

fn notices(around: Surroundings<'_>) -> String {
    let listing = |name: &str, standing| ReceiverListing {
        name: name.to_owned(),
        place: Some(format!("https://{name}.example.com")),
        events: vec!["approval.requested", "approval.decided", "rollout.failed"],
        standing,
    };
    let standing = |waiting, given_up, fault: Option<&str>| {
        Some(NoticeStanding {
            receiver: String::new(),
            waiting,
            oldest: Some(minutes_ago(9)),
            given_up,
            last_error: fault.map(str::to_owned),
        })
    };
    let gone = "it answered 410: it is gone, remove it from the configuration";
    let listings = [
        listing("deploys", None),
        listing("tickets", standing(3, 0, Some("it answered 503 Service Unavailable"))),
        listing("archive", standing(0, 2, Some(gone))),
        ReceiverListing { place: None, ..listing("old", standing(1, 0, None)) },
    ];
    NoticesPage::new(&listings, around).render().unwrap()
}

fn problem(around: Surroundings<'_>) -> String {
    let action = WayOut { label: "Sign in", href: "/sign-in?return_to=/".into() };
    let detail = "There is no such approval, or you may not read it. Check the link, or sign in \
                  as somebody who may.";
    let title = "This page does not exist";
    ProblemPage::new(404, title, detail, Some(action), Some("req_4f2k"), "/x", around)
        .render()
        .unwrap()
}

#[test]
fn a_page_tells_what_is_checked_and_what_was_found() {
    let (_, page) = pages().into_iter().find(|(name, _)| name == "checked").unwrap();
    for words in [
        "Checked: GET /health of the new revision answers 200 to 299",
        "<li class=\"yes\">HTTP 200 from /health",
        "<li class=\"no\">error rate 2 % is not below 1.5 %: failed",
        "<li class=\"no\">latency (there is no data): could not be read",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

/// A step whose checks did not all pass.
fn checked(around: Surroundings<'_>) -> String {
    let mut asked = deployment();
    let step = &mut asked.plan.steps[0];
    (step.tag, step.bake_seconds, step.checks) = (Some("try".into()), 600, checks());
    let found = results();
    let restoring = Some(format!("at 10 % not every check passed: {}", found[1].in_words()));
    let progress = Progress { restoring, checks: found.clone(), ..progress(true, 1, None) };
    let approval = Approval { state: executing(progress).state, ..approval_of(asked) };
    let page = ApprovalPage::new(&approval, &calls(), &[], around);
    page.with_checks(&approval, &found, around).render().unwrap()
}

fn show(approval: &Approval, around: Surroundings<'_>) -> String {
    let begun = matches!(
        approval.status(),
        Status::Executing | Status::Succeeded | Status::RolledBack | Status::NeedsAttention
    );
    let calls = if begun { calls() } else { Vec::new() };
    ApprovalPage::new(approval, &calls, &[], around).render().unwrap()
}
