//! The JSON schema of the document, for editors, and for what the reader itself wants to know of a type.

use checks::{Entry, Registry, Target};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::document::{Annotation, Document};

/// JSON schema (draft 2020-12) of the whole document, with one `oneOf` arm for each kind of check in the registry.
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaGenerator::default();
    let arms: Vec<Value> = registry.iter().map(|entry| arm(entry, &mut generator)).collect();
    let mut root = generator.root_schema_for::<Document>().to_value();
    if let Some(slot) = root.pointer_mut("/$defs/Check") {
        *slot = json!({ "description": "How to look: exactly one kind of check with its settings.", "oneOf": arms });
    }
    without_null(&mut root);
    root
}

/// A key without a value is refused by the reader, so the schema does not offer it.
fn without_null(value: &mut Value) {
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(arms)) = map.get_mut("anyOf") {
                arms.retain(|arm| !is_null(arm));
                if let [Value::Object(only)] = arms.as_mut_slice() {
                    let only = std::mem::take(only);
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One arm: `{kind: {…}}`. What it refers to is left in the generator.
fn arm(entry: &Entry, generator: &mut SchemaGenerator) -> Value {
    let mut block = (entry.schema)(generator).to_value();
    if let Some(block) = block.as_object_mut() {
        block.remove("$defs");
        block.remove("$schema");
    }
    let mut properties = Map::new();
    properties.insert(entry.meta.kind.to_owned(), block);
    json!({ "type": "object", "properties": properties, "required": [entry.meta.kind], "additionalProperties": false })
}

/// Schema of one kind of check, by itself.
pub(super) fn check(entry: &Entry) -> Value {
    (entry.schema)(&mut SchemaGenerator::default()).to_value()
}

/// Schema of a target, by itself.
pub(super) fn target() -> Value {
    schemars::schema_for!(Target).to_value()
}

/// Schema of what says where a migration is marked, by itself.
pub(super) fn annotation() -> Value {
    schemars::schema_for!(Annotation).to_value()
}

/// The kinds of target there are.
pub(super) fn target_kinds() -> Vec<String> {
    let schema = target();
    let arms = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    arms.filter_map(|arm| arm.get("properties")?.as_object()?.keys().next().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn committed() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config.schema.json")
    }

    #[test]
    fn the_committed_schema_is_current() {
        let current = format!("{:#}\n", schema(&checks::registry()));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(committed(), &current).unwrap();
        }
        let found = std::fs::read_to_string(committed()).unwrap_or_default();
        assert_eq!(found, current, "run this test again with UPDATE=1, and commit deploy/config.schema.json");
    }

    #[test]
    fn every_reference_in_the_schema_leads_somewhere() {
        fn check(root: &Value, value: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(root.pointer(pointer).is_some(), "{reference}");
                    }
                    map.values().for_each(|value| check(root, value));
                }
                Value::Array(items) => items.iter().for_each(|item| check(root, item)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let schema = schema(&checks::registry());
        check(&schema, &schema);
    }

    #[test]
    fn each_kind_of_check_is_one_arm_with_its_description() {
        let registry = checks::registry();
        let schema = schema(&registry);
        let arms = schema.pointer("/$defs/Check/oneOf").and_then(Value::as_array).unwrap();
        assert_eq!(arms.len(), registry.iter().count());
        for (arm, entry) in arms.iter().zip(registry.iter()) {
            let block = &arm["properties"][entry.meta.kind];
            assert!(block["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", entry.meta.kind);
            assert_eq!(block["additionalProperties"], false, "{}", entry.meta.kind);
        }
    }

    #[test]
    fn the_kinds_of_target_are_known() {
        assert_eq!(target_kinds(), ["agent", "alloy", "grafana", "loki", "postgres", "prometheus"]);
    }
}
