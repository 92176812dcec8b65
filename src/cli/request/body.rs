//! What is asked for, from flags or a file, as the gate's API takes it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::domain::unique_json;

/// The request. Flags take the place of members of the file.
#[derive(clap::Args)]
pub struct Wanted {
    /// The whole request as JSON, as POST /v1/approvals takes it; - for standard input.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The environment whose rules apply.
    #[arg(long)]
    environment: Option<String>,
    /// The Cloud Run service, projects/P/locations/R/services/S, or worker pool, projects/P/locations/R/workerPools/W.
    #[arg(long)]
    service: Option<String>,
    /// Or the Cloud Run job that is to run once with the image, projects/P/locations/R/jobs/J.
    #[arg(long, conflicts_with_all = ["service", "steps", "after"])]
    job: Option<String>,
    /// Only update the job to the image and the template, and run nothing.
    #[arg(long, conflicts_with_all = ["service", "steps", "after"])]
    no_run: bool,
    /// The image by digest, …@sha256:….
    #[arg(long)]
    image: Option<String>,
    /// Why it should go out, in a sentence that the approver reads.
    #[arg(long)]
    reason: Option<String>,
    /// Fields of the revision template, or of the job's execution template, to change, as a JSON object.
    #[arg(long, value_name = "JSON")]
    template: Option<String>,
    /// Percent of traffic at each step, 10,50,100; the environment's own if absent.
    #[arg(long, value_delimiter = ',')]
    steps: Option<Vec<u8>>,
    /// Another approval of yours, after whose success the rollout begins.
    #[arg(long, value_name = "APPROVAL")]
    after: Option<String>,
    /// A headline.
    #[arg(long)]
    title: Option<String>,
    /// Longer text for the approver.
    #[arg(long)]
    body: Option<String>,
    /// Where to read more, TITLE=https://…; may be repeated.
    #[arg(long = "link", value_name = "TITLE=URL", value_parser = link)]
    links: Vec<Value>,
    /// How long it may stay open, 8h or 30m; the environment's own if absent.
    #[arg(long)]
    expires_in: Option<String>,
    /// A webhook of the gate's configuration that is told of everything about this approval.
    #[arg(long, value_name = "NAME")]
    notify: Option<String>,
    /// A name for the deployments that this run asks for together, to be signed at once.
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// How many deployments of the batch the run asks for.
    #[arg(long, value_name = "COUNT", requires = "batch")]
    batch_size: Option<u8>,
}

fn link(text: &str) -> Result<Value, String> {
    match text.split_once("=http") {
        Some((title, rest)) if !title.is_empty() => {
            Ok(json!({"title": title, "url": format!("http{rest}")}))
        }
        _ => Err("write it like \"Pull request 218=https://example.com/218\"".to_owned()),
    }
}

impl Wanted {
    /// The body of the call.
    ///
    /// # Errors
    /// A sentence. What the gate alone can judge is left to it.
    pub fn body(self) -> Result<Value, String> {
        let mut body = match &self.file {
            Some(path) => read(path)?,
            None => Map::new(),
        };
        let mut subject = match body.remove("subject") {
            None => Map::new(),
            Some(Value::Object(subject)) => subject,
            Some(_) => return Err("the member subject of the request is no object".to_owned()),
        };
        let kind = if self.job.is_some() { "job_execution" } else { "deployment" };
        subject.entry("kind").or_insert_with(|| kind.into());
        put(&mut subject, "service", self.service);
        put(&mut subject, "job", self.job);
        put(&mut subject, "run", self.no_run.then_some(false));
        put(&mut subject, "image", self.image);
        put(&mut subject, "steps", self.steps);
        put(&mut subject, "after", self.after);
        put(&mut subject, "template", self.template.as_deref().map(template).transpose()?);
        if subject["kind"] == "deployment" {
            if self.no_run {
                return Err("--no-run is for a job: name it with --job".to_owned());
            }
            need(&subject, "service", "--service")?;
            need(&subject, "image", "--image")?;
        }
        if subject["kind"] == "job_execution" {
            need(&subject, "job", "--job")?;
            need(&subject, "image", "--image")?;
        }
        body.insert("subject".to_owned(), subject.into());
        put(&mut body, "environment", self.environment);
        put(&mut body, "reason", self.reason);
        put(&mut body, "title", self.title);
        put(&mut body, "body", self.body);
        put(&mut body, "expires_in", self.expires_in);
        put(&mut body, "notify", self.notify);
        put(&mut body, "batch", self.batch);
        put(&mut body, "batch_size", self.batch_size);
        put(&mut body, "links", Some(self.links).filter(|links| !links.is_empty()));
        need(&body, "environment", "--environment")?;
        need(&body, "reason", "--reason")?;
        Ok(body.into())
    }
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

fn need(object: &Map<String, Value>, name: &str, flag: &str) -> Result<(), String> {
    match object.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(()),
        Some(Value::String(_)) => Err(format!("{name} is empty: give it with {flag}")),
        Some(_) => Err(format!("{name} is no text")),
        None => Err(format!("{name} is missing: give it with {flag}, or in --file")),
    }
}

fn template(text: &str) -> Result<Value, String> {
    match unique_json::parse(text.as_bytes()) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => {
            Err("--template is no JSON object, such as {\"containers\": [{\"env\": []}]}"
                .to_owned())
        }
        Err(error) => Err(format!("--template is no JSON: {error}")),
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).map_err(unreadable)?;
    } else {
        text = std::fs::read(path).map_err(unreadable)?;
    }
    match unique_json::parse(&text) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(format!("{} holds no JSON object", path.display())),
        Err(error) => Err(format!("{} holds no JSON that can be read: {error}", path.display())),
    }
}
