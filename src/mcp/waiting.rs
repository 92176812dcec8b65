//! Waiting for people, with signs of life for whoever waits on the other side.

use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext, RoleServer};
use serde::Deserialize;
use tokio::time::Instant;

use crate::api::approvals::LONGEST_WAIT;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::{Approval, Status};
use crate::domain::sentence::status_sentence;

/// How long a call waits that does not say: below the minute after which clients give up by themselves.
const USUAL_WAIT: u64 = 50;

/// How often a waiting client hears that nothing is new. Clients that were promised progress begin
/// their minute anew with each notification.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What to wait for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitArguments {
    /// The id that the tool gave with which you asked.
    #[schema(example = "apr_0kz8y2m4n6p8r0t2v4x6z8a0c2")]
    pub id: String,
    /// Seconds to wait, at most 240; 50 if you do not say.
    #[serde(default)]
    #[schema(maximum = 240)]
    pub wait_seconds: Option<u64>,
}

impl WaitArguments {
    /// How long this call waits.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.wait_seconds.unwrap_or(USUAL_WAIT).min(LONGEST_WAIT))
    }
}

/// The approval once it is over, or as it is when the patience ends, the caller leaves or the gate stops.
pub async fn wait(
    app: &App,
    mut approval: Approval,
    patience: Duration,
    context: &RequestContext<RoleServer>,
) -> Result<Approval, Problem> {
    let deadline = Instant::now() + patience;
    let mut progress = Progress::of(context);
    loop {
        progress.tell(&status_sentence(&approval, &app.storage.freezes(), app.now())).await;
        let left = deadline.saturating_duration_since(Instant::now());
        // An action that is approved waits for nobody but its requester.
        let is_theirs =
            approval.status() == Status::Approved && approval.subject.action().is_some();
        if approval.status().is_final() || is_theirs || left.is_zero() {
            return Ok(approval);
        }
        let nap = left.min(HEARTBEAT);
        let asleep = Instant::now();
        let (id, version) = (approval.id().clone(), approval.version);
        let snapshot = tokio::select! {
            () = context.ct.cancelled() => return Ok(approval),
            snapshot = app.watch.wait(&id, version, nap) => snapshot?,
        };
        // No news before the nap is over: the gate stops and answers everybody.
        let stops = snapshot.approval.version <= version && asleep.elapsed() < nap;
        approval = snapshot.approval.clone();
        if stops {
            return Ok(approval);
        }
    }
}

/// Where progress goes, if the caller wants any.
struct Progress {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    told: u32,
    last: Option<(String, Instant)>,
}

impl Progress {
    fn of(context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self { peer: context.peer.clone(), token, told: 0, last: None }
    }

    /// Tells what the approval waits for, if that is new or the last word is a heartbeat ago. A caller
    /// who has gone away is noticed by the wait itself.
    async fn tell(&mut self, sentence: &str) {
        let Some(token) = &self.token else { return };
        let is_known =
            |(last, at): &(String, Instant)| last == sentence && at.elapsed() < HEARTBEAT;
        if self.last.as_ref().is_some_and(is_known) {
            return;
        }
        self.last = Some((sentence.to_owned(), Instant::now()));
        self.told += 1;
        let mut told = ProgressNotificationParam::new(token.clone(), f64::from(self.told));
        told.message = Some(sentence.to_owned());
        if let Err(error) = self.peer.notify_progress(told).await {
            tracing::debug!(%error, "a waiting client could not be told");
        }
    }
}
