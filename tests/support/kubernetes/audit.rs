//! What the API server was asked, by whom: its audit log.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;

/// Each request once, without its body. What the API server asks itself is left out.
pub(super) const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
"rules": [{"level": "None", "users": ["system:apiserver"]}, {"level": "Metadata"}]}"#;

/// One request that the API server has answered, or begun to answer if it is a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked: `admin`, `system:serviceaccount:NAMESPACE:NAME`; empty for somebody whose token is none.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// What was asked about, as a role would say it: `pods`, `pods/log`, `deployments.apps`; a path where it is no resource: `/readyz`.
    pub resource: String,
    /// The namespace, empty for all of them or none.
    pub namespace: String,
    /// The object's name, empty if it was not named.
    pub name: String,
    /// The HTTP status.
    pub code: u16,
    /// When it came.
    pub at: DateTime<Utc>,
}

/// An event of `audit.k8s.io/v1`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    #[serde(rename = "requestURI")]
    uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
    request_received_timestamp: DateTime<Utc>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    resource: String,
    subresource: String,
    api_group: String,
    namespace: String,
    name: String,
}

impl Object {
    fn resource(&self) -> String {
        let group = if self.api_group.is_empty() { String::new() } else { format!(".{}", self.api_group) };
        let subresource = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        format!("{}{group}{subresource}", self.resource)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
}

/// All requests in an audit log, in the order in which they were answered.
pub(super) fn read(log: &Path) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    requests(&text)
}

fn requests(log: &str) -> Result<Vec<Request>> {
    // The last line may be half written.
    let whole = log.rfind('\n').and_then(|end| log.get(..end)).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut requests = Vec::new();
    for line in whole.lines() {
        let event: Event = serde_json::from_str(line).with_context(|| format!("no audit event: {line}"))?;
        // A watch is told twice: when it begins and when it ends.
        if !seen.insert(event.id) {
            continue;
        }
        let path = event.uri.split('?').next().unwrap_or_default();
        let resource = if event.object_ref.resource.is_empty() { path.to_owned() } else { event.object_ref.resource() };
        requests.push(Request {
            user: event.user.username,
            verb: event.verb,
            resource,
            namespace: event.object_ref.namespace,
            name: event.object_ref.name,
            code: event.response_status.code,
            at: event.request_received_timestamp,
        });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, stage: &str, uri: &str, object: &str) -> String {
        format!(
            r#"{{"auditID": "{id}", "stage": "{stage}", "requestURI": "{uri}", "verb": "get", "user": {{"username": "admin"}},
            {object} "responseStatus": {{"code": 200}}, "requestReceivedTimestamp": "2026-11-28T12:00:00.000001Z"}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn a_watch_counts_once_and_a_half_written_line_not_at_all() {
        let object =
            r#""objectRef": {"resource": "deployments", "apiGroup": "apps", "subresource": "scale", "namespace": "here"},"#;
        let watch = |stage| event("1", stage, "/apis/apps/v1/…", object);
        let log = [watch("ResponseStarted"), event("2", "ResponseComplete", "/readyz?verbose", ""), watch("ResponseComplete")];
        let log = format!("{}\n{{\"auditID\": \"3\"", log.join("\n"));
        let requests = requests(&log).unwrap();
        let resources: Vec<_> = requests.iter().map(|one| one.resource.as_str()).collect();
        assert_eq!(resources, ["deployments.apps/scale", "/readyz"]);
    }
}
