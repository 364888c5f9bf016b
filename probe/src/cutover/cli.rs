//! The command line of `cutover`: its verbs, what all of them take, and what a word of it must be.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::cluster::Wanted;
use super::render::Format;
use super::{advance, audit, gate, history, lock, overrides, phases, plan, postgres, probes, report, run, status, targets};
use crate::exit::Exit;

const ABOUT: &str =
    "Moves an observability stack from one home to another, phase by phase: a phase is left only through an open gate";

const EXAMPLES: &str = "Examples:
  cutover status                 # where everything stands
  cutover advance                # the next step, if the evidence allows it
  cutover gate explain loki      # why not, since when, and what would open it
  cutover gate wait loki --timeout 2h";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, about = ABOUT, after_help = EXAMPLES, after_long_help = long_help())]
#[command(propagate_version = false, disable_help_subcommand = true, max_term_width = 120)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Address of the verifier [default: that of the cluster which a kubeconfig or a pod's service account leads to; without one
    /// `http://127.0.0.1:9470`]
    #[arg(long, global = true, env = "PHASEGATE_SERVER", hide_env_values = true, value_name = "URL")]
    pub(super) server: Option<String>,
    /// File that holds the token for commands; without it, the variable `PHASEGATE_TOKEN` holds the token itself
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Your own copy of the Migration document: what steps do comes from here and from nowhere else
    #[arg(long, global = true, env = "PHASEGATE_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// How long one answer may take, like 500ms or 10s
    #[arg(long, global = true, value_parser = positive, default_value = "10s", value_name = "SPAN")]
    pub(super) request_timeout: Duration,
    /// How stdout is written; the exit code is the same in each
    #[arg(long, short, global = true, value_enum, default_value = "table", hide_possible_values = true)]
    #[arg(value_name = "table|wide|json|yaml|name|github|junit")]
    pub(super) output: Format,
    /// Answer every confirmation with yes
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Never ask; what wants a confirmation is refused (exit 2) unless --yes is given
    #[arg(long, global = true)]
    pub(super) no_input: bool,
    #[command(flatten)]
    pub(super) cluster: Wanted,
}

/// What it is asked to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show where everything stands, on one screen
    #[command(
        after_help = "Examples:\n  cutover status\n  cutover status -o wide      # with all probes\n  cutover status --watch"
    )]
    Status(status::StatusArgs),
    /// Print the verification checklist with its evidence, as Markdown
    #[command(after_help = "Examples:
  cutover report > checklist.md
  cutover report -o wide             # evidence in full length
  cutover report --html > checklist.html
  cutover report -o json | jq .head  # the event of the audit trail that it reaches up to")]
    Report(report::ReportArgs),
    /// Show what people and runs did, the newest last: commands, steps, overrides, refusals, verdicts
    #[command(after_help = "Examples:
  cutover history
  cutover history --phase loki --since 2h
  cutover history --all --limit 200  # also each change of a probe's colour")]
    History(history::HistoryArgs),
    /// Ask for the verdict of a phase's gate: check, wait, explain
    #[command(subcommand)]
    Gate(gate::GateVerb),
    /// Show what a phase would do: its steps, how each is undone, how long they take, what leads back
    #[command(after_help = "Examples:
  cutover plan loki --file migration.yaml
  cutover plan loki --out loki.plan          # to be read and approved by somebody else")]
    Plan(plan::PlanArgs),
    /// Approve a plan that somebody else will run
    #[command(after_help = "Examples:\n  cutover approve postgres --plan postgres.plan")]
    Approve(plan::ApproveArgs),
    /// Take the next step: begin the first waiting phase and run its steps, or complete the active one and begin the next
    #[command(after_help = "Refuses with the verdict's exit code while the active phase's gate is not open, and says why.

Examples:
  cutover advance --file migration.yaml
  cutover gate wait loki --timeout 2h && cutover advance --file migration.yaml --yes")]
    Advance(advance::AdvanceArgs),
    /// Make a waiting phase active, and run its steps
    #[command(after_help = "Examples:
  cutover begin loki                                  # a phase without steps
  cutover begin loki --file migration.yaml --dry-run
  cutover begin postgres --file migration.yaml --plan postgres.plan --confirm postgres
  cutover begin loki --file migration.yaml --rehearse scratch.yaml --scratch-server http://127.0.0.1:9472")]
    Begin(run::BeginArgs),
    /// Go on with the steps of the active phase, after an interruption or a failure
    #[command(after_help = "Examples:
  cutover resume --file migration.yaml
  cutover resume --file migration.yaml --did tell-the-users
  cutover resume --file migration.yaml --in-flight again")]
    Resume(run::ResumeArgs),
    /// Undo the steps of the active phase that were done, and return it to waiting
    #[command(after_help = "Works without a verifier, by the journal of this machine, and tells it later.

Examples:
  cutover abort --file migration.yaml --reason \"the window is over\"")]
    Abort(run::AbortArgs),
    /// Say that re-pointing to the new side begins
    #[command(after_help = "Examples:\n  cutover switch loki")]
    Switch(phases::PhaseArgs),
    /// Complete the active phase, if its gate is open
    #[command(after_help = "Examples:\n  cutover complete loki")]
    Complete(phases::PhaseArgs),
    /// Mark a phase that was finished before as complete, without proof
    #[command(after_help = "Examples:\n  cutover adopt alloy --reason \"moved in May, before phasegate\"")]
    Adopt(phases::ReasonArgs),
    /// Undo the steps of a phase and return it to waiting; its soak and proofs are void
    #[command(after_help = "Examples:
  cutover rollback loki --reason \"history has a hole\"
  cutover rollback loki --file migration.yaml --reason \"history has a hole\"   # a phase with steps
  cutover rollback postgres --file migration.yaml --reason \"gives up what the new side took\" --confirm postgres")]
    Rollback(run::RollbackArgs),
    /// Say that an old side is removed for good: its probes retire, and a tripwire watches that it stays gone
    #[command(after_help = "Examples:
  cutover decommission docker-loki --reason \"moved in May, volume deleted\" --confirm docker-loki
  cutover decommission docker-loki --reason \"not yet\" --undo      # as long as it was not seen gone")]
    Decommission(targets::DecommissionArgs),
    /// Show or end the lock that steps run under
    #[command(subcommand)]
    Lock(lock::LockVerb),
    /// Acknowledge regressions
    #[command(subcommand)]
    Regression(phases::RegressionVerb),
    /// Look at probes: list, run, history, forget
    #[command(subcommand)]
    Probes(probes::ProbesVerb),
    /// Make, show and end time-boxed exceptions for single probes
    #[command(subcommand)]
    Override(overrides::OverrideVerb),
    /// Show and verify the audit trail
    #[command(subcommand)]
    Audit(audit::AuditVerb),
    /// Move a database: fence the old server, dump it with a manifest, record a baseline, compare both sides, take the fence off
    #[command(subcommand)]
    Postgres(postgres::PostgresVerb),
    /// Look at everything a run needs before one begins: document, programs, secrets, verifier, token, clocks, lock, probes
    #[command(
        after_help = "Changes nothing. Exits with 0 while nothing is a problem, else with the code of the first problem: 2 this \
machine or the document, 3 something is unknown, 4 the token, 5 the lock or another document, 11 the verifier, 1 a regression. \
Warnings stop nothing.

Examples:
  cutover doctor --file migration.yaml
  cutover doctor --file migration.yaml && cutover advance --file migration.yaml"
    )]
    Doctor,
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  cutover completion bash > /etc/bash_completion.d/cutover")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version, and the verifier's if it answers
    #[command(after_help = "Examples:\n  cutover version\n  cutover version -o json")]
    Version,
}

fn long_help() -> String {
    let line = |exit: &Exit| format!("  {:>3}  {:<11}  {}", exit.code, exit.name, exit.meaning);
    let codes: Vec<_> = Exit::ALL.iter().map(line).collect();
    format!("{EXAMPLES}\n\nExit codes, the same in every output format:\n{}", codes.join("\n"))
}

/// A name of the document: one path segment.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(fits) || text.chars().all(|c| c == '.') {
        return Err("names consist of letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}

/// Words that must not be missing.
pub(super) fn told(text: &str) -> Result<String, String> {
    let text = text.trim();
    if matches!(text, "" | "." | "..") { Err("say something".to_owned()) } else { Ok(text.to_owned()) }
}

/// A span longer than nothing.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span.is_zero() => Err("must be longer than 0".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("{error}; for example 30s, 10m, 2h")),
    }
}

impl Verb {
    /// Whether it sees to an interruption itself, and does not end at once.
    pub(super) const fn sees_to_its_end(&self) -> bool {
        let steps = matches!(self, Self::Advance(_) | Self::Begin(_) | Self::Resume(_) | Self::Abort(_) | Self::Rollback(_));
        steps || matches!(self, Self::Postgres(_))
    }
}
