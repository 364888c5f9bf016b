//! Cadence and thresholds of a probe: its own, else the document's defaults, else the built-in ones, and how they must relate.

use std::time::Duration;

use super::document::{Defaults, Gate, Probe};
use super::duration::Lapse;
use super::problem::Problems;
use super::tree::{Node, Path};
use crate::plan::GatePlan;

const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(4);
const CONTROL_EVERY: Duration = Duration::from_mins(10);
const LEAST_MAX_AGE: Duration = Duration::from_secs(20);
const THRESHOLD: u32 = 2;
/// A shorter cadence is a slip of the unit, and would drown the target.
const LEAST_EVERY: Duration = Duration::from_millis(10);
const SOAK: Duration = Duration::from_hours(1);
const MIN_SAMPLES: u32 = 60;

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Probe,
    Defaults,
    BuiltIn,
}

/// A value and who says so.
#[derive(Debug, Clone, Copy)]
struct Setting {
    field: &'static str,
    value: Duration,
    from: From,
}

/// The resolved numbers of a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    every: Setting,
    timeout: Setting,
    control_every: Setting,
    max_age: Setting,
    pub(super) fail_after: u32,
    pub(super) recover_after: u32,
}

impl Settings {
    /// Of a probe. A proof is decided by one finished Pass or Fail, and does not age by runs.
    pub(super) fn of(probe: &Probe, defaults: &Defaults, proof: bool) -> Self {
        let every = pick("every", probe.every, defaults.every, || EVERY);
        let timeout = pick("timeout", probe.timeout, defaults.timeout, || match every.value {
            every if every < TIMEOUT => every * 4 / 5,
            _ => TIMEOUT,
        });
        let control_every = pick("controlEvery", probe.control_every, defaults.control_every, || CONTROL_EVERY.max(every.value));
        let max_age = pick("maxAge", probe.max_age, defaults.max_age.filter(|_| !proof), || LEAST_MAX_AGE.max(every.value * 4));
        let threshold = |own: Option<u32>, default: Option<u32>| if proof { 1 } else { own.or(default).unwrap_or(THRESHOLD) };
        Self {
            every,
            timeout,
            control_every,
            max_age,
            fail_after: threshold(probe.fail_after, defaults.fail_after),
            recover_after: threshold(probe.recover_after, defaults.recover_after),
        }
    }

    pub(super) const fn every(&self) -> Duration {
        self.every.value
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout.value
    }

    pub(super) const fn control_every(&self) -> Duration {
        self.control_every.value
    }

    pub(super) const fn max_age(&self) -> Duration {
        self.max_age.value
    }

    /// How they must relate to each other. An error stands at the probe's own number, else at the default.
    pub(super) fn relate(&self, problems: &mut Problems<'_>, root: &Node, probe: &Path) {
        let blame = |problems: &mut Problems<'_>, of: &[Setting], message: String, hint: String| {
            let nearest = of.iter().find(|s| s.from == From::Probe).map(|s| probe.key(s.field));
            let default = || of.iter().find(|s| s.from == From::Defaults).map(|s| defaults_path().key(s.field));
            if let Some(path) = nearest.or_else(default) {
                problems.value(root, &path, message, hint);
            }
        };
        let (every, timeout) = (self.every, self.timeout);
        if timeout.value > every.value {
            let message = format!("{} is longer than {}: runs would overtake each other", timeout.says(), every.says());
            blame(problems, &[timeout, every], message, format!("set `timeout` to at most {}", Lapse(every.value)));
        }
        let least = every.value + timeout.value;
        if least > self.max_age.value {
            let message = format!("{} is shorter than `every` + `timeout`: a slow run would count as stale", self.max_age.says());
            blame(problems, &[self.max_age, every, timeout], message, format!("set `maxAge` to at least {}", Lapse(least)));
        }
        if self.control_every.value < every.value {
            let message =
                format!("{} is shorter than {}: trust would run out between two looks", self.control_every.says(), every.says());
            let hint = format!("set `controlEvery` to at least {}", Lapse(every.value));
            blame(problems, &[self.control_every, every], message, hint);
        }
    }

    /// A check that has to see something move within this time: looks that are farther apart would wait for it for ever.
    pub(super) fn reach(&self, problems: &mut Problems<'_>, root: &Node, check: &Path, (field, within): (&str, Duration)) {
        let (every, least) = (self.every, self.every.value + self.timeout.value);
        if within < least {
            let message = format!(
                "`{field}` ({}) is shorter than {} + `timeout`: nothing is ever seen moving",
                Lapse(within),
                every.says()
            );
            let hint = format!("set `{field}` to several times `every`, at least {}, or look more often", Lapse(least));
            problems.value(root, &check.key(field), message, hint);
        }
    }
}

impl Setting {
    fn says(&self) -> String {
        let by = match self.from {
            From::Probe => "",
            From::Defaults => ", by `defaults`",
            From::BuiltIn => ", unless given",
        };
        format!("`{}` ({}{by})", self.field, Lapse(self.value))
    }
}

fn pick(field: &'static str, own: Option<Lapse>, default: Option<Lapse>, built_in: impl FnOnce() -> Duration) -> Setting {
    match (own, default) {
        (Some(own), _) => Setting { field, value: own.0, from: From::Probe },
        (None, Some(default)) => Setting { field, value: default.0, from: From::Defaults },
        (None, None) => Setting { field, value: built_in(), from: From::BuiltIn },
    }
}

fn defaults_path() -> Path {
    Path::default().key("spec").key("defaults")
}

/// The rules of each number of `defaults` alone. Whether they hold.
pub(super) fn check_defaults(problems: &mut Problems<'_>, root: &Node, defaults: &Defaults) -> bool {
    let times = [
        ("every", defaults.every),
        ("timeout", defaults.timeout),
        ("controlEvery", defaults.control_every),
        ("maxAge", defaults.max_age),
    ];
    let counts = [("failAfter", defaults.fail_after), ("recoverAfter", defaults.recover_after)];
    alone(problems, root, &defaults_path(), &times, &counts)
}

/// The rules of each number of a probe alone. Whether they hold.
pub(super) fn check_probe(problems: &mut Problems<'_>, root: &Node, path: &Path, probe: &Probe) -> bool {
    let times = [
        ("every", probe.every),
        ("timeout", probe.timeout),
        ("controlEvery", probe.control_every),
        ("maxAge", probe.max_age),
        ("validFor", probe.valid_for),
    ];
    let counts = [("failAfter", probe.fail_after), ("recoverAfter", probe.recover_after)];
    alone(problems, root, path, &times, &counts)
}

fn alone(
    problems: &mut Problems<'_>,
    root: &Node,
    path: &Path,
    times: &[(&str, Option<Lapse>)],
    counts: &[(&str, Option<u32>)],
) -> bool {
    let mut hold = true;
    for (field, value) in times {
        let Some(Lapse(value)) = value else { continue };
        if value.is_zero() {
            problems.value(root, &path.key(field), format!("`{field}` must be longer than 0s"), "write for example `10s`");
            hold = false;
        } else if *field == "every" && *value < LEAST_EVERY {
            let message = format!("`every` must be at least {}", Lapse(LEAST_EVERY));
            problems.value(root, &path.key(field), message, "mind the unit: `ms` are milliseconds, `s` seconds");
            hold = false;
        }
    }
    for (field, _) in counts.iter().filter(|(_, value)| *value == Some(0)) {
        problems.value(root, &path.key(field), format!("`{field}` must be at least 1"), format!("write `{field}: 1` or more"));
        hold = false;
    }
    hold
}

/// The numbers of a gate.
pub(super) fn gate(gate: &Gate) -> GatePlan {
    let soak = gate.soak.map_or(SOAK, |soak| soak.0);
    GatePlan {
        soak,
        min_samples: gate.min_samples.unwrap_or(MIN_SAMPLES),
        unknown_budget: gate.unknown_budget.map_or(soak / 12, |budget| budget.0),
        max_wait: gate.max_wait.map(|wait| wait.0),
    }
}

/// The rules of a gate's numbers.
pub(super) fn check_gate(problems: &mut Problems<'_>, root: &Node, path: &Path, numbers: &Gate) {
    let times = [("maxWait", numbers.max_wait)];
    let counts = [("minSamples", numbers.min_samples)];
    if alone(problems, root, path, &times, &counts)
        && let GatePlan { soak, max_wait: Some(wait), .. } = gate(numbers)
        && wait < soak
    {
        let message = format!("`maxWait` ({}) is shorter than `soak` ({}): its alert is sure to fire", Lapse(wait), Lapse(soak));
        problems.warn(root, &path.key("maxWait"), message, format!("set `maxWait` to more than {}", Lapse(soak)));
    }
}
