//! The rules between the parts of a document: names, references, and what a phase needs so that its gate can ever be open.

use std::collections::{BTreeMap, BTreeSet};

use checks::{Nature, Target, TargetKind, TargetUse};

use super::document::Use;
use super::problem::Problems;
use super::read::{Parts, PhasePart, ProbePart};
use super::settings::{self, Settings};
use super::tree::{Kind, Node, Path};
use super::typed::instead;

mod annotations;
mod steps;

/// Longest name.
const LONGEST_NAME: usize = 63;
/// What a name is made of.
pub(crate) const NAME_HINT: &str = "a name has lower-case letters, digits and `-` between them, at most 63 in all";

/// Checks them all.
pub(super) fn check(problems: &mut Problems<'_>, root: &Node, parts: &Parts) {
    let spec = Path::default().key("spec");
    let migration = Path::default().key("metadata").key("name");
    if let Some(called) = &parts.migration {
        name(problems, root, &migration, called);
    }
    for (target, parsed) in &parts.targets {
        let path = spec.key("targets").key(target);
        name_at_key(problems, root, &path, target);
        if let Some(target) = parsed {
            addresses(problems, root, &path.key(target.kind().as_str()), target);
        }
    }
    if parts.phases.is_empty() && parts.all_phases {
        let hint = "add a phase with its gate and probes; `probe config example` shows two";
        problems.key(root, &spec.key("phases"), "a migration needs at least one phase", hint);
    }
    let numbers_hold = settings::check_defaults(problems, root, &parts.defaults.value) && parts.defaults.whole;
    unique(problems, root, "phase", "in the document", parts.phases.iter().map(|phase| (&phase.path, phase.name.as_str())));
    let probes = parts.phases.iter().flat_map(|phase| &phase.probes);
    unique(problems, root, "probe", "in the document", probes.map(|probe| (&probe.path, probe.fit.value.name.as_str())));
    let mut used = BTreeSet::new();
    for (position, phase) in parts.phases.iter().enumerate() {
        name(problems, root, &phase.path.key("name"), &phase.name);
        if phase.gate.whole {
            settings::check_gate(problems, root, &phase.path.key("gate"), &phase.gate.value);
        }
        stays(problems, root, phase);
        for probe in &phase.probes {
            name(problems, root, &probe.path.key("name"), &probe.fit.value.name);
            until(problems, root, parts, position, probe);
            uses(problems, root, probe);
            numbers(problems, root, parts, probe, numbers_hold);
            targets(problems, root, parts, probe, &mut used);
        }
    }
    canaries(problems, root, parts);
    annotations::check(problems, root, parts, &mut used);
    steps::check(problems, root, parts);
    for target in parts.targets.keys().filter(|target| !used.contains(target.as_str())) {
        let message = format!("target `{target}` is not used by any probe");
        problems.warn(root, &spec.key("targets").key(target), message, "remove it, or name it in a check");
    }
}

fn name(problems: &mut Problems<'_>, root: &Node, path: &Path, name: &str) {
    // An empty one stands in for one that is missing, and that has been told.
    let missing = name.is_empty() && root.find(path).is_none_or(|node| !matches!(node.kind, Kind::Text(_)));
    if let Some(message) = bad_name(name).filter(|_| !missing) {
        problems.value(root, path, message, "a name has lower-case letters, digits and `-` between them, at most 63 in all");
    }
}

fn name_at_key(problems: &mut Problems<'_>, root: &Node, path: &Path, name: &str) {
    if let Some(message) = bad_name(name) {
        problems.key(root, path, message, NAME_HINT);
    }
}

/// Why this can not be the name of a migration, phase, probe or target.
pub(crate) fn bad_name(name: &str) -> Option<String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() > LONGEST_NAME {
        return Some(format!("this name has {} characters", name.chars().count()));
    }
    let fits = name.starts_with(inner) && name.ends_with(inner) && name.chars().all(|c| inner(c) || c == '-');
    (!fits).then(|| format!("`{name}` can not be a name"))
}

/// What a target's URLs must be: web addresses, each of them once, and at least one.
fn addresses(problems: &mut Problems<'_>, root: &Node, path: &Path, target: &Target) {
    let urls = target.urls();
    match target.pods() {
        None if urls.is_empty() && target.kind() != TargetKind::Postgres => {
            problems.value(root, &path.key("urls"), "no URL is listed", "list the base URL of each instance, or say `pods`");
        }
        Some(_) if !urls.is_empty() => {
            let hint = "give the URLs of instances, or say which pods they are: one of the two";
            problems.value(root, &path.key("urls"), "`pods` are named as well", hint);
        }
        Some(pods) => {
            if let Some((field, message, hint)) = pods.problem() {
                problems.value(root, &path.key("pods").key(field), message, hint);
            }
        }
        None => {}
    }
    let mut seen = BTreeSet::new();
    for (steps, url) in urls {
        let path = path.join(steps);
        // `localhost:3100` is a URL too, of the scheme `localhost`.
        if !matches!(url.scheme(), "http" | "https") {
            let hint = "write all of it, such as `http://192.0.2.10:3100`";
            problems.value(root, &path, format!("`{}:` is neither `http:` nor `https:`", url.scheme()), hint);
        }
        if !seen.insert(url) && matches!(target.kind(), TargetKind::Agent | TargetKind::Alloy) {
            problems.value(root, &path, "this URL is listed twice", "list each instance once");
        }
    }
}

fn unique<'a>(
    problems: &mut Problems<'_>,
    root: &Node,
    what: &str,
    within: &str,
    names: impl Iterator<Item = (&'a Path, &'a str)>,
) {
    let mut first = BTreeMap::new();
    for (path, name) in names.filter(|(_, name)| !name.is_empty()) {
        let path = path.key("name");
        let span = root.value_span(&path);
        if let Some(first) = first.get(name) {
            let hint = format!("the first one is on line {}: the names of {what}s are unique {within}", problems.line(*first));
            problems.error(span, format!("another {what} is named `{name}`"), hint);
        } else {
            first.insert(name, span);
        }
    }
}

/// A gate without a probe that stays would never be open, or be open for want of anything to say no.
fn stays(problems: &mut Problems<'_>, root: &Node, phase: &PhasePart) {
    let counts = |probe: &&ProbePart| {
        // It counts for nothing until its target is decommissioned.
        let tripwire = probe.check.as_ref().is_some_and(|(_, check)| check.is_tripwire());
        !tripwire && probe.fit.value.uses.as_ref().is_none_or(|uses| uses.contains(&Use::Gate))
    };
    let unsure = !phase.all_probes || phase.probes.iter().any(|probe| !probe.fit.whole);
    if unsure || phase.probes.iter().filter(counts).any(|probe| probe.fit.value.until.is_none()) {
        return;
    }
    let name = &phase.name;
    let (message, hint) = if phase.probes.is_empty() {
        (format!("phase `{name}` has no probe"), "add one: a gate that nothing is required for stays unknown, so it never opens")
    } else if phase.probes.iter().any(|probe| counts(&probe)) {
        let message = format!("every gate probe of phase `{name}` has `until`");
        (message, "remove one `until`: once the last required probe of a gate is retired, it stays unknown")
    } else {
        let message = format!("phase `{name}` has no probe that is used for its gate");
        (message, "give one of them `use: [gate]`: a gate that nothing is required for stays unknown, so it never opens")
    };
    problems.key(root, &phase.path.key("probes"), message, hint);
}

fn until(problems: &mut Problems<'_>, root: &Node, parts: &Parts, position: usize, probe: &ProbePart) {
    let Some(until) = &probe.fit.value.until else { return };
    let path = probe.path.key("until");
    let later: Vec<&str> = parts.phases.iter().skip(position + 1).map(|phase| phase.name.as_str()).collect();
    if later.contains(&until.as_str()) {
        return;
    }
    if let Some(at) = parts.phases.iter().position(|phase| phase.name == *until) {
        let which = if at == position { "its own" } else { "an earlier" };
        let hint = match later.as_slice() {
            [] => "remove it: no phase comes after this one".to_owned(),
            later => format!("name a later one ({}), or remove it", later.join(", ")),
        };
        problems.value(root, &path, format!("`until` names {which} phase, `{until}`"), hint);
    } else if parts.all_phases {
        let hint = if later.is_empty() {
            "remove it: no phase comes after this one".to_owned()
        } else {
            instead(until, &later, "later phases")
        };
        problems.value(root, &path, format!("unknown phase `{until}`"), hint);
    }
}

/// What marks the point of no return is red before it, and a tripwire before its target is decommissioned: neither can be asked
/// for anything else.
fn uses(problems: &mut Problems<'_>, root: &Node, probe: &ProbePart) {
    let path = probe.path.key("use");
    let check = probe.check.as_ref();
    let uses = probe.fit.value.uses.as_deref();
    if check.is_some_and(|(_, check)| check.is_tripwire()) {
        if uses.is_some_and(|uses| !matches!(uses, [Use::Gate])) {
            let hint = "remove it: a tripwire is for the gate, from the day on that its target is decommissioned";
            problems.value(root, &path, "a tripwire can only be used for the gate", hint);
        }
        if probe.fit.value.until.is_some() {
            let hint = "remove it: what is gone must stay gone for good";
            problems.value(root, &probe.path.key("until"), "a tripwire does not end", hint);
        }
    }
    let Some(uses) = uses else { return };
    if uses.contains(&Use::Ponr) {
        let proof = check.is_some_and(|(entry, _)| entry.meta.nature == Nature::Proof);
        if uses.len() > 1 || proof {
            let hint = "give the mark a heartbeat probe of its own, with `use: [ponr]`";
            problems.value(root, &path, "what marks the point of no return is used for nothing else, and is no proof", hint);
        }
    }
    if uses.is_empty() {
        problems.value(root, &path, "`use` is empty: the probe would count for nothing", "write `use: [gate]`, or remove it");
    }
    for (at, word) in uses.iter().enumerate() {
        if uses.iter().take(at).any(|earlier| earlier == word) {
            problems.value(root, &path.index(at), format!("`{}` stands here twice", word.as_str()), "remove one of them");
        }
    }
}

fn numbers(problems: &mut Problems<'_>, root: &Node, parts: &Parts, probe: &ProbePart, defaults_hold: bool) {
    let doc = &probe.fit.value;
    let hold = settings::check_probe(problems, root, &probe.path, doc);
    let Some((entry, check)) = &probe.check else { return };
    let kind = entry.meta.kind;
    let proof = entry.meta.nature == Nature::Proof;
    let (given, message, hint) = if proof {
        let given = [
            ("failAfter", doc.fail_after.is_some()),
            ("recoverAfter", doc.recover_after.is_some()),
            ("maxAge", doc.max_age.is_some()),
        ];
        (
            given.to_vec(),
            format!("is not for a proof, and `{kind}` is one"),
            "remove it: one finished pass or fail decides a proof, see `validFor`",
        )
    } else {
        let given = [("validFor", doc.valid_for.is_some()), ("sealAt", doc.seal_at.is_some())];
        (
            given.to_vec(),
            format!("is for proofs only, and `{kind}` is a heartbeat"),
            "remove it: a heartbeat counts for as long as `maxAge`",
        )
    };
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.key(root, &probe.path.key(field), format!("`{field}` {message}"), hint);
    }
    if hold && defaults_hold && probe.fit.whole {
        let settings = Settings::of(doc, &parts.defaults.value, proof);
        settings.relate(problems, root, &probe.path);
        if let Some(moves) = check.moves_within() {
            settings.reach(problems, root, &probe.path.key("check").key(kind), moves);
        }
    }
}

fn targets<'a>(problems: &mut Problems<'_>, root: &Node, parts: &'a Parts, probe: &ProbePart, used: &mut BTreeSet<&'a str>) {
    let Some((entry, check)) = &probe.check else { return };
    for TargetUse { field, kind: needed, name } in check.targets() {
        let found = parts.targets.get_key_value(&name);
        if let Some((name, _)) = found {
            used.insert(name);
        }
        let fits = |target: &Target| needed.is_none_or(|needed| target.kind() == needed);
        let needed = needed.map_or("target", TargetKind::as_str);
        let message = match found {
            None => format!("unknown target `{name}`"),
            Some((_, Some(target))) if !fits(target) => {
                format!("target `{name}` is a `{}`, but `{field}` needs a `{needed}`", target.kind().as_str())
            }
            Some(_) => continue,
        };
        let kind = |target: &Option<Target>| target.as_ref().is_some_and(fits);
        let fitting: Vec<&str> = parts.targets.iter().filter(|(_, target)| kind(target)).map(|(name, _)| name.as_str()).collect();
        let hint = if fitting.is_empty() {
            format!("declare one under `spec.targets`, of kind `{needed}`")
        } else {
            instead(&name, &fitting, "targets of this kind")
        };
        problems.value(root, &probe.path.key("check").key(entry.meta.kind).key(field), message, hint);
    }
}

/// Where a check writes its canary: to the new side only, and to no other probe's row. That a target is the old side can be seen
/// when a probe of it is retired by the switch, and that two names are one server when they have one connection string.
fn canaries(problems: &mut Problems<'_>, root: &Node, parts: &Parts) {
    let phases = || parts.phases.iter().enumerate();
    let all = || phases().flat_map(|(position, phase)| phase.probes.iter().map(move |probe| (position, probe)));
    let named = |probe: &ProbePart| probe.check.as_ref().map(|(_, check)| check.targets()).unwrap_or_default();
    let mut written: BTreeMap<String, &str> = BTreeMap::new();
    for (position, probe) in all() {
        let Some((entry, check)) = probe.check.as_ref().filter(|(_, check)| check.writes()) else { continue };
        for TargetUse { field, name, .. } in check.targets() {
            let path = probe.path.key("check").key(entry.meta.kind).key(field);
            let until = |other: &ProbePart| {
                let until = other.fit.value.until.as_ref()?;
                parts.phases.iter().position(|phase| phase.name == *until)
            };
            let leaves = |(_, other): &(usize, &ProbePart)| {
                until(other).is_some_and(|at| at <= position) && named(other).iter().any(|used| used.name == name)
            };
            if let Some((_, other)) = all().find(leaves) {
                let (other, until) = (&other.fit.value.name, other.fit.value.until.as_deref().unwrap_or_default());
                let message = format!("`{name}` is the old side: probe `{other}` looks at it until phase `{until}` switches");
                problems.value(root, &path, message, format!("`{}` writes: name the target on the new side", entry.meta.kind));
            }
            if let Some(twin) = twin(parts, &name) {
                let message = format!("`{name}` has the same connection string as `{twin}`");
                let hint = format!("`{}` writes: make sure that its target is the new side and has one name", entry.meta.kind);
                problems.value(root, &path, message, hint);
            }
            if let Some(first) = written.get(&name) {
                let message = format!("probe `{first}` writes to `{name}` already");
                problems.value(root, &path, message, "remove one of them: they would take each other for a second verifier");
            } else {
                written.insert(name, &probe.fit.value.name);
            }
        }
    }
}

/// Another name for the server that this target is, as far as the document tells.
fn twin<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let Some(Some(Target::Postgres(own))) = parts.targets.get(name) else { return None };
    let same = |target: &Option<Target>| matches!(target, Some(Target::Postgres(other)) if other.dsn == own.dsn);
    parts.targets.iter().find(|(other, target)| *other != name && same(target)).map(|(other, _)| other.as_str())
}
