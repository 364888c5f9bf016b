//! What one Alloy's metrics say of the lines that it writes.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use crate::alloy::{ANSWERS, GIVEN_UP, LOADED_AT, SENT, answer};
use crate::loki::is_ours;
use crate::net::exposition::{Page, STARTED_AT, Sample};
use crate::outcome::Outcome;

use crate::loki::names::{Address, Loki};

/// What is read of them.
pub(super) const SERIES: &[&str] = &[LOADED_AT, STARTED_AT, SENT, GIVEN_UP, ANSWERS];
/// Longest name that is told apart.
const MAX_NAME: usize = 64;

/// What one Alloy says of one Loki that it should ship to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sent {
    /// Lines that were taken.
    pub(super) lines: f64,
    /// As which hosts Alloy knows it. None: it never had a line for it.
    pub(super) hosts: BTreeSet<String>,
    /// Lines that were taken of other tenants.
    pub(super) of_others: f64,
    /// Requests that were not answered well, by what came instead.
    pub(super) failed: BTreeMap<String, f64>,
}

/// What one Alloy says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// When its process began, and when it loaded its configuration, by its own clock.
    pub(super) started_at: Option<f64>,
    pub(super) loaded_at: Option<f64>,
    /// Of each Loki that it should ship to, in their order.
    pub(super) lokis: Vec<Sent>,
    /// Lines that other hosts have taken.
    pub(super) strays: BTreeMap<String, f64>,
    /// Lines that were given up, by host and reason.
    pub(super) drops: BTreeMap<(String, String), f64>,
    /// Hosts that have answered 400: they refuse some of what they are sent.
    pub(super) refusing: BTreeSet<String>,
}

impl State {
    /// What the Alloy at `base` says, when it should ship to these.
    pub(super) fn of(page: &Page, lokis: &[Loki], base: &Url) -> Result<Self, Outcome> {
        let mut state = Self {
            started_at: page.gauge(STARTED_AT),
            loaded_at: page.gauge(LOADED_AT),
            lokis: vec![Sent::default(); lokis.len()],
            strays: BTreeMap::new(),
            drops: BTreeMap::new(),
            refusing: BTreeSet::new(),
        };
        for sample in page.all(SENT) {
            let (host, lines) = (host(page, sample)?, page.count(sample)?);
            match state.find(lokis, host, base) {
                Some((loki, sent)) => {
                    sent.hosts.insert(short(host));
                    *if is_of(loki, sample) { &mut sent.lines } else { &mut sent.of_others } += lines;
                }
                // Where no line goes, nothing is wrong.
                None if lines > 0.0 => *state.strays.entry(short(host)).or_default() += lines,
                None => {}
            }
        }
        for sample in page.all(GIVEN_UP) {
            let (host, lines) = (host(page, sample)?, page.count(sample)?);
            if lines > 0.0 {
                *state.drops.entry((short(host), short(label(sample, "reason")))).or_default() += lines;
            }
        }
        for sample in page.all(ANSWERS) {
            let (host, status, count) = (host(page, sample)?, label(sample, "status_code"), page.count(sample)?);
            if status == "400" && count > 0.0 {
                state.refusing.insert(short(host));
            }
            if let Some((_, sent)) = state.find(lokis, host, base).filter(|_| !status.starts_with('2') && count > 0.0) {
                *sent.failed.entry(answer(&short(status))).or_default() += count;
            }
        }
        Ok(state)
    }

    fn find<'a>(&mut self, lokis: &'a [Loki], host: &str, base: &Url) -> Option<(&'a Loki, &mut Sent)> {
        let address = Address::parse(host)?;
        lokis.iter().zip(&mut self.lokis).find(|(loki, _)| loki.is_at(&address, base))
    }

    /// Whether it has written anything anywhere since its start.
    pub(super) fn writes(&self) -> bool {
        !self.strays.is_empty() || self.lokis.iter().any(|sent| !sent.hosts.is_empty())
    }
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.labels.get(name).map(String::as_str).unwrap_or_default()
}

fn host<'a>(page: &Page, sample: &'a Sample) -> Result<&'a str, Outcome> {
    let host = label(sample, "host");
    if host.is_empty() { Err(page.unparsable(&format!("{} without a host", sample.name))) } else { Ok(host) }
}

/// Whether lines of that series are the tenant's that the target names. A gateway may say the tenant in Alloy's place.
fn is_of(loki: &Loki, sample: &Sample) -> bool {
    label(sample, "tenant").is_empty() || is_ours(loki.tenant.as_deref(), sample)
}

/// What is kept of a name that the target says.
fn short(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '?' }).take(MAX_NAME).collect()
}
