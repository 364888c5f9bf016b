//! Runs a check's future and survives whatever it does.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use checks::{MAX_MEASURES, MAX_MEMORY, MemoryError, Outcome, Report, Step, engine_reasons as why};
use futures::FutureExt;
use tokio::time::timeout;

/// The check owns its timeout; the engine waits this much longer before it gives up on it.
const GRACE: Duration = Duration::from_millis(250);

/// A Run that came to an end, one way or the other.
pub(crate) struct Looked {
    /// The sight, with the Memory for the next Run if this one left any.
    pub(crate) report: Report<Option<Vec<u8>>>,
    /// The Memory of earlier Runs is of no use any more.
    pub(crate) forget: bool,
}

/// One look. Always an answer: a panic, a hang, a flood and unreadable Memory are Unknown.
pub(crate) async fn look(run: impl Future<Output = Result<Report<Vec<u8>>, MemoryError>>, limit: Duration) -> Looked {
    let answer = timeout(limit.saturating_add(GRACE), AssertUnwindSafe(run).catch_unwind()).await;
    let unknown = |outcome: Outcome, forget| Looked { report: Report::new(Step::whole(outcome), None), forget };
    match answer {
        Err(_elapsed) => unknown(hung(limit), false),
        Ok(Err(panic)) => unknown(why::PANIC.because(words(&*panic)), false),
        Ok(Ok(Err(error))) => unknown(why::MEMORY.because(error.to_string()), true),
        Ok(Ok(Ok(report))) if report.memory.len() > MAX_MEMORY => {
            unknown(why::FLOOD.because(format!("{} bytes of memory, more than {MAX_MEMORY}", report.memory.len())), true)
        }
        Ok(Ok(Ok(report))) if report.measures.len() > MAX_MEASURES => {
            unknown(why::FLOOD.because(format!("{} measures, more than {MAX_MEASURES}", report.measures.len())), false)
        }
        Ok(Ok(Ok(Report { step, memory, measures, identities, trails, named }))) => {
            Looked { report: Report { step, memory: Some(memory), measures, identities, trails, named }, forget: false }
        }
    }
}

/// One negative control. Only a Fail with its own reason earns trust; everything that goes wrong here is Unknown.
pub(crate) async fn control(run: impl Future<Output = Outcome>, limit: Duration) -> Outcome {
    match timeout(limit.saturating_add(GRACE), AssertUnwindSafe(run).catch_unwind()).await {
        Err(_elapsed) => hung(limit),
        Ok(Err(panic)) => why::PANIC.because(words(&*panic)),
        Ok(Ok(outcome)) => outcome,
    }
}

fn hung(limit: Duration) -> Outcome {
    why::HUNG.because(format!("the check did not return within its timeout of {limit:?}"))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the check panicked: {}", said.unwrap_or("no message"))
}
