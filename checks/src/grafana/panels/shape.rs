//! Panels and variables of a dashboard, those of the second schema brought into the form of the first.

use serde_json::{Map, Value, json};

use super::super::dashboard::{self, Dashboard};

/// Panels that ask for nothing, whatever queries are left in them.
const SILENT: &[&str] =
    &["text", "dashlist", "news", "alertlist", "welcome", "gettingstarted", "pluginlist", "annolist", "row", "live"];

/// A dashboard as it is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Board {
    pub(super) title: String,
    /// The number of its last save.
    pub(super) version: i64,
    /// By id.
    pub(super) panels: Vec<Shape>,
    pub(super) variables: Vec<Value>,
}

/// A panel as it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) id: i64,
    /// What it is called in evidence.
    pub(super) named: String,
    /// In the form of the first schema.
    pub(super) model: Value,
}

impl Board {
    pub(super) fn of(dashboard: &Dashboard) -> Self {
        let model = &dashboard.model;
        let title = model.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = model.get("version").and_then(Value::as_i64).unwrap_or_default();
        let (mut panels, variables) = if model.get("elements").is_some_and(Value::is_object) {
            (elements(model), list(model, "/variables").iter().filter_map(variable).collect())
        } else {
            let panels = dashboard::panels(model).into_iter().map(|panel| Shape {
                id: panel.id(),
                named: panel.named(),
                model: panel.model().clone(),
            });
            (panels.collect(), list(model, "/templating/list").to_vec())
        };
        panels.sort_by_key(|panel: &Shape| panel.id);
        Self { title, version, panels, variables }
    }
}

impl Shape {
    /// The uid of the library's panel that it is, if its own model says nothing more.
    pub(super) fn library(&self) -> Option<&str> {
        let uid = self.model.pointer("/libraryPanel/uid")?.as_str()?;
        list(&self.model, "/targets").is_empty().then_some(uid)
    }

    /// The same panel with the model that the library has of it.
    pub(super) fn with_library(&self, model: &Value) -> Self {
        let title = self.model.get("title").or_else(|| model.get("title")).and_then(Value::as_str).unwrap_or_default();
        let named = if title.is_empty() { self.named.clone() } else { format!("panel \"{title}\"") };
        Self { id: self.id, named, model: model.clone() }
    }

    /// Whether its plugin asks for data at all.
    pub(super) fn asks(&self) -> bool {
        !SILENT.contains(&self.model.get("type").and_then(Value::as_str).unwrap_or_default())
    }
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn elements(model: &Value) -> Vec<Shape> {
    let Some(Value::Object(elements)) = model.get("elements") else { return Vec::new() };
    elements.iter().map(|(name, element)| shape(name, element.get("spec").unwrap_or(&Value::Null))).collect()
}

fn shape(name: &str, spec: &Value) -> Shape {
    let copied = |target: &mut Map<String, Value>, from: &Value, keys: &[&str]| {
        for key in keys {
            if let Some(value) = from.get(*key) {
                target.insert((*key).to_owned(), value.clone());
            }
        }
    };
    let mut panel = Map::new();
    copied(&mut panel, spec, &["id", "title", "libraryPanel"]);
    let group = spec.pointer("/vizConfig/group").and_then(Value::as_str).filter(|group| !group.is_empty());
    let kind = group.or_else(|| spec.pointer("/vizConfig/kind").and_then(Value::as_str)).unwrap_or_default();
    panel.insert("type".to_owned(), kind.into());
    let options = spec.pointer("/data/spec/queryOptions").unwrap_or(&Value::Null);
    copied(&mut panel, options, &["maxDataPoints", "interval", "timeFrom", "timeShift"]);
    let targets: Vec<Value> = list(spec, "/data/spec/queries").iter().map(target).collect();
    panel.insert("targets".to_owned(), targets.into());
    let id = spec.get("id").and_then(Value::as_i64).unwrap_or_default();
    let title = spec.get("title").and_then(Value::as_str).filter(|title| !title.is_empty()).unwrap_or(name);
    Shape { id, named: format!("panel \"{title}\""), model: Value::Object(panel) }
}

/// The two drafts of the schema say in two places which datasource a query is for.
fn target(query: &Value) -> Value {
    let spec = query.get("spec").unwrap_or(&Value::Null);
    let mut target = spec.pointer("/query/spec").and_then(Value::as_object).cloned().unwrap_or_default();
    let plugin = spec.pointer("/query/group").or_else(|| spec.pointer("/query/kind")).cloned().unwrap_or_default();
    let named = spec.pointer("/query/datasource/name").or_else(|| spec.pointer("/datasource/uid"));
    let unnamed = if plugin == "__expr__" { plugin.clone() } else { Value::Null };
    target.insert("datasource".to_owned(), json!({"type": plugin, "uid": named.cloned().unwrap_or(unnamed)}));
    target.insert("refId".to_owned(), spec.get("refId").cloned().unwrap_or_default());
    target.insert("hide".to_owned(), spec.get("hidden").cloned().unwrap_or_default());
    Value::Object(target)
}

fn variable(variable: &Value) -> Option<Value> {
    let kind = variable.get("kind")?.as_str()?.trim_end_matches("Variable").to_ascii_lowercase();
    let mut spec = variable.get("spec")?.as_object()?.clone();
    if let Some(plugin) = spec.get("pluginId").cloned() {
        spec.insert("query".to_owned(), plugin);
    }
    spec.insert("type".to_owned(), kind.into());
    Some(Value::Object(spec))
}
