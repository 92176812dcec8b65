//! As much of Google's Cloud Identity as the gate meets: the groups that a person is in, directly or not.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::people::PEOPLE;
use super::{Identity, refusal};

/// As many as a page holds here, so that there are more pages than one.
const PAGE: usize = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Search {
    query: String,
    page_size: usize,
    #[serde(default)]
    page_token: String,
}

/// `GET /v1/groups/-/memberships:searchTransitiveGroups`: with a person's access token of that person alone,
/// without one (the sandbox's service account) of anybody.
pub(super) async fn search(
    State(identity): State<Identity>,
    Query(search): Query<Search>,
    headers: HeaderMap,
) -> Response {
    let refused = |status, text| refusal(status, "permission_denied", text);
    let label = "'cloudidentity.googleapis.com/groups.discussion_forum' in labels";
    let address = search.query.strip_prefix("member_key_id == '");
    let address = address.and_then(|rest| rest.split_once("' && ")).filter(|one| one.1 == label);
    let Some((address, _)) = address.filter(|_| search.page_size <= 1000) else {
        return refused(StatusCode::BAD_REQUEST, "the query names no member and label");
    };
    let login = address.strip_suffix("@demo.example").unwrap_or_default();
    let Some(person) = PEOPLE.iter().find(|person| person.login == login) else {
        return refused(StatusCode::FORBIDDEN, "no such member");
    };
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let asker = token.and_then(|token| identity.codes().person(token, identity.now()));
        if asker.is_none_or(|asker| asker.login != person.login) {
            return refused(StatusCode::UNAUTHORIZED, "the token is not that member's");
        }
    }
    let start: usize = search.page_token.parse().unwrap_or_default();
    let groups = person.groups.iter().skip(start).take(PAGE);
    let memberships: Vec<Value> = groups
        .map(|name| {
            json!({
                "group": format!("groups/{name}"),
                "groupKey": {"id": format!("{name}@demo.example")},
                "displayName": name,
                "relationType": "DIRECT",
            })
        })
        .collect();
    let mut answer = json!({"memberships": memberships});
    if start + PAGE < person.groups.len() {
        answer["nextPageToken"] = (start + PAGE).to_string().into();
    }
    Json(answer).into_response()
}
