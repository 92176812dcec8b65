//! Looks at the services that the gate covers, again and again, and right after somebody says that one was
//! changed. It reads and tells; it changes nothing back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::service::ServiceName;
use crate::gate::GateError;
use crate::gate::drift::{ChangesSeen, explained, look};
use crate::integrations::cloud_run::CloudRun;
use crate::storage::Storage;

/// A change that was just reported takes effect first.
const SETTLE: Duration = Duration::from_secs(2);
/// How many looks follow a report until the change took effect.
const LOOKS_AFTER_REPORT: u32 = 3;

/// Watches services. One per process.
pub struct Lookout {
    storage: Storage,
    cloud_run: CloudRun,
    clock: Clock,
    /// The services, each with its environment.
    services: Vec<(String, ServiceName)>,
    every: Duration,
    changes: Arc<ChangesSeen>,
}

impl Lookout {
    /// Watches these services, each with its environment.
    pub fn new(
        storage: Storage,
        cloud_run: CloudRun,
        clock: Clock,
        services: Vec<(String, ServiceName)>,
        every: Duration,
        changes: Arc<ChangesSeen>,
    ) -> Self {
        Self { storage, cloud_run, clock, services, every, changes }
    }

    /// Watches until `shutdown` turns true.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let watching = async {
            loop {
                for (environment, service) in &self.services {
                    self.look_at(environment, service, None).await;
                }
                tokio::select! {
                    () = tokio::time::sleep(self.every) => {}
                    () = self.changes.arrived() => self.after_reports().await,
                }
            }
        };
        tokio::select! {
            () = watching => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn after_reports(&self) {
        let reported = self.changes.take();
        for _ in 0..LOOKS_AFTER_REPORT {
            for (environment, service) in &self.services {
                if let Some(who) = reported.get(service) {
                    self.look_at(environment, service, Some(who)).await;
                }
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    async fn look_at(&self, environment: &str, service: &ServiceName, who: Option<&String>) {
        if self.storage.log_fault().is_some() {
            return;
        }
        let looked = self.try_to_look(environment, service, who).await;
        if let Err(error) = looked {
            tracing::error!(%error, service = service.as_str(), "what was seen of a service could not be compared with the ledger");
        }
    }

    async fn try_to_look(
        &self,
        environment: &str,
        service: &ServiceName,
        who: Option<&String>,
    ) -> Result<(), GateError> {
        let before = explained(&self.storage, service).await?;
        let observed = match self.cloud_run.observe_service(service).await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::warn!(%error, service = service.as_str(), "a service could not be looked at; whether somebody changed it is not known until it can be");
                return Ok(());
            }
        };
        let (place, now) = ((environment, service), self.clock.now());
        look(&self.storage, place, &before, observed.as_ref(), who.cloned(), now).await?;
        Ok(())
    }
}
