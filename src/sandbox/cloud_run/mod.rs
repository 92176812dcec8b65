//! The Cloud Run Admin API v2, as Google publishes it, with a memory instead of a cloud.
//!
//! What is true of the published API is true here: masks, etags, validation against the
//! description, long-running operations, revisions, traffic, reconciling, errors in Google's
//! shape. What is not there: authentication (every caller is the project's deployer), policies of IAM,
//! and anything that runs a container.
//!
//! Worker pools are kept and changed as services are; `family` says what the API has differently for them.
//! `schema` checks and normalises JSON, `mask` `template` `traffic` know the rules, `change`
//! accepts changes, `reconcile` puts them into effect, `render` and `operation` show them, `state`
//! keeps them, `jobs` are a world of their own, `tags` answers for revisions, `http` and `query` are the API itself, `knative` is the older one that `gcloud` speaks, `faults`
//! `permissions` and `control` are the sandbox's own.

mod change;
mod control;
mod family;
pub mod faults;
mod http;
mod jobs;
mod knative;
mod mask;
mod operation;
mod permissions;
mod query;
mod reconcile;
mod refusal;
mod render;
mod schema;
mod state;
mod tags;
mod template;
mod traffic;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::Router;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::change::Circumstances;
use self::faults::{Faults, Injected};
use self::jobs::JobName;
use self::permissions::Denied;
use self::refusal::{Code, Refusal};
pub use self::state::StateError;
use self::state::{ServiceName, State};
use self::tags::TagAnswers;
use super::binary_authorization::Attestations;
use super::journal::Journal;
use crate::clock::Clock;

/// How long a change takes to come into effect unless told otherwise, in milliseconds: long enough
/// that a client sees it reconciling, short enough for a demo.
const READY_DELAY_MILLISECONDS: i64 = 300;

/// A sandbox of the Cloud Run Admin API v2. Clones are the same sandbox.
#[derive(Clone, Debug)]
pub struct CloudRun {
    clock: Clock,
    journal: Journal,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    state_file: Option<PathBuf>,
    ready_delay_milliseconds: AtomicI64,
    faults: Faults,
    denied: Mutex<Denied>,
    attestations: Attestations,
    /// Where the addresses of tags begin, if they are served here.
    tag_base: OnceLock<String>,
    tag_answers: Mutex<TagAnswers>,
}

/// A service or a job that the demo starts with cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error(
        "'{0}' names no service and no worker pool; write projects/P/locations/R/services/S or projects/P/locations/R/workerPools/W"
    )]
    Name(String),
    #[error("'{0}' is no job name; write projects/P/locations/R/jobs/J")]
    JobName(String),
    #[error("the sandbox refuses {name}: {reason}")]
    Refused { name: String, reason: String },
}

impl CloudRun {
    /// A sandbox that takes the time from `clock`, writes its calls into `journal`, and keeps its
    /// state in `state_file`, if one is given: it is read now and replaced after every change.
    ///
    /// # Errors
    /// If the file exists and cannot be read as a state.
    pub fn new(
        clock: Clock,
        journal: Journal,
        state_file: Option<PathBuf>,
    ) -> Result<Self, StateError> {
        let state = state_file.as_deref().map_or_else(|| Ok(State::default()), State::load)?;
        let shared = Shared {
            state: Mutex::new(state),
            state_file,
            ready_delay_milliseconds: AtomicI64::new(READY_DELAY_MILLISECONDS),
            faults: Faults::default(),
            denied: Mutex::default(),
            attestations: Attestations::default(),
            tag_base: OnceLock::new(),
            tag_answers: Mutex::default(),
        };
        Ok(Self { clock, journal, shared: Arc::new(shared) })
    }

    /// The API under `/v2/`, watched by the journal, and the controls under `/_sandbox/`. The
    /// journal's own routes are not among them: [`Journal::router`] has them.
    pub fn router(&self) -> Router {
        self.journal
            .watch(http::router(self).merge(tags::router(self)))
            .merge(control::router(self))
            .merge(tags::controls(self))
    }

    /// Serves the addresses of tags under this base address, where Cloud Run has hosts of their own for them.
    /// The base is set once.
    pub fn serve_tags_at(&self, base: &str) {
        self.shared.tag_base.get_or_init(|| base.to_owned());
    }

    /// Another API of the same cloud, in which the same faults happen.
    pub fn with_faults(&self, router: Router) -> Router {
        router.layer(axum::middleware::from_fn_with_state(self.clone(), faults::inject))
    }

    /// A running service or worker pool with this template, a ready first revision and all traffic on it. One
    /// that exists already is left as it is.
    ///
    /// # Errors
    /// If the name is no service's name or the API would refuse the template.
    pub fn seed_service(&self, name: &str, template: &Value) -> Result<(), SeedError> {
        let service = ServiceName::parse(name).ok_or_else(|| SeedError::Name(name.to_owned()))?;
        let mut circumstances = self.circumstances(&Injected::default());
        circumstances.delay = Some(SignedDuration::ZERO);
        let body = json!({ "template": template });
        let seeded = self.change(|state| {
            if !state.services.contains_key(name) {
                change::create(state, &service, &body, &circumstances)?;
                reconcile::settle(state, circumstances.now, None);
            }
            Ok(())
        });
        seeded.map_err(|refusal| SeedError::Refused {
            name: name.to_owned(),
            reason: refusal.to_string(),
        })
    }

    /// A job with this execution template that never ran. One that exists already is left as it is.
    ///
    /// # Errors
    /// If the name is no job's name or the API would refuse the template.
    pub fn seed_job(&self, name: &str, template: &Value) -> Result<(), SeedError> {
        let job = JobName::parse(name).ok_or_else(|| SeedError::JobName(name.to_owned()))?;
        let circumstances = self.circumstances(&Injected::default());
        let seeded = self.change(|state| jobs::seed(state, &job, template, &circumstances));
        seeded.map_err(|refusal| SeedError::Refused {
            name: name.to_owned(),
            reason: refusal.to_string(),
        })
    }

    /// How long a change takes from now on to come into effect.
    pub fn set_ready_delay(&self, delay: SignedDuration) {
        let milliseconds = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.shared.ready_delay_milliseconds.store(milliseconds, Ordering::Relaxed);
    }

    /// The attestations of images, which some services need.
    pub fn attestations(&self) -> Attestations {
        self.shared.attestations.clone()
    }

    /// The permissions that the caller lacks.
    fn denied(&self) -> Denied {
        self.shared.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn circumstances(&self, injected: &Injected) -> Circumstances {
        let milliseconds = self.shared.ready_delay_milliseconds.load(Ordering::Relaxed);
        let delay = SignedDuration::from_millis(milliseconds);
        Circumstances {
            now: self.clock.now(),
            delay: (!injected.stuck).then_some(delay),
            revision_fails: injected.revision_fails.clone(),
            modifier: None,
        }
    }

    /// As [`CloudRun::circumstances`], for a change with this body: a revision whose image is not attested
    /// where the service needs it fails.
    fn circumstances_of(
        &self,
        injected: &Injected,
        service: &ServiceName,
        body: &Value,
    ) -> Circumstances {
        let mut circumstances = self.circumstances(injected);
        let refusal = self.unattested(&service.to_string(), &body["template"]);
        circumstances.revision_fails = circumstances.revision_fails.or(refusal);
        circumstances
    }

    /// Why the policy of Binary Authorization lets no container with this template run in the service or job.
    fn unattested(&self, resource: &str, template: &Value) -> Option<String> {
        let containers = template["containers"].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["image"].as_str())
            .find_map(|image| self.shared.attestations.refusal(resource, image))
    }

    /// Looks at the state as it is now.
    fn look<T>(&self, look: impl FnOnce(&State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let state = self.settled()?;
        look(&state)
    }

    /// Changes the state: wholly, or not at all when `change` refuses.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.settled()?;
        let mut changed = state.clone();
        let answer = change(&mut changed)?;
        self.save(&changed)?;
        *state = changed;
        Ok(answer)
    }

    fn settled(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Timestamp = self.clock.now();
        let tags = self.shared.tag_base.get().map(String::as_str);
        let is_changed = reconcile::settle(&mut state, now, tags);
        if jobs::settle(&mut state, now) || is_changed {
            self.save(&state)?;
        }
        Ok(state)
    }

    fn save(&self, state: &State) -> Result<(), Refusal> {
        let Some(path) = &self.shared.state_file else { return Ok(()) };
        state.save(path).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
    }
}
