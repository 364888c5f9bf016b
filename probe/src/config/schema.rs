//! The JSON schema of the document, for editors, and for what the reader itself wants to know of a type.

use checks::{Entry, Registry, Target};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::document::Document;

/// JSON schema (draft 2020-12) of the whole document, with one `oneOf` arm for each kind of check in the registry.
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaGenerator::default();
    let arms: Vec<Value> = registry.iter().map(|entry| arm(entry, &mut generator)).collect();
    let mut root = generator.root_schema_for::<Document>().to_value();
    if let Some(slot) = root.pointer_mut("/$defs/Check") {
        *slot = json!({ "description": "How to look: exactly one kind of check with its settings.", "oneOf": arms });
    }
    root
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

/// The kinds of target there are.
pub(super) fn target_kinds() -> Vec<String> {
    let schema = target();
    let arms = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    arms.filter_map(|arm| arm.get("properties")?.as_object()?.keys().next().cloned()).collect()
}
