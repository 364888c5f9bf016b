//! Kinds of check for these tests: they look at nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use checks::{
    Check, Context, Entry, FieldError, Meta, Nature, Outcome, ReasonSpec, Registry, Report, SecretRef, Step, TargetKind,
    TargetUse,
};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const WRONG: ReasonSpec = ReasonSpec::fail("wrong", "correct it");

const fn meta(kind: &'static str, nature: Nature) -> Meta {
    Meta { kind, nature, reasons: &[&[WRONG]], control: WRONG, measures: &[], waivable: true, rules: &[] }
}

pub(super) fn registry() -> Registry {
    let tripwire = Entry::of::<checks::net::tripwire::Tripwire>();
    Registry::new([Entry::of::<Look>(), Entry::of::<Compare>(), Entry::of::<Pulse>(), Entry::of::<Mark>(), tripwire])
}

/// Looks at a Loki.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Look {
    /// Name of the target, of kind `loki`.
    loki: String,
    /// A small number.
    #[serde(default)]
    level: u8,
    /// A secret.
    #[serde(default)]
    token: Option<SecretRef>,
    /// More of them.
    #[serde(default)]
    headers: BTreeMap<String, SecretRef>,
    /// Texts.
    #[serde(default)]
    words: Vec<String>,
    /// Whether to look twice.
    #[serde(default)]
    twice: bool,
}

/// Compares a Loki with a PostgreSQL.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Compare {
    /// Name of the target, of kind `loki`.
    from: String,
    /// Name of the target, of kind `postgres`.
    to: String,
}

/// Waits for something.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pulse {
    /// How long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    within: Duration,
}

/// Writes to a PostgreSQL.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mark {
    /// Name of the target, of kind `postgres`.
    on: String,
}

macro_rules! blind {
    () => {
        fn run<'a>(&'a self, _: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
            Box::pin(async { Report::new(Step::whole(Outcome::pass("seen")), ()) })
        }

        fn control<'a>(&'a self, _: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
            Box::pin(async { WRONG.because("not seen") })
        }
    };
}

impl Check for Look {
    const META: Meta = meta("look", Nature::Continuous);
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let too_high = self.level > 9;
        let error =
            || FieldError { field: "level", message: "`level` ends at 9".into(), hint: "write `level: 9` or less".into() };
        too_high.then(error).into_iter().collect()
    }

    blind!();
}

impl Check for Compare {
    const META: Meta = meta("compare", Nature::Proof);
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![
            TargetUse { field: "from", kind: Some(TargetKind::Loki), name: self.from.clone() },
            TargetUse { field: "to", kind: Some(TargetKind::Postgres), name: self.to.clone() },
        ]
    }

    blind!();
}

impl Check for Pulse {
    const META: Meta = meta("pulse", Nature::Continuous);
    type Memory = ();

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        Some(("within", self.within))
    }

    blind!();
}

impl Check for Mark {
    const META: Meta = meta("mark", Nature::Continuous);
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "on", kind: Some(TargetKind::Postgres), name: self.on.clone() }]
    }

    fn writes(&self) -> bool {
        true
    }

    blind!();
}
