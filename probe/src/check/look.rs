//! The looking itself: each probe for itself, none of them can hold up the others or the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::{Clients, Context, DynCheck, Outcome, Report, Step, Target, engine_reasons as why};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::clock::Clock;
use crate::plan::{PhaseName, ProbePlan};
use crate::scheduler::supervise;

use super::Io;

/// How many probes look at a time.
const AT_ONCE: usize = 8;
/// How much longer than the engine itself this waits for a look: a check may keep its thread.
const SLACK: Duration = Duration::from_secs(1);
/// From here on a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A probe to be looked at.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) phase: PhaseName,
    pub(super) plan: ProbePlan,
    pub(super) check: Arc<dyn DynCheck>,
}

/// What all looks share.
pub(super) struct Looking {
    pub(super) targets: Arc<BTreeMap<String, Target>>,
    pub(super) clients: Clients,
    pub(super) clock: Clock,
    pub(super) control: bool,
    pub(super) times: u32,
    pub(super) pause: Option<Duration>,
}

/// What was seen of one probe.
pub(super) struct Sight {
    /// Each look, in its order; at least one.
    pub(super) looks: Vec<Report<()>>,
    /// How long the last look took.
    pub(super) took: Duration,
    /// When the last look began.
    pub(super) at: chrono::DateTime<chrono::Utc>,
    /// The negative control, if it was asked for.
    pub(super) control: Option<Outcome>,
}

/// The threads that checks run on, away from the one that waits for them.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().thread_name("check").worker_threads(AT_ONCE).enable_all().build()
}

/// Looks at all of them, and returns what was seen in the same order.
pub(super) async fn all(looking: &Arc<Looking>, orders: Vec<Order>, threads: &Handle, io: &mut Io<'_>) -> Vec<(Order, Sight)> {
    let total = orders.len();
    let mut waiting = orders.into_iter().enumerate();
    let one = |(index, order): (usize, Order)| async move { (index, one(looking.clone(), &order, threads).await, order) };
    let mut running: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(one).collect();
    let mut progress = interval_at(Instant::now() + PATIENCE, PATIENCE);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut done, mut told) = (Vec::with_capacity(total), false);
    loop {
        tokio::select! {
            next = running.next() => {
                let Some((index, sight, order)) = next else { break };
                done.push((index, (order, sight)));
                running.extend(waiting.next().map(one));
            }
            _ = progress.tick(), if io.live => {
                told = true;
                say(io, &format!("looking: {} of {total} probes done", done.len()));
            }
        }
    }
    if told {
        say(io, "");
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, seen)| seen).collect()
}

/// Replaces the line on the terminal.
fn say(io: &mut Io<'_>, line: &str) {
    // Talk that nobody reads changes nothing.
    drop(write!(io.err, "\r\u{1b}[K{line}").and_then(|()| io.err.flush()));
}

/// Looks at one probe. A check that keeps its thread is given up on.
async fn one(looking: Arc<Looking>, order: &Order, threads: &Handle) -> Sight {
    let plan = &order.plan;
    let look = plan.timeout.saturating_add(SLACK);
    let pauses = looking.pause.unwrap_or(plan.every).saturating_mul(looking.times.saturating_sub(1));
    let limit = look.saturating_mul(looking.times.saturating_add(u32::from(looking.control))).saturating_add(pauses);
    let lost = |outcome: Outcome| Sight {
        looks: vec![Report::new(Step::whole(outcome), ())],
        took: limit,
        at: looking.clock.now().utc,
        control: None,
    };
    let mut task = JoinSet::new();
    task.spawn_on(looks(looking.clone(), order.clone()), threads);
    match timeout(limit, task.join_next()).await {
        Ok(Some(Ok(sight))) => sight,
        Ok(_) => lost(why::PANIC.because("the look did not come to an end")),
        Err(_) => lost(why::HUNG.because(format!("the check did not give its thread back within {limit:?}"))),
    }
}

async fn looks(looking: Arc<Looking>, order: Order) -> Sight {
    let Order { plan, check, .. } = &order;
    let (mut reports, mut memory) = (Vec::new(), None::<Vec<u8>>);
    let (mut took, mut at) = (Duration::ZERO, looking.clock.now().utc);
    for number in 0..looking.times {
        if number > 0 {
            sleep(looking.pause.unwrap_or(plan.every)).await;
        }
        let (cx, begun) = (looking.context(plan), Instant::now());
        at = cx.now;
        let looked = supervise::look(check.run(&cx, memory.as_deref()), plan.timeout).await;
        took = begun.elapsed();
        let Report { step, memory: next, measures, identities, trails, named } = looked.report;
        reports.push(Report { step, memory: (), measures, identities, trails, named });
        if looked.forget {
            memory = None;
        } else if next.is_some() {
            memory = next;
        }
    }
    let control = if looking.control {
        let cx = looking.context(plan);
        Some(supervise::control(check.control(&cx, memory.as_deref()), plan.timeout).await)
    } else {
        None
    };
    Sight { looks: reports, took, at, control }
}

impl Looking {
    fn context(&self, plan: &ProbePlan) -> Context {
        Context {
            targets: self.targets.clone(),
            clients: self.clients.clone(),
            timeout: plan.timeout,
            now: self.clock.now().utc,
            uptime: Duration::ZERO,
            beat: None,
            facts: Arc::default(),
            by_hand: true,
        }
    }
}
