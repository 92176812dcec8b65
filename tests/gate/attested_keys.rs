//! Keys whose maker vouches for them, where an environment asks for it: refused with what would do before anybody
//! signs, and again by the worker, whatever the rows say.

use countersign::cli::demo::approver::Approver;
use countersign::sandbox::authenticator::certificates::Issuer;
use countersign::sandbox::authenticator::{Attestation, SoftwareAuthenticator};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::evidence::tamper;
use crate::support::attestations::{of, root};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    a_key_signs_whose_maker_has_a_pinned_root,
    any_certificate_will_do_where_any_is_asked_for,
    nobody_is_asked_where_nobody_wants_to_know,
    no_row_makes_a_maker_vouch,
);

/// A gate that asks this of keys, with the root of this maker pinned, and the file that it is in.
pub async fn asking(engine: Engine, maker: &Issuer, attestation: &str) -> (Gate, NamedTempFile) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), maker.pem()).unwrap();
    let roots = format!("[trust]\nattestation_roots = [{:?}]\n", file.path());
    let keys = format!("keys = {{ minimum_keys = 1, attestation = \"{attestation}\" }}");
    let gate = Gate::start_with(engine, |config| {
        config.replace("keys = { minimum_keys = 1 }", &keys).replace("[trust]\n", &roots)
    });
    (gate.await, file)
}

/// Registers a key of an authenticator that says this of its maker.
pub async fn with_key(
    person: &mut Approver,
    attestation: Attestation,
) -> Result<SoftwareAuthenticator, String> {
    let mut key = SoftwareAuthenticator::new();
    key.attestation = attestation;
    person.register_key_on(&mut key).await?;
    Ok(key)
}

async fn refusal(approver: &mut Approver, id: &str) -> String {
    approver.statement(id, json!({"decision": "approve"})).await.unwrap_err()
}

async fn approved(gate: &Gate, approver: &mut Approver) -> Value {
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    approver.approve(&id).await.unwrap();
    gate.ended(&id).await
}

async fn keys_page(approver: &mut Approver) -> String {
    approver.browser.open("/keys", "alice").await.unwrap()
}

async fn a_key_signs_whose_maker_has_a_pinned_root(engine: Engine) {
    let maker = root("Acme Root");
    let (gate, _root) = asking(engine, &maker, "trusted").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let refused = refusal(&mut alice, &id).await;
    assert!(refused.contains("key_not_attested") && refused.contains("409"), "{refused}");
    assert!(refused.contains("the browser passed no attestation on"), "{refused}");
    let page = keys_page(&mut alice).await;
    assert!(page.contains("Not attested: the browser passed no attestation on"), "{page}");
    let page = alice.browser.open(&format!("/approvals/{id}"), "alice").await.unwrap();
    assert!(page.contains("but with another key") && !page.contains("id=\"approve\""), "{page}");
    // A key that the maker vouches for is the only one that the statement names.
    let attested = with_key(&mut alice, of(&maker)).await.unwrap();
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let named = statement["request_options"]["allowCredentials"].as_array().unwrap();
    let own = attested.newest_credential().unwrap();
    assert_eq!((named.len(), named[0]["id"].as_str()), (1, Some(own.as_str())));
    alice.authenticator = attested;
    let ended = approved(&gate, &mut alice).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let verified = gate.proved(ended["id"].as_str().unwrap()).await;
    assert_eq!(verified.deciders()[0].attestation, "packed");
    let told = verified.checks().iter().any(|check| check.contains("a maker with a pinned root"));
    assert!(told, "{:?}", verified.checks());
    let page = keys_page(&mut alice).await;
    assert!(page.contains("Attested by Acme Root, whose root is pinned"), "{page}");
    let environments = gate.get("/v1/environments").await.body;
    assert_eq!(environments["environments"][0]["keys"], json!({"attestation": "trusted"}));
    gate.finish().await;
}

async fn any_certificate_will_do_where_any_is_asked_for(engine: Engine) {
    let (gate, _root) = asking(engine, &root("Acme Root"), "any").await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    assert!(refusal(&mut alice, &id).await.contains("key_not_attested"));
    let itself = with_key(&mut alice, Attestation::OfItself).await.unwrap();
    let refused = refusal(&mut alice, &id).await;
    assert!(refused.contains("key_not_attested"), "{refused}");
    alice.authenticator = itself;
    alice.authenticator = with_key(&mut alice, of(&root("Other Root"))).await.unwrap();
    let page = keys_page(&mut alice).await;
    assert!(page.contains("vouches for itself alone, as any software can"), "{page}");
    assert!(page.contains("Other Root") && page.contains("whose root is not pinned"), "{page}");
    assert_eq!(approved(&gate, &mut alice).await["status"], "succeeded");
    gate.finish().await;
}

async fn nobody_is_asked_where_nobody_wants_to_know(engine: Engine) {
    let maker = root("Acme Root");
    for (asked, conveyance) in [("none", json!("none")), ("any", json!("direct"))] {
        let (gate, _root) = asking(engine, &maker, asked).await;
        let mut alice = gate.approver("alice").await;
        let begun = alice.begin_registration().await.unwrap();
        let wanted = begun["creation_options"].get("attestation").cloned();
        assert_eq!(wanted.unwrap_or(json!("none")), conveyance, "{asked}");
        let page = keys_page(&mut alice).await;
        assert_eq!(page.contains("Nobody here asks who made it"), asked == "none", "{page}");
        assert_eq!(page.contains("Not attested"), asked != "none", "{page}");
        gate.finish().await;
    }
}

async fn no_row_makes_a_maker_vouch(engine: Engine) {
    let maker = root("Acme Root");
    let (gate, _root) = asking(engine, &maker, "trusted").await;
    let mut alice = gate.approver("alice").await;
    with_key(&mut alice, of(&maker)).await.unwrap();
    let id = gate.asked(json!({"subject": {"steps": [100]}})).await;
    // The row of the software key has the registration of the other one.
    let attested = "(SELECT registration FROM credentials ORDER BY created_at DESC LIMIT 1)";
    tamper(&gate, &format!("UPDATE credentials SET registration = {attested}")).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    alice.sign(&id, &statement, &[]).await.unwrap();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "needs_attention", "{ended:#}");
    assert_eq!(gate.changes_of_cloud_run().await, 0);
    gate.servers.stop().await;
}
