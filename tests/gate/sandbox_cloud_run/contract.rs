//! Everything that the sandbox answers is in Google's description, with the type given there.

use serde_json::{Value, json};

use super::{PARENT, Sandbox, WEB, short, target, template};

fn description() -> Value {
    serde_json::from_str(include_str!("../../data/cloud-run-v2-discovery.json")).unwrap()
}

/// Walks an answer along a schema and collects what does not fit.
fn walk(document: &Value, property: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    if let Some(schema) = property["$ref"].as_str() {
        let Some(object) = value.as_object() else { return wrong.push(format!("{path}: {value}")) };
        for (name, value) in object {
            let inner = &document["schemas"][schema]["properties"][name];
            let path = format!("{path}.{name}");
            match inner.is_object() {
                true => walk(document, inner, value, &path, wrong),
                false => wrong.push(format!("{path} is unknown to {schema}")),
            }
        }
        return;
    }
    let fits = match property["type"].as_str().unwrap() {
        "string" if property["enum"].is_array() => {
            property["enum"].as_array().unwrap().contains(value) || value.is_u64()
        }
        "string" => value.as_str().is_some_and(|text| match property["format"].as_str() {
            Some("int64") => text.parse::<i64>().is_ok(),
            Some("google-datetime") => text.parse::<jiff::Timestamp>().is_ok(),
            Some("google-duration") => text.strip_suffix('s').unwrap().parse::<f64>().is_ok(),
            _ => true,
        }),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "array" => {
            for (index, item) in value.as_array().unwrap().iter().enumerate() {
                walk(document, &property["items"], item, &format!("{path}[{index}]"), wrong);
            }
            true
        }
        "object" if property["additionalProperties"]["type"] != "any" => {
            for (key, entry) in value.as_object().unwrap() {
                let path = format!("{path}[{key}]");
                walk(document, &property["additionalProperties"], entry, &path, wrong);
            }
            true
        }
        _ => value.is_object(),
    };
    if !fits {
        wrong.push(format!("{path}: {value} is no {property}"));
    }
}

pub fn check(schema: &str, value: &Value) {
    let mut wrong = Vec::new();
    walk(&description(), &json!({ "$ref": schema }), value, schema, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An operation's metadata and response are typed; their own fields are checked by that type.
pub fn check_operation(operation: &Value) {
    check("GoogleLongrunningOperation", operation);
    for part in ["metadata", "response"] {
        let Some(mut any) = operation[part].as_object().cloned() else { continue };
        let kind = any.remove("@type").unwrap();
        let kind = kind.as_str().unwrap().strip_prefix("type.googleapis.com/google.cloud.run.v2.");
        check(&format!("GoogleCloudRunV2{}", kind.unwrap()), &Value::Object(any));
    }
}

#[tokio::test]
async fn every_answer_of_the_cloud_run_sandbox_is_in_the_published_description() {
    let sandbox = Sandbox::with_web().await;
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let operation = sandbox
        .patch(
            "template,traffic,annotations,labels,ingress,scaling",
            json!({
                "annotations": { "countersign.example/approval": "1" },
                "labels": { "team": "web" },
                "ingress": 2,
                "scaling": { "minInstanceCount": 1 },
                "template": {
                    "revision": "web-two",
                    "timeout": "3.5s",
                    "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
                    "containers": [{
                        "image": super::image('2'),
                        "env": [{ "name": "KEY", "valueSource":
                            { "secretKeyRef": { "secret": "key", "version": "3" } } }],
                        "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
                    }],
                    "volumes": [{ "name": "v", "emptyDir": { "medium": "MEMORY" } }],
                },
                "traffic": [target(&first, 100), json!({ "tag": "two", "revision": "web-two",
                    "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION" })],
            }),
        )
        .await;
    check_operation(&operation);
    check("GoogleCloudRunV2Service", &sandbox.web().await);
    let done = sandbox.done(&operation).await;
    check_operation(&done);
    assert_eq!(done["response"]["template"]["timeout"], "3.500s");
    assert_eq!(done["response"]["ingress"], "INGRESS_TRAFFIC_INTERNAL_ONLY");
    for encoding in ["", "?$alt=json;enum-encoding=int", "?alt=json%3Benum-encoding%3Dint"] {
        let service = sandbox.get(&format!("/v2/{WEB}{encoding}")).await;
        check("GoogleCloudRunV2Service", &service);
        let by_number = json!([2, 4, 2]);
        let by_name = json!([
            "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
            "CONDITION_SUCCEEDED",
            "INGRESS_TRAFFIC_INTERNAL_ONLY"
        ]);
        let found = json!([
            service["trafficStatuses"][0]["type"],
            service["terminalCondition"]["state"],
            service["ingress"]
        ]);
        assert_eq!(found, if encoding.is_empty() { by_name } else { by_number });
        let revisions = sandbox.get(&format!("/v2/{WEB}/revisions{encoding}")).await;
        check("GoogleCloudRunV2ListRevisionsResponse", &revisions);
        assert_eq!(revisions["revisions"].as_array().unwrap().len(), 2);
        let services = sandbox.get(&format!("/v2/{PARENT}/services{encoding}")).await;
        check("GoogleCloudRunV2ListServicesResponse", &services);
        let operations = sandbox.get(&format!("/v2/{PARENT}/operations{encoding}")).await;
        for operation in operations["operations"].as_array().unwrap() {
            check_operation(operation);
        }
    }
}

#[tokio::test]
async fn the_cloud_run_sandbox_takes_exactly_the_parameters_of_the_description() {
    let sandbox = Sandbox::with_web().await;
    let document = description();
    let services = &document["resources"]["services"];
    let revisions = &services["resources"]["revisions"];
    let operations = &document["resources"]["operations"];
    let operation = sandbox.get(&format!("/v2/{PARENT}/operations")).await;
    let operation = operation["operations"][0]["name"].as_str().unwrap().to_owned();
    let revision = sandbox.web().await["latestReadyRevision"].as_str().unwrap().to_owned();
    for (method, path) in [
        (&services["methods"]["list"], format!("/v2/{PARENT}/services")),
        (&services["methods"]["get"], format!("/v2/{WEB}")),
        (&services["methods"]["patch"], format!("/v2/{WEB}")),
        (&revisions["methods"]["list"], format!("/v2/{WEB}/revisions")),
        (&revisions["methods"]["get"], format!("/v2/{revision}")),
        (&operations["methods"]["list"], format!("/v2/{PARENT}/operations")),
        (&operations["methods"]["get"], format!("/v2/{operation}")),
    ] {
        let verb = method["httpMethod"].as_str().unwrap();
        let body = (verb == "PATCH").then(|| json!({ "template": template('1') }));
        let mut query = String::from("?");
        for (name, parameter) in method["parameters"].as_object().unwrap() {
            let example = match parameter["format"].as_str().or(parameter["type"].as_str()) {
                _ if parameter["location"] != "query" => continue,
                Some("boolean") => "false",
                Some("int32") => "5",
                _ => "",
            };
            query.push_str(&format!("{name}={example}&"));
        }
        let (status, answer) = sandbox.call(verb, &format!("{path}{query}"), body.clone()).await;
        assert_eq!(status, 200, "{verb} {path}{query}: {answer}");
        let (status, answer) = sandbox.call(verb, &format!("{path}{query}surprise=1"), body).await;
        assert_eq!((status, &answer["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    }
}
