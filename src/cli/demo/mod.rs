//! `countersign demo`: a gate and everything around it, on this machine alone.
//!
//! The gate is started from a configuration file like any other; nothing in it knows of the demo.

pub mod approver;
pub mod browser;
pub mod files;
mod narration;
pub mod pins;
pub mod pipeline;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::sandbox::READY_DELAY;
use crate::cli::{failed, logging, serve, shutdown_signal};
use crate::clock::Clock;
use crate::config::Config;
use crate::sandbox::{SandboxSettings, routes};
use files::DemoFiles;
use narration::Narration;

/// The options of `countersign demo`.
#[derive(clap::Args)]
pub struct DemoArguments {
    /// The gate's port, on loopback alone; 0 takes any free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The sandbox's port, on loopback alone; 0 takes any free one.
    #[arg(long, default_value_t = 8081)]
    sandbox_port: u16,
    /// Where keys, configuration and database are kept; a new folder for temporary files if absent.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The database: sqlite:///PATH or postgres://…; a file in the data folder if absent.
    #[arg(long)]
    database: Option<String>,
    /// Do not post a sample deployment.
    #[arg(long)]
    no_sample: bool,
    /// Play pipeline and approver too, without a browser, until Cloud Run serves the new revision.
    #[arg(long)]
    auto: bool,
    /// Speak JSON on standard output, for other programs: one line at the start, one at the end of --auto.
    #[arg(long)]
    json: bool,
    /// With --auto: keep both servers up afterwards.
    #[arg(long)]
    stay: bool,
}

/// How long the whole of `--auto` may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Both servers, running in this process.
pub struct Servers {
    /// Where the gate is, `http://localhost:8080`.
    pub gate: String,
    /// Where the sandbox is.
    pub sandbox: String,
    /// What they keep.
    pub files: DemoFiles,
    /// The time of both.
    pub clock: Clock,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

/// Where both servers listen and what they keep.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The gate's port; 0 takes any free one.
    pub port: u16,
    /// The sandbox's port; 0 takes any free one.
    pub sandbox_port: u16,
    /// The folder; a new one for temporary files if absent.
    pub data_dir: Option<PathBuf>,
    /// The database; a file in the folder if absent.
    pub database: Option<String>,
    /// The time.
    pub clock: Clock,
}

/// Runs the demo until it is told to stop, or until `--auto` is through.
pub async fn run(arguments: DemoArguments) -> ExitCode {
    logging::start_quietly();
    let narration = Narration::new(arguments.json);
    let started = Instant::now();
    let mut shutdown = shutdown_signal();
    let placement = Placement {
        port: arguments.port,
        sandbox_port: arguments.sandbox_port,
        data_dir: arguments.data_dir.clone(),
        database: arguments.database.clone(),
        clock: Clock::system(),
    };
    let mut servers = match Servers::start(placement).await {
        Ok(servers) => servers,
        Err(why) => return failed(&why),
    };
    narration.json(&servers.description());
    let mut tasks = std::mem::take(&mut servers.tasks);
    let outcome = tokio::select! {
        outcome = play(&arguments, &servers, &narration, started) => outcome,
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
        ended = first_to_end(&mut tasks) => ended,
    };
    let stays = outcome.is_ok() && (!arguments.auto || arguments.stay);
    if stays && !*shutdown.borrow() {
        narration.say("Both servers stay up. Stop them with Ctrl-C.");
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = first_to_end(&mut tasks) => {}
        }
    }
    servers.tasks = tasks;
    servers.stop().await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

/// Waits for a server to end by itself, which neither should.
async fn first_to_end(tasks: &mut Vec<JoinHandle<Result<(), String>>>) -> Result<(), String> {
    let (ended, index, _) = futures::future::select_all(tasks.iter_mut()).await;
    tasks.remove(index);
    match ended {
        Ok(Err(why)) => Err(why),
        Ok(Ok(())) => Err("a server ended by itself".to_owned()),
        Err(error) => Err(format!("a server ended: {error}")),
    }
}

async fn serve_sandbox(
    listener: TcpListener,
    routes: axum::Router,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), String> {
    let graceful = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let serving = axum::serve(listener, routes).with_graceful_shutdown(graceful);
    serving.await.map_err(|error| format!("the sandbox ended: {error}"))
}

async fn listen(port: u16, option: &str) -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        format!("port {port} cannot be listened on: {error}; choose another with {option}")
    })
}

fn origin_of(listener: &TcpListener) -> Result<String, String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(format!("http://localhost:{}", address.port()))
}

impl Servers {
    /// Starts the sandbox, and a gate from a configuration file that points at it.
    ///
    /// # Errors
    /// A sentence, if a port is taken or a file cannot be written.
    pub async fn start(placement: Placement) -> Result<Self, String> {
        Self::start_with(placement, |config| config).await
    }

    /// The same with another configuration: `edit` gets the text of the demo's.
    ///
    /// # Errors
    /// As [`Servers::start`].
    pub async fn start_with(
        placement: Placement,
        edit: impl FnOnce(String) -> String,
    ) -> Result<Self, String> {
        let listener = listen(placement.port, "--port").await?;
        let gate = origin_of(&listener)?;
        let mut servers = Self::around(gate, placement).await?;
        servers.files.edit_config(edit)?;
        // The file alone: what the environment says is meant for another gate.
        let config = Config::load(&servers.files.config, &BTreeMap::new())
            .map_err(|error| error.to_string())?;
        servers.files.write_trust(config.trust())?;
        let gate =
            serve::serve(config, Some(listener), servers.clock.clone(), servers.stop.subscribe());
        servers.tasks.push(tokio::spawn(gate));
        Ok(servers)
    }

    /// Starts the sandbox and writes the configuration of a gate at the origin `gate`, which is not
    /// started: it may run in processes of its own.
    ///
    /// # Errors
    /// As [`Servers::start`].
    pub async fn around(gate: String, placement: Placement) -> Result<Self, String> {
        let Placement { sandbox_port, data_dir, database, clock, .. } = placement;
        let listener = listen(sandbox_port, "--sandbox-port").await?;
        let sandbox = origin_of(&listener)?;
        let files = DemoFiles::create(data_dir.as_deref())?;
        let settings = SandboxSettings {
            base_url: sandbox.clone(),
            gate_origin: gate.clone(),
            data_dir: Some(files.folder.clone()),
            clock: clock.clone(),
            ready_delay: READY_DELAY,
        };
        let routes = routes(settings).map_err(|error| error.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![tokio::spawn(serve_sandbox(listener, routes, stopped))];
        let pins = pins::of_sandbox(&sandbox).await?;
        files.write_config(database.as_deref(), &gate, &sandbox, &pins)?;
        Ok(Self { gate, sandbox, files, clock, stop, tasks })
    }

    fn description(&self) -> Value {
        json!({
            "gate": self.gate,
            "sandbox": self.sandbox,
            "tokens": format!("{}/tokens", self.sandbox),
            "identity": format!("{}/identity", self.sandbox),
            "journal": format!("{}/_sandbox/journal", self.sandbox),
            "data_dir": self.files.folder,
            "config": self.files.config,
        })
    }

    /// Stops both and waits until they have.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn play(
    arguments: &DemoArguments,
    servers: &Servers,
    narration: &Narration,
    started: Instant,
) -> Result<(), String> {
    pipeline::until_ready(&servers.gate).await?;
    narration.say(&format!(
        "The gate is at {}, the sandbox of Cloud Run and the directory at {}.",
        servers.gate, servers.sandbox
    ));
    narration.say(&format!("Everything it keeps is in {}.", servers.files.folder.display()));
    narration.say("The demo made its own trust anchors (the log key, and the keys of the sandbox's directory and token issuers) and pinned them in [trust] and trust.json there. Trust them for this demo alone.");
    if arguments.auto {
        let auto = auto(servers, narration, started);
        return tokio::time::timeout(PATIENCE, auto)
            .await
            .unwrap_or_else(|_| Err("the rollout did not end within two minutes".to_owned()));
    }
    if !arguments.no_sample {
        let asked = pipeline::Pipeline::new(&servers.gate, &servers.sandbox)?.ask().await?;
        narration.say("");
        narration.say(&format!(
            "A pipeline asked for a deployment (code {}). Open",
            asked.text("short_code")
        ));
        narration.say(&format!("    {}", asked.text("url")));
        narration.say("sign in as Alice, register a key or a passkey, then read, approve, and watch it roll out.");
        narration.say("Without a key at hand, Chromium's developer tools have one: More tools, WebAuthn, enable, add (ctap2, internal, user verification).");
    } else {
        narration.say(&format!(
            "Ask for something with a token of {}/tokens; sign it at {}.",
            servers.sandbox, servers.gate
        ));
    }
    narration.say(&format!(
        "For an AI agent the gate is an MCP server at {}/mcp; curl -d '{{\"issuer\": \"agent\"}}' {}/tokens gives it a token.",
        servers.gate, servers.sandbox
    ));
    Ok(())
}

async fn auto(servers: &Servers, narration: &Narration, started: Instant) -> Result<(), String> {
    let mut timings = serde_json::Map::new();
    let mut mark = |name: &str| {
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        timings.insert(format!("{name}_ms"), milliseconds.into());
    };
    mark("ready");
    let pipeline = pipeline::Pipeline::new(&servers.gate, &servers.sandbox)?;
    narration.say("");
    narration.say("Pipeline: gets an OpenID Connect token and asks for a deployment.");
    let asked = pipeline.ask().await?;
    narration.say(&format!(
        "Pipeline: {} is pending, code {}, digest {}.",
        asked.id,
        asked.text("short_code"),
        asked.text("deployment_digest")
    ));
    mark("asked");
    let mut approver = approver::Approver::new(&servers.gate)?;
    approver.sign_in("alice").await?;
    narration.say("Alice: signed in at the directory.");
    approver.register_key().await?;
    narration.say("Alice: registered a key; the directory vouched for it with a second sign-in.");
    mark("registered");
    let code = approver.read_page(asked.id.as_str()).await?;
    let told = asked.text("short_code");
    if code != told {
        return Err(format!("the page shows the code {code}, the pipeline was told {told}"));
    }
    narration.say(&format!("Alice: reads the page. It shows the same code, {code}."));
    approver.approve(asked.id.as_str()).await?;
    narration.say("Alice: touched the key. The signature covers every byte of the deployment.");
    mark("approved");
    let ended =
        pipeline.wait(&asked.id, |sentence| narration.say(&format!("Gate: {sentence}"))).await?;
    mark("ended");
    let evidence = pipeline.evidence(&asked.id).await?;
    let path = servers.files.write(&format!("{}.evidence.json", asked.id), &evidence)?;
    let status = ended.text("status");
    let rollout = &ended.whole["rollout"];
    let summary = json!({
        "id": asked.id,
        "status": status,
        "service": rollout["service"],
        "digest": rollout["digest"],
        "revision": rollout["revision"],
        "traffic": rollout["traffic"],
        "timings": timings,
        "evidence": path,
        "trust": servers.files.trust,
    });
    let observed =
        pipeline.observe_cloud_run(rollout["service"].as_str().unwrap_or_default()).await?;
    let served = observed["trafficStatuses"].clone();
    narration.say(&format!("Cloud Run itself says: {served}"));
    narration.say(&format!("The evidence is in {}.", path.display()));
    narration.json(&summary);
    if status == "succeeded" {
        Ok(())
    } else {
        Err(format!("the rollout ended as {status}, not succeeded"))
    }
}
