//! A command that is run only after people signed it: the arguments of its action, and the type of action that
//! `template = "command"` of the configuration stands for. `countersign exec` asks for such actions and runs them.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::action::{ActionType, Field};
use crate::domain::digest::Digest;

/// What the tool is called where nobody gives it another name.
pub const RUN_COMMAND: &str = "run-command";
/// Who takes the grants of commands: the program that runs them, and nothing on the network.
pub const COMMAND_AUDIENCE: &str = "urn:countersign:exec";
/// The longest name of a host (RFC 1035, section 2.3.4).
const LONGEST_HOST: u32 = 255;

/// A command as it is signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Command {
    /// The program's name and its arguments, as the program gets them: a list and never a line, so that nothing
    /// depends on how a shell would take it apart.
    pub command: Vec<String>,
    /// The file that is executed.
    pub program: HashedFile,
    /// Where it runs.
    pub directory: String,
    /// The files that it depends on, in the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<HashedFile>,
    /// The one machine on which it may run; any, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A file and what it held.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct HashedFile {
    /// Its name; one that is not absolute begins at the directory.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

impl Command {
    /// The arguments of the action.
    pub fn arguments(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(arguments)) => arguments,
            // Texts, lists and structs of such have a form in JSON, and a struct has that of an object.
            Ok(_) | Err(_) => Map::new(),
        }
    }

    /// The first thing of it that is another one there, in words.
    pub fn difference(&self, there: &Self) -> Option<String> {
        if self.program != there.program {
            return Some(changed("program", &self.program, Some(&there.program)));
        }
        for file in &self.files {
            let found = there.files.iter().find(|other| other.path == file.path);
            if found != Some(file) {
                return Some(changed("file", file, found));
            }
        }
        let differs = [
            (self.command != there.command, "the command is another one"),
            (self.directory != there.directory, "the directory is another one"),
            (self.host != there.host, "this is another machine"),
            (self.files != there.files, "other files are named"),
        ];
        differs.iter().find(|(differs, _)| *differs).map(|(_, what)| (*what).to_owned())
    }
}

fn changed(kind: &str, was: &HashedFile, is: Option<&HashedFile>) -> String {
    let HashedFile { path, sha256 } = was;
    match is {
        Some(is) if is.path == *path => {
            let now = is.sha256;
            format!(
                "the {kind} {path} changed: its SHA-256 was {sha256} when it was asked for and is {now}"
            )
        }
        Some(is) => format!("the {kind} is {} now, and was {path}", is.path),
        None => format!("the {kind} {path} is not there"),
    }
}

/// The type of action of commands, under the name that the configuration gives it.
pub fn command_type(tool: &str) -> ActionType {
    let field = |label: &str, argument: &str| Field {
        label: label.to_owned(),
        argument: argument.to_owned(),
    };
    ActionType {
        tool: tool.to_owned(),
        title: "Run a command".to_owned(),
        audience: COMMAND_AUDIENCE.to_owned(),
        schema: schema(),
        target: Some("/command".to_owned()),
        fields: vec![
            field("Command", "/command"),
            field("Directory", "/directory"),
            field("Program", "/program"),
            field("Files", "/files"),
            field("On this machine alone", "/host"),
        ],
        blast_radius: Vec::new(),
        secrets: Vec::new(),
    }
}

fn schema() -> Value {
    let file = json!({
        "type": "object", "required": ["path", "sha256"], "additionalProperties": false,
        "properties": {
            "path": {"type": "string", "minLength": 1},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        },
    });
    json!({
        "type": "object", "required": ["command", "program", "directory"], "additionalProperties": false,
        "properties": {
            "command": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "program": file,
            "directory": {"type": "string", "pattern": "^/"},
            "files": {"type": "array", "minItems": 1, "uniqueItems": true, "items": file},
            "host": {"type": "string", "minLength": 1, "maxLength": LONGEST_HOST},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json_schema::{check_schema, fits};

    fn file(path: &str, content: &str) -> HashedFile {
        HashedFile { path: path.to_owned(), sha256: Digest::of(content) }
    }

    fn command() -> Command {
        Command {
            command: ["deploy", "--to", "production", ""].map(str::to_owned).to_vec(),
            program: file("/bin/deploy", "program"),
            directory: "/work".to_owned(),
            files: vec![file("plan.json", "plan")],
            host: None,
        }
    }

    #[test]
    fn the_arguments_of_a_command_fit_its_type() {
        let schema = command_type(RUN_COMMAND).schema;
        check_schema(&schema).unwrap();
        let arguments = Value::Object(command().arguments());
        fits(&schema, &arguments).unwrap();
        assert!(arguments.get("host").is_none());
        let on_host = Command { host: Some("build-7".to_owned()), files: vec![], ..command() };
        fits(&schema, &Value::Object(on_host.arguments())).unwrap();
        for (place, value) in [
            ("/command", json!([])),
            ("/command", json!("deploy --to production")),
            ("/command", json!([["deploy"]])),
            ("/directory", json!("work")),
            ("/program", json!("/bin/deploy")),
            ("/program/sha256", json!("0")),
            ("/files", json!([])),
            ("/files/0", json!({"path": "", "sha256": Digest::of("")})),
        ] {
            let mut other = arguments.clone();
            *other.pointer_mut(place).unwrap() = value;
            assert!(fits(&schema, &other).is_err(), "{other}");
        }
        let mut more = arguments;
        more["shell"] = json!(true);
        assert!(fits(&schema, &more).is_err());
    }

    #[test]
    fn what_differs_is_named() {
        let signed = command();
        assert_eq!(signed.difference(&command()), None);
        let with = |change: &dyn Fn(&mut Command)| {
            let mut other = command();
            change(&mut other);
            signed.difference(&other).unwrap()
        };
        for (difference, part) in [
            (
                with(&|other| other.program = file("/bin/deploy", "x")),
                "program /bin/deploy changed",
            ),
            (with(&|other| other.program.path = "/other/deploy".into()), "is /other/deploy now"),
            (with(&|other| other.files[0].sha256 = Digest::of("x")), "file plan.json changed"),
            (with(&|other| other.files.clear()), "plan.json is not there"),
            (with(&|other| other.files.push(file("z", ""))), "other files"),
            (with(&|other| other.command.push("x".into())), "command is another"),
            (with(&|other| other.directory.push('x')), "directory is another"),
            (with(&|other| other.host = Some("h".into())), "another machine"),
        ] {
            assert!(difference.contains(part), "{difference}");
        }
    }
}
