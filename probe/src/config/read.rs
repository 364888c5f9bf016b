//! From the tree to typed parts: document, targets, phases, probes and checks, each on its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::{DynCheck, Entry, Registry, Target};
use serde_json::Value;

use super::document::{API_VERSION, Annotation, Defaults, Document, Gate, KIND, Metadata, Phase, Probe, Spec, Step};
use super::problem::Problems;
use super::schema;
use super::secrets;
use super::tree::{Kind, Node, Path};
use super::typed::{Fit, fit, fit_with, instead};

/// The parts of a document that could be read. With errors, some are missing.
pub(super) struct Parts {
    /// `None` if it could not be read.
    pub(super) migration: Option<String>,
    pub(super) defaults: Fit<Defaults>,
    /// All names; `None` for a target that could not be read.
    pub(super) targets: BTreeMap<String, Option<Target>>,
    pub(super) annotations: Vec<AnnotationPart>,
    /// Whether each of them could be read.
    pub(super) all_annotations: bool,
    pub(super) phases: Vec<PhasePart>,
    /// Whether each phase could be read with its name, so that a missing one is really missing.
    pub(super) all_phases: bool,
}

impl Parts {
    /// Whether nothing is missing. Asked even when no problem was found: a part that is lost must never go unnoticed.
    pub(super) fn complete(&self) -> bool {
        let probe = |probe: &ProbePart| probe.fit.whole && probe.check.is_some();
        let steps = |phase: &PhasePart| phase.all_steps && phase.steps.iter().all(|step| step.fit.whole);
        let phase = |phase: &PhasePart| phase.gate.whole && phase.all_probes && phase.probes.iter().all(probe) && steps(phase);
        let top = self.migration.is_some() && self.defaults.whole && self.targets.values().all(Option::is_some);
        let annotations = self.all_annotations && self.annotations.iter().all(|one| one.fit.whole);
        top && annotations && self.all_phases && self.phases.iter().all(phase)
    }
}

/// One Grafana to be annotated.
pub(super) struct AnnotationPart {
    pub(super) path: Path,
    pub(super) fit: Fit<Annotation>,
}

/// One phase.
pub(super) struct PhasePart {
    pub(super) path: Path,
    /// Empty if it could not be read.
    pub(super) name: String,
    pub(super) gate: Fit<Gate>,
    pub(super) probes: Vec<ProbePart>,
    pub(super) all_probes: bool,
    pub(super) steps: Vec<StepPart>,
    pub(super) all_steps: bool,
    pub(super) four_eyes: bool,
    pub(super) breaks: Option<String>,
}

/// One probe.
pub(super) struct ProbePart {
    pub(super) path: Path,
    pub(super) fit: Fit<Probe>,
    pub(super) check: Option<(Entry, Arc<dyn DynCheck>)>,
}

/// One step.
pub(super) struct StepPart {
    pub(super) path: Path,
    pub(super) fit: Fit<Step>,
}

/// Reads the parts; every part that does not fit is a problem.
pub(super) fn parts(problems: &mut Problems<'_>, root: &mut Node, registry: &Registry) -> Option<Parts> {
    for (key, first) in root.duplicates() {
        let hint = format!("the first one is on line {}: keep one of them", problems.line(first));
        problems.error(key.at, format!("`{}` stands here twice", key.name), hint);
    }
    guard_secrets(problems, root, registry);
    secrets::sweep(problems, root);
    let top = Path::default();
    let document = fit::<Document>(problems, root, &top, root.to_value())?.value;
    let (version, kind) = (top.key("apiVersion"), top.key("kind"));
    if document.api_version != API_VERSION {
        let message = format!("unknown apiVersion `{}`", document.api_version);
        problems.value(root, &version, message, format!("write `apiVersion: {API_VERSION}`"));
    }
    if document.kind != KIND {
        problems.value(root, &kind, format!("unknown kind `{}`", document.kind), format!("write `kind: {KIND}`"));
    }
    let metadata = fit::<Metadata>(problems, root, &top.key("metadata"), document.metadata);
    let at = top.key("spec");
    let Fit { value: spec, whole } = fit::<Spec>(problems, root, &at, document.spec)?;
    let defaults = spec.defaults.map_or_else(
        || Some(Fit { value: Defaults::default(), whole: true }),
        |value| fit(problems, root, &at.key("defaults"), value),
    );
    let kinds = schema::target_kinds();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let targets = spec.targets.into_iter().map(|(name, value)| {
        let target = target(problems, root, &kinds, &at.key("targets").key(&name), value);
        (name, target)
    });
    let targets = targets.collect();
    let (annotations, all_annotations) = annotations(problems, root, &at.key("annotations"), spec.annotations);
    let count = spec.phases.len();
    let phases = spec.phases.into_iter().enumerate();
    let phases: Vec<_> =
        phases.filter_map(|(n, value)| phase(problems, root, registry, &at.key("phases").index(n), value)).collect();
    Some(Parts {
        migration: metadata.map(|metadata| metadata.value.name),
        defaults: defaults.unwrap_or(Fit { value: Defaults::default(), whole: false }),
        targets,
        annotations,
        all_annotations,
        all_phases: whole && phases.len() == count && phases.iter().all(|phase| !phase.name.is_empty()),
        phases,
    })
}

/// What is written as one, or as a list. Whether all of it could be read.
fn annotations(problems: &mut Problems<'_>, root: &Node, path: &Path, value: Option<Value>) -> (Vec<AnnotationPart>, bool) {
    let entries: Vec<(Path, Value)> = match value {
        None => return (Vec::new(), true),
        Some(Value::Array(items)) if items.is_empty() => {
            problems.value(root, path, "no Grafana is listed", "name one: `grafana: TARGET`, or remove the line");
            return (Vec::new(), false);
        }
        Some(Value::Array(items)) => items.into_iter().enumerate().map(|(nth, item)| (path.index(nth), item)).collect(),
        Some(one) => vec![(path.clone(), one)],
    };
    let count = entries.len();
    let parts: Vec<_> = entries
        .into_iter()
        .filter_map(|(path, value)| Some(AnnotationPart { fit: fit(problems, root, &path, value)?, path }))
        .collect();
    let all = parts.len() == count;
    (parts, all)
}

fn phase(problems: &mut Problems<'_>, root: &Node, registry: &Registry, path: &Path, value: Value) -> Option<PhasePart> {
    let Fit { value: phase, whole } = fit::<Phase>(problems, root, path, value)?;
    let gate = phase
        .gate
        .map_or_else(|| Some(Fit { value: Gate::default(), whole: true }), |value| fit(problems, root, &path.key("gate"), value));
    let count = phase.probes.len();
    let probes = phase.probes.into_iter().enumerate();
    let probes: Vec<_> =
        probes.filter_map(|(n, value)| probe(problems, root, registry, &path.key("probes").index(n), value)).collect();
    let all_probes = whole && probes.len() == count;
    let steps = phase.steps.unwrap_or_default();
    let count = steps.len();
    let steps = steps.into_iter().enumerate().map(|(n, value)| (path.key("steps").index(n), value));
    let steps: Vec<_> =
        steps.filter_map(|(path, value)| Some(StepPart { fit: fit(problems, root, &path, value)?, path })).collect();
    Some(PhasePart {
        path: path.clone(),
        name: phase.name,
        gate: gate.unwrap_or(Fit { value: Gate::default(), whole: false }),
        all_probes,
        probes,
        all_steps: whole && steps.len() == count,
        steps,
        four_eyes: phase.four_eyes == Some(true),
        breaks: phase.breaks,
    })
}

fn probe(problems: &mut Problems<'_>, root: &Node, registry: &Registry, path: &Path, value: Value) -> Option<ProbePart> {
    let mut fit = fit::<Probe>(problems, root, path, value)?;
    let check = check(problems, root, registry, &path.key("check"), fit.value.check.take());
    Some(ProbePart { path: path.clone(), fit, check })
}

fn check(
    problems: &mut Problems<'_>,
    root: &Node,
    registry: &Registry,
    path: &Path,
    value: Value,
) -> Option<(Entry, Arc<dyn DynCheck>)> {
    if value.is_null() {
        return None;
    }
    let known: Vec<&str> = registry.iter().map(|entry| entry.meta.kind).collect();
    let (kind, block) = one_kind(problems, root, path, value, "check", &known)?;
    let entry = *registry.get(&kind)?;
    let Fit { value: check, whole } = fit_with(problems, root, &path.key(&kind), block, entry.parse)?;
    if whole {
        for error in check.validate() {
            problems.value(root, &path.key(&kind).key(error.field), error.message, error.hint);
        }
    }
    Some((entry, check))
}

fn target(problems: &mut Problems<'_>, root: &Node, kinds: &[&str], path: &Path, value: Value) -> Option<Target> {
    let (kind, block) = one_kind(problems, root, path, value, "target", kinds)?;
    let block = Value::Object([(kind, block)].into_iter().collect());
    fit::<Target>(problems, root, path, block).map(|fit| fit.value)
}

/// The block of what is written as `{kind: {…}}`.
fn one_kind(
    problems: &mut Problems<'_>,
    root: &Node,
    path: &Path,
    value: Value,
    what: &str,
    known: &[&str],
) -> Option<(String, Value)> {
    let example = known.first().copied().unwrap_or("kind");
    let Value::Object(entries) = value else {
        let written = value.as_str().filter(|text| known.contains(text)).unwrap_or(example);
        problems.value(root, path, format!("a {what} is a map of one kind"), format!("write `{written}: {{…}}`"));
        return None;
    };
    let mut entries = entries.into_iter();
    let (Some((kind, block)), more) = (entries.next(), entries.next()) else {
        let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        problems.value(root, path, format!("this {what} has no kind"), format!("known kinds: {}", list.join(", ")));
        return None;
    };
    for name in std::iter::once(&kind).chain(more.as_ref().map(|(name, _)| name)) {
        if !known.contains(&name.as_str()) {
            problems.key(root, &path.key(name), format!("unknown kind of {what} `{name}`"), instead(name, known, "kinds"));
        }
    }
    if let Some((other, _)) = more {
        let message = format!("a {what} has one kind, this one has `{kind}` and `{other}`");
        problems.key(root, path, message, "make two of it, or remove one");
        return None;
    }
    if !known.contains(&kind.as_str()) {
        return None;
    }
    if !block.is_object() {
        problems.value(root, &path.key(&kind), format!("`{kind}` needs its settings"), format!("write `{kind}: {{…}}`"));
        return None;
    }
    Some((kind, block))
}

fn guard_secrets(problems: &mut Problems<'_>, root: &mut Node, registry: &Registry) {
    let Some(spec) = root.get_mut("spec") else { return };
    if let Some(Kind::Map(targets)) = spec.get_mut("targets").map(|targets| &mut targets.kind) {
        let schema = schema::target();
        for (_, target) in targets {
            secrets::guard(problems, &schema, target);
        }
    }
    if let Some(annotations) = spec.get_mut("annotations") {
        let schema = schema::annotation();
        match &mut annotations.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| secrets::guard(problems, &schema, item)),
            Kind::Map(_) | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
                secrets::guard(problems, &schema, annotations);
            }
        }
    }
    let mut schemas: BTreeMap<String, Option<Value>> = BTreeMap::new();
    let Some(Kind::List(phases)) = spec.get_mut("phases").map(|phases| &mut phases.kind) else { return };
    for phase in phases {
        if let Some(Kind::List(steps)) = phase.get_mut("steps").map(|steps| &mut steps.kind) {
            steps.iter_mut().filter_map(|step| step.get_mut("env")).for_each(|env| secrets::guard_env(problems, env));
        }
        let Some(Kind::List(probes)) = phase.get_mut("probes").map(|probes| &mut probes.kind) else { continue };
        for probe in probes {
            let Some(Kind::Map(kinds)) = probe.get_mut("check").map(|check| &mut check.kind) else { continue };
            for (kind, block) in kinds {
                let schema = schemas.entry(kind.name.clone()).or_insert_with(|| registry.get(&kind.name).map(schema::check));
                if let Some(schema) = schema {
                    secrets::guard(problems, schema, block);
                }
            }
        }
    }
}
