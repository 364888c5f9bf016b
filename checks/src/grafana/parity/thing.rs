//! Things of two Grafanas beside each other: what each is like, and in which of that two of them differ.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::api::scrubbed;

/// Longest name in evidence, in characters.
const MAX_NAME: usize = 60;

/// Something that a Grafana has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    /// What it is called in evidence.
    pub(super) label: String,
    /// What this Grafana asks for its details by.
    pub(super) handle: String,
    /// Whether it is named before others if it is too much: an admin.
    pub(super) weighty: bool,
    pub(super) facts: Facts,
}

/// Things by what both sides know them by.
pub(super) type Things = BTreeMap<String, Thing>;

/// What something is like, by aspect.
pub(super) type Facts = BTreeMap<String, Fact>;

/// One aspect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    value: Value,
    rule: Rule,
}

/// How the two sides must agree, and whether the value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The same, shown.
    Same,
    /// The same, and it may hold a secret.
    Hidden,
    /// The same, an object of which only the names of differing fields are shown.
    Fields,
    /// Not fewer.
    NotFewer,
    /// Not an older version; a newer one is noted.
    NotOlder,
    /// May differ, and is noted.
    Noted,
}

impl Fact {
    pub(super) fn shown(value: impl Into<Value>) -> Self {
        Self { value: value.into(), rule: Rule::Same }
    }

    pub(super) fn hidden(value: Value) -> Self {
        Self { value, rule: Rule::Hidden }
    }

    pub(super) fn fields(value: Value) -> Self {
        Self { value, rule: Rule::Fields }
    }

    pub(super) fn not_fewer(count: u64) -> Self {
        Self { value: count.into(), rule: Rule::NotFewer }
    }

    pub(super) fn not_older(version: &str) -> Self {
        Self { value: version.into(), rule: Rule::NotOlder }
    }

    /// A text that was made fit to be shown.
    pub(super) fn noted(text: String) -> Self {
        Self { value: text.into(), rule: Rule::Noted }
    }
}

/// In what two things differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// In words: `role: Editor, now Viewer`.
    pub(super) changed: Vec<String>,
    /// What may differ.
    pub(super) noted: Vec<String>,
}

/// Compares what two things are like.
pub(super) fn difference(old: &Facts, new: &Facts) -> Difference {
    let mut found = Difference::default();
    for (aspect, fact) in old {
        let Some(other) = new.get(aspect) else {
            found.changed.push(format!("{aspect} missing"));
            continue;
        };
        if fact.value == other.value {
            continue;
        }
        let both = || format!("{aspect}: {}, now {}", words(&fact.value), words(&other.value));
        match fact.rule {
            Rule::Hidden => found.changed.push(aspect.clone()),
            Rule::Fields => found.changed.push(format!("{aspect}: {}", differing(&fact.value, &other.value))),
            Rule::NotFewer if other.value.as_u64() >= fact.value.as_u64() => {}
            Rule::NotOlder if newer(&fact.value, &other.value) => found.noted.push(both()),
            Rule::Same | Rule::NotFewer | Rule::NotOlder => found.changed.push(both()),
            Rule::Noted => found.noted.push(both()),
        }
    }
    found.changed.extend(new.keys().filter(|aspect| !old.contains_key(*aspect)).map(|aspect| format!("{aspect} added")));
    found
}

/// Fields in which two objects differ, as people call them.
fn differing(old: &Value, new: &Value) -> String {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return "all of it".to_owned() };
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let mut named: Vec<String> = Vec::new();
    for key in keys.filter(|key| old.get(*key) != new.get(*key)) {
        let word = match key.as_str() {
            "targets" | "query" | "data" => "query".to_owned(),
            "gridPos" => "position".to_owned(),
            "options" | "fieldConfig" | "vizConfig" => "settings".to_owned(),
            key => name(key),
        };
        if !named.contains(&word) {
            named.push(word);
        }
    }
    named.join(", ")
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => name(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(words).collect();
            name(&items.join(", "))
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Object(_) => "something else".to_owned(),
    }
}

/// A name as evidence shows it: short, one line, and without what a URL in it may hold.
pub(super) fn name(text: &str) -> String {
    clipped(&scrubbed(text), MAX_NAME)
}

/// The beginning of a text, in characters, as one line.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

/// Whether the second version is newer than the first, as far as both consist of numbers.
fn newer(old: &Value, new: &Value) -> bool {
    let numbers = |version: &Value| -> Option<Vec<u64>> {
        let plain = version.as_str()?.split(['-', '+']).next()?.trim_start_matches('v');
        plain.split('.').map(|number| number.parse().ok()).collect()
    };
    matches!((numbers(old), numbers(new)), (Some(old), Some(new)) if new > old)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts<const N: usize>(facts: [(&str, Fact); N]) -> Facts {
        facts.into_iter().map(|(aspect, fact)| (aspect.to_owned(), fact)).collect()
    }

    #[test]
    fn each_aspect_differs_in_its_own_manner() {
        let one = |old: Fact, new: Fact| difference(&facts([("it", old)]), &facts([("it", new)]));
        let changed = |words: &str| Difference { changed: vec![words.to_owned()], noted: vec![] };
        let noted = |words: &str| Difference { changed: vec![], noted: vec![words.to_owned()] };
        for (old, new, found) in [
            (Fact::shown("a"), Fact::shown("a"), Difference::default()),
            (Fact::shown("Editor"), Fact::shown("Viewer"), changed("it: Editor, now Viewer")),
            (Fact::shown(true), Fact::shown(false), changed("it: yes, now no")),
            (Fact::shown(json!(["a", "b"])), Fact::shown(json!([])), changed("it: a, b, now none")),
            (Fact::hidden(json!("hunter2")), Fact::hidden(json!("hunter3")), changed("it")),
            (
                Fact::fields(json!({"targets": "hunter2", "type": "a", "x": 1})),
                Fact::fields(json!({"targets": "b", "type": "a", "gridPos": 2, "x": 1})),
                changed("it: query, position"),
            ),
            (Fact::not_fewer(2), Fact::not_fewer(3), Difference::default()),
            (Fact::not_fewer(2), Fact::not_fewer(1), changed("it: 2, now 1")),
            (Fact::not_older("1.9.0"), Fact::not_older("1.10.0"), noted("it: 1.9.0, now 1.10.0")),
            (Fact::not_older("1.10.0"), Fact::not_older("1.9.9"), changed("it: 1.10.0, now 1.9.9")),
            (Fact::not_older("1.0"), Fact::not_older("latest"), changed("it: 1.0, now latest")),
            (Fact::noted("a".into()), Fact::noted("b".into()), noted("it: a, now b")),
        ] {
            assert_eq!(one(old, new), found);
        }
        let found = difference(&facts([("a", Fact::shown(1))]), &facts([("b", Fact::shown(1))]));
        assert_eq!(found.changed, ["a missing", "b added"]);
    }

    #[test]
    fn names_are_short_and_hold_no_secret_of_a_url() {
        assert_eq!(name("see\nhttp://me:hunter2@host/x?hunter2"), "see http://host/x?…");
        assert_eq!(name(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
    }
}
