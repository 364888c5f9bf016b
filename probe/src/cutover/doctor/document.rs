//! The operator's own document, and whether this machine can do what its steps say.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Finding, Level, few};
use crate::api::types::StatusBody;
use crate::config::{EnvValue, Problem, StepSpec, Undo, Work};
use crate::cutover::client::printable;
use crate::cutover::render::short;
use crate::cutover::{Context, Own};
use crate::exit::Exit;
use crate::state::PhaseState;

/// Loads it, and says all that is wrong with it.
pub(super) fn load(cx: &Context<'_, '_>, findings: &mut Vec<Finding>) -> Option<Own> {
    let file = cx.file.as_ref()?;
    match (cx.load)(file) {
        Ok(config) => {
            let remark = |problem: &Problem| Finding::warning("document", place(problem), printable(&problem.hint));
            findings.extend(config.warnings.iter().map(remark));
            match Own::of(file, config) {
                Ok(own) => return Some(own),
                Err(trouble) => findings.push(Finding::trouble("document", &trouble)),
            }
        }
        Err(errors) => {
            let error = |problem: &Problem| Finding::problem("document", Exit::USAGE, place(problem), printable(&problem.hint));
            findings.extend(errors.problems().iter().map(error));
        }
    }
    None
}

fn place(problem: &Problem) -> String {
    let at = problem.place.as_ref().map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
    printable(&format!("{}{at}: {}", problem.file, problem.message))
}

/// Compares it with the verifier's, and looks for what its steps need on this machine.
pub(super) async fn look(own: Option<&Own>, status: Option<&StatusBody>, findings: &mut Vec<Finding>) {
    let Some(own) = own else {
        if findings.iter().all(|finding| finding.about != "document") {
            findings.push(missing(status));
        }
        return;
    };
    findings.push(hash(own, status));
    let path = env::var_os("PATH");
    let (mut programs, mut steps) = (BTreeMap::new(), 0);
    for phase in own.phases() {
        // What is complete runs only if it is ever rolled back.
        let over = status
            .is_some_and(|status| status.phases.iter().any(|body| body.name == phase && body.state == PhaseState::Complete));
        for step in own.steps(phase) {
            steps += 1;
            let mut wrong = step_needs(own, phase, step, path.as_deref(), &mut programs).await;
            if over {
                wrong = wrong.into_iter().map(|finding| Finding { level: Level::Warning, ..finding }).collect();
            }
            findings.extend(wrong);
        }
    }
    let found: Vec<String> = programs.into_iter().filter_map(|(name, found)| found.then_some(name)).collect();
    if steps > 0 && !findings.iter().any(|finding| finding.about == "steps") {
        let with = if found.is_empty() { String::new() } else { format!(": {}", few(&found)) };
        findings.push(Finding::fine("steps", format!("what {steps} steps need is on this machine{with}")));
    }
}

fn missing(status: Option<&StatusBody>) -> Finding {
    let unfinished =
        |status: &StatusBody| status.phases.iter().any(|phase| phase.state != PhaseState::Complete && !phase.steps.is_empty());
    match status.map(unfinished) {
        Some(true) => Finding::problem(
            "document",
            Exit::USAGE,
            "phases have steps, which run from your own copy of the document, and none was named",
            "cutover doctor --file migration.yaml   (or set PHASEGATE_FILE)",
        ),
        Some(false) => Finding::fine("document", "none was named, and none is needed: what is left has no steps"),
        None => Finding::warning(
            "document",
            "none was named: steps could not be run",
            "cutover doctor --file migration.yaml   (or set PHASEGATE_FILE)",
        ),
    }
}

fn hash(own: &Own, status: Option<&StatusBody>) -> Finding {
    let file = printable(&own.file().display().to_string());
    match status {
        Some(status) if status.config_hash != own.hash() => Finding::problem(
            "document",
            Exit::MOVED,
            format!(
                "{file} is not the document in force: its hash is {}, the verifier's {}",
                short(own.hash()),
                short(&status.config_hash)
            ),
            "reload the verifier with this file, or take the file that it has",
        ),
        Some(_) => Finding::fine("document", format!("{file} is the document in force ({})", short(own.hash()))),
        None => Finding::warning(
            "document",
            format!("{file} is sound, but nobody says whether it is the one in force"),
            "have the verifier answer, and say `cutover doctor` again",
        ),
    }
}

/// What a step lacks. `programs`: those that were looked for, and whether they are there.
async fn step_needs(
    own: &Own,
    phase: &str,
    step: &StepSpec,
    path: Option<&OsStr>,
    programs: &mut BTreeMap<String, bool>,
) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let name = format!("{phase}/{}", step.name);
    let problem = |text: String, next: String| Finding::problem("steps", Exit::USAGE, printable(&text), printable(&next));
    let dir = own.dir(step);
    // The dot makes it a folder that may be entered.
    let there = std::fs::metadata(dir.join("."));
    if let Err(error) = &there {
        let shown = dir.display();
        let next = format!("mkdir -p {shown}   (or correct `dir` of the step)");
        wrong.push(problem(format!("step {name}: its folder {shown} can not be entered: {error}"), next));
    }
    let own_path = match step.env.get("PATH") {
        Some(EnvValue::Text(text)) => Some(OsString::from(text)),
        Some(EnvValue::Secret(_)) | None => path.map(OsStr::to_owned),
    };
    for words in commands(step) {
        let Some(program) = words.first().filter(|program| there.is_ok() || !program.contains('/')) else { continue };
        let found = find(program, &dir, own_path.as_deref());
        // Once for each program; a step with a PATH of its own may lack what others have.
        if found.is_err() && programs.get(program) != Some(&false) {
            let what = found.as_ref().err().map_or("", |why| why);
            let next = format!("install {program}, or name it with its full path in {}", own.file().display());
            wrong.push(problem(format!("step {name}: `{program}` {what}"), next));
        }
        programs.entry(program.clone()).and_modify(|all| *all &= found.is_ok()).or_insert(found.is_ok());
    }
    for (variable, value) in &step.env {
        let EnvValue::Secret(source) = value else { continue };
        if let Err(error) = source.resolve().await {
            let next = match source {
                checks::SecretRef::Env(name) => format!("export {name}=…   (on this machine; it is never shown)"),
                checks::SecretRef::File(path) => format!("put it in {} on this machine, readable by you alone", path.display()),
            };
            wrong.push(problem(format!("step {name}: its variable {variable}: {error}"), next));
        }
    }
    wrong
}

fn commands(step: &StepSpec) -> impl Iterator<Item = &Vec<String>> {
    let work = match &step.work {
        Work::Command(words) => Some(words),
        Work::Manual(_) | Work::Wait => None,
    };
    let undo = step.undo.as_ref().and_then(|undo| match undo {
        Undo::Command(words) => Some(words),
        Undo::Manual(_) => None,
    });
    [work, step.check.as_ref(), undo].into_iter().flatten()
}

/// Looks for a program as the system does when a command is started in this folder. The error says what is wrong with it.
fn find(program: &str, dir: &Path, path: Option<&OsStr>) -> Result<PathBuf, &'static str> {
    let runs = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let file = dir.join(program);
        return match (file.exists(), runs(&file)) {
            (_, true) => Ok(file),
            (true, false) => Err("is not executable"),
            (false, false) => Err("does not exist"),
        };
    }
    let folders = path.map(env::split_paths).into_iter().flatten();
    folders.map(|folder| dir.join(folder).join(program)).find(runs).ok_or("is not found in PATH")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_are_found_as_the_system_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, mode) in [("tool", 0o755), ("notes", 0o644)] {
            fs::write(at(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(at("sub")).unwrap();
        let path = Some(folder.path().as_os_str());
        for (program, found) in [
            ("tool", Ok(at("tool"))),
            ("notes", Err("is not found in PATH")),
            ("sub", Err("is not found in PATH")),
            ("nowhere", Err("is not found in PATH")),
            ("../tool", Ok(at("sub/../tool"))),
            ("../notes", Err("is not executable")),
            ("./tool", Err("does not exist")),
        ] {
            assert_eq!(find(program, &at("sub"), path), found, "{program}");
        }
        assert_eq!(find("tool", &at("sub"), None), Err("is not found in PATH"));
        assert_eq!(find("tool", &at("sub"), Some(OsStr::new(".."))), Ok(at("sub/../tool")), "relative to where it runs");
    }
}
