//! The page of a run of GitHub Actions, and the sentences about it.

use askama::Template;
use countersign::domain::approval::{Approval, State};
use countersign::domain::hold::Freezes;
use countersign::domain::sentence::status_sentence;
use countersign::domain::workflow_run::{Account, WorkflowRun};
use countersign::web::views::inbox::InboxPage;

use super::{HOSTILE, around, assert_well_made, bob, page};
use crate::sample_approval::{minutes_ago, now, pending_run, workflow_run};

#[test]
fn hostile_words_of_a_run_do_nothing() {
    let mut run = workflow_run();
    run.repository.name = HOSTILE.into();
    (run.workflow, run.branch) = (HOSTILE.into(), HOSTILE.into());
    (run.commit, run.event) = (HOSTILE.into(), HOSTILE.into());
    run.actor = Some(Account { id: 1, login: HOSTILE.into() });
    run.triggering_actor = Some(Account { id: 2, login: HOSTILE.into() });
    run.facts.requester = WorkflowRun::requester_of(HOSTILE, &run.repository);
    run.facts.reason = HOSTILE.into();
    run.delivery.id = HOSTILE.into();
    let approval = pending_run(run);
    let inbox = InboxPage::new(std::slice::from_ref(&approval), around(Some(&bob())));
    for page in [page(&approval, Some(&bob())), page(&approval, None), inbox.render().unwrap()] {
        assert_well_made("a hostile run", &page);
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
        assert!(!page.contains("href=\"javascript") && !page.contains('\u{202e}'), "{page}");
    }
}

#[test]
fn the_page_says_that_nobody_elses_signature_shows_who_asked() {
    let drawn = page(&pending_run(workflow_run()), Some(&bob()));
    assert_well_made("a run", &drawn);
    for fact in [
        "Run of deploy.yml in acme/checkout, to production",
        "the gate’s own statement",
        "nobody else’s signature in it shows this",
        "href=\"https://github.com/acme/checkout/actions/runs/9876543210\"",
        ".github/workflows/deploy.yml@main",
        "account 9001",
        "Run digest",
    ] {
        assert!(drawn.contains(fact), "{fact}: {drawn}");
    }
    assert!(!drawn.contains("Verified by token") && !drawn.contains("Every claim"), "{drawn}");
    assert!(!drawn.contains("was started again"), "{drawn}");
}

#[test]
fn a_run_that_was_started_again_says_so_and_by_whom() {
    let mut run = workflow_run();
    run.attempt = 3;
    run.triggering_actor = Some(Account { id: 9002, login: "noor".into() });
    let mut approval = pending_run(run);
    approval.policy.github_accounts = [("9002".into(), "u-noor".into())].into();
    let drawn = page(&approval, Some(&bob()));
    assert_well_made("a run again", &drawn);
    for fact in [
        "started again: attempt 3",
        "This attempt started by",
        "which is u-noor: counts as the requester",
    ] {
        assert!(drawn.contains(fact), "{fact}: {drawn}");
    }
}

#[test]
fn sentences_about_a_run_speak_of_a_run() {
    let pending = pending_run(workflow_run());
    let at = minutes_ago(1);
    let in_state = |state: State| Approval { state, ..pending.clone() };
    let words: Vec<String> = [
        pending.clone(),
        in_state(State::Approved { at }),
        in_state(State::succeeded(at)),
        in_state(State::Cancelled { at }),
        in_state(State::Expired { at }),
    ]
    .iter()
    .map(|approval| status_sentence(approval, Freezes::NONE, now()))
    .collect();
    insta::assert_snapshot!(words.join("\n"), @r"
    Waiting for 2 signatures from release-managers and 1 signature from security, until 24 November 2026, 15:54 UTC.
    Everybody who has to sign has signed. The gate tells GitHub by itself; nobody has to do anything.
    Everybody who has to sign has signed, and GitHub is told to let the run on. Nothing is left to do here.
    The run waits no more at GitHub, so there is nothing to sign. If it is started again, it asks again.
    Not everybody who has to sign signed before it expired on 24 November 2026, 13:59 UTC. Nothing was changed; acme/checkout has to ask again.
    ");
}
