//! What a Loki holds: streams of lines per tenant, and what it has counted.

use std::collections::BTreeMap;

use super::logql::{Labels, Selector};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const HOUR: i64 = 3600 * SECOND;
/// Lines older than this are not asked of ingesters: they are visible once they are flushed.
const ASKED_OF_INGESTERS: i64 = 3 * HOUR;

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: i64,
    pub(crate) line: String,
    /// Structured metadata.
    pub(crate) metadata: Labels,
    flushed: bool,
}

impl Entry {
    pub(crate) fn new(at: i64, line: String, metadata: Labels) -> Self {
        Self { at, line, metadata, flushed: false }
    }

    fn is_visible(&self, now: i64) -> bool {
        self.flushed || self.at >= now - ASKED_OF_INGESTERS
    }
}

/// The lines of one set of labels, oldest first; lines of the same moment in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    entries: Vec<Entry>,
    /// The newest moment it has seen. Older lines are taken up to an hour behind it.
    pub(crate) newest: Option<i64>,
}

impl Stream {
    /// The same line at the same moment again is dropped, silently.
    pub(crate) fn store(&mut self, entry: Entry) {
        let from = self.entries.partition_point(|other| other.at < entry.at);
        let to = self.entries.partition_point(|other| other.at <= entry.at);
        let known = self.entries.get(from..to).unwrap_or_default().iter().any(|other| other.line == entry.line);
        if !known {
            self.newest = self.newest.max(Some(entry.at));
            self.entries.insert(to, entry);
        }
    }
}

/// Counters of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) created: u64,
    /// By reason, and the format: the distributor names it, the ingester does not.
    pub(crate) discarded: BTreeMap<(&'static str, &'static str), (u64, u64)>,
}

impl Counts {
    pub(crate) fn discard(&mut self, reason: &'static str, format: &'static str, lines: u64, bytes: usize) {
        let (samples, size) = self.discarded.entry((reason, format)).or_default();
        *samples += lines;
        *size += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

/// One tenant.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    pub(crate) streams: BTreeMap<Labels, Stream>,
    pub(crate) counts: Counts,
}

/// A line that a query found, and the labels of its stream.
pub(crate) struct Found<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) entry: &'a Entry,
}

impl Found<'_> {
    /// Labels and structured metadata in one.
    pub(crate) fn merged(&self) -> Labels {
        self.labels.clone().into_iter().chain(self.entry.metadata.clone()).collect()
    }
}

impl Tenant {
    /// What a query sees, stream by stream, from `start` to before `end`.
    pub(crate) fn find<'a>(
        &'a self,
        selector: &'a Selector,
        (start, end): (i64, i64),
        now: i64,
    ) -> impl Iterator<Item = Found<'a>> {
        let streams = self.streams.iter().filter(|(labels, _)| selector.takes(labels));
        streams.flat_map(move |(labels, stream)| {
            let wanted = stream.entries.iter().filter(move |entry| {
                entry.at >= start && entry.at < end && entry.is_visible(now) && selector.takes_line(&entry.line)
            });
            wanted.map(move |entry| Found { labels, entry })
        })
    }

    /// Makes backfilled lines visible.
    pub(crate) fn flush(&mut self) {
        self.streams.values_mut().flat_map(|stream| &mut stream.entries).for_each(|entry| entry.flushed = true);
    }

    /// Takes acknowledged lines away; returns how many.
    pub(crate) fn lose(&mut self, selector: &Selector, (start, end): (i64, i64)) -> usize {
        let mut lost = 0;
        for (_, stream) in self.streams.iter_mut().filter(|(labels, _)| selector.takes(labels)) {
            let before = stream.entries.len();
            stream.entries.retain(|entry| entry.at < start || entry.at >= end || !selector.takes_line(&entry.line));
            lost += before - stream.entries.len();
        }
        lost
    }
}
