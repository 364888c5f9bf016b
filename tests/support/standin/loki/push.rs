//! Taking pushes: what is read, what is refused, and in which words.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use super::level;
use super::logql::{Labels, shown};
use super::store::{Entry, HOUR, SECOND, Stream, Tenant};

const SERVICE_NAME: &str = "service_name";
/// Labels that a service's name is taken from, in this order.
const NAMES: &[&str] = &[
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];
const DISTRIBUTOR: &str = "loki";
const INGESTER: &str = "";
/// A refusal names no more lines than this.
const NAMED: usize = 10;

/// What a Loki takes. The defaults are those of the real one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Older lines are refused, in nanoseconds.
    pub max_age: i64,
    /// Lines from further ahead are refused, in nanoseconds.
    pub ahead: i64,
    /// How far behind its stream's newest line a line may be, in nanoseconds.
    pub behind: i64,
    /// Longest line, in bytes.
    pub line: usize,
    /// Labels of a stream.
    pub labels: usize,
    /// Streams of a tenant.
    pub streams: usize,
    /// A push with more bytes of lines than this is refused whole (a burst; the rate itself is not measured).
    pub burst: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_age: 168 * HOUR,
            ahead: 600 * SECOND,
            behind: HOUR,
            line: 256 * 1024,
            labels: 15,
            streams: 5000,
            burst: 6 * 1024 * 1024,
        }
    }
}

/// A status and Loki's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) words: String,
}

impl Refusal {
    fn bad(words: impl Into<String>) -> Self {
        Self { status: 400, words: words.into() }
    }

    fn unreadable(words: &str) -> Self {
        Self::bad(format!("loghttp.PushRequest.Streams: []loghttp.LogProtoStream: {words}"))
    }
}

struct Pushed {
    labels: Labels,
    entries: Vec<Entry>,
}

impl Pushed {
    fn bytes(&self) -> usize {
        self.entries.iter().map(size).sum()
    }
}

fn size(entry: &Entry) -> usize {
    entry.line.len() + entry.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// Who pushes what, when, and whether Loki keeps it.
pub(crate) struct Push<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) now: i64,
    pub(crate) limits: &'a Limits,
    /// False: it is acknowledged and thrown away.
    pub(crate) keeps: bool,
}

impl Push<'_> {
    /// Takes what can be taken. A refusal does not mean that nothing was stored.
    pub(crate) fn take(&self, to: &mut Tenant, body: &[u8]) -> Result<(), Refusal> {
        let pushed = read(body)?;
        for stream in &pushed {
            to.counts.lines += u64::try_from(stream.entries.len()).unwrap_or_default();
            to.counts.bytes += u64::try_from(stream.bytes()).unwrap_or_default();
        }
        if pushed.is_empty() {
            let words = "error at least one valid stream is required for ingestion".into();
            return Err(Refusal { status: 422, words });
        }
        let mut complaints = Vec::new();
        let valid: Vec<Pushed> = pushed.into_iter().filter_map(|stream| self.validate(to, stream, &mut complaints)).collect();
        self.burst(to, &valid)?;
        // What the ingester said of the last stream is told, and what it said of the others is not.
        let mut ingested = Ok(());
        for stream in valid {
            ingested = self.ingest(to, stream);
        }
        ingested?;
        grouped(&complaints).map_or(Ok(()), |words| Err(Refusal::bad(words)))
    }

    /// The distributor's part.
    fn validate(&self, to: &mut Tenant, mut stream: Pushed, complaints: &mut Vec<String>) -> Option<Pushed> {
        let (limits, name) = (self.limits, shown(&stream.labels));
        let count = stream.labels.keys().filter(|name| *name != SERVICE_NAME).count();
        if count > limits.labels {
            complaints.push(format!("entry for stream '{name}' has {count} label names; limit {}", limits.labels));
            let lines = u64::try_from(stream.entries.len()).unwrap_or_default();
            to.counts.discard("max_label_names_per_series", DISTRIBUTOR, lines, stream.bytes());
            // Counted twice, as the real one does.
            to.counts.discard("invalid_labels", DISTRIBUTOR, lines, stream.bytes());
            return None;
        }
        stream.entries.retain(|entry| {
            let (reason, words) = if entry.at < self.now - limits.max_age {
                let oldest = rfc3339(self.now - limits.max_age);
                let words = format!("has timestamp too old: {}, oldest acceptable timestamp is: {oldest}", rfc3339(entry.at));
                ("greater_than_max_sample_age", format!("entry for stream '{name}' {words}"))
            } else if entry.at > self.now + limits.ahead {
                ("too_far_in_future", format!("entry for stream '{name}' has timestamp too new: {}", rfc3339(entry.at)))
            } else if entry.line.len() > limits.line {
                let (limit, length) = (limits.line, entry.line.len());
                let words = format!("for stream '{name}' while adding an entry with length '{length}' bytes");
                ("line_too_long", format!("max entry size '{limit}' bytes exceeded {words}"))
            } else {
                return true;
            };
            to.counts.discard(reason, DISTRIBUTOR, 1, size(entry));
            complaints.push(words);
            false
        });
        for entry in &mut stream.entries {
            if !entry.metadata.contains_key(level::LABEL) {
                let level = level::detect(&stream.labels, &entry.metadata, &entry.line);
                entry.metadata.insert(level::LABEL.into(), level);
            }
        }
        (!stream.entries.is_empty()).then_some(stream)
    }

    fn burst(&self, to: &mut Tenant, valid: &[Pushed]) -> Result<(), Refusal> {
        let lines: Vec<&Entry> = valid.iter().flat_map(|stream| &stream.entries).collect();
        let (count, bytes) = (lines.len(), lines.iter().map(|entry| entry.line.len()).sum::<usize>());
        if bytes <= self.limits.burst {
            return Ok(());
        }
        to.counts.discard("rate_limited", DISTRIBUTOR, u64::try_from(count).unwrap_or_default(), bytes);
        let words = format!(
            "ingestion rate limit exceeded for user {} (limit: 4194304 bytes/sec) while attempting to ingest '{count}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased",
            self.tenant
        );
        Err(Refusal { status: 429, words })
    }

    /// The ingester's part.
    fn ingest(&self, to: &mut Tenant, stream: Pushed) -> Result<(), Refusal> {
        let name = shown(&stream.labels);
        if !to.streams.contains_key(&stream.labels) {
            if to.streams.len() >= self.limits.streams {
                let lines = u64::try_from(stream.entries.len()).unwrap_or_default();
                to.counts.discard("stream_limit", INGESTER, lines, stream.bytes());
                let words = format!(
                    "maximum active stream limit exceeded when trying to create stream {name}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: '{}'",
                    self.tenant
                );
                return Err(Refusal { status: 429, words });
            }
            to.counts.created += 1;
        }
        let Tenant { streams, counts } = to;
        let into = streams.entry(stream.labels).or_insert_with(Stream::default);
        let (total, mut late) = (stream.entries.len(), Vec::new());
        for entry in stream.entries {
            match into.newest.map(|newest| newest - self.limits.behind).filter(|oldest| entry.at < *oldest) {
                Some(oldest) => {
                    let (at, oldest) = (rfc3339(entry.at), rfc3339(oldest));
                    let reason =
                        format!("entry too far behind, entry timestamp is: {at}, oldest acceptable timestamp is: {oldest}");
                    late.push(format!("entry with timestamp {} ignored, reason: '{reason}',\n", moment(entry.at)));
                    counts.discard("too_far_behind", INGESTER, 1, size(&entry));
                }
                None if self.keeps => into.store(entry),
                None => into.newest = into.newest.max(Some(entry.at)),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let named = late.iter().take(NAMED).map(String::as_str).collect::<String>();
        let total = format!("total ignored: {} out of {total} for stream: {name}", late.len());
        Err(Refusal::bad(format!("{named}user '{}', {total}", self.tenant)))
    }
}

/// Equal complaints are counted.
fn grouped(complaints: &[String]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for complaint in complaints {
        *counts.entry(complaint).or_default() += 1;
    }
    let alone = complaints.len() == 1;
    let words =
        |(words, count): (&&str, &usize)| if alone { (*words).to_owned() } else { format!("{count} errors like: {words}") };
    (!complaints.is_empty()).then(|| counts.iter().map(words).collect::<Vec<_>>().join("; "))
}

fn rfc3339(at: i64) -> String {
    DateTime::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// As Go prints a time.
fn moment(at: i64) -> String {
    let time = DateTime::from_timestamp_nanos(at);
    let fraction = format!("{:09}", at.rem_euclid(SECOND));
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    format!("{}{fraction} +0000 UTC", time.format("%Y-%m-%d %H:%M:%S"))
}

fn read(body: &[u8]) -> Result<Vec<Pushed>, Refusal> {
    let Some(first) = body.trim_ascii_start().first() else { return Err(Refusal::bad("EOF")) };
    if *first != b'{' {
        let first = char::from(*first);
        return Err(Refusal::bad(format!("readObjectStart: expect {{ or n, but found {first}, error found in #1 byte")));
    }
    let document: Value = serde_json::from_slice(body).map_err(|error| Refusal::unreadable(&error.to_string()))?;
    match document.get("streams") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(streams)) => streams.iter().map(stream).collect(),
        Some(_) => Err(Refusal::unreadable("decode slice: expect [ or n")),
    }
}

fn stream(value: &Value) -> Result<Pushed, Refusal> {
    let labels = labels(value.get("stream").and_then(Value::as_object).unwrap_or(&Map::new()))?;
    let values = match value.get("values") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(Refusal::unreadable("unmarshalerDecoder: Unknown value type")),
    };
    let entries = values.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Pushed { labels, entries })
}

fn labels(object: &Map<String, Value>) -> Result<Labels, Refusal> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut labels: Labels = object.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    // Where the parser stands in `{a="b", c="d"}`.
    let mut column = 2;
    for (name, value) in &labels {
        let good = |(index, char): &(usize, char)| match char {
            'a'..='z' | 'A'..='Z' | '_' => true,
            '0'..='9' => *index > 0,
            _ => false,
        };
        if let Some((index, char)) = name.chars().enumerate().find(|place| !good(place)) {
            let words = format!("1:{}: parse error: unexpected character inside braces: '{char}'", column + index);
            return Err(Refusal::bad(format!("couldn't parse labels: {words}")));
        }
        column += name.chars().count() + format!("={value:?}, ").chars().count();
    }
    labels.retain(|_, value| !value.is_empty());
    if !labels.contains_key(SERVICE_NAME) {
        let name = NAMES.iter().find_map(|name| labels.get(*name).cloned());
        labels.insert(SERVICE_NAME.into(), name.unwrap_or_else(|| "unknown_service".into()));
    }
    Ok(labels)
}

fn entry(value: &Value) -> Result<Entry, Refusal> {
    let malformed = || Refusal::unreadable("unmarshalerDecoder: Malformed JSON error");
    let parts = value.as_array().ok_or_else(malformed)?;
    let at = parts.first().and_then(Value::as_str).and_then(|at| at.parse().ok()).ok_or_else(malformed)?;
    let line = parts.get(1).map_or(Some(""), Value::as_str).ok_or_else(malformed)?;
    let metadata = match parts.get(2) {
        None => Labels::new(),
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| malformed())?,
    };
    Ok(Entry::new(at, line.to_owned(), metadata))
}
