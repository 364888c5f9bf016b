//! What its fields can not say by their types.

use std::time::Duration;

use crate::check::FieldError;
use crate::counter::words;

use super::LokiHistory;

/// The longest time that may be compared: what 300 spans and a count for each hour are kept for.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// A part of an hour is a second at least.
const MOST_PARTS: u32 = 3600;

pub(super) fn broken(check: &LokiHistory) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
    if check.old == check.new {
        wrong("new", "the same Loki as `old`".to_owned(), "name the Loki that the history was moved to");
    }
    let named = check.label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !named || !check.label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        wrong("label", format!("`{}` is no name of a label", check.label), "letters, digits and `_`, like `service`");
    }
    if check.selector.as_ref().is_some_and(|selector| !selector.trim_start().starts_with('{')) {
        wrong("selector", "no stream selector".to_owned(), "begin with one, like `{job=\"systemd-journal\"}`");
    }
    let mut time = |field, time: Duration, longest: Duration, shortest: Duration| {
        if !(shortest..=longest).contains(&time) {
            let message = format!("{} is too short or too long", words(time));
            wrong(field, message, &format!("{} to {}", words(shortest), words(longest)));
        }
    };
    let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
    time("over", check.over, LONGEST, hour);
    time("settle", check.settle, 7 * day, Duration::ZERO);
    time("visibleWithin", check.visible_within, day, Duration::ZERO);
    time("rest", check.rest, 7 * day, Duration::ZERO);
    if let Some((from, to)) = check.from.zip(check.to) {
        let long = to.signed_duration_since(from).to_std().unwrap_or_default();
        if !(hour..=LONGEST).contains(&long) {
            wrong("from", "less than an hour, or more than a year, before `to`".to_owned(), "give times in their order");
        }
    }
    if check.sample_one_in > MOST_PARTS {
        wrong("sampleOneIn", format!("more than {MOST_PARTS}"), "1 reads everything, 20 a twentieth, 0 nothing");
    }
    if !(1..=100).contains(&check.load_percent) {
        wrong("loadPercent", "not between 1 and 100".to_owned(), "25 leaves three quarters of the time to others");
    }
    errors
}
