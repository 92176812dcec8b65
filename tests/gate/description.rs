//! The API's description of itself: what OpenAPI 3.1 asks of every operation.

use std::collections::BTreeSet;

#[test]
fn every_operation_has_its_own_name_and_describes_its_answers() {
    let (_, description) = countersign::api::routes().split_for_parts();
    let description = serde_json::to_value(description).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut names = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} occurs twice");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let words = answer["description"].as_str().unwrap_or_default();
                assert!(!words.is_empty(), "{method} {path}: {status} is not described");
            }
        }
    }
    assert!(names.len() > 8, "{names:?}");
}
