//! What pages show, and what text from outside can never do in them.

pub mod exceptions;
mod rules;
mod run;
pub mod sample_keys;

use askama::Template;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use countersign::domain::approval::{Approval, State};
use countersign::domain::decision::Verdict;
use countersign::domain::hold::Freezes;
use countersign::domain::policy::TrustLevel;
use countersign::domain::subject::Link;
use countersign::web::assets;
use countersign::web::security_headers::{add_security_headers, security_headers};
use countersign::web::views::approval::ApprovalPage;
use countersign::web::views::endorsement::{EndorsementPage, Enrolment};
use countersign::web::views::inbox::InboxPage;
use countersign::web::views::keys::{AllKeysPage, FirstKeyPage, KeyListing, KeyStatus, KeysPage};
use countersign::web::views::problem::ProblemPage;
use countersign::web::views::recovery::RecoveryPage;
use countersign::web::views::{Surroundings, Viewer};
use jiff::SignedDuration;
use serde_json::json;

use crate::pages::sample_keys::{enrolment, keys, people, recovery, revoked_by};
use crate::sample_approval::{
    after_pending, approval_of, calls, decision, deployment, now, pending, policy, share,
    signed_once, viewer,
};

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2) style=color:red>\
     <a href=\"javascript:alert(3)\">x</a></title></textarea></pre><!-- {{ 7*7 }} \
     \u{202e}evil\u{202c} a\u{200b}b \u{0}\u{7} \u{2066}";

/// A hostile text in every field that somebody outside writes.
pub fn hostile() -> Approval {
    let mut deployment = deployment();
    deployment.environment = HOSTILE.into();
    deployment.reason = HOSTILE.into();
    deployment.title = Some(HOSTILE.into());
    deployment.body = Some(HOSTILE.into());
    deployment.links = ["javascript:alert(4)", "https://ok.example/\"><script>", HOSTILE]
        .map(|url| Link { title: HOSTILE.into(), url: url.into() })
        .into();
    deployment.requester.issuer_url = HOSTILE.into();
    deployment.requester.subject = HOSTILE.into();
    for claim in ["repository", "sha", "ref", "run_id", "actor", "name", HOSTILE] {
        deployment.requester.claims.insert(claim.into(), json!(HOSTILE));
    }
    deployment.plan.revision = HOSTILE.into();
    deployment.plan.steps[0].traffic.push(share(HOSTILE, 0));
    let template = &mut deployment.proposed;
    template["serviceAccount"] = json!(HOSTILE);
    template["labels"][HOSTILE] = json!(HOSTILE);
    template[HOSTILE] = json!({HOSTILE: [HOSTILE]});
    template["containers"][0]["args"] = json!([HOSTILE]);
    template["containers"][0]["env"].as_array_mut().unwrap().push(json!({
        "name": HOSTILE, "valueSource": {"secretKeyRef": {"secret": HOSTILE, "version": HOSTILE}}
    }));
    let mut policy = policy();
    policy.rules[0].from.push(format!("group:{HOSTILE}").parse().unwrap());
    let mut approval = Approval { policy, ..approval_of(deployment) };
    approval.decisions = vec![decision(HOSTILE, HOSTILE, Verdict::Approve, Some(HOSTILE))];
    approval
}

fn around(viewer: Option<&Viewer>) -> Surroundings<'_> {
    Surroundings {
        viewer,
        notice: None,
        alarm: None,
        trust: TrustLevel::Pinned,
        freezes: Freezes::NONE,
        exceptions: &[],
        now: now(),
    }
}

fn bob() -> Viewer {
    viewer("Bob Lindqvist", &["release-managers"], &["Blue YubiKey"])
}

fn page(approval: &Approval, viewer: Option<&Viewer>) -> String {
    ApprovalPage::new(approval, &calls(), &[], around(viewer)).render().unwrap()
}

/// The tags of a page, each without its angle brackets. Attribute values never hold a raw `<` or
/// `>`, because everything that is written into them is escaped.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

fn assert_well_made(name: &str, page: &str) {
    let mut level = 0;
    for tag in tags(page) {
        let element = tag.split([' ', '\n']).next().unwrap();
        let known = [
            "a",
            "aside",
            "bdi",
            "blockquote",
            "body",
            "br",
            "button",
            "code",
            "dd",
            "del",
            "details",
            "div",
            "dl",
            "dt",
            "form",
            "h1",
            "h2",
            "h3",
            "head",
            "header",
            "html",
            "img",
            "input",
            "ins",
            "label",
            "li",
            "link",
            "main",
            "meta",
            "nav",
            "noscript",
            "ol",
            "option",
            "p",
            "pre",
            "rect",
            "script",
            "section",
            "select",
            "span",
            "strong",
            "summary",
            "svg",
            "textarea",
            "time",
            "title",
            "ul",
            "wbr",
            "!DOCTYPE",
        ];
        assert!(known.contains(&element.trim_start_matches('/')), "{name}: <{tag}>");
        for attribute in [" style=", " on", " srcdoc=", "javascript:"] {
            assert!(!tag.to_lowercase().contains(attribute), "{name}: <{tag}>");
        }
        if element == "script" {
            assert!(tag.contains("type=\"module\" src=\"/assets/"), "{name}: <{tag}>");
        }
        if let ("h", Ok(next)) = (&element[..1.min(element.len())], element[1..].parse::<u32>()) {
            assert!(next <= level + 1, "{name}: h{next} follows h{level}");
            level = next;
        }
    }
    assert_eq!(page.matches("<h1").count(), 1, "{name}");
    assert_eq!(page.matches("<main").count(), 1, "{name}");
    let ids: Vec<&str> =
        page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{name}: id {id}");
    }
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let eve = viewer(HOSTILE, &["release-managers"], &[HOSTILE]);
    let hostile = hostile();
    let mut pages = vec![
        page(&hostile, Some(&eve)),
        page(&hostile, None),
        InboxPage::new(std::slice::from_ref(&hostile), around(Some(&eve))).render().unwrap(),
        ProblemPage::new(404, HOSTILE, HOSTILE, None, Some(HOSTILE), HOSTILE, around(Some(&eve)))
            .render()
            .unwrap(),
    ];
    let mut key = keys(now()).remove(0);
    (key.name, key.model) = (HOSTILE.into(), Some(HOSTILE.into()));
    pages.push(
        KeysPage::new(&[key], &[], Some(HOSTILE), true, around(Some(&eve))).render().unwrap(),
    );
    let mut everybody = people(now());
    (everybody[0].name, everybody[0].email) = (HOSTILE.into(), Some(HOSTILE.into()));
    everybody[0].subject = HOSTILE.into();
    everybody[0].keys[0].status = KeyStatus::Revoked(Some(revoked_by(HOSTILE, HOSTILE)));
    pages.push(AllKeysPage::new(&everybody, None, around(Some(&eve))).render().unwrap());
    let mut enrolled = enrolment();
    (enrolled.person.name, enrolled.record) = (HOSTILE.into(), HOSTILE.into());
    pages.push(EndorsementPage::new(&enrolled, around(Some(&eve))).render().unwrap());
    let by = crate::sample_approval::person("eve");
    let ends = [
        State::Rejected { at: now(), by, name: HOSTILE.into(), reason: Some(HOSTILE.into()) },
        State::Failed { at: now(), reason: HOSTILE.into(), execution: None },
        State::Succeeded {
            at: now(),
            serving: Some({
                let mut serving = crate::sample_approval::serving();
                (serving.uri, serving.revision) = ("javascript:alert(5)".into(), HOSTILE.into());
                serving.traffic = vec![share(HOSTILE, 100)];
                serving
            }),
            execution: None,
            updated: None,
        },
    ];
    pages.extend(ends.map(|state| page(&Approval { state, ..hostile.clone() }, Some(&eve))));
    for (index, page) in pages.iter().enumerate() {
        assert_well_made(&format!("page {index}"), page);
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "page {index}");
        for invisible in ['\u{202e}', '\u{202c}', '\u{200b}', '\u{0}', '\u{7}', '\u{2066}'] {
            assert!(!page.contains(invisible), "page {index}: {invisible:?}");
        }
        assert!(!page.contains("href=\"javascript"), "page {index}");
    }
    assert!(pages[0].contains("<span class=\"mark\" data-code=\"202E\">U+202E</span>evil"));
    assert!(pages[0].contains("is no https address, so it cannot be followed"));
}

#[test]
fn every_page_is_well_made() {
    let bob = bob();
    assert_well_made("pending", &page(&pending(), Some(&bob)));
    assert_well_made("signed once", &page(&signed_once(), Some(&bob)));
    for (name, approval) in after_pending() {
        let html = page(&approval, Some(&bob));
        assert_well_made(name, &html);
        assert!(!html.contains("id=\"approve\""), "{name} can no longer be decided");
    }
    let inbox = InboxPage::new(&[], around(Some(&bob))).render().unwrap();
    assert_well_made("inbox", &inbox);
    let own =
        |keys: &[KeyListing]| KeysPage::new(keys, &[], None, true, around(Some(&bob))).render();
    assert_well_made("no keys", &own(&[]).unwrap());
    let html = own(&keys(now())).unwrap();
    assert_well_made("keys", &html);
    assert!(html.contains("Carol Nakamura revoked it on"), "{html}");
    assert_eq!(html.matches("/revocations\"").count(), 5, "what is revoked cannot be revoked");
    assert!(html.contains("the only key"), "{html}");
    assert!(html.contains("says of its model: REVOKED since 2026-01-05"), "{html}");
    assert!(html.contains("Attested by Yubico U2F Root CA, whose root is pinned"), "{html}");
    let everybody = AllKeysPage::new(&people(now()), None, around(Some(&bob))).render().unwrap();
    assert_well_made("all keys", &everybody);
    let mut enrolled = enrolment();
    let draw = |enrolled: &Enrolment, viewer| {
        let html = EndorsementPage::new(enrolled, around(Some(viewer))).render().unwrap();
        assert_well_made("endorse", &html);
        html.contains("id=\"endorse\"")
    };
    assert!(draw(&enrolled, &bob));
    let newcomer = viewer("Dan Okafor", &["release-managers"], &[]);
    assert!(!draw(&enrolled, &newcomer), "without a key");
    enrolled.is_own = true;
    assert!(!draw(&enrolled, &bob), "his own key");
    enrolled.is_own = false;
    enrolled.person.keys[0].endorse_at = None;
    assert!(!draw(&enrolled, &bob), "it does not wait for him");
    assert_well_made("first key", &FirstKeyPage::new(around(None)).render().unwrap());
    let (statement, lost) = recovery();
    let page = RecoveryPage::new(&statement, &lost, around(None)).render().unwrap();
    assert_well_made("recovery", &page);
    assert_eq!((page.matches("Has not signed").count(), page.matches(">Signed<").count()), (2, 1));
    assert_well_made("recovered", &RecoveryPage::done(around(None)).render().unwrap());
    assert_well_made("no link", &RecoveryPage::without_link(around(None)).render().unwrap());
}

#[test]
fn only_who_may_sign_sees_the_buttons() {
    let says = |viewer: Option<&Viewer>, approval: &Approval, sentence: &str| {
        let page = page(approval, viewer);
        assert!(page.contains(sentence), "{sentence}");
        assert!(!page.contains("id=\"approve\""));
    };
    assert!(page(&pending(), Some(&bob())).contains("id=\"approve\""));
    let sign_in = format!("href=\"/sign-in?return_to=/approvals/{}\"", pending().id());
    says(None, &pending(), &sign_in);
    says(Some(&viewer("Dan", &["security"], &[])), &pending(), "no key that can sign yet");
    says(Some(&viewer("Eve", &["marketing"], &["k"])), &pending(), "You may not sign for");
    let alice = viewer("Alice Moreau", &["release-managers"], &["k"]);
    says(Some(&alice), &signed_once(), "Take it back…");
    let late = Surroundings { now: now() + SignedDuration::from_hours(3), ..around(None) };
    let page = ApprovalPage::new(&pending(), &[], &[], late).render().unwrap();
    assert!(page.contains("Not everybody who has to sign signed before it expired"));
    assert!(!page.contains("Sign in to decide"));
}

#[test]
fn a_page_shows_the_facts_that_are_signed() {
    let approval = signed_once();
    let page = page(&approval, Some(&bob()));
    for fact in [
        "Deploy a new image of checkout to production".to_owned(),
        approval.subject.digest().to_string(),
        approval.subject.short_code(),
        approval.subject.policy_digest.to_string(),
        approval.subject.deployment().unwrap().image.digest().to_string(),
        "<span class=\"count\">1 of 2</span> from <strong>release-managers</strong>: waiting for&nbsp;1 more".into(),
        "<span class=\"count\">0 of 1</span> from <strong>security</strong>: waiting for&nbsp;1".into(),
        "https://github.com/acme/checkout/actions/runs/9876543210".into(),
        "datetime=\"2026-11-24T15:54:00Z\"".into(),
        "in 1 hour".into(),
    ] {
        assert!(page.contains(&fact), "{fact}");
    }
}

#[test]
fn a_page_shows_every_call_with_what_came_back() {
    let show = |approval: &Approval| {
        ApprovalPage::new(approval, &calls(), &[], around(Some(&bob()))).render().unwrap()
    };
    let others = after_pending();
    let of = |name: &str| &others.iter().find(|(known, _)| *known == name).unwrap().1;
    let page = show(of("needs_attention"));
    for fact in [
        "<strong>Create the revision</strong>",
        "the etag is <code class=\"value\">&#34;BwYk3fX9uQ0=/2026&#34;</code>",
        "Cloud Run accepted it",
        "Its outcome is not known: Cloud Run gave no clear answer: the connection was closed &#60;b&#62;.",
        "whether this call was made is not known",
    ] {
        assert!(page.contains(fact), "{fact}");
    }
    assert!(show(of("moving")).contains("Cloud Run has not answered yet"));
    assert!(!page.contains("has not answered yet"));
}

#[test]
fn what_the_script_reads_back_is_the_signed_text() {
    let approval = hostile();
    let page = page(&approval, Some(&bob()));
    let shown = page.split("<pre id=\"canonical\" tabindex=\"0\">").nth(1).unwrap();
    let mut shown = shown.split("</pre>").next().unwrap().to_owned();
    while let Some((before, rest)) = shown.split_once("<span class=\"mark\" data-code=\"") {
        let (code, rest) = rest.split_once('"').unwrap();
        let character = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
        let after = rest.split_once("</span>").unwrap().1;
        shown = format!("{before}{character}{after}");
    }
    for (escaped, character) in
        [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
    {
        shown = shown.replace(escaped, character);
    }
    assert_eq!(shown, approval.subject.text());
}

#[test]
fn inbox_says_what_waits_for_whom() {
    let mut approvals = vec![pending()];
    approvals.extend(after_pending().into_iter().map(|(_, approval)| approval));
    let section = |viewer: &Viewer, id: &str| -> usize {
        let page = InboxPage::new(&approvals, around(Some(viewer))).render().unwrap();
        let start = format!("<section aria-labelledby=\"{id}\">");
        let section = page.split(&start).nth(1).unwrap().split("</section>").next().unwrap();
        section.matches("<h3>").count()
    };
    let (bob, eve) = (bob(), viewer("Eve", &["marketing"], &["k"]));
    assert_eq!((section(&bob, "mine"), section(&bob, "others")), (1, 0));
    assert_eq!((section(&eve, "mine"), section(&eve, "others")), (0, 1));
    assert_eq!((section(&bob, "running"), section(&bob, "recent")), (5, 9));
}

#[tokio::test]
async fn assets_and_headers_are_served() {
    let layer = |origin| {
        axum::middleware::from_fn_with_state(security_headers(origin), add_security_headers)
    };
    let router = Router::new()
        .route(assets::ROUTE, get(assets::serve))
        .route("/page", get(|| async { "page" }))
        .layer(layer("http://localhost:8080"))
        .route("/behind-tls", get(|| async { "page" }).layer(layer("https://gate.example.com")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let get = async |path: String| plain_get(&origin, &path).await;
    for (name, content) in assets::all() {
        let (status, head, body) = get(format!("{}/{name}", assets::base())).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, content));
        assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    let (status, head, _) = get("/assets/older/countersign.css".into()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(get(format!("{}/other.js", assets::base())).await.0, StatusCode::NOT_FOUND);
    let (_, head, _) = get("/page".into()).await;
    for header in [
        "cache-control: no-store",
        "default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "publickey-credentials-get=(self)",
        "cross-origin-opener-policy: same-origin",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert!(
        !head.contains("strict-transport-security"),
        "a promise that plain http cannot keep: {head}"
    );
    let (_, head, _) = get("/behind-tls".into()).await;
    assert!(head.contains("strict-transport-security: max-age=31536000\r\n"), "{head}");
}

/// One GET over a plain connection: status, head in lower case, body.
async fn plain_get(origin: &str, path: &str) -> (StatusCode, String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = origin.trim_start_matches("http://");
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[test]
fn templates_never_write_raw_markup() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let folders = [folder.join("sandbox"), folder];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    for path in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        if path.extension().is_some_and(|extension| extension == "html") {
            assert!(!text.contains("|safe") && !text.contains("| safe"), "{name}");
            assert!(!text.contains("autoescape") && !text.contains("escape("), "{name}");
        }
        if path.extension().is_some_and(|extension| extension == "js") {
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"]
            {
                assert!(!text.contains(sink), "{name}: {sink}");
            }
        }
    }
}
