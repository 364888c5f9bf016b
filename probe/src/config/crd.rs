//! The document as a custom resource: its definition, made from the same schema.
//!
//! The API server checks what a structural schema can say. What it does not know it keeps instead of dropping it in silence, so
//! that the verifier's own reader, which knows every rule, refuses a misspelled field as it does in a file.

use checks::Registry;
use serde_json::{Map, Value, json};

use super::schema::schema;

mod status;

/// Group of the custom resource.
pub const GROUP: &str = "phasegate.dev";
/// Its only version.
pub const VERSION: &str = "v1alpha1";
/// Its name in paths.
pub const PLURAL: &str = "migrations";
/// Lists that have an item for each name: where they are found, and how long they may become, so that the cost of the rules on
/// their items is bounded.
const NAMED: [(&str, u64); 3] = [("phases", 50), ("probes", 1000), ("steps", 200)];

/// The definition of the custom resource.
///
/// # Errors
/// The schema says something that no structural schema can say.
pub fn definition(registry: &Registry) -> Result<Value, String> {
    let root = schema(registry);
    let spec = root.pointer("/$defs/Spec").ok_or("the schema has no spec")?;
    let mut spec = structural(&root, spec, 0)?;
    named_lists(&mut spec);
    let properties = json!({
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status::schema(),
    });
    let column =
        |name: &str, path: &str, priority: u8| json!({"name": name, "type": "string", "jsonPath": path, "priority": priority});
    let version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            column("Phase", ".status.phase", 0),
            column("State", ".status.phaseState", 0),
            column("Gate", ".status.verdict", 0),
            column("Why", ".status.reason", 0),
            column("Next", ".status.next", 1),
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "schema": {"openAPIV3Schema": {
            "description": root.get("description").cloned().unwrap_or_default(),
            "type": "object",
            "properties": properties,
            "required": ["spec"],
        }},
    });
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PLURAL}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "Migration", "listKind": "MigrationList", "plural": PLURAL, "singular": "migration", "shortNames": ["mig"]},
            "versions": [version],
        },
    }))
}

/// A JSON schema as a structural one.
fn structural(root: &Value, schema: &Value, depth: usize) -> Result<Value, String> {
    if depth > 64 {
        return Err("the schema refers to itself".to_owned());
    }
    let inner = |schema: &Value| structural(root, schema, depth.saturating_add(1));
    let Some(map) = schema.as_object() else { return Ok(anything(schema)) };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        let found = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let mut made = inner(found.ok_or_else(|| format!("{reference} leads nowhere"))?)?;
        describe(&mut made, schema);
        return Ok(made);
    }
    if let Some(arms) = ["oneOf", "anyOf"].iter().find_map(|key| map.get(*key)).and_then(Value::as_array)
        && !map.contains_key("properties")
    {
        return one_of(schema, arms, inner);
    }
    let mut made = Map::new();
    for key in ["type", "description", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "enum", "required"]
    {
        if let Some(value) = map.get(key) {
            made.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(value) = map.get("const") {
        made.insert("enum".to_owned(), json!([value]));
    }
    if let Some(items) = map.get("items") {
        made.insert("items".to_owned(), inner(items)?);
    }
    if let Some(values) = map.get("additionalProperties").filter(|values| values.is_object()) {
        made.insert("additionalProperties".to_owned(), inner(values)?);
    } else if map.get("type").is_some_and(|kind| kind == "object") {
        let empty = Map::new();
        let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let properties: Result<Map<_, _>, _> =
            properties.iter().map(|(name, value)| Ok::<_, String>((name.clone(), inner(value)?))).collect();
        made.insert("properties".to_owned(), Value::Object(properties?));
        made.insert(KEEP.to_owned(), true.into());
    }
    Ok(if made.contains_key("type") { Value::Object(made) } else { anything(schema) })
}

/// What the API server keeps although it does not know it.
const KEEP: &str = "x-kubernetes-preserve-unknown-fields";

/// One of several forms.
fn one_of(schema: &Value, arms: &[Value], inner: impl Fn(&Value) -> Result<Value, String>) -> Result<Value, String> {
    if arms.iter().all(|arm| arm.get("const").is_some()) {
        let values: Vec<&Value> = arms.iter().filter_map(|arm| arm.get("const")).collect();
        let mut made = json!({"type": "string", "enum": values});
        describe(&mut made, schema);
        return Ok(made);
    }
    let single = |arm: &Value| Some(arm.get("properties")?.as_object()?.iter().next()?.0.clone());
    let tagged = arms.iter().all(|arm| arm.get("required").and_then(Value::as_array).is_some_and(|keys| keys.len() == 1));
    if !tagged || arms.iter().any(|arm| single(arm).is_none()) {
        return Ok(anything(schema));
    }
    let mut properties = Map::new();
    for arm in arms {
        for (name, value) in arm.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut made = inner(value)?;
            describe(&mut made, arm);
            properties.insert(name.clone(), made);
        }
    }
    let mut made = json!({"type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1, KEEP: true});
    describe(&mut made, schema);
    Ok(made)
}

/// What takes several forms that no structural schema can tell apart.
fn anything(schema: &Value) -> Value {
    let mut made = json!({KEEP: true});
    describe(&mut made, schema);
    made
}

fn describe(made: &mut Value, by: &Value) {
    if let (Some(made), Some(words)) = (made.as_object_mut(), by.get("description")) {
        made.insert("description".to_owned(), words.clone());
    }
}

/// Lists of named things are such to the API server as well, and phases hold to what can be said of their steps.
fn named_lists(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, most) in NAMED {
            let named = |list: &&mut Value| list.pointer("/items/properties/name").is_some();
            if let Some(list) = properties.get_mut(name).filter(named).and_then(Value::as_object_mut) {
                list.insert("x-kubernetes-list-type".to_owned(), "map".into());
                list.insert("x-kubernetes-list-map-keys".to_owned(), json!(["name"]));
                list.insert("maxItems".to_owned(), most.into());
            }
        }
        if properties.contains_key("steps") && properties.contains_key("probes") {
            map.insert("x-kubernetes-validations".to_owned(), rules());
        }
    }
    map.values_mut().for_each(named_lists);
}

/// What must hold between the steps of a phase.
fn rules() -> Value {
    json!([
        {
            "rule": "!has(self.steps) || self.steps.filter(step, has(step.switch) && step.switch).size() == 1",
            "message": "a phase with steps has exactly one with `switch: true`",
        },
        {
            "rule": "!has(self.steps) || self.steps.filter(step, has(step.ponr) && step.ponr).size() <= 1",
            "message": "a phase has at most one step with `ponr: true`",
        },
    ])
}

/// The definition as a file.
pub fn render(definition: &Value) -> String {
    format!("# Generated: probe config crd > deploy/base/crd.yaml\n{definition:#}\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_definition_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base/crd.yaml");
        let current = render(&definition(&checks::registry()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, current, "run this test again with UPDATE=1, and commit deploy/base/crd.yaml");
    }

    #[test]
    fn every_kind_of_check_and_target_is_in_it() {
        let registry = checks::registry();
        let made = definition(&registry).unwrap();
        let spec = made.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
        let check = spec.pointer("/phases/items/properties/probes/items/properties/check").unwrap();
        for entry in registry.iter() {
            assert!(check["properties"][entry.meta.kind]["properties"].is_object(), "{}", entry.meta.kind);
        }
        assert_eq!(check["maxProperties"], 1);
        let target = &spec["targets"]["additionalProperties"]["properties"];
        for kind in super::super::schema::target_kinds() {
            assert!(target[&kind].is_object(), "{kind}");
        }
        assert_eq!(spec["phases"]["x-kubernetes-list-map-keys"][0], "name");
        assert!(spec["phases"]["items"]["x-kubernetes-validations"][0]["rule"].is_string());
    }
}
