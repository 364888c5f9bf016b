//! A stand-in for Alloy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use chrono::{DateTime, SecondsFormat};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::collector::{Collector, Flaws, Pipeline, Positions, REASONS, Tally};
use super::front::{Front, Mood};
use super::journal::StandinJournal;
use super::now;
use super::reply::{Exposition, Reply, TEXT, json as reply_json, not_found, text};

const RELABEL: &str = "loki.relabel.r";
const WRITE: &str = "loki.write.k3s";
const PROCESS: &str = "loki.process.p";
const SOURCE: &str = "loki.source.journal.systemd";

/// A component: its name, what it refers to, what refers to it, and where its lines go.
struct Component {
    id: &'static str,
    to: &'static [&'static str],
    from: &'static [&'static str],
    flow: &'static [&'static str],
    live: bool,
}

const COMPONENTS: [Component; 4] = [
    Component { id: RELABEL, to: &[], from: &[SOURCE], flow: &[SOURCE], live: true },
    Component { id: WRITE, to: &[], from: &[PROCESS], flow: &[], live: false },
    Component { id: PROCESS, to: &[WRITE], from: &[SOURCE], flow: &[WRITE], live: true },
    Component { id: SOURCE, to: &[PROCESS, RELABEL], from: &[], flow: &[PROCESS], live: false },
];

#[derive(Debug)]
struct Inner {
    collector: Collector,
    state: Mutex<Config>,
}

#[derive(Debug)]
struct Config {
    ready: bool,
    started: i64,
    /// Why the file can not be loaded.
    broken: Option<String>,
    /// The last load went well.
    loaded: bool,
    loaded_at: i64,
    unhealthy: BTreeSet<String>,
}

/// A stand-in for Alloy with a journal pipeline: it ships a journal to one or more Lokis, with a label `agent="alloy"`. It stops when
/// it is dropped. Its health says nothing of [`Flaws`], nor of a Loki that does not answer, as with the real one.
#[derive(Debug)]
pub struct StandinAlloy {
    inner: Arc<Inner>,
    front: Front,
}

impl StandinAlloy {
    /// Starts one that ships a journal to the Lokis at these base URLs.
    ///
    /// # Errors
    /// No port is free, or a URL is none.
    pub fn start(journal: &StandinJournal, lokis: &[&str]) -> Result<Self> {
        let labels = [("job", "systemd-journal"), ("agent", "alloy")];
        let labels: BTreeMap<_, _> = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let collector = Collector::start(journal, lokis, Pipeline { labels, keep: None })?;
        let started = now();
        let state = Mutex::new(Config {
            ready: true,
            started,
            broken: None,
            loaded: true,
            loaded_at: started,
            unhealthy: BTreeSet::new(),
        });
        let inner = Arc::new(Inner { collector, state });
        let app = Router::new()
            .route("/-/ready", get(ready))
            .route("/-/healthy", get(healthy))
            .route("/-/reload", get(reload).post(reload))
            .route("/api/v0/web/components", get(components))
            .route("/api/v0/web/components/{id}", get(component))
            .route("/metrics", get(metrics))
            .fallback(async || not_found())
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

    /// Changes how it treats whoever connects; open connections are closed. It ships all the same.
    ///
    /// # Errors
    /// Its port can not be opened again.
    pub async fn set_mood(&self, mood: Mood) -> Result<()> {
        self.front.set_mood(mood).await
    }

    /// Ships to the Lokis at these base URLs from now on, as after an edit and a reload. What waits for the old ones goes along.
    ///
    /// # Errors
    /// A URL is none.
    pub fn set_lokis(&self, lokis: &[&str]) -> Result<()> {
        self.inner.collector.set_targets(lokis)?;
        let mut state = self.inner.state.lock();
        (state.loaded, state.loaded_at) = (true, now());
        Ok(())
    }

    /// What is wrong with it.
    pub fn set_flaws(&self, flaws: Flaws) {
        self.inner.collector.set_flaws(flaws);
    }

    /// Keeps only lines whose identifier starts with one of these; none: all.
    pub fn set_keep(&self, identifiers: Option<&[&str]>) {
        self.inner.collector.set_keep(identifiers);
    }

    /// Breaks its configuration file, with these words, or repairs it. It takes notice at the next reload.
    pub fn set_broken_config(&self, words: Option<&str>) {
        self.inner.state.lock().broken = words.map(str::to_owned);
    }

    /// Whether it says that it is ready.
    pub fn set_ready(&self, ready: bool) {
        self.inner.state.lock().ready = ready;
    }

    /// Whether it says that its journal reader is unhealthy.
    pub fn set_unhealthy(&self, unhealthy: bool) {
        let names = unhealthy.then(|| SOURCE.to_owned()).into_iter().collect();
        self.inner.state.lock().unhealthy = names;
    }

    /// Stops and starts it.
    pub fn restart(&self, positions: Positions) {
        self.inner.collector.restart(positions);
        let mut state = self.inner.state.lock();
        state.started = now();
        (state.loaded, state.loaded_at) = (true, state.started);
    }

    /// How many lines it says that it has sent, to all its Lokis.
    pub fn sent(&self) -> u64 {
        self.inner.collector.tally().targets.iter().map(|(_, sent)| sent.entries).sum()
    }
}

async fn ready(State(inner): State<Arc<Inner>>) -> Reply {
    if inner.state.lock().ready {
        return text(StatusCode::OK, "Alloy is ready.\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, "Alloy is not ready.\n")
}

async fn healthy(State(inner): State<Arc<Inner>>) -> Reply {
    let unhealthy: Vec<String> = inner.state.lock().unhealthy.iter().cloned().collect();
    if unhealthy.is_empty() {
        return text(StatusCode::OK, "All Alloy components are healthy.\n");
    }
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("unhealthy components: {}\n", unhealthy.join(", ")))
}

/// A bad file leaves the old configuration running.
async fn reload(State(inner): State<Arc<Inner>>) -> Reply {
    let mut state = inner.state.lock();
    state.loaded = state.broken.is_none();
    if let Some(words) = &state.broken {
        return text(StatusCode::BAD_REQUEST, format!("{words}\n"));
    }
    state.loaded_at = now();
    text(StatusCode::OK, "config reloaded\n")
}

async fn components(State(inner): State<Arc<Inner>>) -> Reply {
    let state = inner.state.lock();
    let all: Vec<Value> = COMPONENTS.iter().map(|component| component.shown(&state)).collect();
    reply_json(StatusCode::OK, TEXT, &json!(all))
}

async fn component(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Reply {
    let Some(found) = COMPONENTS.iter().find(|component| component.id == id) else { return not_found() };
    let mut shown = found.shown(&inner.state.lock());
    if id == WRITE {
        // One by itself is shown with its settings; of the others, nobody asks.
        let endpoint = |url: String| {
            let url = json!({"name": "url", "type": "attr", "value": {"type": "string", "value": url}});
            json!({"name": "endpoint", "type": "block", "body": [url]})
        };
        let endpoints: Vec<Value> = inner.collector.urls().into_iter().map(endpoint).collect();
        let receiver = json!({"type": "capsule", "value": "capsule(\"loki.LogsReceiver\")"});
        for (key, value) in
            [("arguments", json!(endpoints)), ("exports", json!([{"name": "receiver", "type": "attr", "value": receiver}]))]
        {
            shown.as_object_mut().into_iter().for_each(|shown| drop(shown.insert(key.into(), value.clone())));
        }
    }
    reply_json(StatusCode::OK, TEXT, &shown)
}

impl Component {
    fn shown(&self, state: &Config) -> Value {
        let (name, label) = self.id.rsplit_once('.').unwrap_or((self.id, ""));
        let (health, message) = if state.unhealthy.contains(self.id) {
            ("unhealthy", "the journal can not be read")
        } else {
            ("healthy", "started component")
        };
        let updated = DateTime::from_timestamp_nanos(state.started).to_rfc3339_opts(SecondsFormat::Nanos, true);
        json!({
            "name": name, "type": "block", "localID": self.id, "moduleID": "", "label": label,
            "referencesTo": self.to, "referencedBy": self.from, "dataFlowEdgesTo": self.flow,
            "health": {"state": health, "message": message, "updatedTime": updated},
            "original": "", "arguments": [], "exports": [], "debugInfo": [], "liveDebuggingEnabled": self.live,
        })
    }
}

async fn metrics(State(inner): State<Arc<Inner>>) -> Reply {
    let (tally, mut page) = (inner.collector.tally(), Exposition::default());
    about_itself(&mut page, &inner.state.lock());
    let component = |id| [("component_id", id), ("component_path", "/")];
    page.counter("loki_process_dropped_lines_total", "A count of all log lines dropped as a result of a pipeline stage")
        .sample(&[component(PROCESS).as_slice(), &[("reason", "match_stage")]].concat(), tally.filtered);
    page.counter("loki_source_journal_target_lines_total", "Total number of successful journal lines read")
        .sample(&component(SOURCE), tally.lines);
    let begun = tally.targets.iter().filter(|(_, sent)| sent.begun).cloned().collect();
    about_writing(&mut page, &Tally { targets: begun, ..tally }, &component(WRITE));
    page.reply()
}

fn about_itself(page: &mut Exposition, state: &Config) {
    page.gauge("alloy_build_info", "A metric with a constant '1' value labeled by version.").sample(
        &[
            ("branch", ""),
            ("goarch", "amd64"),
            ("goos", "linux"),
            ("goversion", "go1.25"),
            ("revision", "unknown"),
            ("tags", "promtail_journal_enabled"),
            ("version", "v1.12.2"),
        ],
        1,
    );
    page.gauge("alloy_component_controller_running_components", "Total number of running components.");
    for (health, count) in [("healthy", COMPONENTS.len() - state.unhealthy.len()), ("unhealthy", state.unhealthy.len())] {
        if count > 0 {
            page.sample(&[("controller_id", ""), ("controller_path", "/"), ("health_type", health)], count);
        }
    }
    let seconds = format!("{}.{:09}", state.loaded_at / 1_000_000_000, state.loaded_at % 1_000_000_000);
    page.gauge("alloy_config_last_load_success_timestamp_seconds", "Timestamp of the last successful configuration load.")
        .sample(&[], seconds);
    page.gauge("alloy_config_last_load_successful", "Config loaded successfully.").sample(&[], u8::from(state.loaded));
}

fn about_writing(page: &mut Exposition, tally: &Tally, component: &[(&str, &str)]) {
    if tally.targets.is_empty() {
        return;
    }
    let labels = |host, more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
        [component, &[("host", host)], more, &[("tenant", "")]].concat()
    };
    page.counter("loki_write_batch_retries_total", "Number of times batches has had to be retried.");
    for (host, sent) in &tally.targets {
        page.sample(&labels(host, &[]), sent.retries);
    }
    for (name, bytes) in [("bytes", true), ("entries", false)] {
        page.counter(
            &format!("loki_write_dropped_{name}_total"),
            &format!("Number of {name} dropped because failed to be sent to the ingester after all retries."),
        );
        for (host, sent) in &tally.targets {
            for reason in REASONS {
                let dropped = sent.dropped.get(reason).copied().unwrap_or_default();
                page.sample(&labels(host, &[("reason", reason)]), if bytes { dropped.1 } else { dropped.0 });
            }
        }
    }
    page.histogram("loki_write_request_duration_seconds", "Duration of send requests.");
    for (host, sent) in &tally.targets {
        for (status, count) in &sent.requests {
            let status = status.to_string();
            let labels = [component, &[("host", host), ("status_code", &status), ("tenant", "")]].concat();
            page.other("loki_write_request_duration_seconds_count", &labels, count);
        }
    }
    page.counter("loki_write_sent_bytes_total", "Number of bytes sent.");
    for (host, sent) in &tally.targets {
        page.sample(&labels(host, &[]), sent.bytes);
    }
    page.counter("loki_write_sent_entries_total", "Number of log entries sent to the ingester.");
    for (host, sent) in &tally.targets {
        page.sample(&labels(host, &[]), sent.entries);
    }
}
