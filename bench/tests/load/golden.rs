//! The fields of documents, written down: whoever renames, moves or retypes one has to raise the version and to keep reading the
//! files in `tests/reports`.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// A file in `tests/reports`.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reports")).join(name)
}

/// A document that was written long ago.
pub(crate) fn document(name: &str) -> Value {
    serde_json::from_slice(&fs::read(file(&format!("{name}.json"))).unwrap()).unwrap()
}

/// The fields it must have, a path and a kind of value a line. `UPDATE_FIELDS` in the environment writes them anew.
pub(crate) fn expected(name: &str) -> String {
    let path = file(&format!("{name}.fields"));
    if std::env::var_os("UPDATE_FIELDS").is_some() {
        fs::write(&path, fields(&document(name))).unwrap();
    }
    fs::read_to_string(path).unwrap()
}

/// The fields it has.
pub(crate) fn fields(document: &Value) -> String {
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found.sort();
    found.dedup();
    found.join("\n") + "\n"
}

/// Every path to a value with its kind; elements of lists share a path.
fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(name, value)| walk(value, &format!("{path}.{name}"), found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| walk(value, &format!("{path}[]"), found)),
        Value::Null => found.push(format!("{path} null")),
        Value::Bool(_) => found.push(format!("{path} bool")),
        Value::Number(_) => found.push(format!("{path} number")),
        Value::String(_) => found.push(format!("{path} string")),
    }
}
