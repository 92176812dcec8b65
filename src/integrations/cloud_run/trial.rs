//! Whether a rollout would be let through, asked without changing anything: for `countersign config check --live`.

use super::error::{Attempt, CloudRunError, Request};
use super::{CloudRun, call_once, service, worker_pool};
use crate::domain::service::{ServiceKind, ServiceName};

impl CloudRun {
    /// Which of these permissions on the service the gate's credentials lack, in the order given
    /// (`testIamPermissions`, which anybody may ask).
    ///
    /// # Errors
    /// If Cloud Run does not answer, or not with a list.
    pub async fn missing_permissions(
        &self,
        name: &ServiceName,
        wanted: &[&'static str],
    ) -> Result<Vec<&'static str>, CloudRunError> {
        let attempt = Attempt { request: Request::TestPermissions, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        let (resource, permissions) = (name.as_str(), wanted.iter().copied());
        let answer = match name.kind() {
            ServiceKind::Service => {
                let call = clients.services.test_iam_permissions().set_resource(resource);
                call_once(&attempt, call.set_permissions(permissions).send()).await?
            }
            ServiceKind::WorkerPool => {
                let call = clients.worker_pools.test_iam_permissions().set_resource(resource);
                call_once(&attempt, call.set_permissions(permissions).send()).await?
            }
        };
        let answer = answer.map_err(|error| attempt.failed(&error))?;
        let has = |wanted: &str| answer.permissions.iter().any(|permission| permission == wanted);
        Ok(wanted.iter().copied().filter(|wanted| !has(wanted)).collect())
    }

    /// Has Cloud Run judge a change as a rollout makes it, the template and an annotation, with
    /// `validateOnly`: rights, service account, image and template are looked at, and nothing is changed.
    /// False: the service does not exist.
    ///
    /// # Errors
    /// What Cloud Run says against it.
    pub async fn try_change(&self, name: &ServiceName) -> Result<bool, CloudRunError> {
        let attempt = Attempt { request: Request::TryChange, resource: name.as_str() };
        let clients = self.clients(&attempt).await?;
        match name.kind() {
            ServiceKind::Service => service::try_change(clients, &attempt).await,
            ServiceKind::WorkerPool => worker_pool::try_change(clients, &attempt).await,
        }
    }
}
