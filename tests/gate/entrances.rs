//! Every route of the table, as nobody, as each role, and as a page of somebody else would call it.

mod roles;

use std::collections::BTreeSet;

use countersign::cli::demo::approver::Approver;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    every_answer_has_the_headers_that_protect_it,
    nothing_changes_but_by_a_page_of_the_gate,
    a_sign_in_cannot_be_planted_or_led_away,
);

/// The route table is read as it is written, so that a new route is walked as well.
const TABLE: &str = include_str!("../../src/server.rs");

/// A route of a page, and whether something can be posted to it.
pub struct Route {
    pub path: String,
    pub posts: bool,
    pub reads: bool,
}

pub fn pages() -> Vec<Route> {
    let table = TABLE.split("let pages = Router::new()").nth(1).unwrap();
    let table = table.split(".layer(").next().unwrap();
    let routes: Vec<Route> = table
        .split(".route(")
        .skip(1)
        .map(|route| {
            let (path, methods) = route.split_once(',').unwrap();
            let path = match path.trim() {
                "sign_in::CALLBACK_PATH" => "/sign-in/callback",
                quoted => quoted.trim_matches('"'),
            };
            let (posts, reads) = (methods.contains("post("), methods.contains("get("));
            Route { path: path.to_owned(), posts, reads }
        })
        .collect();
    assert!(routes.len() > 35, "the table was not understood: {}", routes.len());
    assert!(routes.iter().all(|route| route.path.starts_with('/') && (route.posts || route.reads)));
    routes
}

/// What stands in the places of a path.
pub struct Places {
    pub id: String,
    pub key: String,
}

impl Places {
    pub fn fill(&self, path: &str) -> String {
        let path = match path {
            "/keys/ceremonies/{id}" => path.replace("{id}", "unknown"),
            _ => path.replace("{id}", &self.id),
        };
        let path = path.replace("{credential}", &self.key).replace("{ceremony}", "unknown");
        path.replace("{entry}", "1").replace("{index}", "1")
    }
}

/// A request of this person's browser: with their session, and nothing else that a page would send.
pub fn with_session(
    gate: &Gate,
    method: Method,
    path: &str,
    person: Option<&Approver>,
) -> RequestBuilder {
    let request = gate.http.request(method, gate.url(path));
    match person {
        Some(person) => request.header("cookie", person.browser.cookie_header()),
        None => request,
    }
}

pub fn as_page(gate: &Gate, request: RequestBuilder) -> RequestBuilder {
    request.header("origin", &gate.servers.gate).header("sec-fetch-site", "same-origin")
}

async fn entries(gate: &Gate) -> u64 {
    let text =
        gate.http.get(gate.url("/log/checkpoint")).send().await.unwrap().text().await.unwrap();
    text.lines().nth(1).unwrap().parse().unwrap()
}

fn assert_protected(place: &str, headers: &HeaderMap) {
    let is = |name: &str, value: &str| {
        let found: Vec<_> = headers.get_all(name).iter().collect();
        assert!(
            found.len() == 1 && found[0].to_str().unwrap().contains(value),
            "{place}: {name} is {found:?}"
        );
    };
    is("content-security-policy", "default-src 'none'");
    is("content-security-policy", "frame-ancestors 'none'");
    is("content-security-policy", "form-action 'self'");
    is("content-security-policy", "base-uri 'none'");
    is("x-frame-options", "DENY");
    is("x-content-type-options", "nosniff");
    is("referrer-policy", "same-origin");
    is("cross-origin-opener-policy", "same-origin");
    is("cross-origin-resource-policy", "same-origin");
    is("permissions-policy", "publickey-credentials-get=(self)");
    let csp = headers["content-security-policy"].to_str().unwrap();
    assert!(
        !csp.contains("unsafe") && !csp.contains('*') && !csp.contains("http"),
        "{place}: {csp}"
    );
}

/// Framing and caches: nothing may be framed, and nothing but assets may be kept.
async fn every_answer_has_the_headers_that_protect_it(engine: Engine) {
    let gate = Gate::start(engine).await;
    let alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let places = Places { id: id.clone(), key: "AAAA".into() };
    let description = gate.http.get(gate.url("/openapi.json")).send().await.unwrap();
    let description: Value = description.json().await.unwrap();
    let api: Vec<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(api.len() > 10, "{api:?}");
    let others = ["/openapi.json", "/log/tile/0/000", "/mcp", "/nothing/here", "/assets/x/y.js"];
    let paths: BTreeSet<String> = pages()
        .iter()
        .map(|route| route.path.clone())
        .chain(api)
        .chain(others.map(str::to_owned))
        .collect();
    let mut walked = 0;
    for path in &paths {
        let filled = places.fill(path);
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            for person in [None, Some(&alice)] {
                if path == "/v1/events" && method == Method::GET {
                    continue;
                }
                let answer =
                    with_session(&gate, method.clone(), &filled, person).send().await.unwrap();
                let place = format!("{method} {filled}: {}", answer.status());
                assert_protected(&place, answer.headers());
                let kept = answer.headers()["cache-control"].to_str().unwrap();
                let is_public = path.starts_with("/log/")
                    || path.starts_with("/v1/log")
                    || path.starts_with("/assets/")
                    || path == "/openapi.json";
                assert!(kept.contains("no-store") || is_public, "{place}: {kept}");
                let is_shared = answer.headers().contains_key("access-control-allow-origin");
                assert!(!is_shared, "{place} may be read by pages of others");
                walked += 1;
            }
        }
    }
    eprintln!("{} routes, {walked} answers, each with every header", paths.len());
    gate.finish().await;
}

/// Cross-site posts, posts without Origin, and other methods that pretend to be one.
async fn nothing_changes_but_by_a_page_of_the_gate(engine: Engine) {
    let gate = Gate::start(engine).await;
    let alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let places = Places { id: id.clone(), key: "AAAA".into() };
    let own = gate.servers.gate.clone();
    let before = entries(&gate).await;
    type Edit<'a> = (&'a str, Box<dyn Fn(RequestBuilder) -> RequestBuilder + 'a>);
    let foreign = "https://evil.example";
    let edits: Vec<Edit<'_>> = vec![
        ("no Origin", Box::new(|request| request)),
        ("another Origin", Box::new(|request| request.header("origin", foreign))),
        ("Origin null", Box::new(|request| request.header("origin", "null"))),
        (
            "a longer Origin",
            Box::new(|request| request.header("origin", format!("{own}.evil.example"))),
        ),
        (
            "two Origins",
            Box::new(|request| request.header("origin", &own).header("origin", foreign)),
        ),
        (
            "an Origin of another scheme",
            Box::new(|request| request.header("origin", own.replace("http:", "https:"))),
        ),
        (
            "cross-site",
            Box::new(|request| {
                request.header("origin", &own).header("sec-fetch-site", "cross-site")
            }),
        ),
        (
            "same-site",
            Box::new(|request| {
                request.header("origin", &own).header("sec-fetch-site", "same-site")
            }),
        ),
        ("a Referer instead", Box::new(|request| request.header("referer", format!("{own}/keys")))),
    ];
    let mut refused = 0;
    for route in pages().iter().filter(|route| route.posts) {
        let path = places.fill(&route.path);
        for (name, edit) in &edits {
            for body in ["json", "form"] {
                let request = edit(with_session(&gate, Method::POST, &path, Some(&alice)));
                let request = match body {
                    "json" => request.json(&json!({"decision": "approve"})),
                    _ => request.form(&[("decision", "approve"), ("reason", "none")]),
                };
                assert_refused(&format!("{path} with {name}"), request.send().await.unwrap()).await;
                refused += 1;
            }
        }
    }
    // A method that a header or a field names is none.
    for route in pages().iter().filter(|route| route.posts) {
        let path = places.fill(&route.path);
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let post = with_session(&gate, Method::POST, &path, Some(&alice)).header(name, "GET");
            let post = post.header("origin", foreign).json(&json!({}));
            assert_refused(&format!("{path}, {name}: GET"), post.send().await.unwrap()).await;
            let get =
                with_session(&gate, Method::GET, &format!("{path}?_method=POST"), Some(&alice));
            let get = get.header(name, "POST").send().await.unwrap();
            assert!(!get.status().is_success() || route.reads, "{path}: {}", get.status());
            refused += 2;
        }
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let other = with_session(&gate, method.clone(), &path, Some(&alice));
            let other = other.json(&json!({"decision": "approve"})).send().await.unwrap();
            assert!(other.status().is_client_error(), "{method} {path}: {}", other.status());
            let other = as_page(&gate, with_session(&gate, method.clone(), &path, Some(&alice)));
            let other = other.json(&json!({"decision": "approve"})).send().await.unwrap();
            assert_eq!(other.status(), 405, "{method} {path}");
            refused += 2;
        }
    }
    assert_eq!(gate.approval(&id).await["status"], "pending");
    assert_eq!(entries(&gate).await, before, "something was written");
    let session = as_page(
        &gate,
        with_session(&gate, Method::POST, &format!("/approvals/{id}/statements"), Some(&alice)),
    );
    let session = session.json(&json!({"decision": "approve"})).send().await.unwrap();
    assert_eq!(session.status(), 200, "the session was good all the time");
    eprintln!("{refused} requests of others refused, 0 succeeded");
    gate.finish().await;
}

async fn assert_refused(place: &str, answer: Response) {
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status == 403 && text.contains("cross_origin"), "{place}: {status} {text}");
}

/// Fixation and open redirects.
async fn a_sign_in_cannot_be_planted_or_led_away(engine: Engine) {
    let gate = Gate::start(engine).await;
    let session = |headers: &HeaderMap| -> Option<String> {
        let cookies = headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
        let cookies: Vec<&str> = cookies.collect();
        let found = cookies.iter().find(|line| line.starts_with("__Host-countersign-session="))?;
        for needed in ["; Secure", "; HttpOnly", "; SameSite=", "; Path=/"] {
            assert!(found.contains(needed), "{found}");
        }
        assert!(!found.contains("Domain="), "{found}");
        found.split(';').next().map(str::to_owned)
    };
    let mut signed_in = 0;
    for evil in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/%0d%0aset-cookie:x=y",
        "http://localhost@evil.example/",
        "/\t/evil.example",
        "evil",
        "",
    ] {
        // The attacker's own session is in the browser already.
        let planted = "__Host-countersign-session=planted-by-somebody";
        let query = [("return_to", evil)];
        let begun = gate.http.get(gate.url("/sign-in")).query(&query).header("cookie", planted);
        let begun = begun.send().await.unwrap();
        assert_eq!(begun.status(), 303, "{evil}");
        let own =
            begun.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let to = begun.headers()["location"].to_str().unwrap().to_owned();
        assert!(to.starts_with(&format!("{}/identity/", gate.servers.sandbox)), "{to}");
        let back = gate.http.get(format!("{to}&login_hint=alice")).send().await.unwrap();
        let back = back.headers()["location"].to_str().unwrap().to_owned();
        assert!(back.starts_with(&gate.servers.gate), "{back}");
        // In another browser than the one that began it nothing comes of the answer, and the answer is used up.
        if signed_in % 2 == 0 {
            let other = gate
                .http
                .get(&back)
                .header("cookie", "__Host-countersign-sign-in=another")
                .send()
                .await
                .unwrap();
            assert_eq!(other.status(), 400, "{evil}");
            assert!(session(other.headers()).is_none());
            let late = gate.http.get(&back).header("cookie", &own).send().await.unwrap();
            assert!(session(late.headers()).is_none(), "a code that somebody else tried is over");
            signed_in += 1;
            continue;
        }
        let done = gate
            .http
            .get(&back)
            .header("cookie", format!("{own}; {planted}"))
            .send()
            .await
            .unwrap();
        assert_eq!(done.status(), 303, "{evil}");
        let location = done.headers()["location"].to_str().unwrap();
        assert!(
            location.starts_with('/') && !location.starts_with("//") && !location.contains("evil"),
            "{evil} led to {location}"
        );
        let fresh = session(done.headers()).expect("a session");
        assert_ne!(fresh, planted);
        for (cookie, is_in) in [(planted, false), (fresh.as_str(), true)] {
            let keys =
                gate.http.get(gate.url("/keys")).header("cookie", cookie).send().await.unwrap();
            assert_eq!(keys.status() == 200, is_in, "{cookie}: {}", keys.status());
        }
        let again = gate.http.get(&back).header("cookie", &own).send().await.unwrap();
        assert_eq!(again.status(), 400, "an answer counts once");
        signed_in += 1;
    }
    gate.finish().await;
}
