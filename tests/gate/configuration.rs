//! The configuration: what is accepted, and what each mistake is answered with.

mod actions;
mod attestors;
mod environments;
mod github;
mod google_account;
mod live;
mod log_head;
mod metrics;
mod receivers;
mod rules;
mod trust;
mod variables;
mod windows;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use countersign::config::{Config, ConfigError};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::support::github::private_key;

const EXAMPLE: &str = include_str!("../../src/config/example.toml");
const LOG_KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

const GOOD: &str = r#"
public_origin = "https://gate.example.com"
listen = "127.0.0.1:8080"
database = "sqlite://gate.db"
log_key_file = "log-key"

[login]
issuer = "https://login.example.com"
client_id = "gate"
client_secret_file = "client-secret"

[[workload_issuer]]
name = "github"
kind = "github"
issuer = "https://token.actions.githubusercontent.com"
algorithm = "RS256"

[[workload_issuer]]
name = "agent"
issuer = "https://agents.example.com"
algorithm = "ES256"

[environment.production]
services = ["projects/p/locations/r/services/web"]
images = ["registry.example.com/app/web"]
requesters = [{ issuer = "github", claims = { repository_id = "1001", ref = "refs/heads/main" } }]
rules = [{ from = ["group:release-managers"], count = 1 }]
expires_in = "8h"
steps = [10, 100]

[environment.staging]
services = ["projects/p/locations/r/services/staging"]
images = ["registry.example.com/app/web"]
requesters = [{ issuer = "agent", claims = { sub = ["agent:a", "agent:b*"] } }]
rules = [{ from = ["person:alice", "person:bob"], count = 2 }]
expires_in = "30m"

[log]
head = "outside/log-head.json"
"#;

/// A folder with a configuration and its secrets.
struct Folder {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap(), variables: BTreeMap::new() };
        folder.write("countersign.toml", text);
        folder.write("log-key", &format!("{LOG_KEY}\n"));
        folder.write("client-secret", "a client's secret\n");
        folder
    }

    /// The good configuration with one part replaced.
    fn with(part: &str, replacement: &str) -> Self {
        assert!(GOOD.contains(part), "{part:?} stands nowhere");
        Self::new(&GOOD.replacen(part, replacement, 1))
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path("countersign.toml"), &self.variables)
    }

    fn accepted(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the refusal says, one line for each problem, after the file was named.
    fn refused(&self) -> Vec<String> {
        let said = self.load().expect_err("it is accepted").to_string();
        let file = self.path("countersign.toml").display().to_string();
        assert!(said.contains(&file), "the file is not named: {said}");
        assert!(!said.contains("s3cret"), "a secret is printed: {said}");
        said.replace(&format!("the configuration {file} cannot be used:\n"), "")
            .lines()
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// Asserts that there is one problem, with this key, which says this.
    fn assert_refused(&self, key: &str, says: &str) {
        let lines = self.refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(&format!("{key}: ")), "not of {key}: {}", lines[0]);
        assert!(lines[0].contains(says), "not said: {says:?}\n{}", lines[0]);
    }
}

/// One problem for one part replaced.
fn assert_refused(part: &str, replacement: &str, key: &str, says: &str) {
    Folder::with(part, replacement).assert_refused(key, says);
}

#[test]
fn a_good_file_says_what_it_says() {
    let folder = Folder::new(GOOD);
    let config = folder.accepted();
    assert_eq!(config.relying_party.origin, "https://gate.example.com");
    assert_eq!(config.relying_party.id, "gate.example.com");
    let file = folder.path("gate.db").display().to_string();
    assert_eq!(config.database.expose_secret(), format!("sqlite://{file}"));
    assert_eq!(config.login.client_secret.expose_secret(), "a client's secret");
    assert_eq!(config.login.groups_claim, "groups");
    assert_eq!(config.workload_issuers[1].audience, "https://gate.example.com");
    assert!(config.workload_issuers[0].refused_events.contains(&"pull_request_target".to_owned()));
    assert!(config.cloud_run.endpoint.is_none() && config.github.is_none());
    let production = &config.environments["production"];
    assert_eq!(
        (production.expires_in_seconds, &production.default_steps[..]),
        (28_800, &[10, 100][..])
    );
    assert_eq!(config.environments["staging"].default_steps, [100]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

/// The example with everything beside it.
fn example() -> Folder {
    let folder = Folder::new(EXAMPLE);
    folder.write("secrets/database-url", "postgres://gate:s3cret@10.20.0.3/countersign\n");
    folder.write("secrets/log-key", LOG_KEY);
    folder.write("secrets/grant-key", LOG_KEY);
    folder.write("secrets/login-client-secret", "s3cret");
    folder.write("secrets/prometheus-token", "s3cret");
    folder.write("secrets/github-token", "s3cret");
    folder.write("secrets/github-app.pem", &private_key());
    folder.write("secrets/github-webhook", &"s3cret".repeat(6));
    folder.write("secrets/webhook", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    folder.write("secrets/slack-production", "https://hooks.slack.com/services/T0/B0/s3cret");
    folder
}

#[test]
fn the_example_is_a_configuration() {
    let config = example().accepted();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(!format!("{config:?}").contains("s3cret"));
    insta::assert_snapshot!(config.summary(), @r#"
    public origin     https://gate.example.com
    listen            0.0.0.0:8080
    database          postgres://gate@10.20.0.3/countersign
    log key           public half d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a, for the trust anchor of verifiers
    log head          kept in /mnt/countersign-head/log-head.json
    notice            Releases are frozen from Friday 16:00 to Monday 08:00.
    login             https://example.okta.com/oauth2/default, client 0oa1b2c3d4EXAMPLE5d7
                      scopes openid profile email groups, groups from groups
    trust             pinned
                      a new key needs the signature of another approver
                      keys pinned: 1 of endorsers, 0 of the directory, 0 of workload issuers
    witnesses         witness.example.org/w1 at https://witness.example.org/w1
                      a rollout waits for none of them
    drift             looked for every 1m, and when countersign-push@example-prod.iam.gserviceaccount.com tells of a change
    receivers         deploys at https://hooks.example.com, told of approval.decided, approval.requested, rollout.failed, rollout.succeeded
                      slack:production at https://hooks.slack.com, told of everything
    cloud run         at Google, with Google's application default credentials
    github            https://api.github.com, with a token
                      App 123456, repositories pinned: 1, shown there: deployments, checks, comments
    metrics           google: Cloud Monitoring of example-prod at https://monitoring.googleapis.com/
                      main: Prometheus at https://prometheus.example.com/, with a token
    proxies           35.191.0.0/16, 130.211.0.0/22 are believed in x-forwarded-for
    workload issuers  github: https://token.actions.githubusercontent.com, RS256, for https://gate.example.com, told apart by repository_id
                      google: https://accounts.google.com, RS256, for https://gate.example.com, told apart by sub
                      agents: https://agents.example.com, ES256, for https://gate.example.com, told apart by sub
    audit readers     group:auditors
    operators         group:operators
    auditors          group:internal-audit

    environment payments
      services        projects/example-prod/locations/europe-west1/services/payments
      images          europe-docker.pkg.dev/example-prod/app/payments
      may ask         github with ref refs/heads/main, repository_id 523456789
      must sign       2 of release-managers
      separation      nobody signs for commits that they had a hand in
      keys            whoever signs has at least 2 such keys; after the loss of one the others go on signing for 168h
      steps           100 percent
      expires in      8h
      begins within   1h of the last signature
      a new request   supersedes an older one for the same service
      wait at once    at most 1000

    environment production
      services        projects/example-prod/locations/europe-west1/services/web
                      projects/example-prod/locations/europe-west1/services/checkout
      jobs            projects/example-prod/locations/europe-west1/jobs/migrate
      images          europe-docker.pkg.dev/example-prod/app/web
                      europe-docker.pkg.dev/example-prod/app/checkout
      may ask         github with environment production, ref refs/heads/main or refs/tags/v*, repository_id 512345678
      runs signed for branch main, event push, repository_id 512345678, workflow .github/workflows/deploy.yml
      must sign       1 of release-managers
                      1 of security or 00u1a2b3c4EXAMPLE5d7
      keys            only device-bound keys sign; a new key signs 24h after its enrolment; whoever signs has at least 2 such keys; after the loss of one the others go on signing for 168h
      steps           10, 50, 100 percent
      plans           at 50 % watched for 10 minutes
                      a step is watched for at most 2 hours
                      steps may give the new revision an address of its own
                      at every step it is checked: error rate is below 1 % (main: error_percent{revision="{revision}"})
                      checks may read main (Prometheus), google (Cloud Monitoring)
                      for 1 hour after a success one approver may sign the way back
      trust           must be pinned
      expires in      8h
      begins within   1h of the last signature
      a new request   supersedes an older one for the same service
      break glass     1 of on-call
      windows         Monday, Tuesday, Wednesday, Thursday, 09:00 to 17:00 (Europe/Berlin)
      closed          2026-12-24 00:00 to 2026-12-27 00:00 (Europe/Berlin): “Christmas”
                      2026-12-31 12:00 to 2027-01-04 00:00 (Europe/Berlin)
      wait at once    at most 20

    environment staging
      services        projects/example-staging/locations/europe-west1/services/web
      images          europe-docker.pkg.dev/example-prod/app/web
      may ask         github with repository_id 512345678, repository_owner_id 1234567
                      google with sub 104857600000000000000
                      agents with client_id release-assistant, for the person whom sub names
      must sign       1 of developers
      keys            whoever signs has at least 2 such keys; after the loss of one the others go on signing for 168h
      steps           100 percent
      expires in      2h
      begins within   1h of the last signature
      a new request   supersedes an older one for the same service
      wait at once    at most 1000
    "#);
}

#[test]
fn the_file_itself() {
    let missing = Config::load(&PathBuf::from("/nowhere/countersign.toml"), &BTreeMap::new());
    let said = missing.unwrap_err().to_string();
    assert!(said.contains("/nowhere/countersign.toml cannot be read") && said.contains("--config"));
    let form = |part: &str, replacement: &str| Folder::with(part, replacement).refused().join(" ");
    assert!(form("[login]", "[login").contains("line 7"));
    let unknown = form("listen =", "lisen =");
    assert!(unknown.contains("line 3") && unknown.contains("unknown field `lisen`"), "{unknown}");
    assert!(unknown.contains("`listen`"), "{unknown}");
    assert!(form("client_id", "clientid").contains("unknown field `clientid`"));
    assert!(form("count = 1", "count = \"1\"").contains("rules"));
    assert!(form("algorithm = \"RS256\"\n", "").contains("missing field `algorithm`"));
    assert!(form("\"RS256\"", "\"HS256\"").contains("unknown variant `HS256`"));
    let team = form("group:release", "team:release");
    assert!(team.contains("neither group:NAME nor person:SUBJECT"), "{team}");
    assert!(form("\"1001\"", "1001").contains("numbers are texts too"));
    assert!(form("expires_in = \"8h\"\n", "").contains("missing field `expires_in`"));
}

#[test]
fn secrets_do_not_stand_in_the_file() {
    let inline =
        |part: &str, replacement: &str| Folder::with(part, replacement).refused().join(" ");
    let said = inline("client_secret_file = \"client-secret\"", "client_secret = \"s3cret\"");
    assert!(
        said.contains("client_secret_file") && said.contains("COUNTERSIGN_LOGIN_CLIENT_SECRET")
    );
    let said = inline("log_key_file = \"log-key\"", "log_key = \"s3cret\"");
    assert!(said.contains("log_key_file") && said.contains("COUNTERSIGN_LOG_KEY"), "{said}");
    let said = inline("[login]", "[github]\ntoken = \"s3cret\"\n[login]");
    assert!(said.contains("token_file") && said.contains("COUNTERSIGN_GITHUB_TOKEN"), "{said}");
    let url = "postgres://gate:s3cret@db/gate";
    assert_refused("sqlite://gate.db", url, "database", "database_file");
}

#[test]
fn secret_files() {
    let key = "login.client_secret_file";
    assert_refused("\"client-secret\"", "\"nowhere\"", key, "cannot be read");
    assert_refused("client_secret_file = \"client-secret\"\n", "", key, "is missing");
    assert_refused("log_key_file = \"log-key\"\n", "", "log_key_file", "openssl rand -hex 32");
    let folder = Folder::new(GOOD);
    folder.write("client-secret", " \n");
    folder.assert_refused(key, "is empty");
    let folder = Folder::new(GOOD);
    folder.write("log-key", &LOG_KEY[2..]);
    folder.assert_refused("log_key_file", "not 32 bytes");
    let folder = Folder::new(GOOD);
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(folder.path("log-key"), open).unwrap();
    let warnings = folder.accepted().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("chmod 600"), "{warnings:?}");
}

#[test]
fn the_public_origin() {
    let refused = |origin: &str, says: &str| {
        assert_refused("https://gate.example.com", origin, "public_origin", says);
    };
    refused("https://gate.example.com/", "write \"https://gate.example.com\"");
    refused("https://gate.example.com/gate", "write \"https://gate.example.com\"");
    refused("https://gate.example.com?x", "write \"https://gate.example.com\"");
    refused("https://Gate.example.com:443", "write \"https://gate.example.com\"");
    refused("https://s3cret@gate.example.com", "user name");
    refused("https://192.0.2.1", "domain name");
    refused("https://[2001:db8::1]:8443", "domain name");
    refused("gate.example.com", "whole URL");
    refused("ftp://gate.example.com", "whole URL");
    refused("http://gate.example.com", "use https");
    refused("", "is missing");
}

#[test]
fn addresses_and_database() {
    assert_refused("127.0.0.1:8080", "localhost", "listen", "no IP address with a port");
    let refused = |url: &str, says: &str| assert_refused("sqlite://gate.db", url, "database", says);
    refused("mysql://db/gate", "sqlite:///absolute/path.db");
    refused("sqlite:///nowhere/at/all/gate.db", "the folder /nowhere/at/all does not exist");
    refused("sqlite::memory:", "forget");
    refused("sqlite://gate.db?mode=memory", "forget");
    refused("postgres://gate@[db/gate", "postgres://USER@HOST/DATABASE");
    let both = "sqlite://gate.db\"\ndatabase_file = \"log-key";
    assert_refused("sqlite://gate.db", both, "database", "keep one");
    let folder = Folder::with("database = \"sqlite://gate.db\"\n", "");
    let file = folder.path("countersign.db").display().to_string();
    assert_eq!(folder.accepted().database.expose_secret(), format!("sqlite://{file}"));
    let folder = Folder::with("database = \"sqlite://gate.db\"", "database_file = \"url\"");
    folder.write("url", "postgres://gate:s3cret@db/gate\n");
    assert_eq!(folder.accepted().database_shown(), "postgres://gate@db/gate");
    assert_refused("[login]", "notice = \"a\\nb\"\n[login]", "notice", "one line");
}

#[test]
fn plain_http_is_for_one_machine_alone() {
    let near = GOOD
        .replace("https://gate.example.com", "http://localhost:8080")
        .replace("https://login.example.com", "http://localhost:8081/identity")
        .replace("https://token.actions.githubusercontent.com", "http://127.0.0.1:8081/github")
        .replace("https://agents.example.com", "http://[::1]:8081/agent")
        + "[cloud_run]\nendpoint = \"http://localhost:8081\"\ncredentials = \"anonymous\"\n"
        + "[github]\napi = \"http://localhost:8081/github-api\"\n";
    Folder::new(&near).accepted();
    for (part, far, named) in [
        ("127.0.0.1:8080", "0.0.0.0:8080", "listen (0.0.0.0:8080)"),
        ("http://localhost:8080", "https://gate.example.com", "public_origin (gate.example.com)"),
        ("http://localhost:8081/identity", "https://id.example.com", "login.issuer"),
        ("http://127.0.0.1:8081/github", "https://id.example.com", "workload_issuer.github.issuer"),
        ("endpoint = \"http://localhost:8081\"\n", "", "cloud_run.endpoint (run.googleapis.com)"),
        ("http://localhost:8081/github-api", "https://api.github.com", "github.api"),
    ] {
        let lines = Folder::new(&near.replacen(part, far, 1)).refused();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].contains("cloud_run.credentials: ") && lines[0].contains(named),
            "{}",
            lines[0]
        );
    }
    let key = "workload_issuer.agent.issuer";
    assert_refused("https://agents.example.com", "http://agents.example.com", key, "use https");
    let anonymous = "[cloud_run]\ncredentials = \"anonymous\"\n[login]";
    assert_refused("[login]", anonymous, "cloud_run.credentials", "application-default");
    let endpoint = "[cloud_run]\nendpoint = \"http://run.example.com\"\n[login]";
    assert_refused("[login]", endpoint, "cloud_run.endpoint", "use https");
    let api = "[github]\napi = \"http://github.example.com\"\n[login]";
    assert_refused("[login]", api, "github.api", "use https");
    let keys = "name = \"agent\"\njwks_uri = \"http://agents.example.com/keys\"";
    assert_refused("name = \"agent\"", keys, "workload_issuer.agent.jwks_uri", "use https");
}

#[test]
fn issuers() {
    let github = "https://token.actions.githubusercontent.com";
    let key = "workload_issuer.agent.issuer";
    assert_refused("https://agents.example.com", "https://agents.example.com?x", key, "query");
    let twice = Folder::new(&GOOD.replace("https://agents.example.com", github)).refused();
    assert!(twice[0].contains("configured twice"), "{twice:#?}");
    assert!(twice[1].starts_with("workload_issuer.agent.kind: is not \"github\""), "{twice:#?}");
    let twice = Folder::new(&GOOD.replace("name = \"agent\"", "name = \"github\"")).refused();
    assert!(twice[0].contains("the name of two issuers"), "{twice:#?}");
    assert!(twice[1].contains("no [[workload_issuer]] has that name"), "{twice:#?}");
    let people = "issuer = \"https://login.example.com\"\naudience = \"gate\"";
    let key = "workload_issuer.agent.audience";
    assert_refused("issuer = \"https://agents.example.com\"", people, key, "people's sign-ins");
    assert_refused("client_id = \"gate\"\n", "", "login.client_id", "is missing");
    assert_refused("https://login.example.com", "", "login.issuer", "is missing");
}

#[test]
fn proxies() {
    let refused = |section: &str, key: &str, says: &str| {
        assert_refused("[login]", &format!("[proxy]\n{section}\n[login]"), key, says);
    };
    refused("header = \"forwarded\"", "proxy.trusted", "is missing");
    refused("trusted = [\"10.0.0.0/8\"]", "proxy.header", "is missing");
    let header = "header = \"x-forwarded-for\"";
    refused(&format!("{header}\ntrusted = [\"0.0.0.0/0\"]"), "proxy.trusted", "whole internet");
    refused(&format!("{header}\ntrusted = [\"::/0\"]"), "proxy.trusted", "whole internet");
    refused(&format!("{header}\ntrusted = [\"proxy\"]"), "proxy.trusted", "no range");
    let good = format!("[proxy]\n{header}\ntrusted = [\"10.0.0.0/8\", \"::1\"]\n[login]");
    assert_eq!(Folder::with("[login]", &good).accepted().proxies.ranges.len(), 2);
}

#[test]
fn everything_is_said_at_once() {
    let text = GOOD.replace("8h", "9d").replace("[10, 100]", "[10]").replace("gate\"\n", "\"\n");
    let lines = Folder::new(&text).refused();
    let keys: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        ["login.client_id", "environment.production.steps", "environment.production.expires_in"]
    );
}
