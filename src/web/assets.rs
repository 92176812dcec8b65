//! Style, scripts and the mark, embedded in the binary.
//!
//! They are served under `/assets/VERSION/NAME`, where the version is a digest of all of them
//! together: a page always gets the scripts it was made for, browsers may keep them for ever, and
//! the modules can import each other by relative name.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::domain::digest::Digest;

/// One embedded file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 16] = [
    Asset {
        name: "countersign.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("../../templates/countersign.css"),
    },
    Asset {
        name: "agents.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/agents.js"),
    },
    Asset {
        name: "approval.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/approval.js"),
    },
    Asset {
        name: "batch.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/batch.js"),
    },
    Asset {
        name: "environments.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/environments.js"),
    },
    Asset {
        name: "explain.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/explain.js"),
    },
    Asset {
        name: "intervene.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/intervene.js"),
    },
    Asset {
        name: "key_sign_in.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/key_sign_in.js"),
    },
    Asset {
        name: "keys.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/keys.js"),
    },
    Asset {
        name: "loss.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/loss.js"),
    },
    Asset {
        name: "endorse.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/endorse.js"),
    },
    Asset {
        name: "first_key.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/first_key.js"),
    },
    Asset {
        name: "recovery.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/recovery.js"),
    },
    Asset {
        name: "signing.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/signing.js"),
    },
    Asset {
        name: "ceremony.js",
        media_type: JAVASCRIPT,
        content: include_str!("../../templates/ceremony.js"),
    },
    Asset {
        name: "mark.svg",
        media_type: "image/svg+xml",
        content: include_str!("../../templates/mark.svg"),
    },
];

/// The digest never changes while the program runs, so it is computed once.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let parts: Vec<&[u8]> = ASSETS
        .iter()
        .flat_map(|asset| [asset.name.as_bytes(), b"\0", asset.content.as_bytes(), b"\0"])
        .collect();
    Digest::of_parts(&parts).to_string()[..16].to_owned()
});

/// A year: browsers treat it as "for ever" (RFC 9111 has no larger meaning for it).
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The route that [`serve`] answers.
pub const ROUTE: &str = "/assets/{version}/{name}";

/// Where the files of this binary are: `/assets/VERSION`.
pub fn base() -> String {
    format!("/assets/{}", *VERSION)
}

/// Answers `GET /assets/{version}/{name}`.
///
/// Another version than ours is answered too, with what we have and without letting anybody keep
/// it: while two instances of the gate overlap, a page of one may ask the other for its style.
pub async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Problem::not_found().into_response();
    };
    let caching = if version == *VERSION { FOR_EVER } else { "no-store" };
    ([(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, caching)], asset.content)
        .into_response()
}

/// Every embedded file by name, for tests and previews.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ASSETS.iter().map(|asset| (asset.name, asset.content))
}
