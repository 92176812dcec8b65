//! Bad evidence of what programs asked that act for somebody.

use countersign::domain::policy::ActsFor;
use countersign::proof::verify::Code;
use serde_json::{Value, json};

use crate::evidence::codes::Add;
use crate::evidence::keys::DIRECTORY;
use crate::evidence::maker::Maker;

pub fn add_bad(add: &mut Add<'_>) {
    add(
        "a program that acts for somebody whom no rule names",
        Code::RequesterNotAllowed,
        &|maker| {
            maker.deployment.requester.claims.insert("act".into(), json!({"sub": "bot"}));
        },
    );
    add("a program that says not for whom it acts", Code::RequesterNotAllowed, &|maker| {
        acts_for(maker, json!(["u-dan"]));
    });
    add("approved by whom the program acts for", Code::QuorumNotMet, &|maker| {
        acts_for(maker, json!("u-alice"));
        maker.rolls_out = false;
    });
}

/// Has the policy say that the claim `for` names a person, and the token that this is who.
fn acts_for(maker: &mut Maker, person: Value) {
    let requester = &mut maker.deployment.requester;
    requester.claims.insert("act".into(), json!({"sub": "bot"}));
    requester.claims.insert("for".into(), person);
    let directory = DIRECTORY.to_owned();
    maker.policy.requesters[0].acts_for = Some(ActsFor { directory, claim: "for".into() });
}
