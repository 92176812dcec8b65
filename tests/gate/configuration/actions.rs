//! Declared tools, and the key of their grants.

use super::{Folder, GOOD, LOG_KEY};

/// A tool, and an environment that lets it be asked for.
const TOOL: &str = r#"
[grant]
key_file = "grant-key"

[[action]]
tool = "restart"
title = "Restart a database"
audience = "https://db-proxy.example.com"
target = "/database"
fields = [{ label = "Database", argument = "/database" }]
secrets = ["/password"]
schema = { type = "object", properties = { database = { type = "string" } } }
"#;

fn folder(find: &str, replace: &str) -> Folder {
    let text = GOOD
        .replace("[environment.production]", "[environment.production]\nactions = [\"restart\"]");
    let text = text + TOOL;
    assert!(find.is_empty() || text.contains(find), "{find}");
    let folder = Folder::new(&text.replacen(find, replace, usize::from(!find.is_empty())));
    folder.write("grant-key", LOG_KEY);
    folder.write("schema.json", r#"{"type": "object", "required": ["database"]}"#);
    folder
}

#[test]
fn a_declared_tool_is_part_of_the_rules() {
    let config = folder("", "").accepted();
    let policy = &config.environments["production"];
    assert_eq!(policy.action("restart").unwrap().title, "Restart a database");
    assert!(config.grant_keys.is_some());
    let changed = folder("Restart a database", "Drop a database").accepted();
    let digest = |policy: &countersign::domain::policy::Policy| policy.canonical().unwrap().1;
    assert_ne!(digest(&changed.environments["production"]), digest(policy));
    let inline = r#"schema = { type = "object", properties = { database = { type = "string" } } }"#;
    let in_file = folder(inline, "schema_file = \"schema.json\"").accepted();
    let schema = &in_file.environments["production"].action("restart").unwrap().schema;
    assert_eq!(schema["required"][0], "database");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (find, replace, key, says) in [
        (
            "actions = [\"restart\"]",
            "actions = [\"drop\"]",
            "environment.production.actions",
            "no [[action]] declares it",
        ),
        ("[grant]\nkey_file = \"grant-key\"", "", "grant.key_file", "is missing"),
        ("\"grant-key\"", "\"schema.json\"", "grant.key_file", "not 32 bytes"),
        (
            "key_file = \"grant-key\"",
            "key_file = \"grant-key\"\nprevious_keys = [\"x\"]",
            "grant.previous_keys",
            "RFC 7638",
        ),
        ("\"Restart a database\"", "\"\"", "action.restart.title", "one line"),
        ("\"https://db-proxy.example.com\"", "\" \"", "action.restart.audience", "one line"),
        (
            "argument = \"/database\"",
            "argument = \"database\"",
            "action.restart.fields",
            "JSON pointer",
        ),
        (
            "target = \"/database\"",
            "target = \"/password\"",
            "action.restart.target",
            "is a secret",
        ),
        (
            "type = \"string\"",
            "type = \"text\"",
            "action.restart.schema",
            "/properties/database/type",
        ),
        (
            "type = \"string\"",
            "format = \"uri\"",
            "action.restart.schema",
            "is a keyword that is not known here",
        ),
        (
            "{ type = \"object\", properties",
            "{ type = \"array\", properties",
            "action.restart.schema",
            "type = \"object\"",
        ),
        (
            "schema = {",
            "schema_file = \"schema.json\"\nschema = {",
            "action.restart.schema",
            "one of them",
        ),
    ] {
        folder(find, replace).assert_refused(key, says);
    }
    let unnamed = GOOD.to_owned() + &TOOL.replace("tool = \"restart\"", "tool = \"Re start\"");
    let folder = Folder::new(&unnamed);
    folder.write("grant-key", LOG_KEY);
    folder.assert_refused("action.Re start.tool", "rename it");
    let twice = GOOD.to_owned() + TOOL + &TOOL.replace("[grant]\nkey_file = \"grant-key\"", "");
    let folder = Folder::new(&twice);
    folder.write("grant-key", LOG_KEY);
    folder.assert_refused("action", "declared twice");
}

#[test]
fn a_template_says_everything_about_a_tool_but_its_name() {
    let own = TOOL.split_once("title = ").unwrap().1;
    let own = format!("title = {own}");
    let declared = |more: &str| folder(&own, &format!("template = \"command\"\n{more}"));
    let config = declared("").accepted();
    let action = config.environments["production"].action("restart").unwrap();
    assert_eq!(*action, countersign::domain::command::command_type("restart"));
    for (key, more) in [
        ("title", "title = \"Run it\""),
        ("audience", "audience = \"https://x.example.com\""),
        ("schema", "schema = { type = \"object\" }"),
        ("schema_file", "schema_file = \"schema.json\""),
        ("target", "target = \"/directory\""),
        ("fields", "fields = [{ label = \"C\", argument = \"/command\" }]"),
        ("blast_radius", "blast_radius = [{ label = \"C\", argument = \"/command\" }]"),
        ("secrets", "secrets = [\"/command\"]"),
    ] {
        declared(more).assert_refused(&format!("action.restart.{key}"), "beside template");
    }
    for missing in
        ["title = \"Restart a database\"\n", "audience = \"https://db-proxy.example.com\"\n"]
    {
        let key = missing.split(' ').next().unwrap();
        folder(missing, "").assert_refused(&format!("action.restart.{key}"), "is missing");
    }
}
