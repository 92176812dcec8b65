//! Groups that the ID token does not hold, and domains.

use countersign::integrations::cloud_credentials::GoogleAccount;
use countersign::integrations::cloud_identity::{CloudIdentity, CloudIdentitySettings};
use countersign::integrations::login_oidc::{
    GroupsFrom, LoginProvider, LoginSettings, SignInRefusal, VerifiedSignIn,
};
use serde_json::{Value, json};

use super::{settings, sign_in};
use crate::identity_server::IdentityServer;

fn from(server: &IdentityServer, groups_from: GroupsFrom) -> LoginProvider {
    LoginProvider::new(LoginSettings { groups_from, ..settings(server) }, server.outbound())
}

fn cloud_identity(server: &IdentityServer, account: Option<GoogleAccount>) -> GroupsFrom {
    let endpoint = server.base.parse().unwrap();
    GroupsFrom::CloudIdentity(Box::new(CloudIdentity::new(CloudIdentitySettings {
        endpoint,
        account,
    })))
}

/// Alice signs in, with changes to her ID token and to what userinfo says of her.
async fn alice(
    server: &IdentityServer,
    provider: &LoginProvider,
    id_token: Value,
    userinfo: Value,
) -> Result<VerifiedSignIn, SignInRefusal> {
    server.post("/_sandbox/id-token", id_token).await;
    server.post("/_sandbox/userinfo", userinfo).await;
    sign_in(server, provider, "alice").await
}

#[tokio::test]
async fn userinfo_is_asked_for_what_the_token_does_not_list() {
    let server = IdentityServer::start().await;
    let provider = from(&server, GroupsFrom::Userinfo);
    let listed = alice(&server, &provider, json!({}), json!({})).await.unwrap();
    assert_eq!(listed.groups(), ["release-managers", "engineering"]);
    assert!(!listed.has_gate_groups(), "the directory signed them");
    assert_eq!(server.asked("/identity/userinfo"), 0);

    let names = json!({"groups": null, "_claim_names": {"groups": "src1"}});
    let many = json!({"groups": ["only-one"], "hasgroups": true});
    for elsewhere in [json!({"groups": null}), names.clone(), many] {
        let found = alice(&server, &provider, elsewhere.clone(), json!({})).await.unwrap();
        assert_eq!(found.groups(), ["release-managers", "engineering"], "{elsewhere}");
        assert!(found.has_gate_groups(), "{elsewhere}");
    }
    let nowhere = json!({"groups": null});
    let nobody = alice(&server, &provider, nowhere.clone(), nowhere.clone()).await.unwrap();
    assert!(nobody.groups().is_empty() && !nobody.has_gate_groups());
    for (id_token, userinfo, code) in [
        (names, nowhere.clone(), "unreadable_groups"),
        (nowhere.clone(), json!({"groups": "release-managers"}), "unreadable_groups"),
        (nowhere.clone(), json!({"groups": [1]}), "unreadable_groups"),
        (nowhere.clone(), json!({"sub": "u-bob"}), "other_userinfo"),
        (nowhere.clone(), json!({"sub": null}), "other_userinfo"),
    ] {
        let refused = alice(&server, &provider, id_token, userinfo.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{userinfo}");
    }
}

#[tokio::test]
async fn the_claim_alone_is_read_where_nothing_else_is_named() {
    let server = IdentityServer::start().await;
    let provider = from(&server, GroupsFrom::Claim);
    let refused = alice(&server, &provider, json!({"hasgroups": true}), json!({})).await;
    assert_eq!(refused.unwrap_err().code(), "unreadable_groups");
    let none = alice(&server, &provider, json!({"groups": null}), json!({})).await.unwrap();
    assert!(none.groups().is_empty() && !none.has_gate_groups());
    assert_eq!(server.asked("/identity/userinfo"), 0);
}

#[tokio::test]
async fn google_says_the_groups_by_its_own_api() {
    let server = IdentityServer::start().await;
    let path = "/v1/groups/-/memberships:searchTransitiveGroups";
    let none = json!({"groups": null});
    // With the person's own token, and with the gate's rights.
    for account in [None, Some(GoogleAccount::ANONYMOUS)] {
        let before = server.asked(path);
        let provider = from(&server, cloud_identity(&server, account));
        let found = alice(&server, &provider, none.clone(), json!({})).await.unwrap();
        assert_eq!(found.groups(), ["engineering@demo.example", "release-managers@demo.example"]);
        assert!(found.has_gate_groups());
        assert_eq!(server.asked(path) - before, 2, "two pages");
    }
    let provider = from(&server, cloud_identity(&server, None));
    for (changes, code) in [
        (json!({"groups": null, "email_verified": false}), "unreadable_groups"),
        (json!({"groups": null, "email": "o'neil@demo.example"}), "groups_unavailable"),
        // Somebody else's address is somebody else's groups: the token is not theirs.
        (json!({"groups": null, "email": "bob@demo.example"}), "groups_unavailable"),
    ] {
        let refused = alice(&server, &provider, changes.clone(), json!({})).await.unwrap_err();
        assert_eq!(refused.code(), code, "{changes}");
    }
}

#[tokio::test]
async fn accounts_of_other_domains_are_refused() {
    let server = IdentityServer::start().await;
    let hosted_domain = Some("example.com".to_owned());
    let provider =
        LoginProvider::new(LoginSettings { hosted_domain, ..settings(&server) }, server.outbound());
    for hd in
        [json!(null), json!("example.org"), json!("EXAMPLE.COM"), json!(["example.com"]), json!("")]
    {
        let refused = alice(&server, &provider, json!({"hd": hd}), json!({})).await.unwrap_err();
        assert_eq!(refused, SignInRefusal::OtherDomain("example.com".into()), "{hd}");
        assert!(refused.to_string().contains("only accounts of example.com"), "{refused}");
    }
    alice(&server, &provider, json!({"hd": "example.com"}), json!({})).await.unwrap();
}
