//! What Alloy says of itself: ready, healthy, and which component is not.

use serde_json::Value;
use url::Url;

use crate::check::Context;
use crate::net::exposition::{WRONG_REPLY, refused};
use crate::net::fetch::Reply;
use crate::net::{Budget, below};
use crate::outcome::Outcome;

use super::{NOT_READY, UNHEALTHY, get};

/// How many components evidence names.
const MAX_NAMED: usize = 5;

/// Whether it says that it is ready.
pub(super) async fn ask_ready(cx: &Context, url: Url, budget: Budget) -> Result<(), Outcome> {
    let reply = get(cx, &url, budget).await?;
    if reply.status.as_u16() == 503 && reply.text().contains("not ready") {
        return Err(NOT_READY.because(reply.quote()));
    }
    says(&reply, b"Alloy is ready.")
}

/// Whether it says that all components are healthy. An Alloy that has no such word yet is asked for its components.
pub(super) async fn ask_health(cx: &Context, base: &Url, budget: Budget) -> Result<(), Outcome> {
    let reply = get(cx, &below(base, &["-", "healthy"]), budget).await?;
    match reply.status.as_u16() {
        500 if reply.text().contains("unhealthy components") => {
            Err(UNHEALTHY.because(format!("{}{}", reply.quote(), named(cx, base, budget).await)))
        }
        404 if !reply.is_html() => {
            let names = unhealthy(cx, base, budget).await?;
            if names.is_empty() { Ok(()) } else { Err(UNHEALTHY.because(names.join(", "))) }
        }
        _ => says(&reply, b"All Alloy components are healthy."),
    }
}

fn says(reply: &Reply, words: &[u8]) -> Result<(), Outcome> {
    if let Some(outcome) = refused(reply) {
        return Err(outcome);
    }
    if reply.whole()?.trim_ascii() == words { Ok(()) } else { Err(WRONG_REPLY.because(reply.quote())) }
}

/// The names of unhealthy components to go with evidence, as far as they can be had.
pub(super) async fn named(cx: &Context, base: &Url, budget: Budget) -> String {
    match unhealthy(cx, base, budget).await {
        Ok(names) if names.is_empty() => String::new(),
        Ok(names) => format!("; {}", names.join(", ")),
        Err(outcome) => format!("; which ones can not be told: {}", outcome.evidence()),
    }
}

/// Every component that is not healthy, with its own message.
pub(super) async fn unhealthy(cx: &Context, base: &Url, budget: Budget) -> Result<Vec<String>, Outcome> {
    let reply = get(cx, &below(base, &["api", "v0", "web", "components"]), budget).await?;
    if let Some(outcome) = refused(&reply) {
        return Err(outcome);
    }
    let document = reply.json()?;
    let components = document.as_array().filter(|components| !components.is_empty());
    let components = components.ok_or_else(|| WRONG_REPLY.because(reply.quote()))?;
    let text = |value: &Value, pointer| value.pointer(pointer).and_then(Value::as_str).map(|text| reply.clip(text));
    let mut names: Vec<String> = Vec::new();
    for component in components {
        let state = text(component, "/health/state").ok_or_else(|| WRONG_REPLY.because(reply.quote()))?;
        if state != "healthy" {
            let (name, message) = (text(component, "/localID"), text(component, "/health/message"));
            names.push(format!("{} is {state}: {}", name.unwrap_or_default(), message.unwrap_or_default()));
        }
    }
    if names.len() > MAX_NAMED {
        let more = names.len() - MAX_NAMED;
        names.truncate(MAX_NAMED);
        names.push(format!("and {more} more"));
    }
    Ok(names)
}
