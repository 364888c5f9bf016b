//! The document's fixed part, as types. What is typed on its own (targets, phases, probes, checks) is held as raw JSON here,
//! and shows its real type in the schema only.

use std::borrow::Cow;
use std::collections::BTreeMap;

use checks::Target;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::duration::Lapse;
use crate::plan::SealAt;

mod annotations;
mod steps;

pub(super) use self::annotations::{Annotation, OneOrMore};
pub(super) use self::steps::{Back, Step, Wait};

/// The only version there is.
pub(super) const API_VERSION: &str = "phasegate.dev/v1alpha1";
/// The only kind there is.
pub(super) const KIND: &str = "Migration";

/// A migration in phases: what is looked at, how, and what each phase's gate asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Migration")]
pub(super) struct Document {
    /// Version of this format: `phasegate.dev/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub(super) api_version: String,
    /// Always `Migration`.
    #[schemars(extend("const" = KIND))]
    pub(super) kind: String,
    /// What the migration is called.
    #[schemars(with = "Metadata")]
    pub(super) metadata: Value,
    /// The migration itself.
    #[schemars(with = "Spec")]
    pub(super) spec: Value,
}

/// What the migration is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    /// Lower-case letters, digits and `-`, at most 63.
    #[schemars(extend("pattern" = NAME_PATTERN, "maxLength" = 63))]
    pub(super) name: String,
}

/// Pattern of every name in a document.
const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// The migration itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    /// What holds for every probe that does not say otherwise.
    #[serde(default)]
    #[schemars(with = "Defaults")]
    pub(super) defaults: Option<Value>,
    /// What is looked at, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Target>")]
    pub(super) targets: BTreeMap<String, Value>,
    /// Where phases that begin, switch, are completed, regress or go back are marked: one Grafana, or a list of them. Whether that
    /// succeeds is told and changes no verdict.
    #[serde(default)]
    #[schemars(with = "OneOrMore<Annotation>")]
    pub(super) annotations: Option<Value>,
    /// The phases in their order, at least one.
    #[schemars(with = "Vec<Phase>", extend("minItems" = 1))]
    pub(super) phases: Vec<Value>,
}

/// What holds for every probe that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Defaults {
    /// Time between two runs of a probe; `5s` unless given.
    pub(super) every: Option<Lapse>,
    /// How long one run may take, at most `every`; `4s` unless given.
    pub(super) timeout: Option<Lapse>,
    /// Consecutive fails that make a probe red; 2 unless given.
    #[schemars(range(min = 1))]
    pub(super) fail_after: Option<u32>,
    /// Consecutive passes that make a probe green; 2 unless given.
    #[schemars(range(min = 1))]
    pub(super) recover_after: Option<u32>,
    /// Time between two negative controls of a probe; `10m` unless given.
    pub(super) control_every: Option<Lapse>,
    /// Age of the last run past which a probe is unknown; 4 × `every`, at least `20s`, unless given.
    pub(super) max_age: Option<Lapse>,
}

/// One phase: its probes, what its gate asks of them, and what is done in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Phase {
    /// Unique among the phases.
    #[schemars(extend("pattern" = NAME_PATTERN, "maxLength" = 63))]
    pub(super) name: String,
    /// What the gate asks for before the phase can be complete.
    #[serde(default)]
    #[schemars(with = "Gate")]
    pub(super) gate: Option<Value>,
    /// What is checked. At least one of them counts for the gate for good.
    #[schemars(with = "Vec<Probe>", extend("minItems" = 1))]
    pub(super) probes: Vec<Value>,
    /// What is done, in this order; exactly one step is the switch. Without steps the work is done by hand.
    #[serde(default)]
    #[schemars(with = "Vec<Step>", extend("minItems" = 1))]
    pub(super) steps: Option<Vec<Value>>,
    /// Whether somebody else must approve the plan of the phase before it can begin; `false` unless given.
    pub(super) four_eyes: Option<bool>,
    /// What this phase breaks for a while, in words. The plan shows it.
    pub(super) breaks: Option<String>,
}

/// What the gate asks for before the phase can be complete.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Gate {
    /// How long every gate probe must have been green; `1h` unless given.
    pub(super) soak: Option<Lapse>,
    /// How many passes each gate probe must have had; 60 unless given.
    #[schemars(range(min = 1))]
    pub(super) min_samples: Option<u32>,
    /// How much of the time may be other than green (never red); a twelfth of `soak` unless given.
    pub(super) unknown_budget: Option<Lapse>,
    /// After how long a phase that is not complete raises an alert. It never opens the gate.
    pub(super) max_wait: Option<Lapse>,
}

/// One check, bound to its targets, with its cadence and thresholds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Probe {
    /// Unique in the document.
    #[schemars(extend("pattern" = NAME_PATTERN, "maxLength" = 63))]
    pub(super) name: String,
    /// How to look: exactly one kind of check with its settings.
    #[schemars(with = "CheckBlock")]
    pub(super) check: Value,
    /// What it counts for; `[gate]` unless given.
    #[serde(rename = "use")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub(super) uses: Option<Vec<Use>>,
    /// A later phase, whose switch retires this probe. Without it the probe stays required for good.
    pub(super) until: Option<String>,
    /// Time between two runs.
    pub(super) every: Option<Lapse>,
    /// How long one run may take, at most `every`.
    pub(super) timeout: Option<Lapse>,
    /// Consecutive fails that make it red. Not for proofs.
    #[schemars(range(min = 1))]
    pub(super) fail_after: Option<u32>,
    /// Consecutive passes that make it green. Not for proofs.
    #[schemars(range(min = 1))]
    pub(super) recover_after: Option<u32>,
    /// Time between two negative controls.
    pub(super) control_every: Option<Lapse>,
    /// Age of the last run past which it is unknown. Not for proofs.
    pub(super) max_age: Option<Lapse>,
    /// Proofs only: how long a finished pass counts until it is sealed; `24h` unless given.
    pub(super) valid_for: Option<Lapse>,
    /// Proofs only: the event that needs and seals it; `complete` unless given.
    pub(super) seal_at: Option<SealAt>,
}

/// What a probe counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Use {
    /// The entry guard when its phase begins.
    Preflight,
    /// The gate of its phase, and of every later one.
    Gate,
    /// The steps that name it. Alone, it does not count for the gate.
    Verify,
    /// The entry guard before the point of no return of its phase.
    BeforePonr,
    /// Nothing but this: its first pass since the switch began says that the point of no return is crossed.
    Ponr,
}

impl Use {
    /// The word in the document.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Gate => "gate",
            Self::Verify => "verify",
            Self::BeforePonr => "beforePonr",
            Self::Ponr => "ponr",
        }
    }
}

/// Stands for the kinds of the registry, which the schema fills in.
pub(super) struct CheckBlock;

impl JsonSchema for CheckBlock {
    fn schema_name() -> Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}
