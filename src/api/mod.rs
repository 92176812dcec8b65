//! JSON for machines. It describes itself at `/openapi.json`.

pub mod approvals;
pub mod ask;
pub mod bearer;
pub mod body;
pub mod create;
pub mod drift;
pub mod environments;
pub mod events;
pub mod evidence;
pub mod exceptions;
mod freeze;
pub mod github;
pub mod grants;
pub mod health;
pub mod log;
pub mod log_entries;
pub mod problem;
mod shipped;
pub mod verification_summary;
pub mod views;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// The description that the routes complete.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countersign",
        description = "Ask a person to sign a deployment, wait for the answer, and get the proof. \
                       A token never approves: only a person's key does, on the page that `url` names.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    // Its address has a variable number of parts, which OpenAPI cannot say and the router can.
    paths(log::tile),
    components(schemas(problem::ProblemBody)),
    modifiers(&BearerScheme)
)]
struct Description;

struct BearerScheme;

impl utoipa::Modify for BearerScheme {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some(
            "An OpenID Connect token of a workload, with this gate as its audience.".to_owned(),
        );
        let components = description.components.get_or_insert_with(Default::default);
        components.add_security_scheme("workload", SecurityScheme::Http(scheme));
    }
}

/// The API's routes, with their description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(create::create, approvals::list))
        .routes(routes!(approvals::read))
        .routes(routes!(approvals::cancel))
        .routes(routes!(events::events))
        .routes(routes!(evidence::evidence))
        .routes(routes!(verification_summary::verification_summary))
        .routes(routes!(environments::list))
        .routes(routes!(exceptions::list))
        .routes(routes!(drift::changes))
        .routes(routes!(log::checkpoint))
        .routes(routes!(log_entries::entry))
        .routes(routes!(grants::consume))
        .routes(routes!(grants::key_set))
        .routes(routes!(grants::discovery))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .merge(github::routes())
}
