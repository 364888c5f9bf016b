//! From a sound step to what the verdict, the operator's tool and the hash know of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::document::{Back, Step, Wait};
use super::super::duration::Lapse;
use super::super::steps::{StepSpec, Undo, Work};
use crate::plan::{ProbeName, StepKind, StepPlan};

const TIMEOUT: Duration = Duration::from_mins(10);

/// The step as the verdict sees it, as it is carried out, and in its canonical form.
pub(super) fn step(doc: Step) -> (StepPlan, StepSpec, Value) {
    let (kind, work) = match (doc.work, doc.manual) {
        (Some(words), _) => (StepKind::Command, Work::Command(words.0)),
        (None, Some(text)) => (StepKind::Manual, Work::Manual(text.trim().to_owned())),
        (None, None) => (StepKind::Wait, Work::Wait),
    };
    let undo = doc.undo.map(|undo| match undo {
        Back::Command(words) => Undo::Command(words.0),
        Back::Manual(instructions) => Undo::Manual(instructions.manual.unwrap_or_default().trim().to_owned()),
    });
    let Wait { probes, gate } = doc.wait.unwrap_or_default();
    let names = |listed: Option<Vec<String>>| listed.into_iter().flatten().map(ProbeName::from).collect::<Vec<_>>();
    let spec = StepSpec {
        name: doc.name.into(),
        work,
        check: doc.check.map(|words| words.0),
        undo,
        env: doc.env.unwrap_or_default(),
        dir: doc.dir.map(Into::into),
        timeout: doc.timeout.map_or(TIMEOUT, |timeout| timeout.0),
    };
    let plan = StepPlan {
        name: spec.name.clone(),
        kind,
        switch: doc.switch == Some(true),
        ponr: doc.ponr == Some(true),
        undo: spec.undo.is_some(),
        check: spec.check.is_some(),
        verify: names(doc.verify.or(probes)),
        gate: gate.map(Into::into),
        disturbs: names(doc.disturbs),
        timeout: spec.timeout,
    };
    let form = canonical(&plan, &spec);
    (plan, spec, form)
}

/// What a step is, defaults applied.
fn canonical(plan: &StepPlan, spec: &StepSpec) -> Value {
    let work = match &spec.work {
        Work::Command(words) => json!({ "do": words }),
        Work::Manual(text) => json!({ "manual": text }),
        Work::Wait => json!("wait"),
    };
    let undo = spec.undo.as_ref().map(|undo| match undo {
        Undo::Command(words) => json!({ "do": words }),
        Undo::Manual(text) => json!({ "manual": text }),
    });
    json!({
        "name": spec.name,
        "work": work,
        "check": spec.check,
        "undo": undo,
        "env": spec.env,
        "dir": spec.dir,
        "timeout": Lapse(spec.timeout),
        "verify": plan.verify,
        "gate": plan.gate,
        "disturbs": plan.disturbs,
        "switch": plan.switch,
        "ponr": plan.ponr,
    })
}
