//! Marks of a migration in Grafana: organisation annotations, each of them made once.
//!
//! Grafana itself remembers what was marked: each mark has a tag that no other has, and is looked for before it is made. So nothing
//! has to be kept here, and a verifier that was killed between two calls makes no mark twice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use crate::clients::Clients;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons};
use crate::outcome::{Outcome, Reason, ReasonSpec};
use crate::secret::SecretRef;

use super::{SERVER_ERROR, WRONG_REPLY};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is looked at around the moment of a mark, in milliseconds: Grafana may round it.
const AROUND: i64 = 1000;
/// Most annotations of that time that are looked at.
const MOST: u32 = 1000;
/// What an organisation annotation needs to be found.
const READ: &str = "annotations:read";
/// What an organisation annotation needs to be made.
const CREATE: &str = "annotations:create";

/// The token is good, and does not allow the call.
const PERMISSION_MISSING: ReasonSpec = ReasonSpec::unknown(
    "permission_missing",
    "give the service account of the annotations' token the role Editor: Viewer can read annotations, and make none",
);
/// The token is not known there.
const TOKEN_REFUSED: ReasonSpec = ReasonSpec::unknown(
    "token_refused",
    "give `annotations` a valid `token` of this Grafana: a service account's, of the role Editor; one of another Grafana, or of a \
     database that was replaced, is not known",
);
/// Nobody answers in time.
const SILENT: ReasonSpec =
    ReasonSpec::fail("timeout", "see whether Grafana is overloaded or a firewall drops packets; it is tried again by itself");
/// Grafana takes others, but not this one.
const NOT_TAKEN: ReasonSpec = ReasonSpec::fail(
    "not_taken",
    "see in the evidence what Grafana does not like; shorten `tags` of the annotations if it is they",
);

/// All that can be wrong, with what to do.
const REASONS: [&[ReasonSpec]; 4] = [
    // Before those of the network, which speak of a `timeout` in the document.
    &[SILENT, PERMISSION_MISSING, TOKEN_REFUSED, NOT_TAKEN, reasons::SECRET_MISSING],
    &[SERVER_ERROR, WRONG_REPLY],
    reasons::NETWORK,
    fetch::REPLIES,
];

/// Where marks go, and by whose leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    /// Base URL of the Grafana.
    pub url: Url,
    /// Token of a service account of the role Editor.
    pub token: SecretRef,
}

/// One mark on the time line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened. Grafana shows it as HTML.
    pub text: String,
    /// The tag that no other mark has.
    pub key: String,
    /// The other tags.
    pub tags: Vec<String>,
}

/// A mark that is in Grafana.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It was there.
    Before,
    /// It was made.
    Now,
}

/// Why a mark could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Why, in a word.
    pub reason: Reason,
    /// What was seen, with the call.
    pub evidence: String,
    /// What to do, in the imperative.
    pub next: String,
    /// Whether it is about this mark alone, so that others may be taken.
    pub alone: bool,
}

/// One of the calls, for evidence.
struct Call {
    name: &'static str,
    needs: &'static str,
}

const FIND: Call = Call { name: "GET /api/annotations", needs: READ };
const MAKE: Call = Call { name: "POST /api/annotations", needs: CREATE };

impl Desk {
    /// Makes a mark, unless it is there.
    ///
    /// # Errors
    /// Grafana could not be asked, or says no.
    pub async fn mark(&self, clients: &Clients, mark: &Mark) -> Result<Marked, Trouble> {
        if self.has(clients, mark).await.map_err(trouble)? {
            return Ok(Marked::Before);
        }
        let tags: Vec<&str> = mark.tags.iter().map(String::as_str).chain([mark.key.as_str()]).collect();
        let body = json!({ "time": mark.at.timestamp_millis(), "tags": tags, "text": mark.text });
        let reply = self.post(clients, &body).await.map_err(trouble)?;
        made(&reply).map(|()| Marked::Now).map_err(trouble)
    }

    /// Whether marks could be made, without making one: Grafana looks at what the token allows before it refuses a mark that has no
    /// text. True: this one took it all the same, so it is better not asked again.
    ///
    /// # Errors
    /// As for [`Desk::mark`].
    pub async fn may_mark(&self, clients: &Clients) -> Result<bool, Trouble> {
        let reply = self.post(clients, &json!({ "tags": [], "text": "" })).await.map_err(trouble)?;
        if reply.status == StatusCode::BAD_REQUEST && reply.json().is_ok_and(|said| said.get("message").is_some()) {
            return Ok(false);
        }
        made(&reply).map(|()| true).map_err(trouble)
    }

    /// Whether the mark is there. It is looked for by its time, and its tag is looked for in what comes back: a Grafana whose caller was
    /// gone in the middle of a call has kept the mark, and does not find it by its tags.
    async fn has(&self, clients: &Clients, mark: &Mark) -> Result<bool, Outcome> {
        let (mut url, at) = (self.place(), mark.at.timestamp_millis());
        url.query_pairs_mut()
            .append_pair("type", "annotation")
            .append_pair("limit", &MOST.to_string())
            .append_pair("from", &at.saturating_sub(AROUND).to_string())
            .append_pair("to", &at.saturating_add(AROUND).to_string());
        let (headers, secrets) = fetch::bearer(Some(&self.token)).await?;
        let reply = fetch::get(clients, &url, headers, Budget::start(TIMEOUT)).await?.hide(secrets);
        judge(&reply, &FIND)?;
        let found = reply.json()?;
        let Some(found) = found.as_array() else { return Err(WRONG_REPLY.because(reply.quote())) };
        let has = |tag: &Value| tag.as_str() == Some(&mark.key);
        Ok(found.iter().filter_map(|one| one.get("tags")?.as_array()).any(|tags| tags.iter().any(has)))
    }

    async fn post(&self, clients: &Clients, body: &Value) -> Result<Reply, Outcome> {
        let (headers, secrets) = fetch::bearer(Some(&self.token)).await?;
        Ok(fetch::post(clients, &self.place(), headers, body, Budget::start(TIMEOUT)).await?.hide(secrets))
    }

    fn place(&self) -> Url {
        below(&self.url, &["api", "annotations"])
    }
}

/// Whether a mark was made.
fn made(reply: &Reply) -> Result<(), Outcome> {
    judge(reply, &MAKE)?;
    let said = reply.json()?;
    if said.get("id").is_some_and(Value::is_number) { Ok(()) } else { Err(WRONG_REPLY.because(reply.quote())) }
}

/// Whether Grafana did what it was asked for, and if not, what stands in the way.
fn judge(reply: &Reply, call: &Call) -> Result<(), Outcome> {
    if reply.is_html() {
        return Err(fetch::HTML.because(reply.quote()));
    }
    match reply.status.as_u16() {
        200 => Ok(()),
        401 => Err(TOKEN_REFUSED.because(format!("{}: {}", call.name, reply.quote()))),
        403 => Err(PERMISSION_MISSING.because(format!("{} needs {}: {}", call.name, call.needs, reply.quote()))),
        300..=399 => Err(fetch::REDIRECT.because(reply.quote())),
        400 | 413 | 422 => Err(NOT_TAKEN.because(format!("{}: {}", call.name, reply.quote()))),
        500..=599 => Err(SERVER_ERROR.because(reply.quote())),
        _ => Err(WRONG_REPLY.because(reply.quote())),
    }
}

fn trouble(outcome: Outcome) -> Trouble {
    let reason = outcome.reason().cloned().unwrap_or_else(|| WRONG_REPLY.into());
    let spec = REASONS.iter().copied().flatten().find(|spec| spec.name == reason.as_str());
    let next = spec.map_or("look at the log of the Grafana that annotations go to", |spec| spec.next);
    Trouble { alone: reason == NOT_TAKEN.into(), evidence: outcome.evidence().to_string(), next: next.to_owned(), reason }
}

#[cfg(test)]
mod tests;
