//! Kubernetes Events about a Migration: what `kubectl describe` and `kubectl events` show of its edges.

use kube::api::DynamicObject;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use serde_json::Value;

use super::conditions::by_type;
use crate::config::crd::GROUP;
use crate::kubernetes::ask;

/// Who tells of edges.
pub(super) struct Herald {
    recorder: Recorder,
}

impl Herald {
    /// `holder` is the process.
    pub(super) fn new(client: Client, holder: &str) -> Self {
        let reporter = Reporter { controller: format!("{GROUP}/verifier"), instance: Some(holder.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of each condition that has another status than it had.
    pub(super) async fn tell(&mut self, object: &DynamicObject, before: &Value, after: &Value) {
        let about = object.object_ref(&super::kind());
        let (before, after) = (by_type(Some(before)), by_type(Some(after)));
        for (kind, condition) in &after {
            let status = |condition: Option<&Value>| condition?.get("status")?.as_str().map(str::to_owned);
            let (was, is) = (status(before.get(kind)), status(Some(condition)));
            // A status that was never written is no edge.
            if was.is_none() || was == is {
                continue;
            }
            let event = event(kind, is.as_deref().unwrap_or_default(), condition);
            if let Err(why) = ask(self.recorder.publish(&event, &about)).await {
                tracing::warn!(%why, "an edge could not be told as a Kubernetes Event");
            }
        }
    }
}

fn event(kind: &str, status: &str, condition: &Value) -> Event {
    let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
    let wrong = match kind {
        "Regressed" => status == "True",
        "Accepted" => status != "True",
        other => other.ends_with("GateOpen") && status == "Unknown",
    };
    let word = match status {
        "True" => "",
        "False" => "Not",
        _ => "Unknown",
    };
    Event {
        type_: if wrong { EventType::Warning } else { EventType::Normal },
        reason: format!("{word}{kind}"),
        note: Some(format!("{}: {}", text("reason"), text("message"))),
        action: "Evaluate".to_owned(),
        secondary: None,
    }
}
