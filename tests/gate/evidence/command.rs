//! `countersign verify`, as somebody runs it.

use std::path::Path;
use std::process::{Command, Output};

use countersign::domain::decision::Verdict;
use serde_json::Value;
use tempfile::TempDir;

use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;

struct Files {
    folder: TempDir,
}

impl Files {
    /// Anchors, an approval, a rejection and a damaged file.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("trust.json", &serde_json::to_string_pretty(&keys.trust()).unwrap());
        let mut maker = Maker::new(&keys);
        maker.deployment.reason = "Fixes\nApproved, and everything holds\u{202e}".into();
        let good = text(&maker.make());
        write("good.json", &good);
        write("bad.json", &good.replace("u-alice", "u-mallo"));
        write("rejected.json", &text(&Maker::rejected(&keys)));
        write("other.json", &serde_json::to_string(&Keys::new().trust()).unwrap());
        write("broken.json", "{}");
        Self { folder }
    }

    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.current_dir(self.path()).arg("verify").args(arguments).output().unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn an_approval_is_told_in_plain_lines() {
    let output = Files::new().verify(&["good.json", "--trust", "trust.json"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), 0, "{text}");
    assert!(
        text.starts_with("Approved, and everything holds. By the last entry it is succeeded.\n")
    );
    for part in [
        "projects/acme-prod/locations/europe-west1/services/checkout",
        "checkout-00042-k7q",
        "u-alice signed yes at 2026-11-24T13:55:00Z",
        "u-carol signed yes at",
        "announced a call: create the revision, on condition that the service has the etag \"e1\"",
        "Cloud Run accepted it",
        "5f3c9a17e0b84d2f9c6a1b7d8e2f4a60c3d5e7f9",
        "What was checked and holds",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    // What a requester wrote stays on its line and cannot turn around what is beside it.
    assert_eq!(text.lines().filter(|line| line.starts_with("Approved")).count(), 1);
    assert!(!text.contains('\u{202e}'));
}

#[test]
fn the_exit_code_tells_the_verdict() {
    let files = Files::new();
    let exit = |arguments: &[&str]| code(&files.verify(arguments));
    assert_eq!(exit(&["good.json", "--trust", "trust.json"]), 0);
    assert_eq!(exit(&["rejected.json", "--trust", "trust.json"]), 3);
    assert_eq!(exit(&["bad.json", "--trust", "trust.json"]), 1);
    assert_eq!(exit(&["good.json", "--trust", "other.json"]), 1);
    assert_eq!(exit(&["broken.json", "--trust", "trust.json"]), 1);
    assert_eq!(exit(&["good.json", "--trust", "broken.json"]), 2);
    assert_eq!(exit(&["missing.json", "--trust", "trust.json"]), 2);
    assert_eq!(exit(&["good.json", "--trust", "missing.json"]), 2);
    assert_eq!(exit(&["good.json"]), 2);
    assert_eq!(exit(&["--trust", "trust.json"]), 2);
}

#[test]
fn machines_get_one_object() {
    let files = Files::new();
    let report = |file: &str| -> Value {
        let output = files.verify(&[file, "--trust", "trust.json", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let good = report("good.json");
    assert_eq!(good["verdict"], "approved");
    assert_eq!(good["status"], "succeeded");
    assert_eq!(good["code"], Value::Null);
    assert_eq!(good["environment"], "production");
    assert_eq!(good["approvers"][1]["subject"], "u-carol");
    assert_eq!(good["approvers"][1]["decision"], Verdict::Approve.as_str());
    assert_eq!(good["deployment_digest"].as_str().unwrap().len(), 64);
    assert!(good["checks"].as_array().unwrap().len() > 4);
    let rejected = report("rejected.json");
    assert_eq!(
        (&rejected["verdict"], &rejected["status"]),
        (&"not_approved".into(), &"rejected".into())
    );
    let bad = report("bad.json");
    assert_eq!((&bad["verdict"], &bad["approval"]), (&"invalid".into(), &Value::Null));
    assert!(bad["code"].is_string() && bad["sentence"].as_str().unwrap().len() > 20, "{bad}");
}
