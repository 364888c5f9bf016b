//! The rules for the steps of a phase: what a step may consist of, the names in it, its switch and its point of no return.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::document::{Back, Step, Use};
use super::super::duration::Lapse;
use super::super::problem::Problems;
use super::super::read::{Parts, PhasePart, StepPart};
use super::super::secrets::is_variable;
use super::super::steps::EnvValue;
use super::super::tree::{Kind, Node, Path};
use super::super::typed::instead;
use super::{name, unique};
use crate::plan::SealAt;

/// Longest time that a step may take.
const LONGEST: Duration = Duration::from_hours(24);

/// The probes that there are, with the positions of their phases.
struct Known<'a> {
    probes: BTreeMap<&'a str, usize>,
    /// Whether each probe could be read with its name, so that a missing one is really missing.
    all: bool,
}

/// Checks them all.
pub(super) fn check(problems: &mut Problems<'_>, root: &Node, parts: &Parts) {
    let mut known = Known { probes: BTreeMap::new(), all: parts.all_phases };
    for (position, phase) in parts.phases.iter().enumerate() {
        let names = phase.probes.iter().map(|probe| probe.fit.value.name.as_str());
        known.all &= phase.all_probes && names.clone().all(|name| !name.is_empty());
        for name in names {
            known.probes.entry(name).or_insert(position);
        }
    }
    let mut verified = BTreeSet::new();
    for (position, phase) in parts.phases.iter().enumerate() {
        if let Some(breaks) = &phase.breaks {
            text(problems, root, &phase.path.key("breaks"), breaks, "say what the phase breaks for a while, or remove the line");
        }
        let names = phase.steps.iter().map(|step| (&step.path, step.fit.value.name.as_str()));
        unique(problems, root, "step", "in their phase", names);
        marks(problems, root, phase);
        ponr_only(problems, root, phase);
        for StepPart { path, fit } in &phase.steps {
            let step = &fit.value;
            name(problems, root, &path.key("name"), &step.name);
            kind(problems, root, path, step);
            commands(problems, root, path, step);
            surroundings(problems, root, path, step);
            let wait = step.wait.as_ref();
            if let Some(gate) = wait.and_then(|wait| wait.gate.as_ref()) {
                earlier_gate(problems, root, parts, position, &path.key("wait").key("gate"), gate);
            }
            let waited = wait.and_then(|wait| wait.probes.as_ref());
            for (path, listed) in [
                (path.key("verify"), step.verify.as_ref()),
                (path.key("wait").key("probes"), waited),
                (path.key("disturbs"), step.disturbs.as_ref()),
            ] {
                probes(problems, root, parts, &known, position, &path, listed.map(Vec::as_slice).unwrap_or_default());
            }
            verified.extend([step.verify.as_ref(), waited].into_iter().flatten().flatten().map(String::as_str));
        }
    }
    unverified(problems, root, parts, &verified);
}

/// What a person reads has words in it.
fn text(problems: &mut Problems<'_>, root: &Node, path: &Path, text: &str, hint: &str) {
    if text.trim().is_empty() {
        problems.value(root, path, format!("`{}` is empty", path.last_key().unwrap_or_default()), hint);
    } else if text.contains('\0') {
        problems.value(root, path, "a NUL character", "remove it");
    }
}

/// Exactly one of `do`, `manual` and `wait`, and nothing that does not belong to it. What stands in the document counts, so that
/// a field that could not be read is not told to be missing too.
fn kind(problems: &mut Problems<'_>, root: &Node, path: &Path, step: &Step) {
    let has = |field: &&str| root.find(&path.key(field)).is_some();
    let kinds: Vec<&str> = ["do", "manual", "wait"].into_iter().filter(has).collect();
    match kinds.as_slice() {
        [] => problems.key(root, path, "this step does nothing", "give it `do`, `manual` or `wait`"),
        ["manual"] => {
            for field in ["check", "env", "dir"].into_iter().filter(has) {
                let message = format!("`{field}` is for commands, and a person does this step");
                problems.key(root, &path.key(field), message, "remove it, or give the step `do` instead of `manual`");
            }
        }
        ["wait"] => {
            let set = [("switch", step.is_switch()), ("ponr", step.is_ponr())];
            let set = set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field);
            for field in ["check", "undo", "env", "dir", "verify"].into_iter().filter(has).chain(set) {
                let message = format!("a step that waits can not have `{field}`: nobody does anything");
                let hint = match field {
                    "verify" => "list the probes under `wait`: `wait: {probes: […]}`",
                    _ => "remove it, or give the step `do` or `manual` instead of `wait`",
                };
                problems.key(root, &path.key(field), message, hint);
            }
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("a step has one of `do`, `manual` and `wait`, this one has `{first}` and `{second}`");
            problems.key(root, &path.key(second), message, "make two steps of it, or remove one");
        }
    }
    if let Some(manual) = &step.manual {
        text(problems, root, &path.key("manual"), manual, "say what the person does");
    }
    if let Some(wait) = &step.wait {
        let path = path.key("wait");
        let has = |field: &str| root.find(&path.key(field)).is_some();
        if has("probes") && has("gate") {
            let message = "a step waits for `probes` or for a `gate`, this one for both";
            problems.key(root, &path.key("gate"), message, "make two steps of it, or remove one");
        } else if !has("probes") && !has("gate") {
            let hint = "write `wait: {probes: […]}` or `wait: {gate: …}`";
            problems.key(root, &path, "nothing is waited for", hint);
        }
        if wait.probes.as_ref().is_some_and(Vec::is_empty) {
            let hint = "list the probes that must be green, or wait for a `gate`";
            problems.value(root, &path.key("probes"), "no probe is waited for", hint);
        }
    }
}

/// What `do`, `check` and `undo` say.
fn commands(problems: &mut Problems<'_>, root: &Node, path: &Path, step: &Step) {
    let back = path.key("undo");
    let undo = match &step.undo {
        Some(Back::Command(words)) => Some(words),
        Some(Back::Manual(instructions)) => {
            let hint = "say what the person does: `undo: {manual: \"…\"}`";
            match &instructions.manual {
                Some(manual) => text(problems, root, &back.key("manual"), manual, hint),
                // One that could not be read has been told.
                None if root.find(&back.key("manual")).is_none_or(|node| matches!(node.kind, Kind::Null)) => {
                    problems.key(root, &back, "`undo` says nothing", hint);
                }
                None => {}
            }
            None
        }
        None => None,
    };
    for (path, words) in [(path.key("do"), step.work.as_ref()), (path.key("check"), step.check.as_ref()), (back, undo)] {
        let Some(words) = words else { continue };
        if words.0.is_empty() {
            let name = path.last_key().unwrap_or_default();
            problems.value(root, &path, "a command without words", format!("write `{name}: [program, argument]`"));
        }
        for (at, word) in words.0.iter().enumerate() {
            if word.is_empty() {
                problems.value(root, &path.index(at), "an empty word in a command", "remove it, or write what it should be");
            } else if word.contains('\0') {
                problems.value(root, &path.index(at), "a NUL character in a command", "remove it: no program can be given one");
            }
        }
    }
}

/// Where the commands run, and for how long. Secrets in `env` are looked for when the document is read.
fn surroundings(problems: &mut Problems<'_>, root: &Node, path: &Path, step: &Step) {
    for (variable, value) in step.env.iter().flatten() {
        let path = path.key("env").key(variable);
        if !is_variable(variable) {
            let hint = "such a name has letters, digits and `_`, and does not begin with a digit";
            problems.key(root, &path, format!("`{variable}` can not be the name of an environment variable"), hint);
        }
        if matches!(value, EnvValue::Text(text) if text.contains('\0')) {
            problems.key(root, &path, "a NUL character in the environment", "remove it: no program can be given one");
        }
    }
    if let Some(dir) = &step.dir {
        text(
            problems,
            root,
            &path.key("dir"),
            dir,
            "name a folder, or remove the line: the folder of the document is meant then",
        );
    }
    let Some(Lapse(timeout)) = step.timeout else { return };
    let path = path.key("timeout");
    if timeout.is_zero() {
        problems.value(root, &path, "`timeout` must be longer than 0s", "write for example `10m`");
    } else if timeout > LONGEST {
        let hint = "write `24h` or less; what takes longer is a phase of its own, with a gate";
        problems.value(root, &path, format!("`timeout` ({}) is longer than 24h", Lapse(timeout)), hint);
    }
}

/// A phase with steps has exactly one switch, and at most one point of no return.
fn marks(problems: &mut Problems<'_>, root: &Node, phase: &PhasePart) {
    let steps = phase.path.key("steps");
    if root.find(&steps).is_some_and(|node| matches!(&node.kind, Kind::List(items) if items.is_empty())) {
        let hint = "add a step, or remove the line: without steps the work is done by hand";
        problems.key(root, &steps, "`steps` is empty", hint);
    }
    once(problems, root, phase, "switch", Step::is_switch, "exactly one switch");
    once(problems, root, phase, "ponr", Step::is_ponr, "at most one point of no return");
    let whole = phase.all_steps && phase.steps.iter().all(|step| step.fit.whole);
    let switch = phase.steps.iter().find(|step| step.fit.value.is_switch());
    match switch {
        None if whole && !phase.steps.is_empty() => {
            let message = format!("no step of phase `{}` is its switch", phase.name);
            problems.key(root, &steps, message, "write `switch: true` at the step that changes the authoritative side");
        }
        Some(StepPart { path, fit }) if fit.whole && fit.value.undo.is_none() && !fit.value.is_ponr() => {
            let message = format!("step `{}` is the switch, and nothing leads back from it", fit.value.name);
            problems.warn(root, &path.key("switch"), message, "give it `undo`, or write `ponr: true`");
        }
        _ => {}
    }
}

fn once(problems: &mut Problems<'_>, root: &Node, phase: &PhasePart, field: &str, is: fn(&Step) -> bool, number: &str) {
    let mut marked = phase.steps.iter().filter(|step| is(&step.fit.value));
    let Some(first) = marked.next() else { return };
    let line = problems.line(root.key_span(&first.path.key(field)));
    for other in marked {
        let message = format!("step `{}` has `{field}: true` already", first.fit.value.name);
        let hint = format!("it stands on line {line}: a phase with steps has {number}");
        problems.key(root, &other.path.key(field), message, hint);
    }
}

/// What refers to the point of no return needs one.
fn ponr_only(problems: &mut Problems<'_>, root: &Node, phase: &PhasePart) {
    let unsure = !phase.all_steps || phase.steps.iter().any(|step| !step.fit.whole);
    if unsure || phase.steps.iter().any(|step| step.fit.value.is_ponr()) {
        return;
    }
    let name = &phase.name;
    for probe in &phase.probes {
        let uses = probe.fit.value.uses.iter().flatten();
        for (at, _) in uses.enumerate().filter(|(_, word)| **word == Use::BeforePonr) {
            let message = format!("`beforePonr` is for a phase with a point of no return, and `{name}` has none");
            let hint = "write `ponr: true` at the step from which nothing leads back, or use `preflight` or `gate`";
            problems.value(root, &probe.path.key("use").index(at), message, hint);
        }
        if probe.fit.value.seal_at == Some(SealAt::Ponr) {
            let message = format!("`sealAt: ponr` is for a phase with a point of no return, and `{name}` has none");
            let hint = "write `ponr: true` at the step from which nothing leads back, or `sealAt: switch` here";
            problems.value(root, &probe.path.key("sealAt"), message, hint);
        }
    }
}

fn probes(
    problems: &mut Problems<'_>,
    root: &Node,
    parts: &Parts,
    known: &Known<'_>,
    position: usize,
    path: &Path,
    listed: &[String],
) {
    let mut seen = BTreeSet::new();
    for (at, name) in listed.iter().enumerate() {
        let path = path.index(at);
        if !seen.insert(name) {
            problems.value(root, &path, format!("`{name}` stands here twice"), "remove one of them");
            continue;
        }
        match known.probes.get(name.as_str()) {
            Some(of) if *of <= position => {}
            Some(of) => {
                let phase = parts.phases.get(*of).map(|phase| phase.name.as_str()).unwrap_or_default();
                let message = format!("probe `{name}` belongs to a later phase, `{phase}`");
                problems.value(root, &path, message, "name a probe of this or an earlier phase");
            }
            None if known.all => {
                let here: Vec<&str> = known.probes.iter().filter(|(_, of)| **of <= position).map(|(name, _)| *name).collect();
                problems.value(root, &path, format!("unknown probe `{name}`"), instead(name, &here, "probes up to this phase"));
            }
            None => {}
        }
    }
}

fn earlier_gate(problems: &mut Problems<'_>, root: &Node, parts: &Parts, position: usize, path: &Path, gate: &str) {
    let earlier: Vec<&str> = parts.phases.iter().take(position).map(|phase| phase.name.as_str()).collect();
    if earlier.contains(&gate) {
        return;
    }
    let none = || "no phase comes before this one: wait for `probes`".to_owned();
    if let Some(at) = parts.phases.iter().position(|phase| phase.name == gate) {
        let which = if at == position { "its own" } else { "a later" };
        let hint = if earlier.is_empty() {
            none()
        } else {
            format!("name an earlier one ({}), or wait for `probes`", earlier.join(", "))
        };
        problems.value(root, path, format!("`gate` names {which} phase, `{gate}`"), hint);
    } else if parts.all_phases {
        let hint = if earlier.is_empty() { none() } else { instead(gate, &earlier, "earlier phases") };
        problems.value(root, path, format!("unknown phase `{gate}`"), hint);
    }
}

/// A probe that is there for steps only, and that none asks.
fn unverified(problems: &mut Problems<'_>, root: &Node, parts: &Parts, verified: &BTreeSet<&str>) {
    for probe in parts.phases.iter().flat_map(|phase| &phase.probes) {
        let doc = &probe.fit.value;
        let only = doc.uses.as_ref().is_some_and(|uses| uses.as_slice() == [Use::Verify]);
        if only && !verified.contains(doc.name.as_str()) {
            let message = format!("probe `{}` is for steps only, and no step verifies it", doc.name);
            let hint = "name it in the `verify` of a step, or say what else it counts for: `use: [gate]`";
            problems.warn(root, &probe.path.key("use"), message, hint);
        }
    }
}
