//! What a Loki counts, in the exposition format.

use std::collections::BTreeMap;

use super::Troubles;
use super::store::Tenant;
use crate::standin::reply::{Exposition, Reply};

/// How many, by method, route and status code.
pub(crate) type Requests = BTreeMap<(String, &'static str, u16), u64>;

pub(crate) struct Figures<'a> {
    pub(crate) tenants: &'a BTreeMap<String, Tenant>,
    pub(crate) requests: &'a Requests,
    pub(crate) troubles: Troubles,
    pub(crate) flushed: u64,
}

pub(crate) fn expose(figures: &Figures<'_>) -> Reply {
    let mut text = Exposition::default();
    let Troubles { flush_failures, wal_disk_full, panics } = figures.troubles;
    text.gauge("loki_build_info", "A metric with a constant '1' value labeled by version.")
        .sample(&[("branch", ""), ("goarch", "amd64"), ("goos", "linux"), ("revision", "unknown"), ("version", "")], 1);
    text.gauge("loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds", "Unix timestamp.")
        .sample(&[], 0);
    discarded(&mut text, figures.tenants);
    let received = [("format", "loki"), ("is_internal_stream", "false"), ("policy", "")];
    text.counter("loki_distributor_bytes_received_total", "The total number of uncompressed bytes received per tenant.");
    for (name, tenant) in seen(figures.tenants) {
        let labels = [received.as_slice(), &[("retention_hours", ""), ("tenant", name)]].concat();
        text.sample(&labels, tenant.counts.bytes);
    }
    text.counter("loki_distributor_lines_received_total", "The total number of lines received per tenant");
    for (name, tenant) in seen(figures.tenants) {
        text.sample(&[received.as_slice(), &[("tenant", name)]].concat(), tenant.counts.lines);
    }
    text.counter("loki_ingester_chunks_flush_failures_total", "Total number of flush failures.").sample(&[], flush_failures);
    if figures.flushed > 0 {
        text.counter("loki_ingester_chunks_flushed_total", "Total flushed chunks per reason.")
            .sample(&[("reason", "forced")], figures.flushed);
    }
    text.gauge("loki_ingester_memory_streams", "The total number of streams in memory per tenant.");
    for (name, tenant) in seen(figures.tenants) {
        text.sample(&[("tenant", name)], tenant.streams.len());
    }
    text.counter("loki_ingester_streams_created_total", "The total number of streams created per tenant.");
    for (name, tenant) in seen(figures.tenants) {
        text.sample(&[("tenant", name)], tenant.counts.created);
    }
    text.counter("loki_ingester_checkpoint_creations_failed_total", "Total number of checkpoint creations that failed.")
        .sample(&[], 0);
    text.counter("loki_ingester_wal_disk_full_failures_total", "Total number of wal write failures due to full disk.")
        .sample(&[], wal_disk_full);
    text.counter("loki_ingester_wal_recovered_entries_total", "Entries recovered from the WAL.").sample(&[], 0);
    text.gauge("loki_ingester_wal_replay_active", "Whether the WAL is replaying").sample(&[], 0);
    text.counter("loki_panic_total", "The total number of panic.").sample(&[], panics);
    requests(&mut text, figures.requests);
    text.reply()
}

/// Tenants that have pushed something.
fn seen(tenants: &BTreeMap<String, Tenant>) -> impl Iterator<Item = (&str, &Tenant)> {
    tenants.iter().filter(|(_, tenant)| tenant.counts.lines > 0).map(|(name, tenant)| (name.as_str(), tenant))
}

/// Not there until the first discard.
fn discarded(text: &mut Exposition, tenants: &BTreeMap<String, Tenant>) {
    if tenants.values().all(|tenant| tenant.counts.discarded.is_empty()) {
        return;
    }
    let labels = |reason: &'static str, format: &'static str| {
        [("format", format), ("policy", ""), ("reason", reason), ("retention_hours", "0")]
    };
    text.counter("loki_discarded_bytes_total", "The total number of bytes that were discarded.");
    for (name, tenant) in tenants {
        for ((reason, format), (_, bytes)) in &tenant.counts.discarded {
            text.sample(&[labels(reason, format).as_slice(), &[("tenant", name)]].concat(), bytes);
        }
    }
    text.counter("loki_discarded_samples_total", "The total number of samples that were discarded.");
    for (name, tenant) in tenants {
        for ((reason, format), (samples, _)) in &tenant.counts.discarded {
            text.sample(&[labels(reason, format).as_slice(), &[("tenant", name)]].concat(), samples);
        }
    }
}

fn requests(text: &mut Exposition, requests: &Requests) {
    text.histogram("loki_request_duration_seconds", "Time (in seconds) spent serving HTTP requests.");
    for ((method, route, status), count) in requests {
        let status = status.to_string();
        let labels = [("method", method.as_str()), ("route", route), ("status_code", &status), ("ws", "false")];
        text.other("loki_request_duration_seconds_count", &labels, count);
    }
}
