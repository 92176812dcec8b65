//! The ledger as a public log: C2SP tlog-tiles. Anybody can follow it, and nobody learns anything from
//! it but that it only grows: leaves are hashes of salted records.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::problem::{Problem, ProblemBody};
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::tree::Node;
use crate::gate::evidence::current_log_name;
use crate::gate::witnessed::cosignatures;
use crate::proof::cosignature::Witness;
use crate::proof::evidence::Cosignature;

/// The height of a tile, and with it how many hashes a full one has (tlog-tiles).
const TILE_HEIGHT: u8 = 8;
const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Tiles and entry bundles never change once they are full.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The signed tree head, with the lines of the witnesses that signed it already (C2SP tlog-cosignature).
#[utoipa::path(
    get, path = "/log/checkpoint", tag = "log",
    responses((status = 200, description = "A C2SP signed note: the log's name, size and root, signed by the log and then by witnesses", body = String, content_type = "text/plain"))
)]
pub async fn checkpoint(State(app): State<App>) -> Result<Response, Problem> {
    let head = app.storage.head().await?;
    let name = current_log_name(&app.storage, &app.relying_party.origin);
    let mut note = app.storage.sign_checkpoint(&name, &head);
    for Cosignature { witness, cosignature } in
        cosignatures(&app.storage, &app.trust, &head).await?
    {
        note.extend(Witness::parse(&witness).map(|witness| witness.line(&cosignature)));
    }
    Ok(([(header::CONTENT_TYPE, PLAIN_TEXT)], note).into_response())
}

/// A tile of the tree, `LEVEL/INDEX` or `LEVEL/INDEX.p/WIDTH`, or the leaves' entries,
/// `entries/INDEX`. Indices of a thousand and more are written `x001/234`.
#[utoipa::path(
    get, path = "/log/tile/{path}", tag = "log",
    params(("path" = String, Path, description = "LEVEL/INDEX, entries/INDEX, or either with .p/WIDTH")),
    responses(
        (status = 200, description = "Hashes of 32 bytes; entries each behind their length in two bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "The log has no such tile", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn tile(State(app): State<App>, Path(path): Path<String>) -> Result<Response, Problem> {
    let tile = TilePath::parse(&path).ok_or_else(no_such_tile)?;
    let size = app.storage.head().await?.size();
    let whole = size >> (u32::from(TILE_HEIGHT) * u32::from(tile.level));
    let there = whole.saturating_sub(tile.index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
    if tile.width > there {
        return Err(no_such_tile());
    }
    let first = tile.index * TILE_WIDTH;
    let body = if tile.is_entries {
        let entries = app.storage.entry_hashes(first, tile.width).await?;
        entries.iter().flat_map(bundled).collect()
    } else {
        let from = Node { level: tile.level * TILE_HEIGHT, position: first };
        let hashes = app.storage.nodes(from, tile.width).await?;
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>()
    };
    let mut response = Body::from(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, BYTES);
    response.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    Ok(response)
}

/// An entry behind its length in two bytes, big endian.
fn bundled(entry: &Digest) -> Vec<u8> {
    [&[0, 32], &entry.as_bytes()[..]].concat()
}

fn no_such_tile() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_tile",
        "The log has no such tile (yet). Read /log/checkpoint for its size; the form of addresses is that of C2SP tlog-tiles.",
    )
}

/// What an address names.
#[derive(PartialEq, Eq, Debug)]
struct TilePath {
    is_entries: bool,
    level: u8,
    index: u64,
    width: u64,
}

impl TilePath {
    /// Reads `LEVEL/x001/234.p/17`. Each tile has exactly one address.
    fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let (is_entries, level) = match level {
            "entries" => (true, 0),
            level => (false, level.parse().ok().filter(|parsed: &u8| parsed.to_string() == level)?),
        };
        // A tree of 2^64 leaves has eight levels of tiles.
        if level > 7 {
            return None;
        }
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let parsed: u64 = width.parse().ok()?;
                let is_partial = (1..TILE_WIDTH).contains(&parsed) && parsed.to_string() == width;
                (index, is_partial.then_some(parsed)?)
            }
        };
        let mut number: u64 = 0;
        let parts: Vec<&str> = index.split('/').collect();
        for (place, part) in parts.iter().enumerate() {
            let is_last = place + 1 == parts.len();
            let digits = if is_last { part } else { part.strip_prefix('x')? };
            let is_group = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let group: u64 = is_group.then(|| digits.parse().ok())??;
            // A leading group of zeros would be a second address.
            if place == 0 && !is_last && group == 0 {
                return None;
            }
            number = number.checked_mul(1000)?.checked_add(group)?;
        }
        number.checked_mul(TILE_WIDTH)?;
        Some(Self { is_entries, level, index: number, width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tile_has_one_address() {
        let tile = |level, index, width| Some(TilePath { is_entries: false, level, index, width });
        assert_eq!(TilePath::parse("0/000"), tile(0, 0, 256));
        assert_eq!(TilePath::parse("2/x001/x234/067.p/17"), tile(2, 1_234_067, 17));
        let bundle = TilePath { is_entries: true, level: 0, index: 5, width: 1 };
        assert_eq!(TilePath::parse("entries/005.p/1"), Some(bundle));
        for bad in [
            "",
            "0",
            "0/",
            "0/0",
            "0/0000",
            "00/000",
            "8/000",
            "-1/000",
            "0/x000/001",
            "0/001/002",
            "0/x001",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "entries/",
            "0/..",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
            "0/+01",
            "entries/00a",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad}");
        }
    }
}
