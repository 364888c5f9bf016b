//! What Alloy and Promtail have in common: they read a journal and ship its lines to one or more Lokis.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::gateway::client;
use super::journal::{Record, Records, StandinJournal};

const LOOK: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After so many tries in vain a batch is dropped: minutes.
const TRIES: u32 = 300;
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
const LARGEST_BATCH: usize = 500;
/// Why lines are dropped; all of them are there from the start.
pub(crate) const REASONS: [&str; 4] = ["ingester_error", "line_too_long", "rate_limited", "stream_limited"];

/// What is wrong with a collector. Its health does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flaws {
    /// It no longer reads the journal. What it has read is shipped. Once it reads again, it goes on where it stopped.
    pub deaf: bool,
    /// It no longer ships. What it reads waits.
    pub frozen: bool,
    /// It counts each so-manieth line as sent, and does not send it.
    pub swallow_every: Option<u64>,
    /// It sends each so-manieth line twice, a microsecond apart, and counts it once.
    pub double_every: Option<u64>,
}

/// What a collector knows after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// How far it had read. What was read and not shipped is lost.
    Kept,
    /// Nothing: it reads the whole journal again.
    Lost,
}

/// What it makes of a journal's line.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    /// Labels that every stream has.
    pub(crate) labels: BTreeMap<String, String>,
    /// Lines whose identifier starts with none of these are dropped. None: all are kept.
    pub(crate) keep: Option<Vec<String>>,
}

impl Pipeline {
    fn keeps(&self, record: &Record) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.iter().any(|start| record.identifier.starts_with(start)))
    }

    /// `service` and `level` come from the body, if it is JSON that says so.
    fn labels(&self, record: &Record) -> BTreeMap<String, String> {
        let body: Value = serde_json::from_str(&record.text).unwrap_or_default();
        let said = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut labels = self.labels.clone();
        labels.insert("service".into(), said("service").unwrap_or_else(|| record.identifier.clone()));
        labels.insert("level".into(), said("level").unwrap_or_else(|| "info".into()));
        labels.insert("syslog_identifier".into(), record.identifier.clone());
        labels
    }
}

/// What it counts of one Loki.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// There was a line for it. Alloy has no series before.
    pub(crate) begun: bool,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: BTreeMap<&'static str, (u64, u64)>,
    pub(crate) retries: u64,
    /// Requests by status code; -1: there was no answer.
    pub(crate) requests: BTreeMap<i32, u64>,
}

/// Where it ships to.
#[derive(Debug, Default)]
struct Target {
    url: String,
    host: String,
    waiting: VecDeque<Record>,
    /// How many lines it was to send, for the flaws that count.
    number: u64,
    sent: Sent,
}

#[derive(Debug)]
struct Inner {
    pipeline: Pipeline,
    flaws: Flaws,
    /// Up to where the journal was read.
    read: usize,
    lines: u64,
    filtered: u64,
    targets: Vec<Target>,
    /// What was counted of Lokis that it no longer ships to: their series stay until a restart.
    former: Vec<(String, Sent)>,
    /// A batch that was taken out for an older generation is not counted any more.
    generation: u64,
}

/// Reads a journal and ships, until it is dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    inner: Arc<Mutex<Inner>>,
    records: Arc<Records>,
    http: reqwest::Client,
    working: Mutex<JoinSet<()>>,
}

/// What it has counted, for its metrics.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    pub(crate) filtered: u64,
    pub(crate) targets: Vec<(String, Sent)>,
}

impl Collector {
    pub(crate) fn start(journal: &StandinJournal, lokis: &[&str], pipeline: Pipeline) -> Result<Self> {
        let inner = Inner {
            pipeline,
            flaws: Flaws::default(),
            read: 0,
            lines: 0,
            filtered: 0,
            targets: targets(lokis)?,
            former: Vec::new(),
            generation: 0,
        };
        let collector =
            Self { inner: Arc::new(Mutex::new(inner)), records: journal.records(), http: client()?, working: Mutex::default() };
        collector.work();
        Ok(collector)
    }

    /// One task reads; one per target ships.
    fn work(&self) {
        let mut working = self.working.lock();
        working.abort_all();
        let (count, generation) = {
            let mut inner = self.inner.lock();
            inner.generation += 1;
            (inner.targets.len(), inner.generation)
        };
        let (inner, records) = (Arc::clone(&self.inner), Arc::clone(&self.records));
        working.spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                inner.lock().read(&records);
            }
        });
        for target in 0..count {
            let shipper = Shipper { inner: Arc::clone(&self.inner), http: self.http.clone(), target, generation };
            working.spawn(shipper.ship());
        }
    }

    /// Ships to other Lokis from now on. What waits for the first of the old ones goes to the new ones; those that stay keep theirs.
    pub(crate) fn set_targets(&self, lokis: &[&str]) -> Result<()> {
        let mut new = targets(lokis)?;
        {
            let mut inner = self.inner.lock();
            let mut old = std::mem::take(&mut inner.targets);
            let waiting = old.first().map(|target| target.waiting.clone()).unwrap_or_default();
            for target in &mut new {
                if let Some(stays) = old.iter().position(|old| old.url == target.url) {
                    *target = old.swap_remove(stays);
                    continue;
                }
                target.waiting.clone_from(&waiting);
                target.sent.begun = !waiting.is_empty();
                if let Some(returns) = inner.former.iter().position(|(host, _)| *host == target.host) {
                    target.sent = inner.former.swap_remove(returns).1;
                }
            }
            inner.former.extend(old.into_iter().map(|target| (target.host, target.sent)));
            inner.targets = new;
        }
        self.work();
        Ok(())
    }

    pub(crate) fn set_flaws(&self, flaws: Flaws) {
        self.inner.lock().flaws = flaws;
    }

    pub(crate) fn set_keep(&self, keep: Option<&[&str]>) {
        self.inner.lock().pipeline.keep = keep.map(|keep| keep.iter().map(|&start| start.to_owned()).collect());
    }

    /// Its counters start anew.
    pub(crate) fn restart(&self, positions: Positions) {
        {
            let mut inner = self.inner.lock();
            (inner.lines, inner.filtered) = (0, 0);
            inner.former.clear();
            if positions == Positions::Lost {
                inner.read = 0;
            }
            for target in &mut inner.targets {
                target.waiting.clear();
                (target.number, target.sent) = (0, Sent::default());
            }
        }
        self.work();
    }

    /// Where it ships to.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.inner.lock().targets.iter().map(|target| target.url.clone()).collect()
    }

    pub(crate) fn tally(&self) -> Tally {
        let inner = self.inner.lock();
        let now = inner.targets.iter().map(|target| (target.host.clone(), target.sent.clone()));
        let targets = now.chain(inner.former.iter().cloned()).collect();
        Tally { lines: inner.lines, filtered: inner.filtered, targets }
    }
}

fn targets(lokis: &[&str]) -> Result<Vec<Target>> {
    let target = |loki: &&str| {
        let url = reqwest::Url::parse(&format!("{loki}/loki/api/v1/push"))?;
        let host = url.host_str().context("a URL without a host")?;
        // As Go has it: without a port where the URL has none.
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Target { url: url.into(), host, ..Target::default() })
    };
    lokis.iter().map(target).collect()
}

impl Inner {
    fn read(&mut self, records: &Records) {
        if self.flaws.deaf {
            return;
        }
        for record in records.since(self.read) {
            self.read += 1;
            self.lines += 1;
            if self.pipeline.keeps(&record) {
                for target in &mut self.targets {
                    target.sent.begun = true;
                    target.waiting.push_back(record.clone());
                }
            } else {
                self.filtered += 1;
            }
        }
    }
}

struct Shipper {
    inner: Arc<Mutex<Inner>>,
    http: reqwest::Client,
    target: usize,
    generation: u64,
}

/// Lines on their way.
struct Batch {
    url: String,
    count: usize,
    bytes: usize,
    body: String,
}

impl Shipper {
    async fn ship(self) {
        loop {
            match self.batch() {
                Some(batch) => self.deliver(&batch).await,
                None => sleep(LOOK).await,
            }
        }
    }

    /// Works on the target, unless there are others by now.
    fn with<T>(&self, work: impl FnOnce(&mut Target, &Inner) -> Option<T>) -> Option<T> {
        let mut inner = self.inner.lock();
        if inner.generation != self.generation {
            return None;
        }
        let mut target = std::mem::take(inner.targets.get_mut(self.target)?);
        let result = work(&mut target, &inner);
        *inner.targets.get_mut(self.target)? = target;
        result
    }

    /// The first lines that wait. They stay until they are delivered or dropped.
    fn batch(&self) -> Option<Batch> {
        self.with(|target, inner| {
            let count = target.waiting.len().min(LARGEST_BATCH);
            if count == 0 || inner.flaws.frozen {
                return None;
            }
            let mut streams: BTreeMap<BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
            let mut bytes = 0;
            for (number, record) in (target.number + 1..).zip(target.waiting.iter().take(count)) {
                let every = |flaw: Option<u64>| flaw.is_some_and(|every| number % every.max(1) == 0);
                let values = streams.entry(inner.pipeline.labels(record)).or_default();
                bytes += record.text.len();
                if !every(inner.flaws.swallow_every) {
                    values.push(json!([record.at.to_string(), record.text]));
                }
                if every(inner.flaws.double_every) {
                    values.push(json!([(record.at + 1000).to_string(), record.text]));
                }
            }
            let streams: Vec<Value> =
                streams.into_iter().map(|(labels, values)| json!({"stream": labels, "values": values})).collect();
            Some(Batch { url: target.url.clone(), count, bytes, body: json!({"streams": streams}).to_string() })
        })
    }

    async fn deliver(&self, batch: &Batch) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let request = self.http.post(&batch.url).timeout(LONGEST_SILENCE).header("content-type", "application/json");
            let status = match request.body(batch.body.clone()).send().await {
                Ok(answer) => i32::from(answer.status().as_u16()),
                Err(_) => -1,
            };
            let again = attempt < TRIES && (status == -1 || status == 429 || status >= 500);
            self.with(|target, _| {
                *target.sent.requests.entry(status).or_default() += 1;
                if again {
                    target.sent.retries += 1;
                } else {
                    target.done(batch, status);
                }
                Some(())
            });
            if !again {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Target {
    /// All of the batch counts as sent, or none of it, whatever Loki has stored.
    fn done(&mut self, batch: &Batch, status: i32) {
        let (lines, bytes) = (u64::try_from(batch.count).unwrap_or_default(), u64::try_from(batch.bytes).unwrap_or_default());
        self.waiting.drain(..batch.count.min(self.waiting.len()));
        self.number += lines;
        if (200..300).contains(&status) {
            self.sent.entries += lines;
            self.sent.bytes += bytes;
        } else {
            let reason = if status == 429 { "rate_limited" } else { "ingester_error" };
            let dropped = self.sent.dropped.entry(reason).or_default();
            *dropped = (dropped.0 + lines, dropped.1 + bytes);
        }
    }
}
