//! The page of a change of the rules.

use askama::Template;
use countersign::domain::approval::Approval;
use countersign::domain::subject::FrozenSubject;
use countersign::web::views::inbox::InboxPage;

use super::{HOSTILE, around, assert_well_made, bob, page};
use crate::sample_approval::{pending_rules, rule_change};

#[test]
fn the_page_says_whose_rights_grow() {
    let approval = pending_rules();
    let drawn = page(&approval, Some(&bob()));
    assert_well_made("a change of the rules", &drawn);
    for fact in [
        "Change of the rules of production, every environment",
        "1 of release-managers must sign; before, 2 of release-managers",
        "no longer needed: 1 of security",
        "platform is an operator",
        "anchors.endorsers lists",
        "requests that may wait at once",
        "Somebody may do more after this",
        "release-managers for production",
        "Change digest",
        "the gate’s own statement",
    ] {
        assert!(drawn.contains(fact), "{fact}: {drawn}");
    }
    assert!(!drawn.contains("Verified by token") && !drawn.contains("In their words"), "{drawn}");
    let inbox = InboxPage::new(&[approval], around(Some(&bob()))).render().unwrap();
    assert!(inbox.contains("Change of the rules of production"), "{inbox}");
}

#[test]
fn hostile_words_of_rules_do_nothing() {
    let mut change = rule_change();
    let mut production = change.after.environments["production"].clone();
    production.rules[0].from.push(format!("group:{HOSTILE}").parse().unwrap());
    production.images.push(HOSTILE.to_owned());
    change.after.environments.insert(HOSTILE.to_owned(), production);
    change.after.anchors.login.groups_claim = HOSTILE.to_owned();
    change.after.settings.insert(HOSTILE.to_owned(), HOSTILE.into());
    let quorum = change.before.quorum(&change.after);
    let approval = Approval::request(FrozenSubject::freeze(change).unwrap(), quorum).approval;
    let drawn = page(&approval, Some(&bob()));
    assert_well_made("hostile rules", &drawn);
    assert!(!drawn.contains("<script>") && !drawn.contains('\u{202e}'), "{drawn}");
}
