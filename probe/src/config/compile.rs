//! From the parts of a sound document to the [`Plan`] and its bindings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use checks::grafana::annotations::Desk;
use checks::{DynCheck, Nature, Target};
use serde_json::{Value, json};

use super::AnnotationSpec;
use super::document::{Annotation, Use};
use super::duration::Lapse;
use super::hash;
use super::read::{AnnotationPart, Parts, PhasePart, ProbePart};
use super::settings::{self, Settings};
use super::steps::StepSpec;
use crate::plan::{GatePlan, NaturePlan, PhaseName, PhasePlan, Plan, ProbeName, ProbePlan, SealAt};

mod steps;

const VALID_FOR: Duration = Duration::from_hours(24);

/// What a document comes to.
pub(super) struct Compiled {
    pub(super) plan: Plan,
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) probes: BTreeMap<ProbeName, Arc<dyn DynCheck>>,
    pub(super) steps: BTreeMap<PhaseName, Vec<StepSpec>>,
    pub(super) breaks: BTreeMap<PhaseName, String>,
    pub(super) annotations: Vec<AnnotationSpec>,
}

/// Compiles parts in which no rule is broken.
pub(super) fn compile(parts: Parts) -> Compiled {
    let Parts { migration, defaults, targets, annotations, phases, .. } = parts;
    let targets: BTreeMap<String, Target> = targets.into_iter().filter_map(|(name, target)| Some((name, target?))).collect();
    let mut probes = BTreeMap::new();
    let (mut specs, mut breaks) = (BTreeMap::new(), BTreeMap::new());
    let (mut plans, mut canonical) = (Vec::new(), Vec::new());
    for PhasePart { name, gate, probes: parts, steps, four_eyes, breaks: broken, .. } in phases {
        let name = PhaseName::from(name);
        let gate = settings::gate(&gate.value);
        let (mut phase, mut forms) = (Vec::new(), Vec::new());
        for ProbePart { fit, check, .. } in parts {
            let Some((entry, check)) = check else { continue };
            let doc = fit.value;
            let proof = entry.meta.nature == Nature::Proof;
            let nature = if proof {
                let valid_for = doc.valid_for.map_or(VALID_FOR, |lapse| lapse.0);
                NaturePlan::Proof { valid_for, seal_at: doc.seal_at.unwrap_or(SealAt::Complete) }
            } else {
                NaturePlan::Continuous
            };
            let uses: BTreeSet<Use> =
                doc.uses.as_ref().map_or_else(|| BTreeSet::from([Use::Gate]), |u| u.iter().copied().collect());
            let numbers = Settings::of(&doc, &defaults.value, proof);
            let mut plan = ProbePlan {
                name: doc.name.into(),
                check: entry.meta.kind.to_owned(),
                hash: String::new(),
                nature,
                gate: uses.contains(&Use::Gate),
                preflight: uses.contains(&Use::Preflight),
                before_ponr: uses.contains(&Use::BeforePonr),
                marks_ponr: uses.contains(&Use::Ponr),
                targets: check.targets().into_iter().map(|used| used.name.into()).collect(),
                tripwire: check.is_tripwire(),
                until: doc.until.map(Into::into),
                fail_after: numbers.fail_after,
                recover_after: numbers.recover_after,
                every: numbers.every(),
                timeout: numbers.timeout(),
                max_age: numbers.max_age(),
                control_every: numbers.control_every(),
                control_reason: entry.meta.control.name.to_owned(),
                waivable: entry.meta.waivable,
            };
            let form = canonical_probe(&plan, &uses, &*check);
            let resolved: BTreeMap<String, &Target> =
                check.targets().into_iter().filter_map(|used| Some((used.name.clone(), targets.get(&used.name)?))).collect();
            plan.hash = hash::of(&json!({ "probe": form, "targets": resolved }));
            let mut named = form;
            if let Some(named) = named.as_object_mut() {
                named.insert("name".into(), json!(plan.name));
            }
            forms.push(named);
            probes.insert(plan.name.clone(), check);
            phase.push(plan);
        }
        let mut form = json!({ "name": name, "gate": canonical_gate(&gate), "probes": forms });
        let (mut own_steps, mut own_specs, mut step_forms) = (Vec::new(), Vec::new(), Vec::new());
        for (plan, spec, form) in steps.into_iter().map(|step| steps::step(step.fit.value)) {
            own_steps.push(plan);
            own_specs.push(spec);
            step_forms.push(form);
        }
        // What is not said is left out, so that a document from before phases had steps keeps its hash.
        let broken = broken.map(|text| text.trim().to_owned());
        if let Some(form) = form.as_object_mut() {
            form.extend((!step_forms.is_empty()).then(|| ("steps".to_owned(), step_forms.into())));
            form.extend(four_eyes.then(|| ("fourEyes".to_owned(), true.into())));
            form.extend(broken.clone().map(|text| ("breaks".to_owned(), text.into())));
        }
        canonical.push(form);
        specs.extend((!own_specs.is_empty()).then(|| (name.clone(), own_specs)));
        breaks.extend(broken.map(|text| (name.clone(), text)));
        plans.push(PhasePlan { name, gate, probes: phase, steps: own_steps, four_eyes });
    }
    let mut form = json!({ "targets": targets, "phases": canonical });
    let annotations: Vec<AnnotationSpec> = annotations.into_iter().filter_map(|part| annotation(part, &targets)).collect();
    // A document from before there were annotations keeps its hash, too.
    if let Some(form) = form.as_object_mut().filter(|_| !annotations.is_empty()) {
        form.insert("annotations".to_owned(), annotations.iter().map(canonical_annotation).collect());
    }
    let plan = Plan::new(migration.unwrap_or_default(), hash::of(&form), plans);
    Compiled { plan, targets, probes, steps: specs, breaks, annotations }
}

fn annotation(part: AnnotationPart, targets: &BTreeMap<String, Target>) -> Option<AnnotationSpec> {
    let Annotation { grafana, token, tags } = part.fit.value;
    let Some(Target::Grafana(target)) = targets.get(&grafana) else { return None };
    let desk = Desk { url: target.url.clone(), token: token? };
    Some(AnnotationSpec { grafana, desk, tags: tags.unwrap_or_default() })
}

fn canonical_annotation(annotation: &AnnotationSpec) -> Value {
    json!({ "grafana": annotation.grafana, "token": annotation.desk.token, "tags": annotation.tags })
}

/// What a probe is, defaults applied, without its name and its place.
fn canonical_probe(plan: &ProbePlan, uses: &BTreeSet<Use>, check: &dyn DynCheck) -> Value {
    let (valid_for, seal_at) = match plan.nature {
        NaturePlan::Continuous => (None, None),
        NaturePlan::Proof { valid_for, seal_at } => (Some(Lapse(valid_for)), Some(seal_at)),
    };
    json!({
        "check": { &plan.check: check.canonical() },
        "use": uses.iter().map(|word| word.as_str()).collect::<Vec<_>>(),
        "until": plan.until,
        "every": Lapse(plan.every),
        "timeout": Lapse(plan.timeout),
        "failAfter": plan.fail_after,
        "recoverAfter": plan.recover_after,
        "controlEvery": Lapse(plan.control_every),
        "maxAge": Lapse(plan.max_age),
        "validFor": valid_for,
        "sealAt": seal_at,
    })
}

fn canonical_gate(gate: &GatePlan) -> Value {
    json!({
        "soak": Lapse(gate.soak),
        "minSamples": gate.min_samples,
        "unknownBudget": Lapse(gate.unknown_budget),
        "maxWait": gate.max_wait.map(Lapse),
    })
}
