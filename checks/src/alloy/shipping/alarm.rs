//! A counter that should stand still: lines that go elsewhere, lines that are given up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, later, words};

/// What is remembered of one of them between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Alarm {
    #[serde(rename = "v")]
    value: f64,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
}

/// That it has risen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Event {
    /// How much, since `since`.
    #[serde(rename = "n")]
    lines: f64,
    /// After when it rose first: the look before.
    #[serde(rename = "s", with = "chrono::serde::ts_milliseconds")]
    since: DateTime<Utc>,
    /// When it was seen to have risen last.
    #[serde(rename = "a", with = "chrono::serde::ts_milliseconds")]
    at: DateTime<Utc>,
}

/// What a counter's value is to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing: all of it is history.
    History,
    /// The value at the look before.
    Since,
    /// Zero: it is another process, and all that it says is new.
    Anew,
}

impl Alarm {
    /// A counter that has always shown this.
    pub(super) fn silent(value: f64) -> Self {
        Self { value, event: None }
    }

    /// How much it has risen. One that fell, and one that was not there, began at zero.
    pub(super) fn risen(before: Option<&Self>, value: f64, news: News) -> f64 {
        match news {
            News::History => 0.0,
            News::Anew => value,
            News::Since => value - before.map(|before| before.value).filter(|earlier| *earlier <= value).unwrap_or_default(),
        }
    }

    /// The sight after an earlier one, if there was one: it shows this, `risen` of it since `last`. An event holds for `hold`.
    pub(super) fn next(
        before: Option<&Self>,
        value: f64,
        risen: f64,
        (last, now): (DateTime<Utc>, DateTime<Utc>),
        hold: Duration,
    ) -> Self {
        // After the clock was set back, an event of the future would hold for as long as that.
        let held = before.and_then(|before| before.event).map(|event| Event { at: event.at.min(now), ..event });
        let held = held.filter(|event| age(now, event.at).is_some_and(|age| age.is_zero() || age < hold));
        let event = if risen > 0.0 {
            let (lines, since) = held.map_or((0.0, last), |event| (event.lines, event.since));
            Some(Event { lines: lines + risen, since, at: now })
        } else {
            held
        };
        Self { value, event }
    }

    /// What it says of a rise that still holds: `12 WHAT since …`.
    pub(super) fn told(&self, what: &str, now: DateTime<Utc>, hold: Duration) -> Option<String> {
        let Event { lines, since, at } = self.event?;
        let ago = words(age(now, at).unwrap_or_default());
        let (since, until) = (since.format("%FT%TZ"), later(at, hold).format("%FT%TZ"));
        Some(format!("{lines} {what} since {since}, the last {ago} ago, holds until {until}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_mins(5);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    /// What is told at the last of these looks, each as second, value and what it is compared with.
    fn after(looks: &[(i64, f64, News)]) -> Option<String> {
        let mut alarm: Option<Alarm> = None;
        let mut last = at(0);
        for (second, value, news) in looks {
            let risen = Alarm::risen(alarm.as_ref(), *value, *news);
            alarm = Some(Alarm::next(alarm.as_ref(), *value, risen, (last, at(*second)), HOLD));
            last = at(*second);
        }
        alarm.unwrap().told("lines", last, HOLD)
    }

    #[test]
    fn a_rise_is_told_with_all_that_came_with_it_until_it_no_longer_holds() {
        let risen = [(0, 5.0, News::History), (10, 8.0, News::Since), (20, 8.0, News::Since), (30, 9.0, News::Since)];
        let words = "4 lines since 1970-01-12T13:46:40Z, the last 0s ago, holds until 1970-01-12T13:52:10Z";
        assert_eq!(after(&risen).as_deref(), Some(words));
        let later = |second| [risen.as_slice(), &[(second, 9.0, News::Since)]].concat();
        assert!(after(&later(329)).unwrap().starts_with("4 lines since"));
        assert_eq!(after(&later(330)), None);
        let again = [later(330).as_slice(), &[(340, 10.0, News::Since)]].concat();
        assert!(after(&again).unwrap().starts_with("1 lines since 1970-01-12T13:52:10Z"));
    }

    #[test]
    fn what_stands_still_says_nothing() {
        assert_eq!(after(&[(0, 5.0, News::History), (10, 5.0, News::Since)]), None);
        assert_eq!(after(&[(0, 5.0, News::History), (10, 50.0, News::History), (20, 50.0, News::Since)]), None);
    }

    #[test]
    fn one_that_began_anew_has_risen_from_zero() {
        assert!(after(&[(0, 5.0, News::History), (10, 3.0, News::Since)]).unwrap().starts_with("3 lines"));
        assert!(after(&[(0, 5.0, News::History), (10, 9.0, News::Anew)]).unwrap().starts_with("9 lines"));
        assert!(after(&[(0, 2.0, News::Since)]).unwrap().starts_with("2 lines"));
    }

    #[test]
    fn an_event_of_the_future_does_not_hold_for_ever() {
        let back = [(9_000_000, 5.0, News::History), (9_000_010, 6.0, News::Since), (0, 6.0, News::Since)];
        assert!(after(&back).is_some());
        assert_eq!(after(&[back.as_slice(), &[(300, 6.0, News::Since)]].concat()), None);
    }

    #[test]
    fn memory_comes_back_as_it_was() {
        let alarm = Alarm::next(Some(&Alarm::silent(5.0)), 6.0, 1.0, (at(0), at(1)), HOLD);
        for alarm in [alarm, Alarm::silent(7.0)] {
            let text = serde_json::to_string(&alarm).unwrap();
            assert_eq!(serde_json::from_str::<Alarm>(&text).unwrap(), alarm);
        }
    }
}
