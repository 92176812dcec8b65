//! JSON Schema (draft 2020-12), the part of it that says what the arguments of one call may be.
//!
//! A keyword that is not known here is refused when the configuration is read: one that was overlooked
//! would let through what its author meant to forbid. Nothing is fetched, and patterns run in linear time.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// What stands for itself and forbids nothing.
const ANNOTATIONS: [&str; 5] = ["$schema", "title", "description", "examples", "default"];
/// The keywords that forbid something.
const KEYWORDS: [&str; 16] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
];
const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];

/// Something that is not as it must be, and where (RFC 6901; the whole is the empty text).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// The place.
    pub at: String,
    /// What is wrong there, to stand behind the place in a sentence.
    pub problem: String,
}

fn misfit<T>(at: &str, problem: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { at: at.to_owned(), problem: problem.into() })
}

/// Checks that a schema is one that [`fits`] understands as a whole.
///
/// # Errors
/// The first place where it is not.
pub fn check_schema(schema: &Value) -> Result<(), Misfit> {
    check_at(schema, "")
}

fn check_at(schema: &Value, at: &str) -> Result<(), Misfit> {
    let members = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(members) => members,
        _ => return misfit(at, "is neither an object nor true or false"),
    };
    for (name, value) in members {
        let here = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        check_keyword(name, value, &here)?;
    }
    Ok(())
}

fn check_keyword(name: &str, value: &Value, here: &str) -> Result<(), Misfit> {
    let is_count = value.as_u64().is_some();
    let is_right = match name {
        "type" => match value {
            Value::Array(types) => !types.is_empty() && types.iter().all(is_type),
            one => is_type(one),
        },
        "enum" => value.as_array().is_some_and(|values| !values.is_empty()),
        "properties" => {
            let Value::Object(properties) = value else {
                return misfit(here, "is no object of schemas");
            };
            for (property, schema) in properties {
                check_at(schema, &format!("{here}/{property}"))?;
            }
            true
        }
        "items" | "additionalProperties" => return check_at(value, here),
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "minItems" | "maxItems" | "minLength" | "maxLength" => is_count,
        "minimum" | "maximum" => value.is_number(),
        "multipleOf" => value.as_u64().is_some_and(|step| step > 0),
        "uniqueItems" => value.is_boolean(),
        "pattern" => value.as_str().is_some_and(|pattern| Regex::new(pattern).is_ok()),
        "const" => true,
        name if ANNOTATIONS.contains(&name) => true,
        _ => {
            let known = KEYWORDS.join(", ");
            return misfit(
                here,
                format!(
                    "is a keyword that is not known here, so it would forbid nothing; known are {known}"
                ),
            );
        }
    };
    if is_right { Ok(()) } else { misfit(here, "has a value that this keyword cannot have") }
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// Checks that a value fits a schema that [`check_schema`] found good.
///
/// # Errors
/// The first place where it does not.
pub fn fits(schema: &Value, value: &Value) -> Result<(), Misfit> {
    fits_at(schema, value, "")
}

fn fits_at(schema: &Value, value: &Value, at: &str) -> Result<(), Misfit> {
    let members = match schema {
        Value::Object(members) => members,
        Value::Bool(true) => return Ok(()),
        _ => return misfit(at, "may not be given"),
    };
    if let Some(types) = members.get("type") {
        let names: Vec<&str> = match types {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if !names.iter().any(|name| has_type(value, name)) {
            return misfit(at, format!("is not of the type {}", names.join(" or ")));
        }
    }
    if let Some(Value::Array(values)) = members.get("enum")
        && !values.contains(value)
    {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        return misfit(at, format!("is none of {}", values.join(", ")));
    }
    if let Some(constant) = members.get("const")
        && constant != value
    {
        return misfit(at, format!("is not {constant}"));
    }
    match value {
        Value::Object(object) => fits_object(members, object, at),
        Value::Array(items) => fits_array(members, items, at),
        Value::String(text) => fits_text(members, text, at),
        Value::Number(number) => fits_number(members, number, at),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        // A number without a fraction, however it is spelled.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn fits_object(
    schema: &Map<String, Value>,
    object: &Map<String, Value>,
    at: &str,
) -> Result<(), Misfit> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !object.contains_key(name) {
            return misfit(at, format!("lacks {name:?}"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, value) in object {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let own = properties.and_then(|properties| properties.get(name));
        if let Some(schema) = own.or_else(|| schema.get("additionalProperties")) {
            fits_at(schema, value, &place)?;
        }
    }
    Ok(())
}

fn fits_array(schema: &Map<String, Value>, items: &[Value], at: &str) -> Result<(), Misfit> {
    let length = items.len() as u64;
    within(schema, ("minItems", "maxItems"), length, at, "items")?;
    let is_unique = schema.get("uniqueItems").and_then(Value::as_bool).unwrap_or_default();
    let repeats = |(index, item): (usize, &Value)| items[..index].contains(item);
    if is_unique && items.iter().enumerate().any(repeats) {
        return misfit(at, "has one item twice");
    }
    if let Some(schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            fits_at(schema, item, &format!("{at}/{index}"))?;
        }
    }
    Ok(())
}

fn fits_text(schema: &Map<String, Value>, text: &str, at: &str) -> Result<(), Misfit> {
    let length = text.chars().count() as u64;
    within(schema, ("minLength", "maxLength"), length, at, "characters")?;
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
    {
        return misfit(at, format!("does not match {pattern:?}"));
    }
    Ok(())
}

fn within(
    schema: &Map<String, Value>,
    (least, most): (&str, &str),
    count: u64,
    at: &str,
    what: &str,
) -> Result<(), Misfit> {
    let bound = |name| schema.get(name).and_then(Value::as_u64);
    if let Some(least) = bound(least).filter(|least| count < *least) {
        return misfit(at, format!("has fewer than {least} {what}"));
    }
    if let Some(most) = bound(most).filter(|most| count > *most) {
        return misfit(at, format!("has more than {most} {what}"));
    }
    Ok(())
}

fn fits_number(
    schema: &Map<String, Value>,
    number: &serde_json::Number,
    at: &str,
) -> Result<(), Misfit> {
    let Some(value) = number.as_f64() else { return misfit(at, "is no number that can be told") };
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| value < *least) {
        return misfit(at, format!("is less than {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| value > *most) {
        return misfit(at, format!("is more than {most}"));
    }
    if let Some(step) = bound("multipleOf").filter(|step| value % step != 0.0) {
        return misfit(at, format!("is no multiple of {step}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "required": ["database"], "additionalProperties": false,
            "properties": {
                "database": {"type": "string", "pattern": "^[a-z]+-db$", "maxLength": 12},
                "rows": {"type": "integer", "minimum": 1, "maximum": 100, "multipleOf": 2},
                "mode": {"enum": ["fast", "safe", 3]},
                "dry": {"type": ["boolean", "null"]},
                "version": {"const": 2},
                "tables": {"type": "array", "minItems": 1, "maxItems": 2, "uniqueItems": true, "items": {"type": "string", "minLength": 2}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "never": false,
            },
        })
    }

    #[test]
    fn what_fits_fits() {
        check_schema(&schema()).unwrap();
        for arguments in [
            json!({"database": "orders-db"}),
            json!({"database": "a-db", "rows": 2, "mode": 3, "dry": null, "version": 2}),
            json!({"database": "a-db", "rows": 4.0, "tables": ["aa", "bb"], "labels": {"x/y": "z"}}),
        ] {
            assert_eq!(fits(&schema(), &arguments), Ok(()), "{arguments}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        let fault = |arguments: Value| {
            let Misfit { at, problem } = fits(&schema(), &arguments).unwrap_err();
            format!("{at} {problem}")
        };
        for (change, expected) in [
            (json!(["database"]), " is not of the type object"),
            (json!({}), " lacks \"database\""),
            (json!({"database": "ORDERS-db"}), "/database does not match \"^[a-z]+-db$\""),
            (json!({"database": "orders-db\n"}), "/database does not match \"^[a-z]+-db$\""),
            (json!({"database": 1}), "/database is not of the type string"),
            (json!({"database": "aaaaaaaaaaaa-db"}), "/database has more than 12 characters"),
            (json!({"database": "a-db", "rows": 0}), "/rows is less than 1"),
            (json!({"database": "a-db", "rows": 102}), "/rows is more than 100"),
            (json!({"database": "a-db", "rows": 3}), "/rows is no multiple of 2"),
            (json!({"database": "a-db", "rows": 2.5}), "/rows is not of the type integer"),
            (json!({"database": "a-db", "rows": "2"}), "/rows is not of the type integer"),
            (json!({"database": "a-db", "mode": "slow"}), "/mode is none of \"fast\", \"safe\", 3"),
            (json!({"database": "a-db", "dry": 0}), "/dry is not of the type boolean or null"),
            (json!({"database": "a-db", "version": 1}), "/version is not 2"),
            (json!({"database": "a-db", "tables": []}), "/tables has fewer than 1 items"),
            (json!({"database": "a-db", "tables": ["aa", "aa"]}), "/tables has one item twice"),
            (
                json!({"database": "a-db", "tables": ["aa", "b"]}),
                "/tables/1 has fewer than 2 characters",
            ),
            (
                json!({"database": "a-db", "labels": {"x/y": 1}}),
                "/labels/x~1y is not of the type string",
            ),
            (json!({"database": "a-db", "never": 1}), "/never may not be given"),
            (json!({"database": "a-db", "extra": 1}), "/extra may not be given"),
        ] {
            assert_eq!(fault(change.clone()), expected, "{change}");
        }
    }

    #[test]
    fn schemas_that_would_forbid_less_than_they_say_are_refused() {
        for (schema, at) in [
            (json!("x"), ""),
            (json!({"type": "text"}), "/type"),
            (json!({"properties": {"a": {"minLenght": 1}}}), "/properties/a/minLenght"),
            (json!({"$ref": "https://example.com/x"}), "/$ref"),
            (json!({"oneOf": [true]}), "/oneOf"),
            (json!({"format": "uri"}), "/format"),
            (json!({"pattern": "(?=x)"}), "/pattern"),
            (json!({"enum": []}), "/enum"),
            (json!({"required": "a"}), "/required"),
            (json!({"items": {"maximum": "1"}}), "/items/maximum"),
        ] {
            assert_eq!(check_schema(&schema).unwrap_err().at, at, "{schema}");
        }
    }
}
