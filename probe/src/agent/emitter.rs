//! Numbering: a number is spent when, and only when, the sink took its line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use checks::log_path::line::{Boot, CanaryLine, Head};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::journal::{Journal, Queue};
use super::sink::{Pen, Refused, Sink};
use crate::clock::Clock;

/// A sink that holds a line for longer than this refuses the lines that come meanwhile; before that they only come a little later.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the last line of all may take: a stop is not to wait for a sink.
const FAREWELL: Duration = Duration::from_millis(300);
/// Until the next try, where there is no room for the last line.
const AGAIN: Duration = Duration::from_millis(5);
/// Longest word of the sink that is told, in characters.
const MAX_TROUBLE: usize = 200;
/// What the sink says is logged no more often than this: it may refuse every second line of a thousand in a second.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// One start of the agent, and how far it has come. Shared with those who ask for it.
#[derive(Debug)]
pub(super) struct Account {
    node: String,
    service: String,
    boot: Boot,
    every: Duration,
    clock: Clock,
    /// Where lines that were taken may lie unread.
    queue: Option<Queue>,
    counts: Mutex<Counts>,
}

/// What was written so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Number of the last line that the sink took.
    pub(super) last: u64,
    /// When that line was written.
    pub(super) last_at: Option<DateTime<Utc>>,
    /// Lines that the sink refused.
    pub(super) failed: u64,
    /// Why the newest line was refused, if it was.
    pub(super) trouble: Option<String>,
    /// Since when a line is under way: it was handed over, and not seen read yet.
    pending: Option<Instant>,
    /// There was no room for the newest line at the journal's end, which a look at ours does not show.
    full: bool,
    /// When trouble was last logged, and whether its end is still to be.
    logged: Option<(Instant, bool)>,
}

impl Account {
    /// Nothing written yet.
    pub(super) fn new(node: String, service: String, boot: Boot, every: Duration, clock: Clock) -> Self {
        Self { node, service, boot, every, clock, queue: None, counts: Mutex::default() }
    }

    /// Looks into this queue for lines that were taken and not read.
    pub(super) fn watching(self, queue: Option<Queue>) -> Self {
        Self { queue, ..self }
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn every(&self) -> Duration {
        self.every
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// For how long what was handed over has not been read; none of it is unread: zero.
    pub(super) fn unread(&self) -> Duration {
        // The lock is held while it looks, so that a line that is sent meanwhile is not taken for one that was read.
        let mut counts = self.counts.lock();
        if !counts.full && self.queue.as_ref().is_some_and(Queue::is_read) {
            counts.pending = None;
        }
        counts.pending.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// What is served to the verifier.
    pub(super) fn head(&self) -> Head {
        let unread = self.unread();
        let Counts { last, last_at, failed, trouble, .. } = self.counts();
        Head {
            node: self.node.clone(),
            boot: self.boot,
            first: last.min(1),
            last,
            last_at,
            failed,
            now: self.clock.now().utc,
            every_ms: u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX),
            unread_ms: u64::try_from(unread.as_millis()).unwrap_or(u64::MAX),
            trouble,
        }
    }

    /// The line with this number, if it were written now.
    pub(super) fn line(&self, seq: u64) -> CanaryLine {
        let mut line = CanaryLine::new(self.node.clone(), self.boot, seq, self.clock.now().utc);
        line.service.clone_from(&self.service);
        line
    }

    fn next(&self, end: bool) -> CanaryLine {
        CanaryLine { end, ..self.line(self.counts.lock().last.saturating_add(1)) }
    }

    /// A line is on its way.
    fn begun(&self) {
        self.counts.lock().pending.get_or_insert_with(Instant::now);
    }

    /// A line is on its way to the journal, or there is no room for it.
    fn queued(&self, result: &io::Result<()>) {
        let mut counts = self.counts.lock();
        let blocked = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        counts.full = blocked && self.queue.as_ref().is_some_and(Queue::is_read);
        if blocked || result.is_ok() {
            counts.pending.get_or_insert_with(Instant::now);
        }
    }

    /// No line is on its way.
    fn arrived(&self) {
        self.counts.lock().pending = None;
    }

    /// The sink took this line.
    fn taken(&self, line: &CanaryLine) {
        let mut counts = self.counts.lock();
        (counts.last, counts.last_at) = (line.seq, Some(line.at));
        if counts.trouble.take().is_some()
            && let Some((_, open @ true)) = &mut counts.logged
        {
            *open = false;
            tracing::info!(failed = counts.failed, "the sink takes lines again");
        }
    }

    fn refused(&self, why: &str) {
        let why: String = why.chars().take(MAX_TROUBLE).collect();
        let mut counts = self.counts.lock();
        counts.failed = counts.failed.saturating_add(1);
        let quiet = counts.logged.is_none_or(|(when, _)| when.elapsed() > LOG_PAUSE);
        if counts.trouble.is_none() && quiet {
            counts.logged = Some((Instant::now(), true));
            tracing::warn!("the sink refuses lines: {why}");
        }
        counts.trouble = Some(why);
    }
}

/// A line on its way into a sink that may make it wait.
#[derive(Debug)]
struct Writing {
    task: JoinHandle<Written>,
    since: Instant,
}

type Written = (Pen, CanaryLine, Result<(), Refused>);

/// Writes a line at each tick.
#[derive(Debug)]
pub(super) struct Emitter {
    account: Arc<Account>,
    sink: Option<Sink>,
    writing: Option<Writing>,
    /// Lines that are due and not written.
    owed: u64,
    /// Since when the journal has had no room.
    blocked: Option<Instant>,
}

impl Emitter {
    pub(super) fn new(account: Arc<Account>, sink: Sink) -> Self {
        Self { account, sink: Some(sink), writing: None, owed: 0, blocked: None }
    }

    /// Until it is told to stop; before that only if nothing can ever be written again, and it says why.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let (start, every) = (Instant::now(), self.account.every);
        let mut tick = interval_at(start, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ticks = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.farewell().await,
                written = come_back(&mut self.writing) => self.written(written)?,
                _ = tick.tick() => {
                    // Of ticks that were missed only the number counts.
                    let passed = times(start.elapsed(), every).saturating_add(1);
                    self.due(passed.saturating_sub(ticks));
                    ticks = passed;
                }
            }
        }
    }

    /// So many lines more are due. Those that could not be written in time come later, but no more of them than [`PATIENCE`] has room
    /// for: an agent that was stopped itself does not flood the journal.
    fn due(&mut self, lines: u64) {
        let most = times(PATIENCE, self.account.every).max(1);
        self.owed = self.owed.saturating_add(lines).min(most);
        // Seen read before the next one is sent, or it would never be.
        self.account.unread();
        self.emit();
    }

    /// Writes what is owed, as far as the sink takes it now.
    fn emit(&mut self) {
        while self.owed > 0 {
            match self.sink.take() {
                None => {
                    if self.writing.as_ref().is_none_or(|writing| writing.since.elapsed() <= PATIENCE) {
                        return;
                    }
                    self.account.refused("it has not taken the line before yet");
                }
                Some(Sink::Pen(pen)) => self.write(pen, self.account.next(false)),
                Some(Sink::Journal(journal)) => {
                    let line = self.account.next(false);
                    let result = self.send(&journal, &line);
                    self.sink = Some(Sink::Journal(journal));
                    match result {
                        Ok(()) => self.account.taken(&line),
                        Err(_) if self.is_patient() => return,
                        Err(error) => self.account.refused(&error.to_string()),
                    }
                }
            }
            self.owed -= 1;
        }
    }

    fn send(&mut self, journal: &Journal, line: &CanaryLine) -> io::Result<()> {
        let result = journal.send(&line.text());
        self.account.queued(&result);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked.get_or_insert_with(Instant::now);
            }
            Ok(()) | Err(_) => self.blocked = None,
        }
        result
    }

    /// The journal has had no room for a moment only, and the next tick comes before that is too long.
    fn is_patient(&self) -> bool {
        self.account.every < PATIENCE && self.blocked.is_some_and(|since| since.elapsed() <= PATIENCE)
    }

    fn write(&mut self, mut pen: Pen, line: CanaryLine) {
        let task = tokio::task::spawn_blocking(move || {
            let result = pen.write(&line.text());
            (pen, line, result)
        });
        self.account.begun();
        self.writing = Some(Writing { task, since: Instant::now() });
    }

    /// One last line that says that it is the last, if the sink takes it in time.
    async fn farewell(mut self) -> Result<(), String> {
        let end = Instant::now() + FAREWELL;
        self.owed = 0;
        if self.writing.is_some() {
            match timeout_at(end, come_back(&mut self.writing)).await {
                Ok(written) => self.written(written)?,
                Err(_) => return Ok(()),
            }
        }
        let line = self.account.next(true);
        match self.sink.take() {
            Some(Sink::Journal(journal)) => loop {
                match self.send(&journal, &line) {
                    Ok(()) => self.account.taken(&line),
                    Err(_) if self.blocked.is_some() && Instant::now() < end => {
                        sleep(AGAIN).await;
                        continue;
                    }
                    Err(error) => self.account.refused(&error.to_string()),
                }
                return Ok(());
            },
            Some(Sink::Pen(pen)) => {
                self.write(pen, line);
                timeout_at(end, come_back(&mut self.writing)).await.map_or(Ok(()), |written| self.written(written))
            }
            None => Ok(()),
        }
    }

    fn written(&mut self, written: Result<Written, JoinError>) -> Result<(), String> {
        self.writing = None;
        let (pen, line, result) = written.map_err(|error| format!("writing ended: {error}"))?;
        self.sink = Some(Sink::Pen(pen));
        self.account.arrived();
        match result {
            Ok(()) => self.account.taken(&line),
            Err(Refused { why, for_good }) => {
                self.account.refused(&why);
                if for_good {
                    return Err(why);
                }
            }
        }
        self.emit();
        Ok(())
    }
}

/// How often the one fits into the other.
fn times(span: Duration, every: Duration) -> u64 {
    u64::try_from(span.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// The end of the write that is under way; never, while there is none.
async fn come_back(writing: &mut Option<Writing>) -> Result<Written, JoinError> {
    match writing {
        Some(writing) => (&mut writing.task).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
