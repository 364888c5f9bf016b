//! What a Grafana has of each kind, as far as a list tells it. Fields that may hold secrets are not read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

use crate::net::{fetch, shown};
use crate::outcome::Outcome;

use super::super::dashboard::{Listed, list, list_folders};
use super::super::datasources::Datasources;
use super::section::Section;
use super::side::Side;
use super::thing::{Fact, Facts, Thing, Things, name};

/// Things in one answer of a list that has pages.
const PAGE: usize = 1000;
/// Most pages that are read.
const PAGES: usize = 20;
/// Longest name that a thing is known by, in bytes: longer than any that Grafana takes.
const MAX_KEY: usize = 1000;
/// Fields of an alert rule that people set.
const OF_A_RULE: &[&str] = &["condition", "for", "noDataState", "execErrState", "isPaused", "labels", "annotations"];
/// Fields of an alert rule's query that Grafana fills in by itself.
const FILLED_IN: &[&str] = &["intervalMs", "maxDataPoints", "refId", "hide"];

/// All things of a kind. Annotations are counted, not listed.
pub(super) async fn things(side: &Side<'_>, section: Section) -> Result<Things, Outcome> {
    let found: Vec<(String, Thing)> = match section {
        Section::Dashboards => {
            let (api, budget) = side.turn().await;
            list(api, budget).await.map_err(|outcome| side.named(outcome))?.into_iter().map(dashboard).collect()
        }
        Section::Folders => {
            let (api, budget) = side.turn().await;
            list_folders(api, budget).await.map_err(|outcome| side.named(outcome))?.into_iter().map(folder).collect()
        }
        Section::Teams => pages::<Team>(side, "teams", "teams").await?.into_iter().map(Team::thing).collect(),
        Section::Users => {
            let users: Vec<User> = side.get(&["api", "org", "users"], &[]).await?;
            users.into_iter().map(User::thing).collect()
        }
        Section::ServiceAccounts => {
            let accounts = pages::<ServiceAccount>(side, "serviceaccounts", "serviceAccounts").await?;
            accounts.into_iter().map(ServiceAccount::thing).collect()
        }
        Section::Plugins => {
            let plugins: Vec<Plugin> = side.get(&["api", "plugins"], &[("embedded", "0")]).await?;
            plugins.into_iter().filter(|plugin| plugin.signature != "internal").map(Plugin::thing).collect()
        }
        Section::Datasources => datasources(side).await?.0.iter().map(datasource).collect(),
        Section::AlertRules => {
            let rules: Vec<Rule> = side.get(&["api", "v1", "provisioning", "alert-rules"], &[]).await?;
            rules.into_iter().map(Rule::thing).collect()
        }
        Section::ContactPoints => return contact_points(side).await,
        Section::Annotations => Vec::new(),
    };
    keyed(side, section, found)
}

/// All datasources.
pub(super) async fn datasources(side: &Side<'_>) -> Result<Datasources, Outcome> {
    let (api, budget) = side.turn().await;
    Datasources::of(api, budget).await.map_err(|outcome| side.named(outcome))
}

/// A name that is there twice, or is longer than any that Grafana takes, can not be compared by.
fn keyed(side: &Side<'_>, section: Section, found: Vec<(String, Thing)>) -> Result<Things, Outcome> {
    let count = found.len();
    if found.iter().any(|(key, _)| key.is_empty() || key.len() > MAX_KEY) {
        let what = format!("{}: a name or uid that is empty or longer than {MAX_KEY} bytes", section.part());
        return Err(side.named(fetch::UNPARSABLE.because(what)));
    }
    let things: Things = found.into_iter().collect();
    if things.len() < count {
        return Err(side.named(fetch::UNPARSABLE.because(format!("{}: two of the same name or uid", section.part()))));
    }
    Ok(things)
}

/// A list that Grafana gives page by page, with its total.
async fn pages<T: DeserializeOwned>(side: &Side<'_>, of: &str, field: &str) -> Result<Vec<T>, Outcome> {
    let (mut all, size) = (Vec::new(), PAGE.to_string());
    let damaged = |what: &str| side.named(fetch::UNPARSABLE.because(format!("GET /api/{of}/search: {what}")));
    for page in 1..=PAGES {
        let query = [("perpage", size.as_str()), ("page", &page.to_string())];
        let mut document: Map<String, Value> = side.get(&["api", of, "search"], &query).await?;
        let total = document.get("totalCount").and_then(Value::as_u64).ok_or_else(|| damaged("no totalCount"))?;
        let found = document.remove(field).unwrap_or_default();
        let found: Vec<T> = serde_json::from_value(found).map_err(|_| damaged("not what is expected"))?;
        let last = found.is_empty();
        all.extend(found);
        if u64::try_from(all.len()).is_ok_and(|count| count >= total) {
            return Ok(all);
        }
        if last {
            return Err(damaged("fewer than its totalCount"));
        }
    }
    Err(side.named(fetch::TOO_LARGE.because(format!("GET /api/{of}/search: more than {} of them", PAGE * PAGES))))
}

fn thing(label: String, facts: Facts) -> Thing {
    Thing { label, handle: String::new(), weighty: false, facts }
}

fn facts<const N: usize>(facts: [(&str, Fact); N]) -> Facts {
    facts.into_iter().map(|(aspect, fact)| (aspect.to_owned(), fact)).collect()
}

fn titled(title: &str, uid: &str) -> String {
    format!("\"{}\" ({})", name(title), name(uid))
}

fn dashboard(listed: Listed) -> (String, Thing) {
    (listed.uid.clone(), Thing { handle: listed.uid.clone(), ..thing(titled(&listed.title, &listed.uid), Facts::new()) })
}

fn folder(listed: Listed) -> (String, Thing) {
    let about = facts([("title", Fact::shown(listed.title.as_str())), ("parent", Fact::shown(root(&listed.folder_uid)))]);
    (listed.uid.clone(), Thing { handle: listed.uid.clone(), ..thing(titled(&listed.title, &listed.uid), about) })
}

/// What is in no folder is in `general`, say some versions.
pub(super) fn root(folder: &str) -> &str {
    if folder == "general" { "" } else { folder }
}

#[derive(Debug, Deserialize)]
struct Team {
    id: u64,
    name: String,
    #[serde(default)]
    email: String,
}

impl Team {
    fn thing(self) -> (String, Thing) {
        let about = facts([("email", Fact::shown(self.email))]);
        (self.name.clone(), Thing { handle: self.id.to_string(), ..thing(name(&self.name), about) })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    login: String,
    role: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    is_disabled: bool,
}

impl User {
    fn thing(self) -> (String, Thing) {
        let label = format!("{} ({})", name(&self.login), name(&self.role));
        let weighty = self.role == "Admin";
        let about = facts([
            ("role", Fact::shown(self.role)),
            ("email", Fact::shown(self.email)),
            ("disabled", Fact::shown(self.is_disabled)),
        ]);
        (self.login, Thing { weighty, ..thing(label, about) })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceAccount {
    login: String,
    role: String,
    #[serde(default)]
    org_id: u64,
    #[serde(default)]
    is_disabled: bool,
    #[serde(default)]
    tokens: u64,
}

impl ServiceAccount {
    fn thing(self) -> (String, Thing) {
        let key = account(&self.login, Some(self.org_id)).to_owned();
        let label = format!("{} ({})", name(&key), name(&self.role));
        let weighty = self.role == "Admin";
        let about = facts([
            ("role", Fact::shown(self.role)),
            ("disabled", Fact::shown(self.is_disabled)),
            ("tokens", Fact::not_fewer(self.tokens)),
        ]);
        (key, Thing { weighty, ..thing(label, about) })
    }
}

/// A service account's login without what versions put before it: `sa-` and, later, the number of the organization.
pub(super) fn account(login: &str, organization: Option<u64>) -> &str {
    let Some(plain) = login.strip_prefix("sa-") else { return login };
    let of = |number: &str| organization.is_none_or(|organization| number.parse() == Ok(organization));
    match plain.split_once('-') {
        Some((number, rest)) if number.parse::<u64>().is_ok() && of(number) && !rest.is_empty() => rest,
        _ => plain,
    }
}

#[derive(Debug, Deserialize)]
struct Plugin {
    id: String,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    info: About,
}

#[derive(Debug, Default, Deserialize)]
struct About {
    #[serde(default)]
    version: String,
}

impl Plugin {
    fn thing(self) -> (String, Thing) {
        let label = format!("{} {}", name(&self.id), name(&self.info.version));
        let about = facts([("version", Fact::not_older(&self.info.version)), ("enabled", Fact::shown(self.enabled))]);
        (self.id, thing(label, about))
    }
}

fn datasource(found: &super::super::datasources::Datasource) -> (String, Thing) {
    let place = Url::parse(&found.url).map_or_else(|_| name(&found.url), |url| shown(&url));
    let about = facts([
        ("name", Fact::shown(found.name.as_str())),
        ("type", Fact::shown(found.plugin.as_str())),
        ("access", Fact::shown(found.access.as_str())),
        ("default", Fact::shown(found.is_default)),
        ("provisioned", Fact::shown(found.read_only)),
        ("URL", Fact::noted(place)),
    ]);
    (found.uid.clone(), thing(titled(&found.name, &found.uid), about))
}

#[derive(Debug, Deserialize)]
struct Rule {
    uid: String,
    title: String,
    #[serde(rename = "folderUID", default)]
    folder: String,
    #[serde(rename = "ruleGroup", default)]
    group: String,
    #[serde(default)]
    data: Vec<Value>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

impl Rule {
    fn thing(mut self) -> (String, Thing) {
        let mut about = facts([
            ("title", Fact::shown(self.title.as_str())),
            ("folder", Fact::shown(self.folder)),
            ("group", Fact::shown(self.group)),
            ("query", Fact::hidden(self.data.iter().map(query).collect())),
        ]);
        for field in OF_A_RULE {
            let value = self.more.remove(*field).filter(|value| *value != json!({}) && *value != json!(false));
            about.insert((*field).to_owned(), Fact::hidden(value.unwrap_or_default()));
        }
        (self.uid.clone(), thing(titled(&self.title, &self.uid), about))
    }
}

/// What an alert rule asks, without what Grafana fills in.
fn query(data: &Value) -> Value {
    let mut kept = Map::new();
    for key in ["refId", "datasourceUid", "relativeTimeRange"] {
        kept.insert(key.to_owned(), data.get(key).cloned().unwrap_or_default());
    }
    let mut model = data.get("model").cloned().unwrap_or_default();
    if let Value::Object(fields) = &mut model {
        fields.retain(|key, value| !FILLED_IN.contains(&key.as_str()) && !value.is_null());
    }
    kept.insert("model".to_owned(), model);
    Value::Object(kept)
}

#[derive(Debug, Deserialize)]
struct ContactPoint {
    #[serde(default)]
    uid: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Contact points by name and type, of which there may be several, and the tree of policies that leads to them. The one that comes with
/// Grafana has no uid, and another name in later versions.
async fn contact_points(side: &Side<'_>) -> Result<Things, Outcome> {
    let points: Vec<ContactPoint> = side.get(&["api", "v1", "provisioning", "contact-points"], &[]).await?;
    let policies: Value = side.get(&["api", "v1", "provisioning", "policies"], &[]).await?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for point in points.into_iter().filter(|point| !point.uid.is_empty()) {
        *counts.entry(format!("{} ({})", point.name, point.kind)).or_default() += 1;
    }
    let found = counts.into_iter().map(|(key, count)| {
        let about = facts([("how many", Fact::shown(count))]);
        let label = name(&key);
        (key, thing(label, about))
    });
    let mut receivers = Vec::new();
    collect(&policies, &mut receivers);
    receivers.sort_unstable();
    receivers.dedup();
    let about = facts([("receivers", Fact::shown(receivers)), ("routes", Fact::hidden(routes(&policies)))]);
    let tree = ("notification policies".to_owned(), thing("notification policies".to_owned(), about));
    keyed(side, Section::ContactPoints, found.chain([tree]).collect())
}

fn collect(route: &Value, receivers: &mut Vec<String>) {
    receivers.extend(route.get("receiver").and_then(Value::as_str).map(str::to_owned));
    for inner in route.get("routes").and_then(Value::as_array).into_iter().flatten() {
        collect(inner, receivers);
    }
}

/// A tree of policies without where it comes from.
fn routes(route: &Value) -> Value {
    match route {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, value)| *key != "provenance" && !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), routes(value))).collect())
        }
        Value::Array(items) => items.iter().map(routes).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => route.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_has_the_same_name_in_all_versions() {
        for (login, organization, plain) in [
            ("sa-grafana", Some(1), "grafana"),
            ("sa-1-grafana", Some(1), "grafana"),
            ("sa-1-grafana", None, "grafana"),
            ("sa-2-grafana", Some(1), "2-grafana"),
            ("sa-1-", Some(1), "1-"),
            ("anna", None, "anna"),
        ] {
            assert_eq!(account(login, organization), plain, "{login}");
        }
    }

    #[test]
    fn an_alert_rule_is_the_same_whatever_grafana_fills_in() {
        let rule = |value: Value| serde_json::from_value::<Rule>(value).unwrap().thing();
        let ours = json!({"uid": "r", "title": "R", "folderUID": "f", "ruleGroup": "g", "condition": "A", "for": "1m",
            "data": [{"refId": "A", "datasourceUid": "l", "queryType": "", "model": {"expr": "x", "refId": "A"}}]});
        let mut theirs = ours.clone();
        theirs["data"][0]["model"] =
            json!({"expr": "x", "refId": "A", "intervalMs": 1000, "maxDataPoints": 43200, "hide": false});
        theirs["isPaused"] = json!(false);
        theirs["labels"] = json!({});
        theirs["notification_settings"] = json!(null);
        assert_eq!(rule(ours.clone()), rule(theirs.clone()));
        theirs["isPaused"] = json!(true);
        assert_ne!(rule(ours), rule(theirs));
    }
}
