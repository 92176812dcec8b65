//! Separation of duties: nobody signs for commits that they had a hand in, and what is not known counts against it.

use countersign::cli::demo::approver::Approver;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::{Answer, Engine, Gate, on_both_engines};
use crate::support::github::REPOSITORY;

on_both_engines!(
    nobody_who_had_a_hand_in_it_counts,
    what_served_before_counts_no_more,
    what_is_not_known_refuses_the_request,
    an_approver_without_an_account_does_not_count,
);

/// The commit from which on commits count.
const BASE: &str = "00000000000000000000000000000000000000ba";
/// The approvers with their accounts.
const APPROVERS: [(&str, u64); 3] = [("alice", 4101), ("bob", 4102), ("carol", 4103)];
/// What anybody can have had to do with what ships.
const ROLES: [&str; 7] =
    ["author", "co_author", "committer", "merger", "actor", "triggering_actor", "pusher"];

fn account(name: &str) -> Value {
    let known = APPROVERS.iter().find(|(one, _)| *one == name);
    json!({"id": known.map_or(3001, |(_, id)| *id), "login": name})
}

fn someone(name: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "account": account(name)})
}

fn sha(number: u64) -> String {
    format!("{number:040x}")
}

fn separated(config: String) -> String {
    let config = config
        .replace("[login]\n", "[login]\ngithub_id_claim = \"github_id\"\n")
        .replace("count = 1", "count = 2")
        .replace(
            "newer_request = \"queue\"",
            &format!("newer_request = \"queue\"\nseparation = {{ bases = {{ {REPOSITORY} = \"{BASE}\" }} }}"),
        );
    assert!(config.contains("separation") && config.contains("github_id_claim"), "{config}");
    config
}

/// One request for commits of Octavia's, but for what `changes` says.
pub struct World<'a> {
    gate: &'a Gate,
    subject: Value,
    number: u64,
    roles: Value,
    parents: Vec<String>,
}

impl<'a> World<'a> {
    async fn start(engine: Engine) -> Gate {
        Self::start_with(engine, |config| config).await
    }

    pub async fn start_with(engine: Engine, edit: fn(String) -> String) -> Gate {
        let gate = Gate::start_with(engine, |config| edit(separated(config))).await;
        let octavia = someone("octavia");
        let base = json!([{"repository": REPOSITORY, "sha": BASE, "author": octavia, "committer": octavia}]);
        gate.sandbox(Method::POST, "/_sandbox/github/commits", Some(base)).await;
        gate
    }

    pub fn new(gate: &'a Gate) -> Self {
        let roles = ROLES.iter().map(|role| ((*role).to_owned(), json!("octavia"))).collect();
        let number = 0xc0_0000 + gate.unique();
        let parents = vec![BASE.to_owned()];
        Self { gate, subject: json!({}), number, roles: Value::Object(roles), parents }
    }

    /// Asks for this in the place of a rollout.
    pub fn asking(mut self, subject: Value) -> Self {
        self.subject = subject;
        self
    }

    pub fn with(mut self, role: &str, name: &str) -> Self {
        assert!(!self.roles[role].is_null());
        self.roles[role] = name.into();
        self
    }

    fn after(mut self, parent: u64) -> Self {
        self.parents = vec![sha(parent)];
        self
    }

    fn name(&self, role: &str) -> &str {
        self.roles[role].as_str().unwrap()
    }

    fn commit(&self) -> Value {
        json!({
            "repository": REPOSITORY,
            "sha": sha(self.number),
            "parents": self.parents,
            "author": someone(self.name("author")),
            "committer": someone(self.name("committer")),
            "message": format!("Send it once\n\nCo-authored-by: {0} <{1}+{0}@users.noreply.github.com>", self.name("co_author"), account(self.name("co_author"))["id"]),
        })
    }

    /// Everything that GitHub knows of it.
    async fn publish(&self, commit: Value) {
        let pull = json!({
            "repository": REPOSITORY, "sha": sha(self.number), "number": self.number,
            "state": "closed", "merged_by": account(self.name("merger")),
        });
        let run = json!({"repository": REPOSITORY, "id": self.number, "members": {
            "actor": account(self.name("actor")),
            "triggering_actor": account(self.name("triggering_actor")),
        }});
        for (path, body) in [("commits", json!([commit])), ("pulls", pull), ("runs", run)] {
            let path = format!("/_sandbox/github/{path}");
            self.gate.sandbox(Method::POST, &path, Some(body)).await;
        }
    }

    async fn ask_only(&self) -> Answer {
        let token = self.gate.token(self.claims()).await;
        let key = format!("key-{}", self.gate.unique());
        let changes = json!({"subject": self.subject});
        self.gate.ask_as(&token, &key, &self.gate.request_body(changes)).await
    }

    fn claims(&self) -> Value {
        json!({
            "sha": sha(self.number),
            "run_id": self.number.to_string(),
            "actor": self.name("pusher"),
            "actor_id": account(self.name("pusher"))["id"].to_string(),
        })
    }

    pub async fn ask(&self) -> String {
        self.publish(self.commit()).await;
        let answer = self.ask_only().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.id()
    }
}

async fn approvers(gate: &Gate) -> Vec<Approver> {
    let mut all = Vec::new();
    for (name, _) in APPROVERS {
        all.push(gate.approver(name).await);
    }
    all
}

/// Each role of each approver against each approver: whoever had it gets no statement to sign, and the others do.
async fn nobody_who_had_a_hand_in_it_counts(engine: Engine) {
    let gate = World::start(engine).await;
    let mut people = approvers(&gate).await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for role in ROLES {
        for (place, (culprit, _)) in APPROVERS.iter().enumerate() {
            let id = World::new(&gate).with(role, culprit).ask().await;
            for ((name, _), person) in APPROVERS.iter().zip(&mut people) {
                let outcome = person.statement(&id, json!({"decision": "approve"})).await;
                let refused = outcome.as_ref().is_err_and(|why| why.contains("had a hand in"));
                if refused != (name == culprit) || outcome.is_err() != refused {
                    wrong.push(format!("{culprit} as {role}, {name} signs: {outcome:?}"));
                }
                tried += 1;
            }
            people[(place + 1) % APPROVERS.len()].approve(&id).await.unwrap();
            assert_eq!(gate.approval(&id).await["status"], "pending");
            gate.post(&format!("/v1/approvals/{id}/cancel"), json!({})).await;
        }
    }
    let (roles, people) = (ROLES.len(), APPROVERS.len());
    eprintln!("{roles} roles of {people} people: {tried} tried to sign, {} wrongly", wrong.len());
    assert!(wrong.is_empty() && tried == roles * people * people, "{wrong:#?}");
    gate.finish().await;
}

/// What counts are the commits since those that serve, as the approval says that people signed.
async fn what_served_before_counts_no_more(engine: Engine) {
    let gate = World::start(engine).await;
    let mut people = approvers(&gate).await;
    let first = World::new(&gate).with("author", "alice");
    let id = first.ask().await;
    people[0].approve(&id).await.unwrap_err();
    for person in &mut people[1..] {
        person.approve(&id).await.unwrap();
    }
    assert_eq!(gate.ended(&id).await["status"], "succeeded");

    let second = World::new(&gate).with("author", "bob").after(first.number);
    let id = second.ask().await;
    let page = people[0].browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains(&format!("1 commit since {}", &sha(first.number)[..12])), "{page}");
    assert!(page.contains("bob, octavia") || page.contains("octavia, bob"), "{page}");
    people[1].approve(&id).await.unwrap_err();
    people[0].approve(&id).await.unwrap();

    // A history that was written anew leaves commits out: whose they were counts as well.
    let anew = World::new(&gate).with("author", "carol");
    let id = anew.ask().await;
    for (person, why) in people.iter_mut().zip(["had a hand in", "", "had a hand in"]) {
        match person.statement(&id, json!({"decision": "approve"})).await {
            Ok(_) => assert_eq!(why, ""),
            Err(refused) => assert!(!why.is_empty() && refused.contains(why), "{refused}"),
        }
    }

    // A return to what served before ships nothing of anybody's.
    let back = World { number: 0xba, ..World::new(&gate) };
    let run = json!({"repository": REPOSITORY, "id": back.number, "members": {
        "actor": account("octavia"), "triggering_actor": account("octavia"),
    }});
    gate.sandbox(Method::POST, "/_sandbox/github/runs", Some(run)).await;
    let id = back.ask_only().await.id();
    let page = people[0].browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("Nothing new"), "{page}");
    people[0].approve(&id).await.unwrap();

    let evidence = gate.get(&format!("/v1/approvals/{id}/evidence")).await.body;
    let deployment: Value = serde_json::from_str(evidence["deployment"].as_str().unwrap()).unwrap();
    assert_eq!(deployment["shipped"]["since"], json!([sha(first.number)]));
    assert_eq!(deployment["shipped"]["commits"], 0);
    gate.finish().await;
}

async fn what_is_not_known_refuses_the_request(engine: Engine) {
    let gate = World::start(engine).await;
    let refused = async |world: &World<'_>, commit: Value, says: &str| {
        world.publish(commit).await;
        let answer = world.ask_only().await;
        answer.assert_problem(422, "commits_unknown");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    };
    let unmapped = json!({"email": "mallory@example.com", "account": null});
    for (member, value, says) in [
        ("author", unmapped.clone(), "GitHub maps the author of the commit"),
        ("committer", unmapped, "GitHub maps the committer of the commit"),
        ("message", json!("Once\n\nCo-authored-by: M <mallory@example.com>"), "a co-author"),
        ("message", json!("Once\n\nCo-authored-by: Mallory"), "a co-author"),
        ("parents", json!([sha(1)]), "GitHub does not know how the commit"),
    ] {
        let world = World::new(&gate);
        let mut commit = world.commit();
        commit[member] = value;
        refused(&world, commit, says).await;
    }
    // A co-author who is known by another commit of theirs.
    let world = World::new(&gate).with("author", "alice").with("committer", "alice");
    let mut commit = world.commit();
    commit["message"] = "Once\n\nCo-authored-by: O <OCTAVIA@example.com>".into();
    world.publish(commit).await;
    assert_eq!(world.ask_only().await.status, 201);

    let world = World::new(&gate);
    let octavia = someone("octavia");
    let long: Vec<Value> = (1..=250)
        .map(|nth| {
            let parent = if nth == 1 { BASE.to_owned() } else { sha(0xee_0000 + nth - 1) };
            json!({"repository": REPOSITORY, "sha": sha(0xee_0000 + nth), "parents": [parent], "author": octavia, "committer": octavia})
        })
        .collect();
    gate.sandbox(Method::POST, "/_sandbox/github/commits", Some(long.into())).await;
    let world = world.after(0xee_0000 + 250);
    refused(&world, world.commit(), "ships 251 commits, and GitHub is asked about 250 at most")
        .await;

    // A run that GitHub does not know, an agent, and a GitHub that does not answer.
    let world = World::new(&gate);
    let mut claims = world.claims();
    claims["run_id"] = "1".into();
    world.publish(world.commit()).await;
    for (claims, status, code) in
        [(claims, 422, "commits_unknown"), (json!({"issuer": "agent"}), 422, "commits_unknown")]
    {
        let token = gate.token(claims).await;
        let answer = gate.ask_as(&token, "one", &gate.request_body(json!({}))).await;
        answer.assert_problem(status, code);
    }
    let down = json!({"match": {"method": "GET", "path": "/compare/"}, "times": 0, "fault": {"kind": "status", "code": 500}});
    gate.fault(down).await;
    world.ask_only().await.assert_problem(502, "github_unreadable");
    gate.finish().await;
}

/// Where nobody says whose an account is, its owner could have written anything.
async fn an_approver_without_an_account_does_not_count(engine: Engine) {
    let with = |bases: &str| {
        let listed = format!(
            "separation = {{ bases = {{ {bases} }} }}\ngithub_accounts = {{ 4101 = \"u-alice\", 4102 = \"u-bob\" }}"
        );
        move |config: String| {
            let config = config.replace("count = 1", "count = 2");
            let queue = "newer_request = \"queue\"";
            config.replace(queue, &format!("{queue}\n{listed}"))
        }
    };
    let gate = Gate::start_with(engine, with("")).await;
    let world = World::new(&gate);
    world.publish(world.commit()).await;
    let answer = world.ask_only().await;
    answer.assert_problem(422, "commits_unknown");
    assert!(answer.body["detail"].as_str().unwrap().contains("separation.bases"));
    gate.finish().await;

    let gate = Gate::start_with(engine, with(&format!("{REPOSITORY} = \"{BASE}\""))).await;
    let octavia = someone("octavia");
    let base =
        json!([{"repository": REPOSITORY, "sha": BASE, "author": octavia, "committer": octavia}]);
    gate.sandbox(Method::POST, "/_sandbox/github/commits", Some(base)).await;
    let id = World::new(&gate).with("committer", "bob").ask().await;
    let mut people = approvers(&gate).await;
    people[0].approve(&id).await.unwrap();
    for (person, why) in people[1..].iter_mut().zip(["had a hand in", "which account at GitHub"]) {
        let refused = person.approve(&id).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let page = people[2].browser.open(&format!("/approvals/{id}"), "carol").await.unwrap();
    assert!(page.contains("which account at GitHub is yours is not known"), "{page}");
    gate.finish().await;
}
