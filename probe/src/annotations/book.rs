//! What is marked in one Grafana, what is still to be, and why it is not.

use std::collections::VecDeque;
use std::time::Duration;

use checks::grafana::annotations::{Mark, Trouble};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Standing, Standstill, Tools, guarded, words};
use crate::audit::Frame;
use crate::config::AnnotationSpec;
use crate::store::StoreError;

/// How far back is looked after a start.
const LOOK_BACK: TimeDelta = TimeDelta::days(7);
/// And over how many events at most.
const LOOK_BACK_EVENTS: u64 = 10_000;
/// Frames that are read at once: the ledger's writer does nothing else meanwhile.
const PAGE: usize = 500;
/// Marks that may wait. What happens beyond that stays in the trail until there is room.
const MOST_WAITING: usize = 1000;
/// Marks that are made in one round.
const AT_ONCE: usize = 20;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How often it is tried out whether marks could be made, while there are none to make.
const TRY_OUT: Duration = Duration::from_mins(10);

/// One Grafana's.
pub(super) struct Book {
    spec: AnnotationSpec,
    migration: String,
    /// The next event to read; none: it is not known yet where to begin.
    next: Option<u64>,
    /// What happened before is not looked for.
    since: DateTime<Utc>,
    waiting: VecDeque<Mark>,
    marked: u64,
    failures: u64,
    proven: Option<DateTime<Utc>>,
    problem: Option<Standstill>,
    /// When Grafana may be called again.
    due: Instant,
    /// When it is to be tried out again; none: never, since this Grafana takes what it should refuse.
    try_out: Option<Instant>,
}

impl Book {
    pub(super) fn new(spec: AnnotationSpec, migration: String) -> Self {
        let now = Instant::now();
        Self {
            spec,
            migration,
            next: None,
            since: DateTime::UNIX_EPOCH,
            waiting: VecDeque::new(),
            marked: 0,
            failures: 0,
            proven: None,
            problem: None,
            due: now,
            try_out: Some(now),
        }
    }

    /// Whether it is kept for this.
    pub(super) fn is_for(&self, spec: &AnnotationSpec, migration: &str) -> bool {
        self.spec == *spec && self.migration == migration
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            target: self.spec.grafana.clone(),
            marked: self.marked,
            waiting: self.waiting.len(),
            failures: self.failures,
            proven: self.proven,
            problem: self.problem.clone(),
        }
    }

    /// Reads on in the trail, and marks what waits, unless Grafana has failed a moment ago.
    pub(super) async fn round(&mut self, tools: &Tools) {
        self.read(tools).await;
        let now = Instant::now();
        if now < self.due || (self.waiting.is_empty() && self.try_out.is_none_or(|at| now < at)) {
            return;
        }
        let utc = || tools.ledger.clock().now().utc;
        match self.call(tools).await {
            Ok(()) => self.went_well(utc()),
            Err(trouble) => self.failed(trouble, utc()),
        }
    }

    async fn read(&mut self, tools: &Tools) {
        while self.waiting.len() < MOST_WAITING {
            let from = match self.next {
                Some(from) => from,
                None => match self.begin(tools).await {
                    Some(from) => from,
                    None => return,
                },
            };
            // What can not be read now can be read later: the trail stays.
            let page = match tools.ledger.audit(from, PAGE).await {
                Some(Ok(page)) => page,
                Some(Err(StoreError::Dropped(anchor))) => {
                    let (target, last) = (&self.spec.grafana, anchor.seq);
                    tracing::warn!(target.name = target, "events {from} to {last} were removed before they could be annotated");
                    self.next = Some(last.saturating_add(1));
                    continue;
                }
                Some(Err(_)) | None => return,
            };
            let marks: Vec<Mark> = page.frames.iter().filter_map(|frame| self.mark(frame)).collect();
            self.waiting.extend(marks);
            let last = page.frames.last().map_or(from, |frame| frame.seq.saturating_add(1));
            self.next = Some(last);
            if page.next.is_none() {
                return;
            }
        }
    }

    /// Where to begin: some time back, since an earlier process may not have come to its last marks.
    async fn begin(&mut self, tools: &Tools) -> Option<u64> {
        let Some(Ok(page)) = tools.ledger.audit(u64::MAX, 1).await else { return None };
        self.since = tools.ledger.clock().now().utc - LOOK_BACK;
        let dropped = page.anchor.map_or(0, |anchor| anchor.seq);
        let from = page.head.seq.saturating_sub(LOOK_BACK_EVENTS).max(dropped).saturating_add(1);
        self.next = Some(from);
        self.next
    }

    fn mark(&self, frame: &Frame) -> Option<Mark> {
        let event = frame.event().inspect_err(|error| tracing::warn!(%error, event = frame.seq, "not to be annotated")).ok()?;
        words::mark(frame, &event, &self.migration, &self.spec.tags).filter(|mark| mark.at >= self.since)
    }

    /// Makes what waits, the oldest first; or tries out whether it could.
    async fn call(&mut self, tools: &Tools) -> Result<(), Trouble> {
        let (desk, clients) = (self.spec.desk.clone(), &tools.clients);
        if self.waiting.is_empty() {
            if guarded(desk.may_mark(clients)).await? {
                self.try_out = None;
            }
            return Ok(());
        }
        let mut refused = None;
        for _ in 0..self.waiting.len().min(AT_ONCE) {
            let Some(mark) = self.waiting.front() else { break };
            let answer = guarded(desk.mark(clients, mark)).await;
            match answer {
                Ok(_) => {
                    self.waiting.pop_front();
                    self.marked = self.marked.saturating_add(1);
                }
                // It waits behind the others, which may be taken.
                Err(trouble) if trouble.alone => {
                    self.waiting.rotate_left(1);
                    refused.get_or_insert(trouble);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn went_well(&mut self, utc: DateTime<Utc>) {
        if let Some(Standstill { trouble, .. }) = self.problem.take() {
            tracing::info!(target.name = self.spec.grafana, reason = %trouble.reason, "annotations go through again");
        }
        self.proven = Some(utc);
        self.try_out = self.try_out.map(|_| Instant::now() + TRY_OUT);
    }

    /// Told once for each reason, not at each try.
    fn failed(&mut self, trouble: Trouble, utc: DateTime<Utc>) {
        self.failures = self.failures.saturating_add(1);
        let now = Instant::now();
        self.due = now + RETRY;
        self.try_out = self.try_out.map(|_| self.due);
        let same = self.problem.as_ref().filter(|before| before.trouble.reason == trouble.reason);
        let since = same.map_or(utc, |before| before.since);
        if same.is_none() {
            let (target, reason) = (&self.spec.grafana, &trouble.reason);
            tracing::warn!(target.name = target, %reason, next = trouble.next, "annotations do not go through: {}", trouble.evidence);
        }
        self.problem = Some(Standstill { trouble, since });
    }
}

#[cfg(test)]
mod tests;
