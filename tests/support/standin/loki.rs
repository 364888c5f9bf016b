//! A stand-in for Loki 3.6.3.

mod cut;
mod level;
mod lex;
mod logql;
mod metrics;
mod params;
mod push;
mod query;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::logql::{Query, parse};
use self::metrics::{Figures, Requests, expose};
use self::params::Params;
pub use self::push::Limits;
use self::push::Push;
use self::query::Reader;
use self::store::Tenant;
use super::front::{Front, Mood};
use super::now;
use super::reply::{JSON, Reply, empty, json, not_found, text};
use crate::loki::Line;

/// The tenant of a Loki without tenants.
const FAKE: &str = "fake";
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Where a Loki is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not ready. Pushes are taken, queries hang.
    Starting,
    /// The first 15 seconds: works, but is not ready.
    IngesterWaiting,
    /// Steady.
    Ready,
    /// On its way down: works, but is not ready.
    Stopping,
}

/// Numbers that tell of trouble in a Loki's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Chunks that could not be written.
    pub flush_failures: u64,
    /// Writes to the WAL that failed on a full disk; pushes are acknowledged all the same.
    pub wal_disk_full: u64,
    /// Panics.
    pub panics: u64,
}

/// How it is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Every request needs an `X-Scope-OrgID`, and each tenant sees its own lines only.
    pub tenants: bool,
    /// What is refused.
    pub limits: Limits,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    stage: Stage,
    keeps: bool,
    troubles: Troubles,
    tenants: BTreeMap<String, Tenant>,
    requests: Requests,
    flushed: u64,
}

/// A stand-in for Loki: what is pushed can be queried, within the part of `LogQL` that it speaks (stream selectors with line
/// filters, lines or bytes over time, one `sum`). `labels` and `label/…/values` show all streams, whatever the range; which of two
/// lines of one moment in different streams is cut off by a limit is not the same as in a real one.
#[derive(Debug)]
pub struct StandinLoki {
    inner: Arc<Mutex<Inner>>,
    front: Front,
}

impl StandinLoki {
    /// Starts an empty one, ready, without tenants.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Self> {
        Self::start_with(Settings::default())
    }

    /// Starts an empty one.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_with(settings: Settings) -> Result<Self> {
        let inner = Arc::new(Mutex::new(Inner {
            settings,
            stage: Stage::Ready,
            keeps: true,
            troubles: Troubles::default(),
            tenants: BTreeMap::new(),
            requests: Requests::new(),
            flushed: 0,
        }));
        let app = Router::new().fallback(handle).with_state(Arc::clone(&inner));
        Ok(Self { inner, front: Front::start(app)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.front.url()
    }

    /// Changes how it treats whoever connects; open connections are closed.
    ///
    /// # Errors
    /// Its port can not be opened again.
    pub async fn set_mood(&self, mood: Mood) -> Result<()> {
        self.front.set_mood(mood).await
    }

    /// Where it is between its start and its end.
    pub fn set_stage(&self, stage: Stage) {
        self.inner.lock().stage = stage;
    }

    /// What it refuses from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.lock().settings.limits = limits;
    }

    /// What its metrics tell of.
    pub fn set_troubles(&self, troubles: Troubles) {
        self.inner.lock().troubles = troubles;
    }

    /// False: it acknowledges what is pushed, and throws it away.
    pub fn set_keeps(&self, keeps: bool) {
        self.inner.lock().keeps = keeps;
    }

    /// As after a restart: its counters start anew, its lines are there. It is [`Stage::Starting`].
    pub fn restart(&self) {
        let mut inner = self.inner.lock();
        inner.requests.clear();
        inner.flushed = 0;
        inner.troubles = Troubles::default();
        inner.tenants.values_mut().for_each(|tenant| tenant.counts = store::Counts::default());
        inner.stage = Stage::Starting;
    }

    /// Makes lines that are older than three hours visible, like `POST /flush`.
    pub fn flush(&self) {
        self.inner.lock().flush();
    }

    /// Destroys acknowledged lines that match a stream query, from `start` to before `end` (nanoseconds); returns how many.
    ///
    /// # Errors
    /// It is no stream query.
    pub fn lose(&self, query: &str, start: i64, end: i64) -> Result<usize> {
        let Query::Lines(selector) = parse(query).map_err(|error| anyhow!("{error}"))? else {
            return Err(anyhow!("no stream query: {query}"));
        };
        let mut inner = self.inner.lock();
        Ok(inner.tenants.values_mut().map(|tenant| tenant.lose(&selector, (start, end))).sum())
    }

    /// Pushes lines to the stream of these labels, as the tenant of a Loki without tenants.
    ///
    /// # Errors
    /// It refuses them; the error holds its words.
    pub fn push(&self, labels: &[(&str, &str)], lines: &[Line]) -> Result<()> {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let values: Vec<_> = lines.iter().map(|line| json!([line.at.to_string(), line.text])).collect();
        let body = json!({"streams": [{"stream": labels, "values": values}]});
        let refusal = self.inner.lock().take(FAKE, body.to_string().as_bytes()).err();
        ensure!(refusal.is_none(), "Loki refused the push: {}", refusal.unwrap_or_default());
        Ok(())
    }

    /// The lines that match a stream query from `start` to before `end` (nanoseconds), oldest first. Not over HTTP: whatever its
    /// mood is.
    ///
    /// # Errors
    /// It is no stream query.
    pub fn lines(&self, query: &str, start: i64, end: i64) -> Result<Vec<Line>> {
        let Query::Lines(selector) = parse(query).map_err(|error| anyhow!("{error}"))? else {
            return Err(anyhow!("no stream query: {query}"));
        };
        let inner = self.inner.lock();
        let found = inner.tenants.values().flat_map(|tenant| tenant.find(&selector, (start, end), now()));
        let mut lines: Vec<Line> = found.map(|found| Line::new(found.entry.at, found.entry.line.clone())).collect();
        lines.sort();
        Ok(lines)
    }
}

async fn handle(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    let route = Route::of(&head.method, head.uri.path());
    let hangs = matches!(route, Route::Read(_)) && inner.lock().stage == Stage::Starting;
    if hangs {
        return std::future::pending().await;
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n");
    };
    let reply = inner.lock().answer(&route, &head.headers, head.uri.query().unwrap_or_default(), &body);
    let key = (head.method.to_string(), route.name(), reply.status().as_u16());
    *inner.lock().requests.entry(key).or_default() += 1;
    reply
}

enum Route {
    Push,
    NoPush,
    Read(Read),
    Ready,
    Metrics,
    Flush,
    BuildInfo,
    Unknown,
}

enum Read {
    Range,
    Instant,
    Labels,
    Values(String),
    Series,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method.as_str(), path.as_slice()) {
            ("POST", ["loki", "api", "v1", "push"]) => Self::Push,
            ("GET", ["loki", "api", "v1", "push"]) => Self::NoPush,
            ("POST", ["flush"]) => Self::Flush,
            ("GET" | "POST", ["loki", "api", "v1", rest @ ..]) => match rest {
                ["query_range"] => Self::Read(Read::Range),
                ["query"] => Self::Read(Read::Instant),
                ["labels" | "label"] => Self::Read(Read::Labels),
                ["label", name, "values"] => Self::Read(Read::Values((*name).to_owned())),
                ["series"] => Self::Read(Read::Series),
                ["status", "buildinfo"] => Self::BuildInfo,
                _ => Self::Unknown,
            },
            ("GET", ["ready"]) => Self::Ready,
            ("GET", ["metrics"]) => Self::Metrics,
            _ => Self::Unknown,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Push | Self::NoPush => "loki_api_v1_push",
            Self::Read(Read::Range) => "loki_api_v1_query_range",
            Self::Read(Read::Instant) => "loki_api_v1_query",
            Self::Read(Read::Labels) => "loki_api_v1_labels",
            Self::Read(Read::Values(_)) => "loki_api_v1_label_name_values",
            Self::Read(Read::Series) => "loki_api_v1_series",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::Flush => "flush",
            Self::BuildInfo => "loki_api_v1_status_buildinfo",
            Self::Unknown => "other",
        }
    }
}

impl Inner {
    fn answer(&mut self, route: &Route, headers: &HeaderMap, query: &str, body: &Bytes) -> Reply {
        let tenant = if self.settings.tenants { header(headers, "x-scope-orgid") } else { FAKE };
        let anonymous = tenant.is_empty();
        match route {
            Route::Push | Route::Read(_) if anonymous => text(StatusCode::UNAUTHORIZED, "no org id\n"),
            Route::Push if header(headers, "content-type").is_empty() => text(StatusCode::BAD_REQUEST, "mime: no media type\n"),
            Route::Push if !header(headers, "content-type").starts_with("application/json") => {
                text(StatusCode::BAD_REQUEST, "snappy: corrupt input\n")
            }
            Route::Push => match self.take(tenant, body) {
                Ok(()) => empty(StatusCode::NO_CONTENT),
                Err(refusal) => text(refusal.0, format!("{}\n", refusal.1)),
            },
            Route::Read(read) => {
                // Parameters come in the query, or as a form in the body.
                let params = Params::new(&[query, &String::from_utf8_lossy(body)].join("&"));
                let categorize = header(headers, "x-loki-response-encoding-flags").contains("categorize-labels");
                self.read(tenant, read, &params, categorize)
                    .map_or_else(|words| text(StatusCode::BAD_REQUEST, words), |body| json(StatusCode::OK, JSON, &body))
            }
            Route::Ready => self.ready(),
            Route::Metrics => {
                let Self { tenants, requests, troubles, flushed, .. } = self;
                expose(&Figures { tenants, requests, troubles: *troubles, flushed: *flushed })
            }
            Route::Flush => {
                self.flush();
                empty(StatusCode::NO_CONTENT)
            }
            Route::BuildInfo => {
                let info = json!({
                    "version": "3.6.3", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
                });
                json(StatusCode::OK, "application/json", &info)
            }
            Route::NoPush => empty(StatusCode::METHOD_NOT_ALLOWED),
            Route::Unknown => not_found(),
        }
    }

    fn take(&mut self, tenant: &str, body: &[u8]) -> Result<(), Refused> {
        let push = Push { tenant, now: now(), limits: &self.settings.limits, keeps: self.keeps };
        let to = self.tenants.entry(tenant.to_owned()).or_default();
        push.take(to, body).map_err(|refusal| Refused(status(refusal.status), refusal.words))
    }

    fn read(&self, tenant: &str, read: &Read, params: &Params, categorize: bool) -> Result<Value, String> {
        let nothing = Tenant::default();
        let reader = Reader { tenant: self.tenants.get(tenant).unwrap_or(&nothing), now: now(), categorize };
        let data = match read {
            Read::Range => reader.range(params)?,
            Read::Instant => reader.instant(params)?,
            // Nothing to list is no `data` at all.
            Read::Labels => listed(reader.labels()),
            Read::Values(name) => listed(reader.values(name)),
            Read::Series => json!(reader.series(params)?),
        };
        Ok(if data.is_null() { json!({"status": "success"}) } else { json!({"status": "success", "data": data}) })
    }

    fn ready(&self) -> Reply {
        let unavailable = |words: &'static str| text(StatusCode::SERVICE_UNAVAILABLE, words);
        match self.stage {
            Stage::Starting => unavailable("Some services are not Running:\nStarting: 5\nRunning: 11\n\n"),
            Stage::IngesterWaiting => unavailable("Ingester not ready: waiting for 15s after being ready\n"),
            Stage::Ready => text(StatusCode::OK, "ready\n"),
            Stage::Stopping => unavailable("Application is stopping\n"),
        }
    }

    fn flush(&mut self) {
        let streams: usize = self.tenants.values().map(|tenant| tenant.streams.len()).sum();
        self.flushed += u64::try_from(streams).unwrap_or_default();
        self.tenants.values_mut().for_each(Tenant::flush);
    }
}

/// A refused push.
#[derive(Debug, Default)]
struct Refused(StatusCode, String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}) {}", self.0, self.1)
    }
}

fn listed(names: Vec<String>) -> Value {
    if names.is_empty() { Value::Null } else { json!(names) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
