//! `countersign sandbox`: the sandbox alone, in a process that survives the gate's death.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::SignedDuration;
use tokio::net::TcpListener;

use crate::cli::{failed, logging, shutdown_signal};
use crate::clock::Clock;
use crate::sandbox::{SandboxSettings, routes};

/// How long a change takes until it is in effect, so that pages and logs show it happen.
pub const READY_DELAY: SignedDuration = SignedDuration::from_millis(400);

/// The options of `countersign sandbox`.
#[derive(clap::Args)]
pub struct SandboxArguments {
    /// The port to listen on, on loopback alone.
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Where keys and state are kept.
    #[arg(long)]
    data_dir: PathBuf,
    /// The gate that it serves: the audience of tokens, and where sign-ins come back to.
    #[arg(long, default_value = "http://localhost:8080")]
    gate: String,
}

/// Runs the sandbox until it is told to stop.
pub async fn run(arguments: SandboxArguments) -> ExitCode {
    logging::start();
    match try_run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

async fn try_run(arguments: SandboxArguments) -> Result<(), String> {
    let SandboxArguments { port, data_dir, gate } = arguments;
    std::fs::create_dir_all(&data_dir)
        .map_err(|error| format!("the folder {} cannot be made: {error}", data_dir.display()))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        format!("port {port} cannot be listened on: {error}; choose another with --port")
    })?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let base_url = format!("http://localhost:{port}");
    let settings = SandboxSettings {
        base_url: base_url.clone(),
        gate_origin: gate.trim_end_matches('/').to_owned(),
        data_dir: Some(data_dir),
        clock: Clock::system(),
        ready_delay: READY_DELAY,
    };
    let routes = routes(settings).map_err(|error| error.to_string())?;
    tracing::info!(url = base_url, "the sandbox is ready");
    let mut shutdown = shutdown_signal();
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            let _ = shutdown.wait_for(|stop| *stop).await;
        })
        .await
        .map_err(|error| format!("the sandbox ended: {error}"))
}
