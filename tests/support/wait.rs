//! Waiting for a level, with a deadline, instead of sleeping.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Looks again and again until `look` is `Ok`, and returns what it saw.
///
/// `Err` means "not yet" and says why. For real servers: a paused clock would jump over the pauses between two looks.
///
/// # Errors
/// After `deadline`: names `what` was awaited and the last reason why it was not there.
pub async fn wait_until<T>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    let mut last = anyhow!("the first look has not come back");
    loop {
        match timeout_at(end, look()).await {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(reason)) => last = reason,
            Err(_) => return Err(last.context(format!("waited {deadline:?} in vain: {what}"))),
        }
        if Instant::now() + pause >= end {
            return Err(last.context(format!("waited {deadline:?} in vain: {what}")));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{bail, ensure};

    use super::*;

    #[tokio::test]
    async fn returns_what_was_seen_at_last() {
        let mut looks = 0;
        let seen = wait_until(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            ensure!(looks == 3, "only {looks}");
            Ok(looks)
        });
        assert_eq!(seen.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn says_what_was_awaited_and_why_it_did_not_come() {
        let error = wait_until::<()>(Duration::from_millis(30), "the moon", async || bail!("clouds")).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 30ms in vain: the moon: clouds");
    }

    #[tokio::test]
    async fn a_look_that_hangs_ends_at_the_deadline() {
        let hangs = wait_until::<()>(Duration::from_millis(30), "a hang", async || std::future::pending().await);
        let error = tokio::time::timeout(Duration::from_secs(5), hangs).await.unwrap().unwrap_err();
        assert!(format!("{error:#}").contains("has not come back"), "{error:#}");
    }
}
