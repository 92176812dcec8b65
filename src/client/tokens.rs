//! Where a workload's identity tokens come from.
//!
//! A token is fetched for each call wherever it can be: from the platform's own service, from a program,
//! or from a file that somebody renews. Only what stands in a variable cannot be renewed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::process::Command;
use url::Url;

use super::{Failure, cause_of, direct_http};
use crate::domain::text::one_line;

/// The variable in which a token may stand, whatever platform made it.
pub const TOKEN_VARIABLE: &str = "COUNTERSIGN_TOKEN";
/// Services that give tokens are on the same machine or at the same platform.
const ANSWER: Duration = Duration::from_secs(15);
/// A program may ask a service of its own, and try again itself.
const PROGRAM: Duration = Duration::from_secs(60);
/// GitHub's: where a job asks, and with what.
const GITHUB: [&str; 2] = ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];
/// CircleCI's token of the whole organisation, for jobs without its program.
const CIRCLECI: &str = "CIRCLE_OIDC_TOKEN_V2";
/// Google's own clients let this variable say where the metadata server is.
const METADATA_HOST: &str = "GCE_METADATA_HOST";
/// Set by Cloud Run for services and for jobs, where the metadata server is sure to be Google's.
const ON_GOOGLE: [&str; 3] = ["K_SERVICE", "CLOUD_RUN_JOB", METADATA_HOST];

/// A platform that gives tokens to its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// GitHub Actions: the job's token service; needs `permissions: id-token: write`.
    Github,
    /// Buildkite: `buildkite-agent oidc request-token`.
    Buildkite,
    /// CircleCI: `circleci run oidc get`, or the variable CIRCLE_OIDC_TOKEN_V2 where that program is absent.
    Circleci,
    /// Google Cloud: the metadata server's identity token of the default service account.
    Google,
}

/// What the caller said about tokens. Nothing means: look around.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A file with a token, read again for each call.
    pub file: Option<PathBuf>,
    /// A variable that holds a token.
    pub variable: Option<String>,
    /// A command line of the shell that prints a token.
    pub program: Option<String>,
    /// A platform.
    pub platform: Option<Platform>,
}

/// A source of tokens for one audience.
pub struct Tokens {
    source: Source,
    audience: String,
}

enum Source {
    Given {
        variable: String,
        token: SecretString,
    },
    File(PathBuf),
    Shell(String),
    Program {
        words: Vec<String>,
        without_it: Option<SecretString>,
    },
    Github {
        address: Url,
        secret: SecretString,
    },
    /// The metadata server is on this machine's own network: what it says is for no proxy.
    Google {
        address: Url,
        http: reqwest::Client,
    },
}

impl Tokens {
    /// Chooses the source: what the caller wishes, else what the environment shows.
    ///
    /// # Errors
    /// A sentence, if what was wished for is not there or nothing was found.
    pub fn find(
        wish: Wish,
        audience: String,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let source = source(wish, &audience, environment)?;
        Ok(Self { source, audience })
    }

    /// Tokens of a job of GitHub Actions, whose service is at this address.
    pub(crate) fn of_github(address: Url, secret: &str, audience: String) -> Self {
        let address = with_query(address, "audience", &audience);
        Self { source: Source::Github { address, secret: secret.into() }, audience }
    }

    /// Where tokens come from, in words.
    pub fn described(&self) -> String {
        match &self.source {
            Source::Given { variable, .. } => format!("the variable {variable}"),
            Source::File(path) => format!("the file {}", path.display()),
            Source::Shell(line) => format!("`{}`", one_line(line)),
            Source::Program { words, .. } => format!("`{}`", words.join(" ")),
            Source::Github { .. } => "GitHub's token service".to_owned(),
            Source::Google { .. } => "Google's metadata server".to_owned(),
        }
    }

    /// Whether each call can have a token of its own.
    pub fn renews(&self) -> bool {
        !matches!(self.source, Source::Given { .. })
    }

    /// A token for the next call.
    ///
    /// # Errors
    /// [`Failure::NoToken`], or [`Failure::NoAnswer`] from a service that is away.
    pub(super) async fn fetch(&self, http: &reqwest::Client) -> Result<String, Failure> {
        let text = match &self.source {
            Source::Given { token, .. } => token.expose_secret().to_owned(),
            Source::File(path) => tokio::fs::read_to_string(path).await.map_err(|error| {
                Failure::no_token(format!(
                    "the token file {} cannot be read: {error}",
                    path.display()
                ))
            })?,
            Source::Shell(line) => {
                let words = ["sh", "-c", line].map(str::to_owned);
                self.run(&words)
                    .await?
                    .ok_or_else(|| Failure::no_token("there is no shell (sh) here"))?
            }
            Source::Program { words, without_it } => match (self.run(words).await?, without_it) {
                (Some(text), _) => text,
                (None, Some(token)) => token.expose_secret().to_owned(),
                (None, None) => {
                    return Err(Failure::no_token(format!(
                        "there is no program {} here: run this in a job of that platform, or name another source",
                        words[0]
                    )));
                }
            },
            Source::Github { address, secret } => {
                let request = http.get(address.clone()).bearer_auth(secret.expose_secret());
                let answer = self.answer(request.header("Accept", "application/json")).await?;
                let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
                answer["value"].as_str().unwrap_or_default().to_owned()
            }
            Source::Google { address, http } => {
                self.answer(http.get(address.clone()).header("Metadata-Flavor", "Google")).await?
            }
        };
        let token = text.trim();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_token) {
            return Err(Failure::no_token(format!(
                "{} gave nothing that looks like a token",
                self.described()
            )));
        }
        Ok(token.to_owned())
    }

    async fn answer(&self, request: RequestBuilder) -> Result<String, Failure> {
        let away = |error: reqwest::Error| {
            Failure::no_answer(format!(
                "{} did not answer ({})",
                self.described(),
                cause_of(&error)
            ))
        };
        let answer = request.timeout(ANSWER).send().await.map_err(away)?;
        let status = answer.status();
        if status.is_success() {
            return answer.text().await.map_err(away);
        }
        let sentence = format!("{} answered {}", self.described(), status.as_u16());
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(Failure::no_answer(sentence));
        }
        Err(Failure::no_token(format!(
            "{sentence} when asked for a token for {}: check what this job may ask for",
            self.audience
        )))
    }

    /// What a program prints; none if there is no such program.
    async fn run(&self, words: &[String]) -> Result<Option<String>, Failure> {
        let failed = |why: String| Failure::NoToken {
            sentence: format!("{} gave no token: {why}", self.described()),
            may_pass: true,
        };
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("COUNTERSIGN_AUDIENCE", &self.audience)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = match tokio::time::timeout(PROGRAM, command.output()).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("it took longer than {} s", PROGRAM.as_secs()))),
        };
        if ended.status.success() {
            return Ok(Some(String::from_utf8_lossy(&ended.stdout).into_owned()));
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        Err(failed(format!("{}, {}", ended.status, one_line(last))))
    }
}

fn source(
    wish: Wish,
    audience: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Source, String> {
    let value = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty());
    let given = |variable: &str| {
        value(variable).map(|token| Source::Given {
            variable: variable.to_owned(),
            token: SecretString::from(token.trim()),
        })
    };
    match wish {
        Wish { file: Some(path), .. } => return Ok(Source::File(path)),
        Wish { program: Some(line), .. } => return Ok(Source::Shell(line)),
        Wish { variable: Some(name), .. } => {
            return given(&name).ok_or_else(|| {
                format!("the variable {name} is not set, or empty: it should hold the token")
            });
        }
        Wish { platform: Some(platform), .. } => {
            return of_platform(platform, audience, environment);
        }
        Wish { file: None, variable: None, program: None, platform: None } => {}
    }
    let found = if let Some(given) = given(TOKEN_VARIABLE) {
        return Ok(given);
    } else if value(GITHUB[0]).is_some() || value("GITHUB_ACTIONS").is_some() {
        Platform::Github
    } else if value("BUILDKITE_JOB_ID").is_some() {
        Platform::Buildkite
    } else if value(CIRCLECI).is_some() || value("CIRCLECI").is_some() {
        Platform::Circleci
    } else if ON_GOOGLE.iter().any(|name| value(name).is_some()) {
        Platform::Google
    } else {
        return Err(format!(
            "nothing here gives an identity token: set {TOKEN_VARIABLE} (GitLab: under id_tokens), or use --token-file, --token-env, --token-command or --token-from. What was looked for: {TOKEN_VARIABLE}, {}, BUILDKITE_JOB_ID, {CIRCLECI}, {}",
            GITHUB[0],
            ON_GOOGLE.join(", ")
        ));
    };
    of_platform(found, audience, environment)
}

fn of_platform(
    platform: Platform,
    audience: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Source, String> {
    let value = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty());
    let program = |words: &[&str], without_it: Option<&String>| Source::Program {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        without_it: without_it.map(|token| SecretString::from(token.trim())),
    };
    match platform {
        Platform::Github => {
            let [Some(address), Some(secret)] = GITHUB.map(value) else {
                return Err("this job may not ask GitHub for an identity token: add `permissions: id-token: write` to it. Pull requests from forks never may".to_owned());
            };
            let address = Url::parse(address)
                .map_err(|error| format!("{} is no address: {error}", GITHUB[0]))?;
            let address = with_query(address, "audience", audience);
            Ok(Source::Github { address, secret: SecretString::from(secret.as_str()) })
        }
        Platform::Buildkite => {
            let words = ["buildkite-agent", "oidc", "request-token", "--audience", audience];
            Ok(program(&words, None))
        }
        Platform::Circleci => {
            let claims = json!({"aud": audience}).to_string();
            let words = ["circleci", "run", "oidc", "get", "--claims", &claims];
            Ok(program(&words, value(CIRCLECI)))
        }
        Platform::Google => {
            let host = value(METADATA_HOST).map_or("metadata.google.internal", String::as_str);
            let path = "computeMetadata/v1/instance/service-accounts/default/identity?format=full";
            let address = Url::parse(&format!("http://{host}/{path}"))
                .map_err(|error| format!("{METADATA_HOST} is no host: {error}"))?;
            let address = with_query(address, "audience", audience);
            Ok(Source::Google { address, http: direct_http()? })
        }
    }
}

/// The address with one member of its query set.
fn with_query(mut address: Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> = address
        .query_pairs()
        .filter(|(other, _)| other != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    address.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    address
}
