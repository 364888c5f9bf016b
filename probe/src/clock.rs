//! The only file that reads time. The ledger's timeline is boot time (it goes on while the machine or the process is
//! suspended, and no wall-clock jump moves it), continued across restarts.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::now::{Millis, Now};
use crate::store::{BootMoment, Resume};

/// How well the downtime is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing to continue.
    Fresh,
    /// The same boot: exact.
    SameBoot,
    /// Another boot: by the wall clock, which may not have been right yet.
    WallClock,
    /// The wall clock stands before the last write: the downtime is not known, so no soak may be carried over it.
    Lost,
}

/// Reads time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    Machine { base: Millis, boottime_ms: u64 },
    Paused { base: Now, start: tokio::time::Instant },
}

impl Clock {
    /// The machine's clock, continuing an earlier timeline.
    pub fn machine(resume: Option<&Resume>) -> (Self, Continuity) {
        let boot = boot_moment();
        let (base, continuity) = match resume {
            None => (Millis(0), Continuity::Fresh),
            Some(resume) => continued(resume, &boot, wall()),
        };
        (Self(Arc::new(Source::Machine { base, boottime_ms: boot.boottime_ms })), continuity)
    }

    /// A clock that follows tokio's, so that a paused runtime drives everything. For tests.
    pub fn paused(base: Now) -> Self {
        Self(Arc::new(Source::Paused { base, start: tokio::time::Instant::now() }))
    }

    /// This moment.
    pub fn now(&self) -> Now {
        match &*self.0 {
            Source::Machine { base, boottime_ms } => {
                let up = self::boottime_ms().saturating_sub(*boottime_ms);
                Now { t: Millis(base.0.saturating_add(up)), utc: wall() }
            }
            Source::Paused { base, start } => {
                let up = start.elapsed();
                let utc = TimeDelta::from_std(up).ok().and_then(|up| base.utc.checked_add_signed(up)).unwrap_or(base.utc);
                Now { t: base.t.plus(up), utc }
            }
        }
    }
}

/// The ledger's time now, given where it stood and what the machine says.
fn continued(resume: &Resume, boot: &BootMoment, utc: DateTime<Utc>) -> (Millis, Continuity) {
    let last = resume.t;
    if let Some(before) = resume.boot.as_ref().filter(|before| !boot.boot_id.is_empty() && before.boot_id == boot.boot_id)
        && let Some(down) = boot.boottime_ms.checked_sub(before.boottime_ms)
    {
        return (Millis(last.0.saturating_add(down)), Continuity::SameBoot);
    }
    match u64::try_from(utc.signed_duration_since(resume.utc).num_milliseconds()) {
        Ok(down) => (Millis(last.0.saturating_add(down)), Continuity::WallClock),
        Err(_) => (last, Continuity::Lost),
    }
}

/// Where the machine's own clock stands.
pub fn boot_moment() -> BootMoment {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootMoment { boot_id: boot_id.trim().to_owned(), boottime_ms: boottime_ms() }
}

/// The machine's time since it was started, suspended time included, in milliseconds.
pub fn boottime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place where the wall clock is read")]
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(boot: Option<BootMoment>) -> Resume {
        Resume { t: Millis(5_000), utc: "2026-01-01T00:00:00Z".parse().unwrap(), boot }
    }

    fn boot(id: &str, boottime_ms: u64) -> BootMoment {
        BootMoment { boot_id: id.into(), boottime_ms }
    }

    #[test]
    fn downtime_is_exact_within_one_boot_whatever_the_wall_clock_says() {
        let resume = resume(Some(boot("a", 70_000)));
        let utc = "2020-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(continued(&resume, &boot("a", 100_000), utc), (Millis(35_000), Continuity::SameBoot));
    }

    #[test]
    fn a_machine_that_hides_its_boot_is_another_one() {
        let utc = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(continued(&resume(Some(boot("", 70_000))), &boot("", 71_000), utc), (Millis(65_000), Continuity::WallClock));
    }

    #[test]
    fn another_boot_goes_by_the_wall() {
        let resume = resume(Some(boot("a", 70_000)));
        let utc = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(continued(&resume, &boot("b", 1_000), utc), (Millis(65_000), Continuity::WallClock));
    }

    #[test]
    fn a_wall_clock_before_the_last_write_is_no_measure() {
        let resume = resume(None);
        let utc = "2025-12-31T23:59:00Z".parse().unwrap();
        assert_eq!(continued(&resume, &boot("b", 1_000), utc), (Millis(5_000), Continuity::Lost));
    }

    #[test]
    fn boot_time_moves() {
        let (clock, continuity) = Clock::machine(None);
        assert_eq!(continuity, Continuity::Fresh);
        assert!(clock.now().t < Millis(60_000), "a fresh timeline starts at zero");
        assert!(!boot_moment().boot_id.is_empty());
    }
}
