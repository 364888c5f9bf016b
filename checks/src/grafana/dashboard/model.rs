//! What is in a dashboard: its panels, what they refer to, and the part of it that is the same in two Grafanas.

use serde_json::{Map, Value};

use super::super::datasources::{Datasources, Resolved};

/// What changes with each save, or with the version of Grafana that saved last, and nothing that people see.
const OF_THE_SAVE: &[&str] = &["id", "version", "iteration", "schemaVersion"];

/// A panel, wherever it stands: on the dashboard, in a row, or in a row of old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel<'a>(&'a Value);

impl<'a> Panel<'a> {
    /// Its number on the dashboard.
    pub(crate) fn id(self) -> i64 {
        self.0.get("id").and_then(Value::as_i64).unwrap_or_default()
    }

    /// What people read above it.
    pub(crate) fn title(self) -> &'a str {
        self.text("title")
    }

    /// The plugin that draws it.
    pub(crate) fn kind(self) -> &'a str {
        self.text("type")
    }

    /// Its queries.
    pub(crate) fn targets(self) -> &'a [Value] {
        list(self.0, "targets")
    }

    /// All of it.
    pub(crate) fn model(self) -> &'a Value {
        self.0
    }

    /// What it is called in evidence.
    pub(crate) fn named(self) -> String {
        match self.title() {
            "" => format!("panel {}", self.id()),
            title => format!("panel \"{title}\""),
        }
    }

    fn text(self, key: &str) -> &'a str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// All panels of a dashboard; rows themselves are none. Those of a dashboard of the second schema are not among them.
pub(crate) fn panels(model: &Value) -> Vec<Panel<'_>> {
    let of = |holder| list(holder, "panels");
    let all = of(model).iter().chain(list(model, "rows").iter().flat_map(of));
    let with_nested = all.flat_map(|panel| std::iter::once(panel).chain(of(panel)));
    with_nested.map(Panel).filter(|panel| panel.kind() != "row").collect()
}

/// Where something refers to a datasource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// In words: `panel "Errors"`, `variable node`.
    pub(crate) named: String,
    /// The plugin that it asks for, if it says so: `loki`.
    pub(crate) plugin: Option<String>,
    /// What it leads to.
    pub(crate) leads_to: Resolved,
}

/// All that a dashboard asks datasources for: panels and their queries, template variables, annotations. A variable that stands for a
/// datasource leads to what it is set to.
pub(crate) fn references(model: &Value, datasources: &Datasources) -> Vec<Place> {
    let reader = Reader { variables: pointed(model, "/templating/list"), datasources };
    let mut places = Vec::new();
    for panel in panels(model) {
        let own = panel.model().get("datasource").unwrap_or(&Value::Null);
        let named = |target: &'_ Value| target.get("datasource").filter(|reference| !reference.is_null()).cloned();
        let mut asked: Vec<Value> = panel.targets().iter().map(|target| named(target).unwrap_or_else(|| own.clone())).collect();
        if asked.is_empty() && !own.is_null() {
            asked.push(own.clone());
        }
        let mut of_panel: Vec<Place> = Vec::new();
        for place in asked.iter().map(|reference| reader.place(panel.named(), reference)) {
            if !of_panel.contains(&place) {
                of_panel.push(place);
            }
        }
        places.extend(of_panel);
    }
    let asks = reader.variables.iter().filter(|item| text(item, "/type") == Some("query"));
    places.extend(asks.map(|item| reader.item("variable", item)));
    places.extend(pointed(model, "/annotations/list").iter().map(|item| reader.item("annotation", item)));
    places.extend(second_schema(model).into_iter().map(|(named, reference)| reader.place(named, reference)));
    places
}

fn pointed<'a>(model: &'a Value, pointer: &str) -> &'a [Value] {
    model.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(item: &'a Value, pointer: &str) -> Option<&'a str> {
    item.pointer(pointer).and_then(Value::as_str)
}

/// What references of one dashboard are read with.
struct Reader<'a> {
    variables: &'a [Value],
    datasources: &'a Datasources,
}

impl Reader<'_> {
    fn item(&self, what: &str, item: &Value) -> Place {
        let name = text(item, "/name").unwrap_or("without a name");
        self.place(format!("{what} {name}"), item.get("datasource").unwrap_or(&Value::Null))
    }

    fn place(&self, named: String, reference: &Value) -> Place {
        let plugin = text(reference, "/type").map(str::to_owned);
        match self.datasources.resolve(reference) {
            Resolved::Variable(name) => self.variable(named, plugin, &name),
            leads_to @ (Resolved::Uid(_) | Resolved::Own | Resolved::Missing(_)) => Place { named, plugin, leads_to },
        }
    }

    fn variable(&self, named: String, plugin: Option<String>, name: &str) -> Place {
        let of_variable =
            self.variables.iter().find(|item| text(item, "/name") == Some(name)).and_then(|item| text(item, "/query"));
        let leads_to = variable(self.variables, name, self.datasources);
        Place { named, plugin: of_variable.map(str::to_owned).or(plugin), leads_to }
    }
}

/// What a variable that stands for a datasource is set to. One that is not there stays where a dashboard was imported without an answer.
pub(crate) fn variable(variables: &[Value], name: &str, datasources: &Datasources) -> Resolved {
    let found = variables.iter().find(|item| text(item, "/name") == Some(name));
    let Some(found) = found else { return Resolved::Missing(format!("${{{name}}}")) };
    let plugin = text(found, "/query").unwrap_or_default();
    let of_plugin = || datasources.0.iter().filter(|datasource| datasource.plugin == plugin);
    let set = text(found, "/current/value").filter(|value| !value.is_empty());
    let chosen = match set {
        // What Grafana falls back to: the default datasource, if it is of this kind, or the first one.
        None | Some("default") => of_plugin().find(|datasource| datasource.is_default).or_else(|| of_plugin().next()),
        Some(word) => datasources.by_uid_or_name(word),
    };
    let missing = || Resolved::Missing(format!("${{{name}}}, set to {}", set.unwrap_or("nothing")));
    chosen.map_or_else(missing, |datasource| Resolved::Uid(datasource.uid.clone()))
}

/// References of a dashboard of the second schema, in which panels are elements, and a datasource is named.
fn second_schema(model: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    if let Some(Value::Object(elements)) = model.get("elements") {
        for (name, element) in elements {
            let title = element.pointer("/spec/title").and_then(Value::as_str).unwrap_or(name);
            named_within(element, &format!("panel \"{title}\""), &mut found);
        }
        for (key, what) in [("variables", "variable"), ("annotations", "annotation")] {
            for item in list(model, key) {
                let name = item.pointer("/spec/name").and_then(Value::as_str).unwrap_or("without a name");
                named_within(item, &format!("{what} {name}"), &mut found);
            }
        }
    }
    found
}

fn named_within<'a>(value: &'a Value, named: &str, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                if key == "datasource" && inner.is_object() {
                    found.push((named.to_owned(), inner));
                } else {
                    named_within(inner, named, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                named_within(item, named, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A dashboard without what changes with each save. Two that people see the same thing in are equal then. A datasource is named by its
/// uid, however the dashboard does it and whether it is there or not; what is null or an empty list is as good as not there.
pub(crate) fn normalised(model: &Value, datasources: &Datasources) -> Value {
    let mut kept = plain(model, datasources);
    if let Value::Object(fields) = &mut kept {
        fields.retain(|key, _| !OF_THE_SAVE.contains(&key.as_str()));
    }
    kept
}

fn plain(value: &Value, datasources: &Datasources) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields_of(fields, datasources)),
        Value::Array(items) => Value::Array(items.iter().map(|item| plain(item, datasources)).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn fields_of(fields: &Map<String, Value>, datasources: &Datasources) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in fields {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if empty || key == "pluginVersion" {
            continue;
        }
        let named = (key == "datasource").then(|| datasources.resolve(value));
        let value = match named {
            Some(Resolved::Uid(word) | Resolved::Missing(word)) => Value::String(word),
            Some(Resolved::Own | Resolved::Variable(_)) | None => plain(value, datasources),
        };
        kept.insert(key.clone(), value);
    }
    kept
}

#[cfg(test)]
mod tests;
