//! Changes to services and worker pools: what a create, a patch and a delete accept, and what they start.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::family::Family;
use super::operation;
use super::refusal::{Code, Refusal};
use super::state::{Health, Pending, Revision, Service, ServiceName, State};
use super::{mask, schema, template, traffic};

/// The circumstances of a change.
#[derive(Clone, Debug)]
pub struct Circumstances {
    pub now: Timestamp,
    /// After what time the change takes effect; never, if it gets stuck.
    pub delay: Option<SignedDuration>,
    /// The message with which a revision made by this change will fail.
    pub revision_fails: Option<String>,
    /// Who makes the change; the project's deployer, if nobody is named.
    pub modifier: Option<String>,
}

/// A patch as the caller asked for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patch<'a> {
    pub mask: Option<&'a str>,
    pub allow_missing: bool,
    pub force_new_revision: bool,
}

/// Creates a service and answers with the name of the operation that brings it up.
///
/// # Errors
/// `ALREADY_EXISTS`, or `INVALID_ARGUMENT` for a service that cannot be accepted.
pub fn create(
    state: &mut State,
    name: &ServiceName,
    body: &Value,
    circumstances: &Circumstances,
) -> Result<String, Refusal> {
    template::check_id(name)?;
    if state.services.contains_key(&name.to_string()) {
        let message = format!("Resource '{}' already exists.", name.id);
        return Err(Refusal::new(Code::AlreadyExists, message));
    }
    let wanted = spec_of(name.family, body)?;
    let (version, now) = (state.next(), circumstances.now);
    let creator = modifier(name, circumstances);
    let mut service = Service {
        name: name.clone(),
        uid: uid(name, version),
        spec: Map::new(),
        generation: 0,
        observed_generation: 0,
        created: now,
        updated: now,
        last_modifier: creator.clone(),
        creator,
        version,
        latest_created: None,
        latest_ready: None,
        traffic_statuses: Vec::new(),
        configuration: Health::Reconciling,
        routes: Health::Reconciling,
        transition: now,
        revisions: std::collections::BTreeMap::new(),
        pending: None,
    };
    write(&mut service, wanted, false, version, circumstances)?;
    Ok(start(state, service, circumstances, false))
}

/// Changes a service and answers with the name of the operation that puts it into effect.
///
/// # Errors
/// `NOT_FOUND`, `ABORTED` for another etag than the current one, `ALREADY_EXISTS` for a revision's
/// name that is taken by another template, `INVALID_ARGUMENT`.
pub fn patch(
    state: &mut State,
    name: &ServiceName,
    body: &Value,
    patch: Patch<'_>,
    circumstances: &Circumstances,
) -> Result<String, Refusal> {
    let Some(mut service) = state.services.get(&name.to_string()).cloned() else {
        if patch.allow_missing {
            return create(state, name, body, circumstances);
        }
        return Err(Refusal::not_found(&name.to_string()));
    };
    if body["name"].as_str().is_some_and(|given| !given.is_empty() && given != name.to_string()) {
        let field = format!("{}.name", name.family.field());
        return Err(Refusal::field(field, "must be the name in the address."));
    }
    let wanted = spec_of(name.family, body)?;
    check_etag(&service, body["etag"].as_str())?;
    refuse_deleted(&service)?;
    let updated = mask::apply(name.family.schema(), patch.mask, &service.spec, &wanted)?;
    let version = state.next();
    write(&mut service, updated, patch.force_new_revision, version, circumstances)?;
    service.last_modifier = modifier(name, circumstances);
    Ok(start(state, service, circumstances, false))
}

/// Deletes a service and answers with the name of the operation.
///
/// # Errors
/// `NOT_FOUND`, or `ABORTED` for another etag than the current one.
pub fn delete(
    state: &mut State,
    name: &ServiceName,
    etag: Option<&str>,
    circumstances: &Circumstances,
) -> Result<String, Refusal> {
    let service = state.services.get(&name.to_string()).cloned();
    let mut service = service.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
    check_etag(&service, etag)?;
    refuse_deleted(&service)?;
    service.version = state.next();
    service.last_modifier = modifier(name, circumstances);
    Ok(start(state, service, circumstances, true))
}

/// The current etag of a service or a revision, quoted as HTTP writes it.
pub fn etag(uid: &str, version: u64) -> String {
    let text = format!("{version}/{uid}");
    format!("\"{}\"", data_encoding::BASE64_NOPAD.encode(text.as_bytes()))
}

fn spec_of(family: Family, body: &Value) -> Result<Map<String, Value>, Refusal> {
    let mut spec = schema::normalise(family.schema(), body, family.field())?;
    spec.remove("name");
    spec.remove("etag");
    Ok(spec)
}

/// Refuses an etag that is not the service's current one; none is accepted.
fn check_etag(service: &Service, given: Option<&str>) -> Result<(), Refusal> {
    let current = etag(&service.uid, service.version);
    match given {
        Some(given) if !given.is_empty() && given != current => {
            let message = format!(
                "Conflict for resource '{}': version '{given}' was specified but current version is '{current}'.",
                service.name.id
            );
            Err(Refusal::new(Code::Aborted, message))
        }
        _ => Ok(()),
    }
}

fn refuse_deleted(service: &Service) -> Result<(), Refusal> {
    if service.pending.as_ref().is_none_or(|pending| !pending.deletes) {
        return Ok(());
    }
    let message = format!("Resource '{}' is being deleted.", service.name.id);
    Err(Refusal::new(Code::FailedPrecondition, message))
}

/// Puts a new spec into the service and makes the revision that it asks for.
fn write(
    service: &mut Service,
    mut spec: Map<String, Value>,
    force_new_revision: bool,
    version: u64,
    circumstances: &Circumstances,
) -> Result<(), Refusal> {
    let family = service.name.family;
    template::complete(&mut spec, &service.name)?;
    let revision = asked_revision(service, &spec, force_new_revision, version)?;
    let targets = traffic::targets(family, &mut spec);
    let exists = |id: &str| service.revisions.contains_key(id) || revision.0 == id;
    traffic::check(family, &targets, exists)?;
    if service.spec == spec && !force_new_revision {
        return Ok(());
    }
    service.spec = spec;
    service.generation += 1;
    service.version = version;
    service.updated = circumstances.now;
    service.transition = circumstances.now;
    let (id, frozen) = revision;
    if !service.revisions.contains_key(&id) {
        let made = Revision {
            uid: uid(&service.name, version),
            id: id.clone(),
            spec: frozen,
            generation: 1,
            created: circumstances.now,
            updated: circumstances.now,
            creator: modifier(&service.name, circumstances),
            version,
            health: Health::Reconciling,
            fails: circumstances.revision_fails.clone(),
        };
        service.revisions.insert(id.clone(), made);
    }
    service.latest_created = Some(id);
    Ok(())
}

/// The revision that a spec asks for: the one that is there, or a new one with the caller's name
/// or a generated one.
fn asked_revision(
    service: &Service,
    spec: &Map<String, Value>,
    force_new: bool,
    version: u64,
) -> Result<(String, Map<String, Value>), Refusal> {
    let mut frozen = spec.get("template").and_then(Value::as_object).cloned().unwrap_or_default();
    let named = frozen.remove("revision").and_then(|name| name.as_str().map(str::to_owned));
    let Some(named) = named else {
        let latest = service.latest_created.as_ref().and_then(|id| service.revisions.get(id));
        let same = latest.filter(|latest| latest.spec == frozen && !force_new);
        let generated =
            || format!("{}-{:05}-{}", service.name.id, service.generation + 1, letters(version));
        return Ok((same.map_or_else(generated, |latest| latest.id.clone()), frozen));
    };
    match service.revisions.get(&named) {
        Some(existing) if existing.spec != frozen || force_new => {
            let message =
                format!("Revision named '{named}' with different configuration already exists.");
            Err(Refusal::new(Code::AlreadyExists, message))
        }
        _ => Ok((named, frozen)),
    }
}

/// Starts the operation that puts the service's spec into effect. It also takes over the
/// operations that were still running.
fn start(
    state: &mut State,
    mut service: Service,
    circumstances: &Circumstances,
    deletes: bool,
) -> String {
    let mut operations = service.pending.take().map_or_else(Vec::new, |pending| pending.operations);
    let name = operation::begin(
        state,
        &service.name.parent(),
        &service.name.to_string(),
        circumstances.now,
    );
    operations.push(name.clone());
    let due = circumstances.delay.map(|delay| circumstances.now + delay);
    service.pending = Some(Pending { due, operations, deletes });
    let kind = service.name.family.kind();
    operation::keep_resource(state, &name, kind, super::render::service(&service));
    state.services.insert(service.name.to_string(), service);
    name
}

fn modifier(name: &ServiceName, circumstances: &Circumstances) -> String {
    let deployer = || format!("deployer@{}.iam.gserviceaccount.com", name.project);
    circumstances.modifier.clone().unwrap_or_else(deployer)
}

/// A UUID that depends on the name and the serial number alone.
fn uid(name: &ServiceName, version: u64) -> String {
    operation::unique(&format!("{name}#{version}"))
}

/// Three letters at the end of a generated revision's name.
fn letters(version: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz";
    let letter = |power: u32| {
        let place = version.wrapping_mul(7919) / 20_u64.pow(power) % 20;
        char::from(LETTERS[usize::try_from(place).unwrap_or(0)])
    };
    (0..3).map(letter).collect()
}
