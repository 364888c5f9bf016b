//! Which dashboards a Grafana has, and one of them in full.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::net::fetch::Reply;
use crate::net::{Budget, fetch};
use crate::outcome::Outcome;

use super::super::api::{Api, found, message};

/// Dashboards in one answer to a search.
const PAGE: usize = 1000;
/// Most pages that are read.
const PAGES: usize = 20;
/// Where Grafana has its dashboards as resources.
const GROUP: &str = "dashboard.grafana.app";

/// A dashboard or a folder as a search lists it. Only those that the token may see are listed: see [`super::super::access`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    /// What it is known by.
    pub(crate) uid: String,
    /// What people read.
    #[serde(default)]
    pub(crate) title: String,
    /// The uid of the folder that it is in; empty for none.
    #[serde(default)]
    pub(crate) folder_uid: String,
}

/// A dashboard in full.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Dashboard {
    /// Where it is and where it comes from.
    pub(crate) meta: About,
    /// What is in it, as it is stored.
    #[serde(rename = "dashboard")]
    pub(crate) model: Value,
}

/// What Grafana says about a dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// The uid of its folder; empty for none.
    #[serde(default)]
    pub(crate) folder_uid: String,
    /// The title of its folder.
    #[serde(default)]
    pub(crate) folder_title: String,
    /// Whether it comes from a file.
    #[serde(default)]
    pub(crate) provisioned: bool,
}

/// All dashboards that the token sees, by uid.
pub(crate) async fn list(api: &Api<'_>, budget: Budget) -> Result<Vec<Listed>, Outcome> {
    search(api, "dash-db", budget).await
}

/// All folders that the token sees, by uid.
pub(crate) async fn list_folders(api: &Api<'_>, budget: Budget) -> Result<Vec<Listed>, Outcome> {
    search(api, "dash-folder", budget).await
}

async fn search(api: &Api<'_>, kind: &str, budget: Budget) -> Result<Vec<Listed>, Outcome> {
    let mut all = Vec::new();
    let limit = PAGE.to_string();
    for page in 1..=PAGES {
        let query = [("type", kind), ("limit", limit.as_str()), ("page", &page.to_string())];
        let listed: Vec<Listed> = api.get(&["api", "search"], &query, budget).await?;
        let last = listed.len() < PAGE;
        all.extend(listed);
        if last {
            all.sort();
            all.dedup_by(|one, other| one.uid == other.uid);
            return Ok(all);
        }
    }
    Err(fetch::TOO_LARGE.because(format!("GET /api/search: more than {} of type {kind}", PAGE * PAGES)))
}

/// One of them; none if Grafana has it not, or no more. Of those of the second schema Grafana says where else it gives them.
pub(crate) async fn read(api: &Api<'_>, uid: &str, budget: Budget) -> Result<Option<Dashboard>, Outcome> {
    let reply = api.reply(&["api", "dashboards", "uid", uid], &[], budget).await?;
    if reply.status.as_u16() != 406 {
        return found(&reply);
    }
    let Some((version, namespace)) = elsewhere(&reply) else { return found(&reply) };
    let path = ["apis", GROUP, &version, "namespaces", &namespace, "dashboards", uid];
    let resource: Option<Resource> = api.find(&path, &[], budget).await?;
    Ok(resource.map(Resource::dashboard))
}

/// The version and the namespace in `…, use /apis/dashboard.grafana.app/v2/namespaces/default/dashboards/x instead`.
fn elsewhere(reply: &Reply) -> Option<(String, String)> {
    let message = message(reply)?;
    let (_, path) = message.split_once(&format!("/apis/{GROUP}/"))?;
    let mut segments = path.split('/');
    let (version, _, namespace) = (segments.next()?, segments.next()?, segments.next()?);
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (plain(version) && plain(namespace)).then(|| (version.to_owned(), namespace.to_owned()))
}

/// A dashboard as Kubernetes would give it.
#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default)]
    metadata: Metadata,
    spec: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Resource {
    fn dashboard(self) -> Dashboard {
        let of = |key: &str| self.metadata.annotations.get(key).cloned().unwrap_or_default();
        let provisioned = self.metadata.annotations.contains_key("grafana.app/managedBy");
        let meta = About { folder_uid: of("grafana.app/folder"), folder_title: String::new(), provisioned };
        Dashboard { meta, model: self.spec }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::testing::context;

    #[tokio::test]
    async fn all_pages_are_read_and_sorted() {
        let server = MockServer::start().await;
        let page = |numbers: std::ops::Range<usize>| {
            let list: Vec<Value> = numbers.rev().map(|n| json!({"uid": format!("u{n:05}"), "title": "t", "id": n})).collect();
            ResponseTemplate::new(200).set_body_json(list)
        };
        for (number, numbers) in [("1", 0..1000), ("2", 1000..1003)] {
            Mock::given(path("/api/search")).and(query_param("page", number)).respond_with(page(numbers)).mount(&server).await;
        }
        let cx = context();
        let target = serde_json::from_value(json!({"url": server.uri()})).unwrap();
        let api = Api::open(&cx, &target).await.unwrap();
        let found = list(&api, Budget::start(cx.timeout)).await.unwrap();
        assert_eq!((found.len(), found[1002].uid.as_str()), (1003, "u01002"));
    }
}
