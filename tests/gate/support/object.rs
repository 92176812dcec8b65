//! The head of the log in an object of the sandbox's Cloud Storage.

use reqwest::{Method, StatusCode};

use crate::support::gate::Gate;

/// The bucket and the object, as its address needs them.
const BUCKET: &str = "countersign-heads";
const OBJECT: &str = "gate%2Flog-head.json";

/// Has a gate that was not started yet keep the head of its log there.
pub fn keep_the_head_in_an_object(gate: &Gate) {
    let sandbox = gate.servers.sandbox.clone();
    let edit = |config: String| {
        let lines = config.lines().map(|line| match line.starts_with("head = ") {
            true => {
                format!("head = \"gs://{BUCKET}/gate/log-head.json\"\nendpoint = \"{sandbox}\"")
            }
            false => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    };
    gate.servers.files.edit_config(edit).unwrap();
}

impl Gate {
    /// What the object holds.
    pub async fn kept_object(&self) -> Option<String> {
        let answer = self.http.get(self.object("?alt=media")).send().await.unwrap();
        (answer.status() == StatusCode::OK).then_some(())?;
        Some(answer.text().await.unwrap())
    }

    /// Writes the object, whatever it holds.
    pub async fn put_object(&self, text: &str) {
        let upload = "upload/storage/v1/b";
        let url =
            format!("{}/{upload}/{BUCKET}/o?uploadType=media&name={OBJECT}", self.servers.sandbox);
        let answer = self.http.post(url).body(text.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    pub async fn delete_object(&self) {
        let answer = self.http.request(Method::DELETE, self.object("")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// The writes of the object since the journal was cleared, by what they were answered.
    pub async fn uploads(&self) -> Vec<u64> {
        let calls = self.calls("POST", "/upload/storage/").await;
        calls.iter().filter_map(|call| call["status"].as_u64()).collect()
    }

    fn object(&self, query: &str) -> String {
        format!("{}/storage/v1/b/{BUCKET}/o/{OBJECT}{query}", self.servers.sandbox)
    }
}
