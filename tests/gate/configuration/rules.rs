//! Which part of a configuration is rules, and what becomes of one that is put under others.

use countersign::domain::rulebook::rulebook_changes;
use serde_json::json;

use super::{Folder, GOOD, example};

#[test]
fn a_configuration_under_its_own_rules_is_itself() {
    for config in [example().accepted(), Folder::new(GOOD).accepted()] {
        let rules = config.rulebook().unwrap();
        let same = config.clone().under(&rules).unwrap();
        assert_eq!(same.rulebook().unwrap(), rules);
        assert_eq!(same.digest().unwrap(), config.digest().unwrap());
    }
}

#[test]
fn a_configuration_under_other_rules_has_those() {
    let rules = example().accepted().rulebook().unwrap();
    let file = Folder::new(GOOD).accepted();
    let ruled = file.clone().under(&rules).unwrap();
    assert_eq!(ruled.environments, rules.environments);
    assert_eq!(ruled.trust().login.issuer, "https://example.okta.com/oauth2/default");
    assert_eq!(ruled.trust().endorsers, rules.anchors.endorsers);
    assert_eq!(ruled.trust().origin, file.trust().origin);
    assert_eq!(ruled.roles, rules.roles);
    // What no rule is, the file says: where it listens, its database, its secrets.
    assert_eq!((ruled.listen, ruled.database_shown()), (file.listen, file.database_shown()));
    // What the file has no secret for is not there, and the keys of others' grants are none of its own.
    assert!(ruled.github.is_none() && ruled.grant_keys.is_none());
    let told = rulebook_changes(&file.rulebook().unwrap(), &rules);
    let told: Vec<&str> = told.iter().map(|one| one.sentence.as_str()).collect();
    for words in ["operators is an operator now", "anchors.login.issuer is", "settings.github"] {
        assert!(told.iter().any(|sentence| sentence.contains(words)), "{words}: {told:#?}");
    }
}

#[test]
fn what_gives_no_right_is_no_rule() {
    let rules = |folder: Folder| folder.accepted().rulebook().unwrap();
    let own = rules(Folder::new(GOOD));
    for (part, other) in [
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("sqlite://gate.db", "sqlite://other.db"),
        ("outside/log-head.json", "outside/other.json"),
        ("[login]", "notice = \"Moved\"\n[login]"),
    ] {
        assert_eq!(rules(Folder::with(part, other)), own, "{other}");
    }
    assert_ne!(rules(Folder::with("count = 2", "count = 1")), own);
    // Settings that a later version knows and this one does not are not dropped in silence.
    let mut later = own.clone();
    later.settings.insert("unheard_of".to_owned(), json!(true));
    assert!(Folder::new(GOOD).accepted().under(&later).is_err());
}
