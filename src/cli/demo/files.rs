//! The demo's folder: configuration, keys, database, trust anchor, evidence.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::proof::evidence::Trust;
use crate::randomness;
use crate::sandbox::identity::CLIENT_ID;
use crate::sandbox::{CLIENT_SECRET, DEMO_REPOSITORY, DEMO_SERVICE};

/// The files of one demo; all paths are absolute and outlive the process.
pub struct DemoFiles {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration that the gate is started with.
    pub config: PathBuf,
    /// What a verifier of this demo's evidence pins.
    pub trust: PathBuf,
}

impl DemoFiles {
    /// Makes the folder and its files. A folder that has a log key keeps it, so that a demo can be gone on with.
    pub fn create(folder: Option<&Path>) -> Result<Self, String> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => {
                let name =
                    format!("countersign-demo-{}", HEXLOWER.encode(&randomness::bytes::<4>()));
                std::env::temp_dir().join(name)
            }
        };
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
        let folder = std::path::absolute(&folder).map_err(|error| error.to_string())?;
        let files = Self {
            config: folder.join("countersign.toml"),
            trust: folder.join("trust.json"),
            folder,
        };
        files.make_key("log-key")?;
        files.make_key("grant-key")?;
        files.write_secret("client-secret", CLIENT_SECRET)?;
        Ok(files)
    }

    /// Writes the configuration of a gate at `gate` whose surroundings are at `sandbox`, with the keys
    /// that `pins` ([trust]) names.
    pub fn write_config(
        &self,
        database: Option<&str>,
        gate: &str,
        sandbox: &str,
        pins: &str,
    ) -> Result<(), String> {
        // A database that was named may hold a password, which stands in no configuration.
        let database_key = match database {
            Some(url) => {
                self.write_secret("database-url", url)?;
                format!("database_file = \"{}/database-url\"", self.folder.display())
            }
            None => format!("database = \"sqlite://{}/gate.db\"", self.folder.display()),
        };
        let text = config_text(&self.folder, &database_key, gate, sandbox, pins);
        self.write("countersign.toml", &text).map(|_| ())
    }

    /// Writes another configuration in the place of the one that is there.
    pub fn edit_config(&self, edit: impl FnOnce(String) -> String) -> Result<(), String> {
        let text = std::fs::read_to_string(&self.config).map_err(|error| error.to_string())?;
        self.write("countersign.toml", edit(text)).map(|_| ())
    }

    /// Writes what a verifier of this demo's evidence pins.
    pub fn write_trust(&self, trust: Trust) -> Result<(), String> {
        let note = "Made by countersign demo for this demo alone.".to_owned();
        let trust = Trust { note: Some(note), ..trust };
        let text = serde_json::to_string_pretty(&trust).map_err(|error| error.to_string())?;
        self.write("trust.json", format!("{text}\n")).map(|_| ())
    }

    /// Writes a file into the folder and gives its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(path)
    }

    /// Writes a file that its owner alone may read.
    fn write_secret(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    /// A folder that has a key keeps it: its ledger was begun with it.
    fn make_key(&self, name: &str) -> Result<(), String> {
        if self.folder.join(name).exists() {
            return Ok(());
        }
        let seed: [u8; 32] = randomness::bytes();
        self.write_secret(name, &format!("{}\n", HEXLOWER.encode(&seed)))
    }
}

fn config_text(folder: &Path, database_key: &str, gate: &str, sandbox: &str, pins: &str) -> String {
    let listen = gate.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let port = listen.rsplit(':').next().unwrap_or_default();
    let folder = folder.display();
    let new_service = DEMO_SERVICE.replace("/web", "/api");
    format!(
        r#"# Made by countersign demo. The gate runs with it as with any other configuration:
#     countersign serve --config {folder}/countersign.toml
public_origin = "{gate}"
listen = "{listen}"
{database_key}
log_key_file = "{folder}/log-key"
notice = "A demo: Cloud Run, the token issuers and the directory are a sandbox on this machine."

# One for each port, since the log's name has the port in it.
[log]
head = "{folder}/log-head-{port}.json"

[login]
issuer = "{sandbox}/identity"
client_id = "{CLIENT_ID}"
client_secret_file = "{folder}/client-secret"
scopes = ["openid", "profile", "email", "groups"]

{pins}
[[workload_issuer]]
name = "github"
kind = "github"
issuer = "{sandbox}/github"
algorithm = "RS256"

[[workload_issuer]]
name = "agent"
kind = "generic"
issuer = "{sandbox}/agent"
algorithm = "ES256"

[cloud_run]
endpoint = "{sandbox}"
credentials = "anonymous"

[github]
api = "{sandbox}/github-api"

[audit]
readers = ["group:auditors"]

# A tool that the agent may ask for. The gate does not call it: whoever runs it takes the grant.
[[action]]
tool = "restart-database"
title = "Restart a database"
audience = "https://db-proxy.example.com"
target = "/database"
fields = [
    {{ label = "Database", argument = "/database" }},
    {{ label = "How", argument = "/mode" }},
]
blast_radius = [{{ label = "Clients that lose their connection, at most", argument = "/most_clients" }}]
secrets = ["/password"]

[action.schema]
type = "object"
required = ["database"]
additionalProperties = false

[action.schema.properties]
database = {{ type = "string", pattern = "^[a-z][a-z0-9-]{{0,40}}$" }}
mode = {{ enum = ["gentle", "at once"] }}
most_clients = {{ type = "integer", minimum = 0, maximum = 10000 }}
password = {{ type = "object" }}
note = {{ type = "string", maxLength = 200 }}

[grant]
key_file = "{folder}/grant-key"

[environment.production]
actions = ["restart-database"]
# web runs already; api does not exist yet and is created by its first approval.
services = ["{DEMO_SERVICE}", "{new_service}"]
images = ["{DEMO_REPOSITORY}"]
requesters = [
    {{ issuer = "github", claims = {{ repository_id = "1001", ref = "refs/heads/main" }} }},
    {{ issuer = "agent", claims = {{ sub = "agent:release-bot" }} }},
]
rules = [{{ from = ["group:release-managers"], count = 1 }}]
expires_in = "8h"
steps = [10, 50, 100]
# One key is enough to try things with. Without this line whoever signs must have two.
keys = {{ minimum_keys = 1 }}
# Several requests for web may wait at once, to try things with. Without this line a newer one takes
# the place of the older.
newer_request = "queue"
max_pending = 10000
"#
    )
}
