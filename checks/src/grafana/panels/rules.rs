//! What its fields can not say by their types.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::FieldError;
use crate::counter::words;

use super::GrafanaPanels;
use super::variables::Values;

/// Most dashboards that are chosen one by one.
const MOST: usize = 500;
/// Most questions that a Grafana is asked in a second.
const FASTEST: u32 = 100;

pub(super) fn broken(check: &GrafanaPanels) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
    if check.old.as_ref() == Some(&check.new) {
        wrong("old", "the same Grafana as `new`".to_owned(), "name the Grafana that people used before, or leave it out");
    }
    let mut seen = BTreeSet::new();
    for uid in &check.dashboards {
        if !is_uid(uid) {
            wrong(
                "dashboards",
                format!("`{uid}` can not be the uid of a dashboard"),
                "take it from the dashboard's URL: `/d/UID/…`",
            );
        } else if !seen.insert(uid) {
            wrong("dashboards", format!("`{uid}` is named twice"), "name each dashboard once");
        }
    }
    if check.dashboards.len() > MOST {
        wrong("dashboards", format!("more than {MOST}"), "leave it out to look at all that the token sees");
    }
    for place in &check.skip {
        let (uid, panel) = place.split_once('/').map_or((place.as_str(), None), |(uid, panel)| (uid, Some(panel)));
        if !is_uid(uid) || panel.is_some_and(|panel| panel.parse::<i64>().is_err()) {
            let hint = "write `UID` for a dashboard, or `UID/ID` for a panel, whose id is in its URL: `viewPanel=ID`";
            wrong("skip", format!("`{place}` is neither a dashboard nor a panel"), hint);
        }
    }
    for (name, values) in &check.variables {
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with("__");
        if !named || *values == Values::Several(Vec::new()) {
            wrong(
                "variables",
                format!("`{name}` is no variable with a value"),
                "give the name without `$`, and one value or a list",
            );
        }
    }
    let mut time = |field, time: Duration, longest: Duration, shortest: Duration| {
        if !(shortest..=longest).contains(&time) {
            let message = format!("{} is too short or too long", words(time));
            wrong(field, message, &format!("{} to {}", words(shortest), words(longest)));
        }
    };
    let day = Duration::from_hours(24);
    time("window", check.window, 31 * day, Duration::from_mins(1));
    time("settle", check.settle, day, Duration::ZERO);
    time("rest", check.rest, 7 * day, Duration::ZERO);
    if !(1..=FASTEST).contains(&check.per_second) {
        wrong("perSecond", format!("not between 1 and {FASTEST}"), "5 questions a second are no load for a Grafana");
    }
    errors
}

/// Whether a dashboard may have this uid. A longer one, or one of other signs, is not from a Grafana.
pub(super) fn is_uid(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && text.chars().all(letters)
}
