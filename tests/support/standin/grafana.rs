//! A stand-in for Grafana.

mod ask;
mod frames;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::front::{Front, Mood};
use super::gateway::client;
use super::reply::{HTML, JSON, Reply, json as reply_json, reply, text};

/// Replies that Grafana's handlers encode themselves.
const PLAIN_JSON: &str = "application/json";

/// A datasource for a Loki.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasource {
    /// What dashboards refer to it by.
    pub uid: String,
    /// For people.
    pub name: String,
    /// Base URL of the Loki, or of a gateway.
    pub url: String,
}

impl Datasource {
    /// The one called `Loki`, with the uid that provisioning gives to that name.
    pub fn loki(url: impl Into<String>) -> Self {
        Self { uid: "P8E80F9AEF21F6940".into(), name: "Loki".into(), url: url.into() }
    }
}

/// How answers to queries come about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recall {
    /// Asked of Loki, each time.
    #[default]
    Fresh,
    /// What was once answered to a query is answered again, whatever its range.
    Cached,
    /// Asked of Loki, without anything newer than this moment (nanoseconds since the Unix epoch).
    AsOf(i64),
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    state: Mutex<Settings>,
}

#[derive(Debug)]
struct Settings {
    tokens: Vec<String>,
    datasources: Vec<Datasource>,
    version: String,
    database: bool,
    checks_datasources: bool,
    recall: Recall,
    cache: BTreeMap<String, Value>,
}

/// A stand-in for Grafana: queries of its datasources are really asked of Loki, over HTTP, and turned into frames. API calls need a
/// bearer token that it knows.
#[derive(Debug)]
pub struct StandinGrafana {
    inner: Arc<Inner>,
    front: Front,
}

impl StandinGrafana {
    /// Starts one with these datasources, that knows this token.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(token: &str, datasources: &[Datasource]) -> Result<Self> {
        let state = Mutex::new(Settings {
            tokens: vec![token.to_owned()],
            datasources: datasources.to_vec(),
            version: "12.3.2".into(),
            database: true,
            checks_datasources: true,
            recall: Recall::Fresh,
            cache: BTreeMap::new(),
        });
        let inner = Arc::new(Inner { http: client()?, state });
        let api = Router::new()
            .route("/datasources", get(datasources_list))
            .route("/datasources/uid/{uid}", get(datasource))
            .route("/datasources/uid/{uid}/health", get(datasource_health))
            .route("/datasources/proxy/uid/{uid}/{*path}", get(proxy))
            .route("/ds/query", post(query))
            .fallback(async || api_json(StatusCode::NOT_FOUND, JSON, &json!({"message": "Not found"})))
            .layer(from_fn_with_state(Arc::clone(&inner), authenticated));
        let app = Router::new()
            .route("/healthz", get(async || uncached(text(StatusCode::OK, "Ok"))))
            .route("/api/health", get(health))
            .route("/login", get(async || uncached(reply(StatusCode::OK, HTML, LOGIN))))
            .nest("/api", api)
            .fallback(page)
            .with_state(Arc::clone(&inner));
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

    /// Its datasources from now on.
    pub fn set_datasources(&self, datasources: &[Datasource]) {
        self.inner.state.lock().datasources = datasources.to_vec();
    }

    /// Points the datasource of this uid to another Loki.
    pub fn set_datasource_url(&self, uid: &str, url: &str) {
        let mut state = self.inner.state.lock();
        state.datasources.iter_mut().filter(|one| one.uid == uid).for_each(|one| url.clone_into(&mut one.url));
    }

    /// The tokens that it knows.
    pub fn set_tokens(&self, tokens: &[&str]) {
        self.inner.state.lock().tokens = tokens.iter().map(|&token| token.to_owned()).collect();
    }

    /// The version that it says it is.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut self.inner.state.lock().version);
    }

    /// Whether its database answers.
    pub fn set_database(&self, works: bool) {
        self.inner.state.lock().database = works;
    }

    /// False: like an older Grafana, it has no health check for Loki.
    pub fn set_checks_datasources(&self, checks: bool) {
        self.inner.state.lock().checks_datasources = checks;
    }

    /// How answers to queries come about. What is cached is forgotten.
    pub fn set_recall(&self, recall: Recall) {
        let mut state = self.inner.state.lock();
        state.recall = recall;
        state.cache.clear();
    }
}

const LOGIN: &str = "<!DOCTYPE html>\n<html lang=\"en-US\">\n<head><title>Grafana</title></head>\n<body><div id=\"reactRoot\"></div></body>\n</html>\n";

fn uncached(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn api_json(status: StatusCode, kind: &'static str, body: &Value) -> Reply {
    uncached(reply_json(status, kind, body))
}

/// Pages need a login, which is elsewhere.
async fn page() -> Reply {
    let mut found = reply(StatusCode::FOUND, HTML, "<a href=\"/login\">Found</a>.\n\n");
    found.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/login"));
    uncached(found)
}

async fn authenticated(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Reply {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = match given.split_once(' ') {
        Some(("Bearer", token)) if inner.state.lock().tokens.iter().any(|known| known == token) => {
            return next.run(request).await;
        }
        Some(("Bearer", _)) => json!({"message": "invalid API key", "traceID": ""}),
        Some(("Basic", _)) => json!({"message": "invalid username or password", "traceID": ""}),
        _ => json!({"message": "Unauthorized"}),
    };
    api_json(StatusCode::UNAUTHORIZED, JSON, &refused)
}

async fn health(State(inner): State<Arc<Inner>>) -> Reply {
    let state = inner.state.lock();
    let (status, database) = if state.database { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    api_json(status, JSON, &json!({"commit": "NA", "database": database, "version": state.version}))
}

async fn datasources_list(State(inner): State<Arc<Inner>>) -> Reply {
    let state = inner.state.lock();
    if !state.database {
        return failed("Failed to query datasources");
    }
    let list: Vec<Value> = state.datasources.iter().zip(1..).map(|(one, id)| {
        json!({
            "id": id, "uid": one.uid, "orgId": 1, "name": one.name, "type": "loki", "typeName": "Loki",
            "typeLogoUrl": "public/app/plugins/datasource/loki/img/loki_icon.svg", "access": "proxy", "url": one.url, "user": "",
            "database": "", "basicAuth": false, "isDefault": id == 1, "jsonData": {}, "readOnly": true,
        })
    })
    .collect();
    api_json(StatusCode::OK, PLAIN_JSON, &json!(list))
}

async fn datasource(State(inner): State<Arc<Inner>>, Path(uid): Path<String>) -> Reply {
    let state = inner.state.lock();
    if !state.database {
        return failed("Failed to query datasources");
    }
    let Some((one, id)) = state.datasources.iter().zip(1..).find(|(one, _)| one.uid == uid) else {
        return api_json(StatusCode::NOT_FOUND, PLAIN_JSON, &json!({"message": "Data source not found"}));
    };
    let body = json!({
        "id": id, "uid": one.uid, "orgId": 1, "name": one.name, "type": "loki", "typeLogoUrl": "", "access": "proxy", "url": one.url,
        "user": "", "database": "", "basicAuth": false, "basicAuthUser": "", "withCredentials": false, "isDefault": id == 1,
        "jsonData": {}, "secureJsonFields": {}, "version": 1, "readOnly": true,
    });
    api_json(StatusCode::OK, PLAIN_JSON, &body)
}

fn failed(message: &str) -> Reply {
    api_json(StatusCode::INTERNAL_SERVER_ERROR, PLAIN_JSON, &json!({"message": message, "traceID": ""}))
}

impl Inner {
    fn find(&self, uid: &str) -> Option<Datasource> {
        self.state.lock().datasources.iter().find(|one| one.uid == uid).cloned()
    }
}

/// Asks Loki for a sum of constants: the answer is the same for an empty Loki.
async fn datasource_health(State(inner): State<Arc<Inner>>, Path(uid): Path<String>) -> Reply {
    let Some(datasource) = inner.find(&uid) else { return failed("Unable to load datasource metadata") };
    if !inner.state.lock().checks_datasources {
        return api_json(StatusCode::NOT_FOUND, PLAIN_JSON, &json!({"message": "Not found", "traceID": ""}));
    }
    let url = format!("{}/loki/api/v1/query?query=vector%281%29%2Bvector%281%29", datasource.url);
    let (status, body) = match ask::loki(&inner.http, &url).await {
        Ok(answer) if answer.pointer("/data/result/0/value/1") == Some(&json!("2")) => {
            (StatusCode::OK, json!({"message": "Successfully queried the Loki API.", "status": "OK"}))
        }
        Ok(_) => (StatusCode::BAD_REQUEST, json!({"message": "Unable to fetch labels from Loki", "status": "ERROR"})),
        Err(failure) => {
            let message = format!("There was an error returned querying the Loki API.: {}", failure.words);
            (StatusCode::BAD_REQUEST, json!({"message": message, "status": "ERROR"}))
        }
    };
    api_json(status, PLAIN_JSON, &body)
}

/// Loki's own answer.
async fn proxy(
    State(inner): State<Arc<Inner>>,
    Path((uid, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Reply {
    let Some(datasource) = inner.find(&uid) else {
        return api_json(StatusCode::NOT_FOUND, PLAIN_JSON, &json!({"message": "Unable to find datasource", "traceID": ""}));
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = inner.http.get(format!("{}/{path}{query}", datasource.url));
    if let Some(flags) = headers.get("x-loki-response-encoding-flags") {
        request = request.header("x-loki-response-encoding-flags", flags);
    }
    let passed_on = async {
        let answer = request.send().await?;
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        Ok::<_, reqwest::Error>((status, kind, answer.bytes().await?))
    };
    let Ok((status, kind, body)) = passed_on.await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut passed = (status, body).into_response();
    if let Some(kind) = kind {
        passed.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    passed
}

async fn query(State(inner): State<Arc<Inner>>, body: Bytes) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return api_json(StatusCode::BAD_REQUEST, PLAIN_JSON, &json!({"message": "bad request data", "traceID": ""}));
    };
    let (recall, known) = {
        let state = inner.state.lock();
        (state.recall, state.datasources.clone())
    };
    let asked = match ask::read(&body, &known, recall) {
        Ok(asked) => asked,
        Err(ask::Refusal { status, message }) => {
            return api_json(status, PLAIN_JSON, &json!({"message": message, "traceID": ""}));
        }
    };
    let (mut results, mut status) = (BTreeMap::new(), StatusCode::OK);
    for one in asked {
        let key = one.key();
        let cached = if recall == Recall::Cached { inner.state.lock().cache.get(&key).cloned() } else { None };
        let answer = match cached {
            Some(answer) => Ok(answer),
            None => ask::loki(&inner.http, &one.url()).await,
        };
        let result = answer.and_then(|answer| {
            let frames = frames::of(&answer, &one)?;
            inner.state.lock().cache.insert(key, answer);
            Ok(frames)
        });
        let result = match result {
            Ok(frames) => json!({"status": 200, "frames": frames}),
            Err(failure) => {
                // One that fails makes the whole call a failed one; the others are answered all the same.
                status = StatusCode::BAD_REQUEST;
                json!({"error": failure.words, "status": failure.status})
            }
        };
        results.insert(one.id, result);
    }
    api_json(status, PLAIN_JSON, &json!({"results": results}))
}
