//! Where a migration is marked: in Grafanas that the document has, each of them once, by a token for this alone.

use std::collections::BTreeSet;

use checks::{Target, TargetKind};

use crate::config::problem::Problems;
use crate::config::read::{AnnotationPart, Parts};
use crate::config::tree::Node;
use crate::config::typed::instead;

/// Grafana keeps all tags of an annotation in 500 characters, and its own take up to 270 of them.
const MOST_CHARACTERS: usize = 200;
/// What each event's own tag begins with.
const OWN: &str = "phasegate-event";

pub(super) fn check<'a>(problems: &mut Problems<'_>, root: &Node, parts: &'a Parts, used: &mut BTreeSet<&'a str>) {
    let mut seen = BTreeSet::new();
    for part in &parts.annotations {
        let (path, grafana) = (part.path.key("grafana"), part.fit.value.grafana.as_str());
        used.insert(grafana);
        target(problems, root, parts, part);
        if !seen.insert(grafana) {
            problems.value(root, &path, format!("`{grafana}` is annotated already"), "name each Grafana once");
        }
        if part.fit.value.token.is_none() && part.fit.whole {
            let hint = "add `token: {env: NAME}` or `token: {file: PATH}`: that of a service account of the role Editor";
            problems.key(root, &part.path.key("token"), "annotations need a token of their own", hint);
        }
        tags(problems, root, part);
    }
}

fn target(problems: &mut Problems<'_>, root: &Node, parts: &Parts, part: &AnnotationPart) {
    let (path, grafana) = (part.path.key("grafana"), part.fit.value.grafana.as_str());
    let is_grafana = |target: &Option<Target>| target.as_ref().is_none_or(|target| target.kind() == TargetKind::Grafana);
    let known: Vec<&str> = parts.targets.iter().filter(|(_, target)| is_grafana(target)).map(|(name, _)| name.as_str()).collect();
    match parts.targets.get(grafana) {
        Some(Some(target)) if target.kind() != TargetKind::Grafana => {
            let message =
                format!("target `{grafana}` is of kind `{}`, and annotations are made in a `grafana`", target.kind().as_str());
            problems.value(root, &path, message, others(&known));
        }
        Some(_) => {}
        None if known.is_empty() => problems.value(root, &path, format!("unknown target `{grafana}`"), others(&known)),
        None => problems.value(root, &path, format!("unknown target `{grafana}`"), instead(grafana, &known, "targets")),
    }
}

fn others(known: &[&str]) -> String {
    if known.is_empty() {
        return "declare it under `targets`: `NAME: {grafana: {url: …}}`".to_owned();
    }
    let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("name one of kind `grafana`: {}", list.join(", "))
}

fn tags(problems: &mut Problems<'_>, root: &Node, part: &AnnotationPart) {
    let path = part.path.key("tags");
    let Some(tags) = &part.fit.value.tags else { return };
    if tags.is_empty() {
        problems.value(root, &path, "no tag is listed", "list at least one, or remove the line");
    }
    let mut seen = BTreeSet::new();
    for (nth, tag) in tags.iter().enumerate() {
        let path = path.index(nth);
        if tag.trim().is_empty() || tag.trim() != tag || tag.chars().any(char::is_control) {
            problems.value(root, &path, "this can not be a tag", "write a word or two, without white space around them");
        }
        if tag.split(':').next() == Some(OWN) {
            problems.value(
                root,
                &path,
                format!("`{OWN}` is what the verifier knows its own annotations by"),
                "choose another tag",
            );
        }
        if !seen.insert(tag) {
            problems.value(root, &path, "this tag is listed twice", "list each tag once");
        }
    }
    let characters: usize = tags.iter().map(|tag| tag.chars().count()).sum();
    if characters > MOST_CHARACTERS {
        let message = format!("these tags have {characters} characters");
        problems.value(root, &path, message, format!("shorten them to {MOST_CHARACTERS} in all: Grafana keeps no more"));
    }
}
