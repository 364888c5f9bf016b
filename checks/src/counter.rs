//! A counter of a target that has to keep rising: lines read, lines received.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// What is remembered of one counter between Runs.
///
/// A rise is dated by the look *before* it: it happened after that one, so it is never believed to be fresher than it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rising {
    value: f64,
    /// When it was looked at last.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    seen: DateTime<Utc>,
    /// Since when a rise is waited for.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    since: DateTime<Utc>,
    /// After when the last rise happened.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    moved: Option<DateTime<Utc>>,
}

/// What the counter's movement is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    /// It rose, at most this long ago.
    Moved(Duration),
    /// It has not been seen rising yet, and it is not due before this time.
    Awaited(DateTime<Utc>),
    /// It has not risen for this long.
    Still(Duration),
}

/// Whether a process is the one that was there before, told by a time of its own that never decreases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Succession {
    /// The same one, as far as can be told.
    Same,
    /// It started later: a restart.
    Restarted,
    /// It started earlier, so another one answers under the same address.
    Another,
}

impl Succession {
    /// Compares the two times, if both are known.
    pub(crate) fn of(before: Option<f64>, now: Option<f64>) -> Self {
        match before.zip(now) {
            Some((before, now)) if now > before => Self::Restarted,
            Some((before, now)) if now < before => Self::Another,
            _ => Self::Same,
        }
    }
}

impl Rising {
    /// The first sight: nothing is known of its movement.
    pub(crate) fn first(value: f64, now: DateTime<Utc>) -> Self {
        Self { value, seen: now, since: now, moved: None }
    }

    /// The sight after an earlier one, if there was one.
    ///
    /// A lower value, or a process that `restarted`, starts afresh: what the process before it did proves nothing. Such a start
    /// is given the whole time only once: a process that restarts without ever moving does not wait for ever. So does a look
    /// after a gap longer than `within`, and one after the clock was set back: nobody watched that time.
    pub(crate) fn next(before: Option<Self>, value: f64, restarted: bool, now: DateTime<Utc>, within: Duration) -> Self {
        let Some(before) = before.filter(|before| age(now, before.seen).is_some_and(|gap| gap <= within)) else {
            return Self::first(value, now);
        };
        let next = Self { value, seen: now, ..before };
        if restarted || value < before.value {
            let since = if before.moved.is_some() { now } else { before.since };
            return Self { since, moved: None, ..next };
        }
        if value > before.value { Self { moved: Some(before.seen), ..next } } else { next }
    }

    /// Whether a value is lower than the one before, so that the counter must have started anew.
    pub(crate) fn fell_to(before: Option<&Self>, value: f64) -> bool {
        before.is_some_and(|before| value < before.value)
    }

    /// What is known now.
    pub(crate) fn motion(&self, now: DateTime<Utc>, within: Duration) -> Motion {
        let waited = age(now, self.moved.unwrap_or(self.since)).unwrap_or_default();
        match self.moved {
            Some(_) if waited <= within => Motion::Moved(waited),
            None if waited <= within => Motion::Awaited(later(self.since, within)),
            _ => Motion::Still(waited),
        }
    }

    /// What would be remembered of a counter that shows this value and has stood still for longer than `within`, with a look
    /// half of it ago: for negative controls.
    pub(crate) fn still(value: f64, now: DateTime<Utc>, within: Duration) -> Self {
        let since = earlier(now, within.saturating_add(Duration::from_secs(1)));
        Self { value, seen: earlier(now, within / 2), since, moved: Some(since) }
    }
}

/// How long ago a time was; none if it is still to come.
pub(crate) fn age(now: DateTime<Utc>, time: DateTime<Utc>) -> Option<Duration> {
    now.signed_duration_since(time).to_std().ok()
}

/// A time plus a duration, as far as the calendar reaches.
pub(crate) fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A time less a duration, as far as the calendar reaches.
pub(crate) fn earlier(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| time.checked_sub_signed(by)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Full seconds, for people.
pub(crate) fn words(time: Duration) -> String {
    humantime_serde::re::humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_mins(1);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    /// What is known at the last of these looks, each as second, value and whether the process restarted.
    fn after(looks: &[(i64, f64, bool)]) -> Motion {
        let mut rising = None;
        let mut now = at(0);
        for (second, value, restarted) in looks {
            now = at(*second);
            rising = Some(Rising::next(rising, *value, *restarted, now, WITHIN));
        }
        rising.unwrap().motion(now, WITHIN)
    }

    fn moved(seconds: u64) -> Motion {
        Motion::Moved(Duration::from_secs(seconds))
    }

    fn still(seconds: u64) -> Motion {
        Motion::Still(Duration::from_secs(seconds))
    }

    #[test]
    fn nothing_has_moved_before_it_was_seen_moving() {
        assert_eq!(after(&[(0, 5.0, false)]), Motion::Awaited(at(60)));
        assert_eq!(after(&[(0, 5.0, false), (60, 5.0, false)]), Motion::Awaited(at(60)));
        assert_eq!(after(&[(0, 5.0, false), (30, 5.0, false), (61, 5.0, false)]), still(61));
    }

    #[test]
    fn a_rise_is_as_old_as_the_look_before_it() {
        assert_eq!(after(&[(0, 5.0, false), (20, 6.0, false)]), moved(20));
        assert_eq!(after(&[(0, 5.0, false), (20, 6.0, false), (60, 6.0, false)]), moved(60));
        assert_eq!(after(&[(0, 5.0, false), (20, 6.0, false), (61, 6.0, false)]), still(61));
        assert_eq!(after(&[(0, 5.0, false), (20, 6.0, false), (61, 7.0, false)]), moved(41));
    }

    #[test]
    fn a_restart_is_no_movement_and_ends_what_was_known() {
        assert_eq!(after(&[(0, 5.0, false), (10, 6.0, false), (20, 2.0, false)]), Motion::Awaited(at(80)));
        assert_eq!(after(&[(0, 5.0, false), (10, 6.0, false), (20, 9.0, true)]), Motion::Awaited(at(80)));
        assert_eq!(after(&[(0, 5.0, false), (10, 6.0, false), (20, 2.0, false), (30, 3.0, false)]), moved(10));
    }

    #[test]
    fn restarts_without_movement_do_not_wait_for_ever() {
        assert_eq!(after(&[(0, 5.0, false), (30, 4.0, false), (61, 3.0, false)]), still(61));
        assert_eq!(after(&[(0, 0.0, false), (30, 0.0, true), (61, 0.0, true)]), still(61));
    }

    #[test]
    fn a_time_that_nobody_watched_proves_nothing() {
        assert_eq!(after(&[(0, 5.0, false), (10, 6.0, false), (71, 7.0, false)]), Motion::Awaited(at(131)));
        assert_eq!(after(&[(0, 5.0, false), (10, 6.0, false), (9, 7.0, false)]), Motion::Awaited(at(69)));
    }

    #[test]
    fn what_controls_remember_stands_still() {
        for within in [Duration::from_millis(1), WITHIN, Duration::from_hours(168)] {
            let rising = Rising::next(Some(Rising::still(7.0, at(0), within)), 7.0, false, at(0), within);
            assert!(matches!(rising.motion(at(0), within), Motion::Still(_)), "{within:?}");
        }
    }

    #[test]
    fn processes_are_told_apart_by_their_start() {
        assert_eq!(Succession::of(Some(2.0), Some(2.0)), Succession::Same);
        assert_eq!(Succession::of(Some(2.0), Some(3.0)), Succession::Restarted);
        assert_eq!(Succession::of(Some(2.0), Some(1.0)), Succession::Another);
        assert_eq!(Succession::of(None, Some(1.0)), Succession::Same);
    }

    #[test]
    fn memory_comes_back_as_it_was() {
        let rising = Rising::next(Some(Rising::first(5.0, at(0))), 6.0, false, at(1), WITHIN);
        let text = serde_json::to_string(&rising).unwrap();
        assert_eq!(serde_json::from_str::<Rising>(&text).unwrap(), rising);
    }
}
