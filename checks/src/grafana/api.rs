//! Asking Grafana's API, and what its refusals mean.

use futures::future::join;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::check::Context;
use crate::net::exposition::{Page, STARTED_AT};
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons, shown};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::GrafanaTarget;

use super::{SERVER_ERROR, WRONG_REPLY};

/// The token is good, and may not do this.
pub(crate) const PERMISSION_MISSING: ReasonSpec = ReasonSpec::unknown(
    "permission_missing",
    "grant the token's service account what the evidence names: what it may not see can not be told from what is not there",
);

/// Two names, one Grafana.
pub(crate) const SAME_SERVER: ReasonSpec =
    ReasonSpec::fail("same_server", "correct the URL of one of the two targets: both lead to the same Grafana");

/// What every program written in Go counts of itself, finely enough to be told from another.
const COUNTERS: &[&str] = &["go_gc_duration_seconds_sum", "go_memstats_alloc_bytes_total", "process_cpu_seconds_total"];
/// The metric that only a Grafana has.
const BUILD: &str = "grafana_build_info";

/// What asking a Grafana with a token can come to, beside [`fetch::REPLIES`] and [`reasons::NETWORK`].
pub(crate) const ASKING: &[ReasonSpec] =
    &[reasons::SECRET_MISSING, fetch::TOKEN_REFUSED, PERMISSION_MISSING, SERVER_ERROR, WRONG_REPLY];

/// Grafana's own word for "do not answer from the query cache".
const CACHE_SKIP: HeaderName = HeaderName::from_static("x-cache-skip");
/// Longest message of Grafana's that is repeated, in characters.
const MAX_MESSAGE: usize = 200;

/// A Grafana, and what every question to it carries.
#[derive(Debug)]
pub(crate) struct Api<'a> {
    cx: &'a Context,
    base: &'a Url,
    headers: HeaderMap,
    secrets: Vec<String>,
}

impl<'a> Api<'a> {
    /// Reads the target's token.
    pub(crate) async fn open(cx: &'a Context, target: &'a GrafanaTarget) -> Result<Self, Outcome> {
        let (mut headers, secrets) = fetch::bearer(target.token.as_ref()).await?;
        headers.insert(CACHE_SKIP, HeaderValue::from_static("true"));
        Ok(Self { cx, base: &target.url, headers, secrets })
    }

    /// What is there; anything but an answer of the kind that was asked for is an outcome.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        budget: Budget,
    ) -> Result<T, Outcome> {
        let found = self.find(path, query, budget).await?;
        found.ok_or_else(|| WRONG_REPLY.because(format!("GET {}: 404", shown(&self.url(path, &[])))))
    }

    /// What is there, or none if Grafana says, in its own manner, that it is not.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        budget: Budget,
    ) -> Result<Option<T>, Outcome> {
        found(&self.reply(path, query, budget).await?)
    }

    /// Whatever came back.
    pub(crate) async fn reply(&self, path: &[&str], query: &[(&str, &str)], budget: Budget) -> Result<Reply, Outcome> {
        let reply = fetch::get(&self.cx.clients, &self.url(path, query), self.headers.clone(), budget).await?;
        Ok(reply.hide(self.secrets.clone()))
    }

    /// Asks a question that changes nothing and is too long for a URL. Whatever came back.
    pub(crate) async fn ask(&self, path: &[&str], question: &Value, budget: Budget) -> Result<Reply, Outcome> {
        let reply = fetch::post(&self.cx.clients, &self.url(path, &[]), self.headers.clone(), question, budget).await?;
        Ok(reply.hide(self.secrets.clone()))
    }

    /// That another one is another server, as far as its URL and its process tell: when that was started, and what it has counted since.
    /// Two that were started in the same moment have counted different things. Where metrics are not served, the URL alone tells.
    pub(crate) async fn is_not(&self, other: &Self, budget: Budget) -> Result<(), Outcome> {
        if self.base == other.base {
            return Err(SAME_SERVER.because(format!("both are at {}", shown(self.base))));
        }
        let (Some(before), Some(between)) = join(self.process(budget), other.process(budget)).await else { return Ok(()) };
        let figure = |page: &Page, name: &str| page.gauge(name);
        if figure(&before, STARTED_AT).map(f64::to_bits) != figure(&between, STARTED_AT).map(f64::to_bits) {
            return Ok(());
        }
        // They were asked at the same time; what one process counts lies between two looks around that.
        let Some(between) = other.process(budget).await else { return Ok(()) };
        let Some(after) = self.process(budget).await else { return Ok(()) };
        let fits = |name: &&str| match (figure(&before, name), figure(&between, name), figure(&after, name)) {
            (Some(before), Some(between), Some(after)) => (before..=after).contains(&between),
            (_, _, _) => true,
        };
        if !COUNTERS.iter().all(fits) {
            return Ok(());
        }
        let (here, there) = (shown(self.base), shown(other.base));
        Err(SAME_SERVER.because(format!("what answers at {here} and at {there} is one process, by its start and its counters")))
    }

    /// What its process tells of itself; none if it tells nothing.
    async fn process(&self, budget: Budget) -> Option<Page> {
        let wanted: Vec<&str> = [BUILD, STARTED_AT].into_iter().chain(COUNTERS.iter().copied()).collect();
        let page = self.reply(&["metrics"], &[], budget).await.and_then(|reply| Page::read(&reply, &wanted));
        page.map_or(None, |page| page.gauge(STARTED_AT).is_some().then_some(page))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = below(self.base, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// What is in a reply, or none if Grafana says, in its own manner, that it is not there.
pub(crate) fn found<T: DeserializeOwned>(reply: &Reply) -> Result<Option<T>, Outcome> {
    match reply.status.as_u16() {
        200 => reply.parse().map(Some),
        404 if reply.parse::<Value>()?.get("message").is_some() => Ok(None),
        _ => Err(refusal(reply, "GET")),
    }
}

/// What an answer means that is not the one that was asked for.
pub(crate) fn refusal(reply: &Reply, method: &str) -> Outcome {
    let reason = match reply.status.as_u16() {
        300..=399 => fetch::REDIRECT,
        401 => fetch::TOKEN_REFUSED,
        500..=599 => SERVER_ERROR,
        _ if reply.is_html() => fetch::HTML,
        403 => PERMISSION_MISSING,
        _ => WRONG_REPLY,
    };
    let message = message(reply).map(|message| format!(": {message}")).unwrap_or_default();
    reason.because(format!("{method} {}{message}", reply.headline()))
}

/// Grafana's own words for a refusal. Nothing else of a reply is ever shown: what Grafana returns may hold secrets.
pub(crate) fn message(reply: &Reply) -> Option<String> {
    let document: Value = reply.parse().ok()?;
    Some(reply.clip(&scrubbed(document.get("message")?.as_str()?)))
}

/// A text of Grafana's without what URLs in it may hold: user, password, query.
pub(crate) fn scrubbed(text: &str) -> String {
    let word = |word: &str| {
        let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
        let end = rest.find(['"', '\'', ')', '>', ',']).unwrap_or(rest.len());
        let (url, after) = rest.split_at(end);
        let (place, query) = url.split_once('?').map_or((url, ""), |(place, _)| (place, "?…"));
        let (authority, path) = place.find('/').map_or((place, ""), |slash| place.split_at(slash));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}{query}{after}")
    };
    let words: Vec<String> = text.split(' ').map(word).collect();
    words.join(" ").chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Server, context};

    async fn asked(status: &str, content_type: &str, body: &str) -> Result<Option<Value>, Outcome> {
        let server = Server::http(status, content_type, body).await;
        let target = serde_json::from_value(json!({"url": server.url()})).unwrap();
        let cx = context();
        let api = Api::open(&cx, &target).await.unwrap();
        api.find(&["api", "org", "users"], &[("query", "a b")], Budget::start(cx.timeout)).await
    }

    #[tokio::test]
    async fn each_refusal_has_its_reason_and_shows_nothing_but_grafanas_message() {
        let json = "application/json";
        let denied = r#"{"message":"You'll need additional permissions. Permissions needed: org.users:read","secret":"hunter2"}"#;
        for (status, kind, body, reason) in [
            ("401 Unauthorized", json, r#"{"message":"Invalid API key","key":"hunter2"}"#, "token_refused"),
            ("403 Forbidden", json, denied, "permission_missing"),
            ("403 Forbidden", "text/html", "<html>hunter2", "html"),
            ("302 Found", "text/plain", "hunter2", "redirect"),
            ("404 Not Found", "text/html", "<html>hunter2", "html"),
            ("404 Not Found", json, r#"{"hunter2":1}"#, "wrong_reply"),
            ("404 Not Found", "text/plain", "404 page not found, hunter2", "unparsable"),
            ("502 Bad Gateway", "text/html", "<html>hunter2", "server_error"),
            ("500 Oops", json, r#"{"message":"Get \"http://me:hunter2@loki/x?token=hunter2\": refused"}"#, "server_error"),
            ("204 No Content", json, "", "wrong_reply"),
            ("200 OK", json, r#"{"password":"hunter2""#, "unparsable"),
            ("200 OK", "text/html", "<html>hunter2", "html"),
        ] {
            let outcome = asked(status, kind, body).await.unwrap_err();
            assert_eq!(outcome.reason().unwrap().as_str(), reason, "{status} {body}");
            assert!(!outcome.evidence().as_str().contains("hunter2"), "{status} {outcome:?}");
        }
        let denied = asked("403 Forbidden", json, denied).await.unwrap_err();
        assert!(denied.evidence().as_str().ends_with("Permissions needed: org.users:read"), "{denied:?}");
    }

    #[tokio::test]
    async fn what_is_not_there_is_none_only_in_grafanas_own_words() {
        let nothing = asked("404 Not Found", "application/json", r#"{"message":"Dashboard not found"}"#).await;
        assert_eq!(nothing.unwrap(), None);
        assert_eq!(asked("200 OK", "application/json", "[1]").await.unwrap(), Some(json!([1])));
    }

    #[tokio::test]
    async fn two_names_of_one_server_are_told_by_its_process() {
        let page = |started: &str, collected: &str| {
            let known = format!("grafana_build_info{{version=\"12\"}} 1\nprocess_start_time_seconds {started}\n");
            format!("{known}go_gc_duration_seconds_sum {collected}\nprocess_cpu_seconds_total 3.5\n")
        };
        let server = async |body: &str| Server::http("200 OK", "text/plain", body).await;
        let (one, two) = (server(&page("1.7e9", "0.001")).await, server(&page("1.7e9", "0.001")).await);
        let (later, twin) = (server(&page("1.8e9", "0.001")).await, server(&page("1.7e9", "0.002")).await);
        let mute = server("no metrics").await;
        let cx = context();
        let told = async |here: &Server, there: &Server| {
            let target = |server: &Server| serde_json::from_value::<GrafanaTarget>(json!({"url": server.url()})).unwrap();
            let (here, there) = (target(here), target(there));
            let (here, there) = (Api::open(&cx, &here).await.unwrap(), Api::open(&cx, &there).await.unwrap());
            here.is_not(&there, Budget::start(cx.timeout)).await.map_err(|outcome| outcome.reason().unwrap().to_string())
        };
        let same = Err("same_server".to_owned());
        assert_eq!((told(&one, &one).await, told(&one, &two).await), (same.clone(), same));
        assert_eq!((told(&one, &later).await, told(&one, &mute).await), (Ok(()), Ok(())));
        assert_eq!(told(&one, &twin).await, Ok(()), "started in the same moment, and another one");
    }

    #[test]
    fn urls_in_messages_lose_what_may_be_secret() {
        for (text, shown) in [
            ("Get \"http://a:b@loki:3100/x?q=1\": refused", "Get \"http://loki:3100/x?…\": refused"),
            ("postgres://me:pw@db/app?x, and more", "postgres://db/app?…, and more"),
            ("nothing to hide: a@b?c", "nothing to hide: a@b?c"),
        ] {
            assert_eq!(scrubbed(text), shown);
        }
    }
}
