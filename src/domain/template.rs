//! Revision templates in the Cloud Run Admin API's JSON: merging a change in, and what may not be in one.

use serde_json::{Map, Value};

use crate::domain::image::ImageReference;
use crate::domain::plain_credential::{looks_like_credential, words_hold_credential};
use crate::domain::request::RequestRefusal;

/// Our own annotations, on a domain of our own: those of Google are refused by the API.
pub const APPROVAL_ANNOTATION: &str = "countersign.dev/approval";
const OWN_PREFIX: &str = "countersign.dev/";

/// The complete template that is proposed: what runs, with the requested changes merged in, the
/// image of the main container replaced, and the revision's name and the approval's id written down.
///
/// Objects merge member by member and `null` removes (RFC 7396); lists are replaced whole, except
/// the containers, which merge by name, or by position where they have none.
pub fn propose(
    running: Option<&Value>,
    changes: Option<&Value>,
    image: &ImageReference,
    revision: &str,
    approval: &str,
) -> Result<Value, RequestRefusal> {
    let empty = Value::Object(Map::new());
    let mut proposed = running.unwrap_or(&empty).clone();
    if let Some(changes) = changes {
        refuse_reserved(changes)?;
        merge(&mut proposed, changes, "");
    }
    put_image(&mut proposed, image)?;
    mark(&mut proposed, approval);
    proposed["revision"] = revision.into();
    refuse_imageless(&proposed)?;
    refuse_unsignable(proposed)
}

/// The same of a job, whose containers stand one level deeper, and whose executions the gate names elsewhere.
pub fn propose_execution(
    running: &Value,
    changes: Option<&Value>,
    image: &ImageReference,
    approval: &str,
) -> Result<Value, RequestRefusal> {
    let mut proposed = running.clone();
    if let Some(changes) = changes {
        refuse_reserved(changes)?;
        if let Some(task) = changes.get("template") {
            refuse_reserved(task)?;
        }
        merge(&mut proposed, changes, "");
    }
    let template =
        proposed.as_object_mut().ok_or_else(|| invalid("template", "is not an object"))?;
    let task = template.entry("template").or_insert_with(|| Value::Object(Map::new()));
    put_image(task, image)?;
    refuse_imageless(task)?;
    mark(&mut proposed, approval);
    refuse_unsignable(proposed)
}

fn refuse_unsignable(proposed: Value) -> Result<Value, RequestRefusal> {
    refuse_mutable(&proposed)?;
    refuse_credentials(&proposed)?;
    Ok(proposed)
}

/// Gives the main container this image.
fn put_image(template: &mut Value, image: &ImageReference) -> Result<(), RequestRefusal> {
    let template =
        template.as_object_mut().ok_or_else(|| invalid("template", "is not an object"))?;
    let containers = template.entry("containers").or_insert_with(|| Value::Array(Vec::new()));
    let containers =
        containers.as_array_mut().ok_or_else(|| invalid("template.containers", "is not a list"))?;
    if containers.is_empty() {
        containers.push(Value::Object(Map::new()));
    }
    let main = main_container(containers);
    let main = containers[main]
        .as_object_mut()
        .ok_or_else(|| invalid("template.containers", "holds something that is not an object"))?;
    main.insert("image".to_owned(), image.to_string().into());
    Ok(())
}

/// Writes the approval's id down in a template.
fn mark(template: &mut Value, approval: &str) {
    let Some(template) = template.as_object_mut() else { return };
    let annotations = template.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(APPROVAL_ANNOTATION.to_owned(), approval.into());
    }
}

/// The images that a template, or a change of one, names by digest, in whatever container.
pub fn images(template: &Value) -> Vec<ImageReference> {
    let mut images = Vec::new();
    // The walk ends early only where its check refuses, and this one refuses nothing.
    let _ = walk(template, "template", &mut |_, name, value| {
        let image = value.as_str().filter(|_| name == "image").and_then(|text| text.parse().ok());
        images.extend(image);
        Ok(())
    });
    images
}

/// The container that takes requests: the one with a port, or else the first.
pub fn main_container(containers: &[Value]) -> usize {
    containers.iter().position(|container| container.get("ports").is_some()).unwrap_or(0)
}

fn invalid(field: &str, problem: &str) -> RequestRefusal {
    RequestRefusal::Template { field: field.to_owned(), problem: problem.to_owned() }
}

/// What the gate itself decides may not be in the requested changes.
fn refuse_reserved(changes: &Value) -> Result<(), RequestRefusal> {
    let Some(members) = changes.as_object() else {
        return Err(invalid("template", "is not an object"));
    };
    if members.contains_key("revision") {
        return Err(invalid("template.revision", "is chosen by the gate; leave it out"));
    }
    for map in ["annotations", "labels"] {
        let names = members.get(map).and_then(Value::as_object).into_iter().flatten();
        for (name, _) in names {
            if name.starts_with(OWN_PREFIX) {
                return Err(invalid(
                    &format!("template.{map}"),
                    "names a key of countersign.dev, which the gate writes; leave it out",
                ));
            }
        }
    }
    let containers = members.get("containers").and_then(Value::as_array);
    if let Some(containers) = containers {
        let main = main_container(containers);
        if containers.get(main).is_some_and(|container| container.get("image").is_some()) {
            return Err(invalid(
                "template.containers.image",
                "is set for the main container; name the image in subject.image alone",
            ));
        }
    }
    Ok(())
}

/// A change that names a container which does not run adds one. Cloud Run would refuse it only after
/// somebody signed it.
fn refuse_imageless(proposed: &Value) -> Result<(), RequestRefusal> {
    let containers = proposed.get("containers").and_then(Value::as_array).into_iter().flatten();
    for container in containers {
        if container.get("image").is_none() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or("without a name");
            return Err(invalid(
                "template.containers",
                &format!(
                    "names a container {name:?} that does not run and has no image: name one that runs, or give it an image by digest"
                ),
            ));
        }
    }
    Ok(())
}

fn merge(target: &mut Value, change: &Value, member: &str) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value, name);
                }
            }
        }
        (Value::Array(target), Value::Array(change)) if member == "containers" => {
            for (index, container) in change.iter().enumerate() {
                let name = container.get("name").and_then(Value::as_str);
                let place = match name {
                    Some(name) => target
                        .iter()
                        .position(|known| known.get("name").and_then(Value::as_str) == Some(name)),
                    None => Some(index).filter(|index| *index < target.len()),
                };
                match place {
                    Some(place) => merge(&mut target[place], container, ""),
                    None => target.push(without_nulls(container)),
                }
            }
        }
        (target, change) => *target = without_nulls(change),
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Refuses what can come to mean something else after somebody signed it: images by tag, secrets
/// by alias, base images that Google updates by itself.
pub fn refuse_mutable(template: &Value) -> Result<(), RequestRefusal> {
    walk(template, "template", &mut |path, name, value| match name {
        "image" => match value.as_str().map(str::parse::<ImageReference>) {
            Some(Ok(_)) => Ok(()),
            _ => Err(invalid(path, "names an image that is not named by digest")),
        },
        "baseImageUri" => Err(invalid(
            path,
            "lets Google change the image by itself after the approval; build with a fixed base image",
        )),
        "sourceCode" | "buildConfig" => Err(invalid(
            path,
            "has Cloud Run build the image itself, so that no digest says what runs; build it before",
        )),
        "version" if path.contains("secret") || path.contains("Secret") => match value.as_str() {
            Some(version)
                if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(())
            }
            _ => Err(invalid(
                path,
                "names a secret by alias; name its version by number, so that what is signed is what runs",
            )),
        },
        "secretKeyRef" if value.get("version").is_none() => {
            Err(invalid(path, "names a secret without a version; name its version by number"))
        }
        _ => Ok(()),
    })
}

/// Refuses plain environment values, commands and arguments that look like credentials: they
/// would be part of the signed bytes, and so of pages, exports and proofs, for ever.
pub fn refuse_credentials(template: &Value) -> Result<(), RequestRefusal> {
    walk(template, "template", &mut |path, name, value| {
        let entries = value.as_array().into_iter().flatten();
        match name {
            // Wherever there are environment variables: containers of all kinds have them.
            "env" => {
                for variable in entries {
                    let text = |member| variable.get(member).and_then(Value::as_str);
                    let name = text("name").unwrap_or_default();
                    if looks_like_credential(name, text("value").unwrap_or_default()) {
                        return Err(RequestRefusal::PlainCredential {
                            place: format!("the environment variable {name}"),
                        });
                    }
                }
                Ok(())
            }
            "command" | "args" => {
                if words_hold_credential(entries.filter_map(Value::as_str)) {
                    return Err(RequestRefusal::PlainCredential { place: path.to_owned() });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    })
}

type Check<'a> = dyn FnMut(&str, &str, &Value) -> Result<(), RequestRefusal> + 'a;

fn walk(value: &Value, path: &str, check: &mut Check<'_>) -> Result<(), RequestRefusal> {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                check(&path, name, member)?;
                walk(member, &path, check)?;
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), check)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> ImageReference {
        format!("europe-docker.pkg.dev/demo/app/web@sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    fn proposed(running: Value, changes: Value) -> Result<Value, RequestRefusal> {
        propose(Some(&running), Some(&changes), &image(), "web-new", "apr_x")
    }

    #[test]
    fn changes_are_merged_into_what_runs() {
        let side = format!("r/side@sha256:{}", "b".repeat(64));
        let running = json!({
            "containers": [
                {"name": "web", "image": "old", "ports": [{"containerPort": 8080}],
                 "env": [{"name": "A", "value": "1"}], "resources": {"limits": {"cpu": "1", "memory": "512Mi"}}},
                {"name": "side", "image": side},
            ],
            "timeout": "300s",
        });
        let changes = json!({
            "containers": [{"name": "web", "env": [{"name": "B", "value": "2"}], "resources": {"limits": {"cpu": "2"}}}],
            "timeout": null, "maxInstanceRequestConcurrency": 10,
        });
        assert_eq!(
            proposed(running, changes).unwrap(),
            json!({
                "containers": [
                    {"name": "web", "image": image().to_string(), "ports": [{"containerPort": 8080}],
                     "env": [{"name": "B", "value": "2"}], "resources": {"limits": {"cpu": "2", "memory": "512Mi"}}},
                    {"name": "side", "image": side},
                ],
                "maxInstanceRequestConcurrency": 10,
                "annotations": {"countersign.dev/approval": "apr_x"},
                "revision": "web-new",
            })
        );
        let fresh = propose(None, None, &image(), "web-new", "apr_x").unwrap();
        assert_eq!(fresh["containers"], json!([{"image": image().to_string()}]));
    }

    #[test]
    fn what_could_change_later_is_refused() {
        for changes in [
            json!([]),
            json!({"revision": "web-mine"}),
            json!({"annotations": {"countersign.dev/approval": "apr_y"}}),
            json!({"containers": [{"image": image().to_string()}]}),
            json!({"containers": [{}, {"image": "r/side:latest"}]}),
            json!({"containers": [{"baseImageUri": "google-22"}]}),
            json!({"containers": [{"sourceCode": {"cloudStorageSource": {"bucket": "b", "object": "o"}}}]}),
            json!({"containers": [{"name": "side", "args": ["--fast"]}]}),
            json!({"containers": [{"env": [{"name": "A", "valueSource": {"secretKeyRef": {"secret": "s", "version": "latest"}}}]}]}),
            json!({"containers": [{"env": [{"name": "A", "valueSource": {"secretKeyRef": {"secret": "s"}}}]}]}),
            json!({"volumes": [{"secret": {"secret": "s", "items": [{"path": "p", "version": "latest"}]}}]}),
        ] {
            let refusal = proposed(json!({"containers": [{"image": "x"}]}), changes.clone());
            assert!(
                matches!(refusal, Err(RequestRefusal::Template { .. })),
                "{changes}: {refusal:?}"
            );
        }
        let by_number = json!({"containers": [{"env": [{"name": "DB_PASSWORD", "valueSource": {"secretKeyRef": {"secret": "s", "version": "7"}}}]}]});
        assert!(proposed(json!({}), by_number).is_ok());
    }
}
