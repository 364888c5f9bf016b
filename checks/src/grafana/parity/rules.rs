//! What its fields can not say by their types.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::check::FieldError;
use crate::counter::words;

use super::GrafanaParity;
use super::section::Section;

/// The longest rest after a Pass.
const LONGEST_REST: Duration = Duration::from_hours(7 * 24);
/// With fewer, a run would be over before it has listed what there is; more would take a Grafana from its users.
const PER_SECOND: RangeInclusive<u32> = 5..=1000;

pub(super) fn broken(check: &GrafanaParity) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
    if check.old == check.new {
        wrong("new", "the same Grafana as `old`".to_owned(), "name the Grafana that everything was moved to");
    }
    if check.rest > LONGEST_REST {
        wrong("rest", format!("{} is too long", words(check.rest)), "seven days at most");
    }
    if !PER_SECOND.contains(&check.per_second) {
        wrong("perSecond", "not between 5 and 1000".to_owned(), "20 leaves a Grafana to its users");
    }
    if check.sections.is_empty() {
        wrong("sections", "nothing is compared".to_owned(), "leave it out to compare everything");
    }
    let left_out = check.ignore.keys().find(|section| !check.sections.contains(section) || **section == Section::Annotations);
    if let Some(section) = left_out {
        wrong("ignore", format!("of `{}` nothing is compared by name", section.part()), "ignore what is compared otherwise");
    }
    errors
}
