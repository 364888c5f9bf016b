//! The datasources of a Grafana, and which of them something refers to.

use serde::Deserialize;
use serde_json::Value;

use crate::net::Budget;
use crate::outcome::Outcome;

use super::api::Api;

/// A datasource as Grafana lists it; what may hold secrets is not read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Datasource {
    /// What dashboards refer to it by.
    pub(crate) uid: String,
    /// What people, and dashboards of old, refer to it by.
    pub(crate) name: String,
    /// The plugin: `loki`.
    #[serde(rename = "type")]
    pub(crate) plugin: String,
    /// Where it leads to. It may hold a user and a password: see [`crate::net::shown`].
    #[serde(default)]
    pub(crate) url: String,
    /// `proxy`: Grafana asks; `direct`: the browser does.
    #[serde(default)]
    pub(crate) access: String,
    /// What something without a datasource refers to.
    #[serde(default)]
    pub(crate) is_default: bool,
    /// Whether it comes from a file.
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// All datasources of a Grafana.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Datasources(pub(crate) Vec<Datasource>);

/// What a reference to a datasource leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The datasource with this uid.
    Uid(String),
    /// Something that Grafana itself is: another panel's data, an expression, several datasources at once.
    Own,
    /// A variable of the dashboard.
    Variable(String),
    /// Nothing; how it is referred to.
    Missing(String),
}

/// Names that need no datasource: uids and, in dashboards of old, names.
const OWN: &[&str] =
    &["grafana", "-- Grafana --", "-- Mixed --", "-- Dashboard --", "__expr__", "Expression", "-100", "datasource"];

impl Datasources {
    /// Asks for all of them.
    pub(crate) async fn of(api: &Api<'_>, budget: Budget) -> Result<Self, Outcome> {
        api.get(&["api", "datasources"], &[], budget).await.map(Self)
    }

    /// By its uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Datasource> {
        self.0.iter().find(|datasource| datasource.uid == uid)
    }

    /// By uid or, as dashboards of old do, by name.
    pub(crate) fn by_uid_or_name(&self, word: &str) -> Option<&Datasource> {
        self.by_uid(word).or_else(|| self.0.iter().find(|datasource| datasource.name == word))
    }

    /// The one that is meant where none is named.
    pub(crate) fn fallback(&self) -> Option<&Datasource> {
        self.0.iter().find(|datasource| datasource.is_default)
    }

    /// What the value of a key `datasource` leads to: nothing, a name, a uid, or an object with one of them.
    pub(crate) fn resolve(&self, reference: &Value) -> Resolved {
        let word = match reference {
            Value::String(word) => Some(word.as_str()),
            Value::Object(fields) => ["uid", "name"].iter().find_map(|key| fields.get(*key)?.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        match word.filter(|word| !word.is_empty() && *word != "default") {
            None => self
                .fallback()
                .map_or_else(|| Resolved::Missing("the default".to_owned()), |found| Resolved::Uid(found.uid.clone())),
            Some(word) if OWN.contains(&word) => Resolved::Own,
            Some(word) => match (self.by_uid_or_name(word), variable(word)) {
                (Some(found), _) => Resolved::Uid(found.uid.clone()),
                (None, Some(name)) => Resolved::Variable(name.to_owned()),
                (None, None) => Resolved::Missing(word.to_owned()),
            },
        }
    }
}

/// The name in `$name`, `${name}`, `${name:format}` or `[[name]]`.
fn variable(word: &str) -> Option<&str> {
    let inner = word
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .or_else(|| word.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")))
        .or_else(|| word.strip_prefix('$'))?;
    let name = inner.split(':').next()?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn datasources() -> Datasources {
        let list = json!([
            {"uid": "l1", "name": "Loki", "type": "loki", "url": "http://loki", "access": "proxy", "isDefault": true, "readOnly": true},
            {"uid": "p1", "name": "Prometheus", "type": "prometheus", "secureJsonData": {"x": 1}},
        ]);
        Datasources(serde_json::from_value(list).unwrap())
    }

    #[test]
    fn every_manner_of_referring_to_a_datasource_is_understood() {
        let uid = |uid: &str| Resolved::Uid(uid.to_owned());
        let missing = |word: &str| Resolved::Missing(word.to_owned());
        let variable = |name: &str| Resolved::Variable(name.to_owned());
        for (reference, resolved) in [
            (json!({"type": "loki", "uid": "l1"}), uid("l1")),
            (json!({"type": "loki", "uid": "l2"}), missing("l2")),
            (json!({"type": "loki"}), uid("l1")),
            (json!({"name": "p1"}), uid("p1")),
            (json!("Prometheus"), uid("p1")),
            (json!("prometheus"), missing("prometheus")),
            (json!(null), uid("l1")),
            (json!("default"), uid("l1")),
            (json!({"uid": "-- Mixed --"}), Resolved::Own),
            (json!({"type": "datasource", "uid": "grafana"}), Resolved::Own),
            (json!("-- Grafana --"), Resolved::Own),
            (json!({"type": "__expr__", "uid": "__expr__"}), Resolved::Own),
            (json!("${DS_LOKI}"), variable("DS_LOKI")),
            (json!({"uid": "$ds"}), variable("ds")),
            (json!("[[ds]]"), variable("ds")),
            (json!("${ds:text}"), variable("ds")),
            (json!("${}"), missing("${}")),
        ] {
            assert_eq!(datasources().resolve(&reference), resolved, "{reference}");
        }
        assert_eq!(Datasources::default().resolve(&json!(null)), missing("the default"));
    }
}
