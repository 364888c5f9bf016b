//! What a Grafana tells only of one thing at a time: who may see a folder, who is in a team, what is in a dashboard.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::outcome::Outcome;

use super::super::dashboard::{Dashboard, normalised, panels, read};
use super::super::datasources::Datasources;
use super::lists::{account, root};
use super::section::Section;
use super::side::Side;
use super::thing::{Fact, Facts, Thing, name};

/// Parts of a dashboard that are told apart by more than their key.
const LOOKED_INTO: &[&str] = &["uid", "title", "tags", "panels", "rows", "templating", "annotations", "elements", "variables"];

/// One thing in full.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) facts: Facts,
    /// What is in it, of a dashboard.
    pub(super) model: Value,
}

/// Asks for one thing; none if it is not there any more.
pub(super) async fn detail(
    side: &Side<'_>,
    section: Section,
    thing: &Thing,
    datasources: &Datasources,
) -> Result<Option<Detail>, Outcome> {
    let handle = thing.handle.as_str();
    let of = |more| Detail { facts: with(thing.facts.clone(), more), model: Value::Null };
    match section {
        Section::Dashboards => {
            let (api, budget) = side.turn().await;
            let found = read(api, handle, budget).await.map_err(|outcome| side.named(outcome))?;
            Ok(found.map(|found| Detail { facts: of_dashboard(&found, datasources), model: found.model }))
        }
        Section::Folders => {
            let found: Option<Vec<Granted>> = side.find(&["api", "folders", handle, "permissions"]).await?;
            Ok(found.map(|found| of(found.into_iter().filter(|one| !one.inherited).map(Granted::fact).collect())))
        }
        Section::Teams => {
            let found: Option<Vec<Member>> = side.find(&["api", "teams", handle, "members"]).await?;
            Ok(found.map(|found| of(found.into_iter().map(Member::fact).collect())))
        }
        Section::Users
        | Section::ServiceAccounts
        | Section::Plugins
        | Section::Datasources
        | Section::AlertRules
        | Section::ContactPoints
        | Section::Annotations => Ok(Some(of(Vec::new()))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    #[serde(default)]
    user_login: String,
    #[serde(default)]
    team: String,
    #[serde(default)]
    role: String,
    permission: u64,
    #[serde(default)]
    permission_name: String,
    #[serde(default)]
    inherited: bool,
}

impl Granted {
    fn fact(self) -> (String, Fact) {
        let whose = match (self.user_login.as_str(), self.team.as_str()) {
            ("", "") => format!("role {}", name(&self.role)),
            ("", team) => format!("team {}", name(team)),
            (login, _) => format!("user {}", name(account(login, None))),
        };
        let what = if self.permission_name.is_empty() { self.permission.to_string() } else { self.permission_name };
        (format!("permission of {whose}"), Fact::shown(what))
    }
}

#[derive(Debug, Deserialize)]
struct Member {
    login: String,
    #[serde(default)]
    permission: u64,
}

impl Member {
    fn fact(self) -> (String, Fact) {
        let what = if self.permission == 0 { "Member" } else { "Admin" };
        (format!("member {}", name(&self.login)), Fact::shown(what))
    }
}

/// What a dashboard is like. Of what is in it nothing is shown but names.
pub(super) fn of_dashboard(dashboard: &Dashboard, datasources: &Datasources) -> Facts {
    let model = normalised(&dashboard.model, datasources);
    let mut facts = Facts::new();
    let text = |key: &str| model.get(key).and_then(Value::as_str).unwrap_or_default();
    facts.insert("title".to_owned(), Fact::shown(text("title")));
    facts.insert("tags".to_owned(), Fact::shown(model.get("tags").cloned().unwrap_or_else(|| Value::Array(Vec::new()))));
    facts.insert("folder".to_owned(), Fact::shown(root(&dashboard.meta.folder_uid)));
    facts.insert("provisioned".to_owned(), Fact::shown(dashboard.meta.provisioned));
    for panel in panels(&model) {
        let mut own = panel.model().clone();
        if let Value::Object(fields) = &mut own {
            // What an open row holds stands beside it, what a folded one holds in it; it is compared by itself.
            fields.remove("panels");
        }
        add(&mut facts, clean(&panel.named()), Fact::fields(own));
    }
    facts.insert("rows".to_owned(), Fact::hidden(rows(&model)));
    for (pointer, key, what) in [
        ("/templating/list", "", "variable"),
        ("/annotations/list", "", "annotation"),
        ("/variables", "/spec", "variable"),
        ("/annotations", "/spec", "annotation"),
    ] {
        for item in model.pointer(pointer).and_then(Value::as_array).into_iter().flatten() {
            let named = item.pointer(&format!("{key}/name")).and_then(Value::as_str).unwrap_or("without a name");
            add(&mut facts, format!("{what} {}", name(named)), Fact::fields(item.pointer(key).unwrap_or(item).clone()));
        }
    }
    for (key, element) in model.get("elements").and_then(Value::as_object).into_iter().flatten() {
        let title = element.pointer("/spec/title").and_then(Value::as_str).unwrap_or(key);
        let spec = element.get("spec").unwrap_or(element);
        add(&mut facts, format!("panel \"{}\"", name(title)), Fact::fields(spec.clone()));
    }
    let empty = Map::new();
    let others = model.as_object().unwrap_or(&empty).iter().filter(|(key, _)| !LOOKED_INTO.contains(&key.as_str()));
    for (key, value) in others {
        facts.insert(name(key), Fact::hidden(value.clone()));
    }
    facts
}

/// How many panels a dashboard has, in whatever schema.
pub(super) fn panel_count(model: &Value) -> u64 {
    let elements = model.get("elements").and_then(Value::as_object).map_or(0, Map::len);
    u64::try_from(panels(model).len() + elements).unwrap_or_default()
}

/// Names are clipped, so that two may be alike: none of them is left out.
fn with(mut facts: Facts, more: Vec<(String, Fact)>) -> Facts {
    for (aspect, fact) in more {
        add(&mut facts, aspect, fact);
    }
    facts
}

/// A second one of the same name is told apart by its number.
fn add(facts: &mut Facts, aspect: String, fact: Fact) {
    let numbered = (2..).map(|n: u32| format!("{aspect} #{n}"));
    let free = std::iter::once(aspect.clone()).chain(numbered).find(|aspect| !facts.contains_key(aspect));
    facts.insert(free.unwrap_or(aspect), fact);
}

fn clean(named: &str) -> String {
    named
        .strip_prefix("panel \"")
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or_else(|| name(named), |title| format!("panel \"{}\"", name(title)))
}

/// The titles of the rows, in their order.
fn rows(model: &Value) -> Value {
    let of = |key: &str| model.get(key).and_then(Value::as_array).into_iter().flatten();
    let is_row = |panel: &&Value| panel.get("type").and_then(Value::as_str) == Some("row");
    let all = of("panels").filter(is_row).chain(of("rows"));
    all.map(|row| row.get("title").cloned().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_whose_clipped_names_are_alike_are_all_compared() {
        let member = |end: &str| Member { login: format!("{}{end}", "x".repeat(80)), permission: 0 }.fact();
        assert_eq!(with(Facts::new(), vec![member("a"), member("b")]).len(), 2);
    }
}
