//! What the tests leave for the second verifier: evidence and trust anchors, with the verdict that the
//! first one gave. `tests/run` names the folder; without one nothing is left.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::gate::evidence::gather;
use countersign::proof::evidence::Trust;
use countersign::proof::verify::verify;
use countersign::storage::{ApprovalFilter, LARGEST_PAGE, Storage};
use serde_json::{Value, json};

use crate::evidence::codes::text;
use crate::evidence::damage::changed_leaves;

/// The environment variable that names the folder.
const FOLDER: &str = "COUNTERSIGN_TEST_BUNDLES";
/// How many changed files are left beside each good one.
const CHANGED: usize = 6;

fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Leaves cases for the second verifier.
pub fn leave(name: &str, cases: &Value) {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(folder) = folder() else { return };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{name}-{}-{number}.json", std::process::id());
    std::fs::write(folder.join(name), serde_json::to_vec(cases).unwrap()).unwrap();
}

/// Verdict and code, as both verifiers name them.
pub fn verdict(evidence: &[u8], trust: &Trust) -> (&'static str, Option<&'static str>) {
    match verify(evidence, trust) {
        Ok(verified) if verified.is_approved() => ("approved", None),
        Ok(_) => ("not_approved", None),
        Err(failure) => ("invalid", Some(failure.code().as_str())),
    }
}

/// One case: evidence, anchors, and the verdict of the first verifier.
pub fn case(name: &str, evidence: &str, trust: &Trust) -> Value {
    let (verdict, code) = verdict(evidence.as_bytes(), trust);
    json!({"name": name, "trust": trust, "evidence": evidence, "verdict": verdict, "code": code})
}

/// Verifies the evidence of every approval that a test made, and leaves it, as it is and changed.
pub async fn leave_all(storage: &Storage, trust: &Trust) {
    let test = std::thread::current().name().unwrap_or("test").replace("::", ".");
    let mut filter = ApprovalFilter { limit: LARGEST_PAGE, ..ApprovalFilter::default() };
    loop {
        let page = storage.approvals(&filter).await.unwrap();
        for stored in &page.approvals {
            let id = stored.approval.id();
            let evidence = text(&gather(storage, trust, stored).await.unwrap());
            let (found, code) = verdict(evidence.as_bytes(), trust);
            assert_ne!(found, "invalid", "the evidence of {id} does not hold: {code:?}");
            if folder().is_none() {
                continue;
            }
            let mut cases = vec![case(id.as_str(), &evidence, trust)];
            let changed = changed_leaves(&evidence, CHANGED);
            cases.extend(changed.iter().map(|(path, text)| case(path, text, trust)));
            leave(&format!("{test}-{id}"), &cases.into());
        }
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            return;
        }
    }
}
