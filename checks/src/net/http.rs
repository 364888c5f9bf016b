//! `http`: one URL answers as expected.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::pin;

use futures::future::{BoxFuture, Either, select};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::secret::SecretRef;

use super::fetch::{self, Reply};
use super::{Budget, reasons, shown};

/// The reply has a status that is not listed.
const WRONG_STATUS: ReasonSpec =
    ReasonSpec::fail("wrong_status", "look at the target's own words in the evidence, or list the status if it is right");
/// The text is not in the body.
const MISSING_TEXT: ReasonSpec =
    ReasonSpec::fail("missing_text", "compare the reply with `contains`: the target answers, but not with that text");
/// The value differs.
const WRONG_VALUE: ReasonSpec =
    ReasonSpec::fail("wrong_value", "compare the value in the evidence with `json.equals`: the target says something else");

/// GET on `url` answers with a listed status (200 by default), the whole body arrives within `timeout`, and it has the text or
/// the JSON value that is asked for.
///
/// Fail: refused, reset, silent, not HTTP, a TLS handshake that fails, any other status (so 5xx, 401 and 403 too; redirects are
/// not followed), another text or value, an HTML page where JSON is due. Unknown: a header's secret is missing, our own resolver
/// or network fails, the certificate's issuer is not known to the verifier, the body is cut short, larger than 4 MiB, or not
/// parsable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// What to ask, `http://…` or `https://…`. No credentials in it: use `headers`.
    #[schemars(with = "String", url)]
    pub url: Url,
    /// The status codes that are right.
    #[serde(default = "only_ok")]
    pub status: Vec<u16>,
    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A value that the body, as JSON, must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonValue>,
    /// Request headers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderText>,
}

/// A value at a place in a JSON document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonValue {
    /// Where it is: a JSON pointer (RFC 6901) like `/data/0/name`; empty for the whole document.
    pub pointer: String,
    /// What it must be.
    pub equals: Value,
}

/// The text of a request header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HeaderText {
    /// The text itself, if it is no secret.
    Value(String),
    /// Name of an environment variable of the verifier that holds it.
    Env(String),
    /// Path of a file that holds it; surrounding white space is trimmed.
    File(PathBuf),
}

fn only_ok() -> Vec<u16> {
    vec![200]
}

/// Headers ready to send, and the secrets in them, which no evidence may repeat.
struct Prepared {
    headers: HeaderMap,
    secrets: Vec<String>,
}

impl Http {
    async fn prepare(&self) -> Result<Prepared, Outcome> {
        let mut prepared = Prepared { headers: HeaderMap::new(), secrets: Vec::new() };
        for (name, text) in &self.headers {
            let reference = match text {
                HeaderText::Value(_) => None,
                HeaderText::Env(name) => Some(SecretRef::Env(name.clone())),
                HeaderText::File(path) => Some(SecretRef::File(path.clone())),
            };
            let text = match (text, reference) {
                (HeaderText::Value(text), _) => text.clone(),
                (_, Some(reference)) => {
                    let secret = reference.resolve().await.map_err(|error| reasons::SECRET_MISSING.because(error.to_string()))?;
                    prepared.secrets.push(secret.expose_secret().to_owned());
                    secret.expose_secret().to_owned()
                }
                (HeaderText::Env(_) | HeaderText::File(_), None) => continue,
            };
            let unfit = || reasons::SECRET_MISSING.because(format!("header {name}: what was read can not be sent in a header"));
            let header = HeaderName::try_from(name.as_str()).map_err(|_| unfit())?;
            let mut value = HeaderValue::try_from(text).map_err(|_| unfit())?;
            value.set_sensitive(true);
            prepared.headers.insert(header, value);
        }
        Ok(prepared)
    }

    async fn look(&self, cx: &Context, budget: Budget) -> (Outcome, Option<Reply>) {
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(outcome) => return (outcome, None),
        };
        match fetch::get(&cx.clients, &self.url, prepared.headers, budget).await {
            Ok(reply) => {
                let reply = reply.hide(prepared.secrets);
                (self.judge(&reply).unwrap_or_else(|outcome| outcome), Some(reply))
            }
            Err(outcome) => (outcome, None),
        }
    }

    fn judge(&self, reply: &Reply) -> Result<Outcome, Outcome> {
        let place = shown(&self.url);
        if !self.status.contains(&reply.status.as_u16()) {
            let reason = match reply.status.as_u16() {
                401 | 403 => fetch::DENIED,
                300..=399 => fetch::REDIRECT,
                _ => WRONG_STATUS,
            };
            return Err(reason.because(format!("{}, expected {:?}", reply.quote(), self.status)));
        }
        if self.json.is_some() && reply.is_html() {
            return Err(fetch::HTML.because(reply.quote()));
        }
        let body = reply.whole()?;
        if let Some(text) = self.contains.as_ref().filter(|text| !String::from_utf8_lossy(body).contains(text.as_str())) {
            return Err(MISSING_TEXT.because(format!("no {text:?} in {}", reply.quote())));
        }
        if let Some(JsonValue { pointer, equals }) = &self.json {
            let document = reply.json()?;
            let value = document.pointer(pointer);
            if value != Some(equals) {
                let value = value.map_or_else(|| "missing".to_owned(), |value| reply.clip(&value.to_string()));
                return Err(WRONG_VALUE.because(format!("{place}: {pointer:?} is {value}, expected {equals}")));
            }
        }
        Ok(Outcome::pass(format!("{place}: {}, {} bytes", reply.status, body.len())))
    }

    /// The replies that this configuration must refuse, each as status and body; the first one has a wrong status.
    fn wrong_replies(&self) -> Vec<(u16, &'static str)> {
        let refused = (500..=599).find(|code| !self.status.contains(code));
        let listed = self.status.first().copied().unwrap_or(200);
        let mut replies: Vec<_> = refused.map(|code| (code, "")).into_iter().collect();
        if self.contains.is_some() {
            replies.push((listed, ""));
        }
        if self.json.is_some() {
            replies.push((listed, "\"phasegate negative control\""));
        }
        replies
    }

    /// Looks at a server of our own that gives one wrong reply, through the same path as a Run.
    async fn look_at_wrong(&self, cx: &Context, budget: Budget, reply: (u16, &str)) -> Outcome {
        let ours = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>((listener, address))
        };
        let (listener, address) = match ours.await {
            Ok(ours) => ours,
            Err(error) => {
                return reasons::LOCAL.because(format!("the control's own server: {error}"));
            }
        };
        let Ok(url) = Url::parse(&format!("http://{address}/phasegate-negative-control")) else {
            return reasons::LOCAL.because("the control's own server has no address");
        };
        let there = Self { url, headers: BTreeMap::new(), ..self.clone() };
        match select(pin!(there.look(cx, budget)), pin!(serve(&listener, reply))).await {
            Either::Left(((outcome, _), _)) => outcome,
            Either::Right((error, _)) => reasons::LOCAL.because(format!("the control's own server: {error}")),
        }
    }
}

/// Gives the same reply to everyone, until it is dropped. Returns only with an error.
async fn serve(listener: &TcpListener, (status, body): (u16, &str)) -> std::io::Error {
    loop {
        let reply = format!(
            "HTTP/1.1 {status} Control\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let once = async {
            let (mut stream, _) = listener.accept().await?;
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 * 1024 {
                if stream.read_buf(&mut request).await? == 0 {
                    break;
                }
            }
            stream.write_all(reply.as_bytes()).await?;
            stream.shutdown().await
        };
        if let Err(error) = once.await {
            return error;
        }
    }
}

impl Check for Http {
    const META: Meta = Meta {
        kind: "http",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, fetch::REPLIES, &[reasons::SECRET_MISSING, WRONG_STATUS, MISSING_TEXT, WRONG_VALUE]],
        control: WRONG_STATUS,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        if !matches!(self.url.scheme(), "http" | "https") || self.url.host_str().is_none() {
            wrong("url", format!("{:?} is not an HTTP URL", shown(&self.url)), "write http://host:port/path");
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            wrong("url", "credentials in the URL".into(), "use headers: {Authorization: {env: NAME}}");
        }
        if self.status.is_empty() || self.status.len() > 20 {
            wrong("status", format!("{} status codes", self.status.len()), "list 1 to 20");
        }
        for code in self.status.iter().filter(|code| !(200..=599).contains(*code)) {
            wrong("status", format!("{code} is not a status code"), "use 200 to 599");
        }
        let asks_for_a_body = self.json.is_some() || self.contains.is_some();
        if let Some(code) = self.status.iter().find(|code| asks_for_a_body && matches!(code, 204 | 205 | 304)) {
            wrong("status", format!("a reply with {code} has no body"), "leave out the status, or `json` and `contains`");
        }
        if self.contains.as_deref() == Some("") {
            wrong("contains", "every text contains the empty one".into(), "leave it out, or name a text");
        }
        if self.json.as_ref().is_some_and(|json| !json.pointer.is_empty() && !json.pointer.starts_with('/')) {
            wrong("json", "a JSON pointer begins with /".into(), "write it like /data/0/name");
        }
        for (name, text) in &self.headers {
            let plain = matches!(text, HeaderText::Value(text) if HeaderValue::try_from(text.as_str()).is_err());
            if plain || HeaderName::try_from(name.as_str()).is_err() {
                wrong("headers", format!("{name:?} can not be sent as a header"), "use letters, digits and -");
            }
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let (outcome, reply) = self.look(cx, Budget::start(cx.timeout)).await;
            let mut report = Report::new(Step::whole(outcome), ());
            if let Some(reply) = reply {
                let part = PartId::new(PartId::WHOLE);
                report.measures.push(Measure { part, name: "latency_seconds", value: reply.took.as_secs_f64() });
            }
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let mut first = None;
            for reply in self.wrong_replies() {
                let outcome = self.look_at_wrong(cx, budget, reply).await;
                if !matches!(outcome, Outcome::Fail { .. }) {
                    return outcome;
                }
                first.get_or_insert(outcome);
            }
            first.unwrap_or_else(|| reasons::LOCAL.because("every status is listed"))
        })
    }
}

#[cfg(test)]
mod tests;
