//! Evidence of approvals that were decided together with others, good and bad.

use std::sync::Arc;

use countersign::domain::decision::Verdict;
use countersign::domain::ids::ApprovalId;
use countersign::domain::statement::{
    BATCH_TYPE, DecidedOn, PREDICATE_TYPE, Statement, Subject as InTotoSubject, SubjectDigest,
};
use countersign::domain::subject::{FrozenSubject, Subject};
use countersign::proof::verify::{Code, verify};
use jiff::SignedDuration;

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::{Maker, Signer};

/// Two people decide on this and on two others with one signature each.
pub fn of_three(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    maker.others = 2;
    maker
}

/// The deployments that a statement lists; the first is the one of the file.
fn listed(statement: &mut Statement) -> &mut Vec<Subject> {
    match &mut statement.predicate.on {
        DecidedOn::Batch { deployments } => deployments,
        DecidedOn::One { .. } => panic!("it is on one"),
    }
}

fn edit(statement: &mut Statement, place: usize, edit: impl FnOnce(&mut Subject)) {
    edit(&mut listed(statement)[place]);
}

/// What a statement is about, made anew after its list was changed.
fn about_its_list(statement: &mut Statement) {
    let frozen = listed(statement).clone().into_iter();
    let frozen: Vec<_> = frozen.map(|one| FrozenSubject::freeze(one).unwrap()).collect();
    let mut subjects = Vec::new();
    for one in &frozen {
        let image = &one.deployment().unwrap().image;
        let named = [
            (image.repository().to_owned(), *image.digest()),
            (one.approval.to_string(), *one.digest()),
        ];
        subjects.extend(
            named.map(|(name, sha256)| InTotoSubject { name, digest: SubjectDigest { sha256 } }),
        );
    }
    statement.subject = subjects;
}

pub fn add_bad(add: &mut Add<'_>) {
    lists(add);
    forms(add);
}

/// Lists in which the deployment of the file is not, or not once, or not as it was asked for.
fn lists(add: &mut Add<'_>) {
    let mut mismatch = |name: &str, edit_statement: fn(&mut Statement)| {
        add(name, Code::StatementMismatch, &|maker| {
            *maker = of_three(&maker.keys);
            maker.edit_statement = edit_statement;
        });
    };
    mismatch("a batch without this deployment", |statement| {
        listed(statement).remove(0);
        about_its_list(statement);
    });
    mismatch("a batch with another deployment for this approval", |statement| {
        edit(statement, 0, |subject| {
            let Subject::Deployment(deployment) = subject else { panic!("it is one") };
            deployment.reason.push('!');
        });
        about_its_list(statement);
    });
    mismatch("a batch with this deployment twice", |statement| {
        let first = listed(statement)[0].clone();
        listed(statement).push(first);
        about_its_list(statement);
    });
    mismatch("a batch with a second deployment for this approval", |statement| {
        let ours = listed(statement)[0].facts().approval.clone();
        edit(statement, 1, |subject| {
            let Subject::Deployment(deployment) = subject else { panic!("it is one") };
            deployment.approval = ours;
        });
        about_its_list(statement);
    });
    mismatch("a batch with a deployment for another gate", |statement| {
        edit(statement, 2, |subject| {
            let Subject::Deployment(deployment) = subject else { panic!("it is one") };
            deployment.audience = "https://gate.evil.example".into();
        });
        about_its_list(statement);
    });
    mismatch("a batch of one", |statement| {
        listed(statement).truncate(1);
        about_its_list(statement);
    });
    mismatch("a batch of nothing", |statement| {
        listed(statement).clear();
        about_its_list(statement);
    });
    mismatch("a batch whose subjects have another order", |statement| {
        statement.subject.rotate_left(2);
    });
    mismatch("a batch with the subjects of this deployment alone", |statement| {
        statement.subject.truncate(2);
    });
    add("a batch of thirty-three", Code::StatementMismatch, &|maker| {
        *maker = of_three(&maker.keys);
        maker.others = 32;
        maker.signers.truncate(1);
        maker.policy.rules.truncate(1);
    });
}

/// Statements that are of two forms, or of the wrong one.
fn forms(add: &mut Add<'_>) {
    add("a batch in the form of a decision", Code::StatementMismatch, &|maker| {
        *maker = of_three(&maker.keys);
        maker.edit_statement = |statement| statement.predicate_type = PREDICATE_TYPE.into();
    });
    add("a decision in the form of a batch", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.predicate_type = BATCH_TYPE.into();
    });
    add("a decision on one and on several", Code::Malformed, &|maker| {
        *maker = of_three(&maker.keys);
        maker.edit_evidence = |evidence| {
            let statement = &mut evidence.decisions[0].statement;
            let both = format!("\"deployment\":{},\"deployments\":", evidence.deployment);
            *statement = statement.replacen("\"deployments\":", &both, 1);
        };
    });
    add("a decision on nothing", Code::Malformed, &|maker| {
        *maker = of_three(&maker.keys);
        maker.edit_evidence = |evidence| {
            let statement = &mut evidence.decisions[0].statement;
            let (before, rest) = statement.split_once("\"deployments\":[").unwrap();
            let (_, after) = rest.split_once("],\"expires_at\"").unwrap();
            *statement = format!("{before}\"expires_at\"{after}");
        };
    });
    add("a withdrawal of a whole batch", Code::StatementMismatch, &|maker| {
        *maker = of_three(&maker.keys);
        maker.signers.push(Signer {
            subject: "u-alice",
            group: "release-managers",
            verdict: Verdict::Withdraw,
        });
        maker.rolls_out = false;
        maker.edit_statement = |statement| {
            if let (DecidedOn::One { subject, .. }, true) =
                (&statement.predicate.on, statement.predicate.withdraws.is_some())
            {
                let mut other = subject.clone();
                if let Subject::Deployment(deployment) = &mut other {
                    deployment.approval = ApprovalId::from_random([77; 16]);
                }
                let deployments = vec![subject.clone(), other];
                statement.predicate.on = DecidedOn::Batch { deployments };
                statement.predicate_type = BATCH_TYPE.into();
                about_its_list(statement);
            }
        };
    });
    add("a batch that outlives this deployment", Code::StatementTime, &|maker| {
        *maker = of_three(&maker.keys);
        let asked = maker.deployment.requested_at;
        maker.deployment.expires_at = asked + SignedDuration::from_secs(200);
        maker.rolls_out = false;
        maker.edit_statement = |statement| {
            statement.predicate.expires_at =
                statement.predicate.issued_at + SignedDuration::from_secs(300);
        };
    });
}

#[test]
fn one_of_a_batch_is_proven_without_the_others() {
    let keys = Keys::new();
    let proved = verify(text(&of_three(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert_eq!((proved.is_approved(), proved.decisions().len()), (true, 2));
    // The most that a batch can have, and a no.
    let mut most = of_three(&keys);
    most.others = 31;
    assert!(verify(text(&most.make()).as_bytes(), &keys.trust()).unwrap().is_approved());
    let mut rejected = of_three(&keys);
    rejected.signers[1].verdict = Verdict::Reject;
    rejected.rolls_out = false;
    let rejected = verify(text(&rejected.make()).as_bytes(), &keys.trust()).unwrap();
    assert_eq!(rejected.state().status().as_str(), "rejected");
    // Who signed it with others takes it back alone, and signs it alone again.
    let mut again = crate::evidence::withdrawals::again(&keys);
    again.others = 2;
    assert!(verify(text(&again.make()).as_bytes(), &keys.trust()).unwrap().is_approved());
}
