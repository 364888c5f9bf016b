//! `heartbeat`: somebody outside says that all is well.

use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Beat, Check, Context, FieldError, Meta, Nature, Report};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};

/// The sender says that it is not well.
const REPORTED_FAILURE: ReasonSpec =
    ReasonSpec::fail("reported_failure", "mend what the sender reports in the evidence, and let it send again");
/// The newest heartbeat is too old.
const OVERDUE_BEAT: ReasonSpec =
    ReasonSpec::fail("overdue_beat", "find out why the sender stopped: it owes `POST /v1/probes/{probe}/heartbeat`");
/// Nothing since the start, but it is early.
const NO_BEAT_YET: ReasonSpec =
    ReasonSpec::unknown("no_beat_yet", "wait for the next heartbeat: one from before the start or the switch is no evidence");
/// A look from the command line.
const BY_HAND: ReasonSpec = ReasonSpec::unknown(
    "by_hand",
    "ask the verifier instead (`cutover probes list`): heartbeats are sent to it, a look by hand can not see them",
);

/// The newest heartbeat that was sent for this probe (`POST /v1/probes/{probe}/heartbeat`) says that all is well and is no older
/// than `within`.
///
/// Fail: the sender reported a failure, or is overdue; silence since the verifier's start counts as overdue once the verifier is
/// up for longer than `within`. Unknown: nothing came yet, and it is too early to call it overdue; or a person looks by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Heartbeat {
    /// How old the newest heartbeat may be, like `10m`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
}

/// The longest time within which a heartbeat may be asked for.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl Heartbeat {
    fn judge(&self, beat: Option<&Beat>, uptime: Duration) -> Outcome {
        match beat {
            Some(beat) if !beat.passed => {
                REPORTED_FAILURE.because(format!("{} ago, {}: {}", whole(beat.age), beat.from, beat.note))
            }
            Some(beat) if beat.age > self.within => {
                let (age, within) = (whole(beat.age), whole(self.within));
                OVERDUE_BEAT.because(format!("the newest is {age} old, due within {within}; from {}: {}", beat.from, beat.note))
            }
            Some(beat) => Outcome::pass(format!("{} ago, {}: {}", whole(beat.age), beat.from, beat.note)),
            None if uptime > self.within => {
                let (uptime, within) = (whole(uptime), whole(self.within));
                OVERDUE_BEAT.because(format!(
                    "none in the {uptime} since the verifier started or the phase switched, due within {within}"
                ))
            }
            None => {
                NO_BEAT_YET.because(format!("none in the {} since the verifier started or the phase switched", whole(uptime)))
            }
        }
    }
}

/// Full seconds, for people.
fn whole(time: Duration) -> String {
    humantime_serde::re::humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

impl Check for Heartbeat {
    const META: Meta = Meta {
        kind: "heartbeat",
        nature: Nature::Continuous,
        reasons: &[&[REPORTED_FAILURE, OVERDUE_BEAT, NO_BEAT_YET, BY_HAND]],
        control: OVERDUE_BEAT,
        measures: &["age_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn validate(&self) -> Vec<FieldError> {
        if self.within > LONGEST {
            let hint = "a heartbeat that comes less than once a year proves nothing in time".into();
            return vec![FieldError { field: "within", message: "more than a year".into(), hint }];
        }
        if !self.within.is_zero() {
            return Vec::new();
        }
        let hint = "give the sender's own cadence and some slack, like 10m".into();
        vec![FieldError { field: "within", message: "no heartbeat can be that fresh".into(), hint }]
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            if cx.by_hand {
                let words = "heartbeats come to the running verifier, not to this command";
                return Report::new(Step::whole(BY_HAND.because(words)), ());
            }
            let beat = cx.beat.as_ref();
            let mut report = Report::new(Step::whole(self.judge(beat, cx.uptime)), ());
            report.measures.extend(beat.map(|beat| Measure {
                part: PartId::new(PartId::WHOLE),
                name: "age_seconds",
                value: beat.age.as_secs_f64(),
            }));
            report
        })
    }

    fn control<'a>(&'a self, _: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let beat = |age, passed| Beat { age, passed, from: "negative control".into(), note: String::new() };
            let reported = self.judge(Some(&beat(Duration::ZERO, false)), Duration::ZERO);
            if !matches!(reported, Outcome::Fail { .. }) {
                return reported;
            }
            self.judge(Some(&beat(self.within + Duration::from_secs(1), true)), Duration::ZERO)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, context, part, report_of};

    fn ten_minutes() -> Heartbeat {
        check(serde_json::json!({"within": "10m"}))
    }

    fn beat(age: u64, passed: bool) -> Beat {
        Beat { age: Duration::from_secs(age), passed, from: "ci".into(), note: "nightly".into() }
    }

    async fn outcome(beat: impl Into<Option<Beat>>, uptime: u64) -> Outcome {
        let cx = Context { beat: beat.into(), uptime: Duration::from_secs(uptime), ..context() };
        part(&report_of(&ten_minutes(), &cx).await, PartId::WHOLE)
    }

    #[tokio::test]
    async fn a_fresh_good_heartbeat_passes_until_it_is_too_old() {
        assert_eq!(outcome(beat(600, true), 3600).await.label(), "pass");
        assert_eq!(outcome(beat(601, true), 3600).await.reason(), Some(&OVERDUE_BEAT.into()));
    }

    #[tokio::test]
    async fn a_bad_heartbeat_fails_at_any_age() {
        for age in [0, 601] {
            assert_eq!(outcome(beat(age, false), 3600).await.reason(), Some(&REPORTED_FAILURE.into()));
        }
    }

    #[tokio::test]
    async fn silence_is_unknown_first_and_overdue_later() {
        assert_eq!(outcome(None, 600).await.reason(), Some(&NO_BEAT_YET.into()));
        assert_eq!(outcome(None, 601).await.reason(), Some(&OVERDUE_BEAT.into()));
    }

    #[tokio::test]
    async fn a_look_by_hand_sees_no_heartbeat() {
        let cx = Context { beat: Some(beat(1, true)), by_hand: true, ..context() };
        assert_eq!(part(&report_of(&ten_minutes(), &cx).await, PartId::WHOLE).reason(), Some(&BY_HAND.into()));
    }

    #[tokio::test]
    async fn the_control_fails_with_its_own_reason() {
        let outcome = Check::control(&ten_minutes(), &context(), ()).await;
        assert_eq!(outcome.reason(), Some(&OVERDUE_BEAT.into()));
    }

    #[test]
    fn a_heartbeat_needs_a_time() {
        assert_eq!(Check::validate(&check::<Heartbeat>(serde_json::json!({"within": "0s"}))).len(), 1);
    }
}
