//! Whether a rollout would be let through, asked without changing anything: for `countersign config check --live`.

use google_cloud_wkt::FieldMask;

use super::error::{Attempt, CloudRunError, Request};
use super::{CloudRun, STEP_ANNOTATION, call_once, found};
use crate::domain::service::ServiceName;

impl CloudRun {
    /// Which of these permissions on the service the gate's credentials lack, in the order given
    /// (`services.testIamPermissions`, which anybody may ask).
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
        let call = clients
            .services
            .test_iam_permissions()
            .set_resource(name.as_str())
            .set_permissions(wanted.iter().copied())
            .send();
        let answer = call_once(&attempt, call).await?.map_err(|error| attempt.failed(&error))?;
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
        let reading = clients.services.get_service().set_name(name.as_str()).send();
        let Some(mut service) = found(call_once(&attempt, reading).await?, &attempt)? else {
            return Ok(false);
        };
        service.annotations.insert(STEP_ANNOTATION.to_owned(), "trial".to_owned());
        if let Some(template) = &mut service.template {
            // The name is taken; the rollout gives its own.
            template.revision.clear();
        }
        let call = clients
            .services
            .update_service()
            .set_service(service)
            .set_update_mask(FieldMask::default().set_paths(["template", "annotations"]))
            .set_validate_only(true);
        call_once(&attempt, call.send()).await?.map_err(|error| attempt.failed(&error))?;
        Ok(true)
    }
}
