//! Each route as each role: no role signs past the rules.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Places, as_page, pages, with_session};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(no_role_signs_past_the_rules);

/// Everybody who can sign in, and nobody.
const PEOPLE: [(&str, &str); 5] = [
    ("nobody", ""),
    ("engineer", "dan"),
    ("auditor", "erin"),
    ("operator", "bob"),
    ("approver", "alice"),
];

/// Bob is an operator and may sign nowhere; Erin audits.
fn roles(config: String) -> String {
    config
        .replace(
            "[audit]\n",
            "[roles]\noperator = [\"person:u-bob\"]\nauditor = [\"group:auditors\"]\n\n[audit]\n",
        )
        .replace(
            "from = [\"group:release-managers\"]",
            "from = [\"person:u-alice\", \"person:u-carol\"]",
        )
}

/// What a page would send, so that a refusal is about who asks and not about the form.
fn body_of(path: &str) -> Value {
    match path {
        "/approvals/{id}/statements" => json!({"decision": "approve"}),
        "/approvals/{id}/interventions/statements" => json!({"act": "restore"}),
        "/environments/statements" => json!({
            "change": {"kind": "begin", "scope": {"environment": "production", "requesters": {"kind": "everybody"}}, "reason": "because"},
        }),
        "/keys/ceremonies" => json!({"name": "a key"}),
        _ => json!({"nonce": "none", "credential": {}}),
    }
}

/// Each route as each role. Who signs nothing gets no statement to sign, whatever else they may do.
async fn no_role_signs_past_the_rules(engine: Engine) {
    let gate = Gate::start_with(engine, roles).await;
    let mut people = Vec::new();
    for (_, login) in PEOPLE {
        people.push(match login {
            "" => None,
            login => Some(gate.approver(login).await),
        });
    }
    let mut carol = gate.approver("carol").await;
    let id = gate.asked(json!({})).await;
    let key = carol.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let key = key["request_options"]["allowCredentials"][0]["id"].as_str().unwrap().to_owned();
    let places = Places { id: id.clone(), key };
    let mut table = String::new();
    for route in pages() {
        // Signing out, and giving up keys, end what the others need.
        if ["/sign-out", "/keys/{credential}/revocations"].contains(&route.path.as_str()) {
            continue;
        }
        let path = places.fill(&route.path);
        for (method, is_there) in [(Method::GET, route.reads), (Method::POST, route.posts)] {
            if !is_there {
                continue;
            }
            let mut statuses = Vec::new();
            for person in &people {
                let request = with_session(&gate, method.clone(), &path, person.as_ref());
                let request = match method {
                    Method::POST => as_page(&gate, request).json(&body_of(&route.path)),
                    _ => request,
                };
                statuses.push(request.send().await.unwrap().status().as_u16().to_string());
            }
            table.push_str(&format!(
                "{:<4} {:<48} {}\n",
                method.as_str(),
                route.path,
                statuses.join(" ")
            ));
        }
    }
    eprintln!("{:<53} {}\n{table}", "", PEOPLE.map(|(role, _)| role).join(" "));
    let row = |line: &str| -> Vec<u16> {
        let found = table
            .lines()
            .find(|row| row.split_whitespace().take(2).collect::<Vec<_>>().join(" ") == line);
        let found = found.unwrap_or_else(|| panic!("no {line} in\n{table}"));
        found.split_whitespace().skip(2).map(|status| status.parse().unwrap()).collect()
    };
    // Statements, by which everything begins that is signed: an approver alone gets one about an approval.
    for line in ["POST /approvals/{id}/statements", "POST /approvals/{id}/interventions/statements"]
    {
        let statuses = row(line);
        assert!(
            statuses[..4].iter().all(|status| (400..500).contains(status)),
            "{line}: {statuses:?}"
        );
    }
    assert_eq!(row("POST /approvals/{id}/statements")[4], 200);
    // Nothing else that was sent was signed, so nothing succeeds but what prepares a signature, and keys of one's own.
    let prepares = ["/statements", "/keys/ceremonies"];
    for line in table.lines().filter(|line| line.starts_with("POST")) {
        let mut words = line.split_whitespace().skip(1);
        let path = words.next().unwrap();
        let statuses: Vec<u16> = words.map(|status| status.parse().unwrap()).collect();
        let may = prepares.iter().any(|end| path.ends_with(end));
        assert!(may || statuses.iter().all(|status| *status >= 300), "{line}");
        assert!(statuses[0] >= 300, "nobody: {line}");
    }
    // Operators freeze; auditors and engineers do not.
    let freezes = row("POST /environments/statements");
    assert!(
        freezes[1] >= 400 && freezes[2] >= 400 && freezes[3] == 200 && freezes[4] == 200,
        "{freezes:?}"
    );
    // Who reads everything and who signs see the approval; who does neither learns nothing of it.
    assert_eq!(row("GET /approvals/{id}")[1..], [404, 200, 200, 200]);
    assert_eq!(row("GET /audit")[1..], [404, 200, 200, 200]);
    assert_eq!(gate.approval(&id).await["status"], "pending");
    gate.finish().await;
}
