//! What the proofs that go on over many Runs have in common: a rest after a Pass, and patience with a server that is away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, later};
use crate::outcome::{Progress, Step};

/// How long a silent server is waited for, as a restart is.
const AWAY: Duration = Duration::from_mins(2);

/// Since when there was no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Away(#[serde(with = "chrono::serde::ts_milliseconds_option")] Option<DateTime<Utc>>);

impl Away {
    /// There was an answer.
    pub(crate) fn answered(&mut self) {
        self.0 = None;
    }

    /// There was none. Whether that is still to be waited out.
    pub(crate) fn waits_out(&mut self, now: DateTime<Utc>) -> bool {
        let since = *self.0.get_or_insert(now);
        age(now, since).unwrap_or_default() < AWAY
    }
}

/// When the next look begins, after one that has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rest(#[serde(with = "chrono::serde::ts_milliseconds_option")] Option<DateTime<Utc>>);

impl Rest {
    /// A look has ended.
    pub(crate) fn after(passed: bool, now: DateTime<Utc>, rest: Duration) -> Self {
        Self(passed.then(|| later(now, rest)))
    }

    /// What a Run says that has nothing to do yet.
    pub(crate) fn holds(self, now: DateTime<Utc>) -> Option<Step> {
        let until = self.0.filter(|until| *until > now)?;
        let note = format!("finished; the next look begins at {}", until.format("%F %TZ"));
        Some(Step::More(Progress { done: 1, total: 1, note: note.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_server_is_waited_for_from_its_first_silence_on() {
        let mut away = Away::default();
        assert!(away.waits_out(at(0)) && away.waits_out(at(119)) && !away.waits_out(at(120)));
        away.answered();
        assert!(away.waits_out(at(120)));
        let kept: Away = serde_json::from_str(&serde_json::to_string(&away).unwrap()).unwrap();
        assert_eq!(kept, away);
    }

    #[test]
    fn only_a_pass_is_rested_after() {
        let rest = Duration::from_mins(1);
        assert!(Rest::after(true, at(0), rest).holds(at(59)).is_some());
        assert_eq!(Rest::after(true, at(0), rest).holds(at(60)), None);
        assert_eq!(Rest::after(false, at(0), rest).holds(at(0)), None);
    }
}
