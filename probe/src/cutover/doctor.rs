//! `cutover doctor`: everything that a run needs, looked at before one begins. It changes nothing.

use std::path::PathBuf;

use super::render::{Diagnosis, short};
use super::trouble::Trouble;
use super::{Answer, Context, Own};
use crate::api::types::StatusBody;
use crate::exit::Exit;

mod access;
mod annotations;
mod document;
mod machine;
mod probes;
mod verifier;
mod wants;

pub(crate) use access::usable;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Fine,
    /// Worth knowing; it stops no run.
    Warning,
    /// It would stop a run, or have it go wrong. With the exit code that says so.
    Problem(Exit),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at, in a word.
    pub(crate) about: &'static str,
    /// How much it matters.
    pub(crate) level: Level,
    /// What was found, in one line.
    pub(crate) text: String,
    /// What to do; none where nothing is to be done.
    pub(crate) next: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(crate) fn fine(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, level: Level::Fine, text: text.into(), next: None }
    }

    /// Worth knowing.
    pub(crate) fn warning(about: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, level: Level::Warning, text: text.into(), next: Some(next.into()) }
    }

    /// It would stop a run.
    pub(crate) fn problem(about: &'static str, exit: Exit, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, level: Level::Problem(exit), text: text.into(), next: Some(next.into()) }
    }

    /// What stops other verbs, too.
    pub(crate) fn trouble(about: &'static str, trouble: &Trouble) -> Self {
        let next = trouble.hint.as_deref().unwrap_or("mend it, and say `cutover doctor` again");
        Self::problem(about, trouble.exit, trouble.message.as_ref(), next)
    }
}

/// The exit code of all findings: that of the first problem.
pub(crate) fn exit(findings: &[Finding]) -> Exit {
    let problem = findings.iter().find_map(|finding| match finding.level {
        Level::Problem(exit) => Some(exit),
        Level::Fine | Level::Warning => None,
    });
    problem.unwrap_or(Exit::OPEN)
}

/// Runs `cutover doctor`. `denied`: why the token can not be used.
pub(crate) async fn run(cx: &mut Context<'_, '_>, denied: Option<Trouble>) -> Answer {
    let mut findings = Vec::new();
    if let Some(cluster) = cx.client.cluster() {
        findings.push(Finding::fine("server", cluster.found()));
    } else if cx.client.is_guessed() {
        let text =
            format!("{} is asked: no --server, no PHASEGATE_SERVER, no kubeconfig and no pod lead elsewhere", cx.client.server());
        findings.push(Finding::fine("server", text));
    }
    let seen = verifier::look(cx, &mut findings).await;
    let own = document::load(cx, &mut findings);
    let status = seen.as_ref();
    document::look(own.as_ref(), status, &mut findings).await;
    access::look(cx, denied, status.is_some(), &mut findings).await;
    let runs = machine::look(|name| std::env::var_os(name), own.as_ref(), status, &mut findings);
    if let Some(status) = status {
        machine::lock(status, &runs, &mut findings);
        verifier::entry(cx, status, &mut findings).await;
        probes::look(status, &mut findings);
        annotations::look(status, &mut findings);
    }
    let head = head(cx, own.as_ref(), status);
    cx.io.show(&Diagnosis { head, findings: &findings });
    Ok(exit(&findings))
}

fn head(cx: &Context<'_, '_>, own: Option<&Own>, status: Option<&StatusBody>) -> String {
    let migration = status.map(|status| status.migration.as_str()).or_else(|| own.map(Own::migration));
    let file = cx.file.as_ref().map(|file| format!("  document {}", super::client::printable(&file.display().to_string())));
    let config = status.map(|status| format!("  config {}", short(&status.config_hash)));
    let migration = migration.map(|name| format!("migration {name}  "));
    [migration, Some(cx.client.server().to_owned()), config, file].into_iter().flatten().collect()
}

/// The names, as many as fit a line.
fn few(names: &[String]) -> String {
    const FEW: usize = 5;
    let shown = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// How `--file` is to be given in a command to type.
fn file_flag(file: Option<&PathBuf>) -> String {
    let word = |file: &PathBuf| format!(" --file {}", super::render::shown(&[file.display().to_string()]));
    file.map(word).unwrap_or_default()
}

/// What is said of probes, for tests.
#[cfg(test)]
pub(crate) fn probes_of(status: &StatusBody) -> Vec<Finding> {
    let mut findings = Vec::new();
    probes::look(status, &mut findings);
    findings
}

/// What is said of the journal and the lock, for tests. Without a verifier the document says which phases there are.
#[cfg(test)]
pub(crate) fn runs_of(
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
    own: Option<&Own>,
    status: Option<&StatusBody>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let runs = machine::look(variable, own, status, &mut findings);
    if let Some(status) = status {
        machine::lock(status, &runs, &mut findings);
    }
    findings
}
