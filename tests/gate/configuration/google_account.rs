//! Whose rights are used at Google: what is accepted, and what each mistake is answered with.

use countersign::integrations::cloud_credentials::{CredentialSource, GoogleAccount};

use super::{Folder, GOOD};

const KEY: &str = "environment.production.cloud_run";
const FILE: &str = r#"{
  "type": "external_account",
  "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
  "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
  "token_url": "https://sts.googleapis.com/v1/token",
  "credential_source": { "url": "http://169.254.169.254/metadata/identity/oauth2/token" }
}"#;

/// The good configuration with an account for production, and a file of credentials.
fn folder(account: &str, file: &str) -> Folder {
    let folder = Folder::new(&format!("{GOOD}\n[{KEY}]\n{account}\n"));
    folder.write("credentials.json", file);
    folder
}

#[test]
fn an_environment_may_have_an_account_of_its_own() {
    let of_file = folder("credentials_file = \"credentials.json\"", FILE);
    let settings = of_file.accepted().cloud_run;
    let [web, staging] =
        ["web", "staging"].map(|name| format!("projects/p/locations/r/services/{name}"));
    let path = of_file.path("credentials.json");
    let source = CredentialSource::File(path.clone());
    assert_eq!(settings.account_of(&web), &GoogleAccount { source, impersonates: None });
    assert_eq!(settings.account_of(&staging), &GoogleAccount::APPLICATION_DEFAULT);
    let summary = of_file.accepted().summary();
    let told =
        format!("projects/p/locations/r/services/web with the credentials of {}", path.display());
    assert!(summary.contains(&told), "{summary}");

    let borrowed = folder("impersonate = \"deployer@p.iam.gserviceaccount.com\"", FILE).accepted();
    let account = borrowed.cloud_run.account_of(&web);
    assert_eq!(account.source, CredentialSource::ApplicationDefault);
    assert_eq!(account.impersonates.as_deref(), Some("deployer@p.iam.gserviceaccount.com"));
    let digest = |config: &countersign::config::Config| config.digest().unwrap();
    assert_ne!(digest(&borrowed), digest(&of_file.accepted()));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let file = "credentials_file = \"credentials.json\"";
    for (account, content, key, says) in [
        ("credentials_file = \"missing.json\"", FILE, "credentials_file", "cannot be read"),
        (file, "{", "credentials_file", "is no JSON"),
        (file, "{}", "credentials_file", "external_account, impersonated_service_account"),
        (
            file,
            r#"{"type": "authorized_user", "refresh_token": "s3cret"}"#,
            "credentials_file",
            "make one for a service account",
        ),
        (
            file,
            &FILE.replace("https://sts", "http://sts"),
            "credentials_file (token_url)",
            "use https",
        ),
        (
            file,
            &FILE.replace("http://169.254.169.254", "http://tokens.example.com"),
            "credentials_file (credential_source) (url)",
            "use https",
        ),
        (
            &format!("credentials = \"application-default\"\n{file}"),
            FILE,
            "credentials_file",
            "remove one of them",
        ),
        ("credentials = \"anonymous\"", FILE, "credentials", "for a gate whose whole world is"),
        ("impersonate = \"dan@example.com\"", FILE, "impersonate", "is no service account"),
        ("impersonate = \"a/b@p.iam.gserviceaccount.com\"", FILE, "impersonate", "is no service"),
    ] {
        folder(account, content).assert_refused(&format!("{KEY}.{key}"), says);
    }
    let nobody = "credentials = \"anonymous\"\nimpersonate = \"a@p.iam.gserviceaccount.com\"";
    let lines = folder(nobody, FILE).refused();
    assert!(lines.iter().any(|line| line.contains("without credentials: name some")), "{lines:?}");
}
