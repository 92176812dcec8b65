//! Batches: the deployments that one run of a pipeline asks for together, so that a person signs all of them
//! with one gesture.
//!
//! A batch is how pages show approvals, and no part of what anybody signs. The statement lists every
//! deployment in full, each approval gets it as its own decision, and each is proven without the others. So
//! the label needs nobody's belief: whoever forges it changes what is shown side by side, and not what is
//! signed.

use serde_json::json;

use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::request::RequestRefusal;
use crate::domain::subject::Requester;
use crate::domain::text::is_deceptive;

/// The fewest deployments that are a batch.
pub const FEWEST_IN_BATCH: usize = 2;
/// The most deployments in a batch: more than anybody reads at one sitting is no decision.
pub const MOST_IN_BATCH: usize = 32;
/// The most bytes of all deployments of a batch. Each decision of each member holds all of them, and an
/// evidence file of 4 MiB has to hold the sixteen decisions that a rule can ask for.
pub const LARGEST_BATCH: usize = 192 * 1024;
/// The longest label, in characters.
const LONGEST_LABEL: usize = 100;
/// The claims that tell one run of a pipeline, and one attempt of it, from others: of GitHub, of GitLab and
/// Buildkite, and of Buildkite and Jenkins. What another run asks for is another batch.
const RUN_CLAIMS: [&str; 4] = ["run_id", "run_attempt", "pipeline_id", "build_number"];

/// What a request says of its batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedBatch {
    /// The requester's own name for it.
    pub label: String,
    /// How many members the requester announces.
    pub size: Option<u8>,
}

impl AskedBatch {
    /// What a request says of its batch, if it says something.
    ///
    /// # Errors
    /// If it is no label, or a size without one, or one that no batch has.
    pub fn read(
        label: Option<String>,
        size: Option<u64>,
        is_deployment: bool,
    ) -> Result<Option<Self>, RequestRefusal> {
        let refused = |field, problem: String| Err(RequestRefusal::Text { field, problem });
        let Some(label) = label else {
            return match size {
                None => Ok(None),
                Some(_) => refused("batch_size", "is there without batch: name the batch".into()),
            };
        };
        if !is_deployment {
            return refused(
                "batch",
                "is for deployments of services alone: leave it out for a job or an action".into(),
            );
        }
        let is_shown = |letter: char| !letter.is_control() && !is_deceptive(letter);
        let length = label.chars().count();
        if label.trim().is_empty() || length > LONGEST_LABEL || !label.chars().all(is_shown) {
            let form = format!("must be one line of 1 to {LONGEST_LABEL} visible characters");
            return refused("batch", form);
        }
        let in_bounds = |size: &u64| (FEWEST_IN_BATCH as u64..=MOST_IN_BATCH as u64).contains(size);
        match size.map(|size| u8::try_from(size).ok().filter(|_| in_bounds(&size))) {
            None => Ok(Some(Self { label, size: None })),
            Some(Some(size)) => Ok(Some(Self { label, size: Some(size) })),
            Some(None) => refused(
                "batch_size",
                format!("must be a number from {FEWEST_IN_BATCH} to {MOST_IN_BATCH}"),
            ),
        }
    }
}

/// Names the batch: the label, as this requester uses it in this run. Nobody else's request is in it.
///
/// # Errors
/// If a claim has no canonical form.
pub fn batch_key(requester: &Requester, label: &str) -> Result<Digest, CanonicalError> {
    let run = RUN_CLAIMS.map(|name| requester.claims.get(name));
    let named = json!({"requester": requester.key, "run": run, "label": label});
    Ok(Digest::of(to_canonical_json(&named)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester(key: &str, claims: serde_json::Value) -> Requester {
        Requester {
            issuer: "github".into(),
            issuer_url: "https://issuer.example".into(),
            subject: "repo:acme/web".into(),
            key: key.into(),
            claims: claims.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn a_batch_is_of_one_requester_one_run_and_one_label() {
        let key = |requester: &Requester, label| batch_key(requester, label).unwrap();
        let run = |attempt| json!({"run_id": "7", "run_attempt": attempt, "jti": attempt});
        let first = key(&requester("github:1", run("1")), "matrix");
        let same = requester("github:1", json!({"run_id": "7", "run_attempt": "1", "jti": "x"}));
        assert_eq!(first, key(&same, "matrix"), "each job has a token of its own");
        let others = [
            key(&same, "matrix "),
            key(&requester("github:1", run("2")), "matrix"),
            key(&requester("github:2", run("1")), "matrix"),
            key(&requester("github:1", json!({})), "matrix"),
        ];
        assert!(!others.contains(&first));
    }

    #[test]
    fn what_is_no_label_and_no_size_is_refused() {
        let read = |label: &str, size| AskedBatch::read(Some(label.to_owned()), size, true);
        for label in ["", " ", "two\nlines", "a\tb", "\u{202e}x", &"x".repeat(101)] {
            assert!(read(label, None).is_err(), "{label:?}");
        }
        for size in [0, 1, 33, 256, u64::MAX] {
            assert!(read("x", Some(size)).is_err(), "{size}");
        }
        assert!(AskedBatch::read(None, Some(2), true).is_err());
        assert!(AskedBatch::read(Some("x".into()), None, false).is_err());
        assert_eq!(AskedBatch::read(None, None, false).unwrap(), None);
        assert_eq!(read("Run 7 – é", Some(32)).unwrap().unwrap().size, Some(32));
    }
}
