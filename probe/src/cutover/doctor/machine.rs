//! The journal of this machine, what an earlier run has left in it, and the lock.

use std::ffi::OsString;

use super::{Finding, file_flag};
use crate::api::types::{LockBody, StatusBody};
use crate::cutover::journal::{JournalError, Place, Story, root, try_out};
use crate::cutover::render::{lock_line, moment};
use crate::cutover::run::journal_trouble;
use crate::cutover::{Own, client::printable};
use crate::exit::Exit;
use crate::state::PhaseState;

/// A run that this machine has not brought to its end.
#[derive(Debug)]
pub(super) struct Left {
    phase: String,
    story: Story,
    /// How to name the document in a command.
    flag: String,
}

/// Looks at the journal's folder and into it. The runs that are not over are left to [`lock`] as well.
pub(super) fn look(
    variable: impl Fn(&str) -> Option<OsString>,
    own: Option<&Own>,
    status: Option<&StatusBody>,
    findings: &mut Vec<Finding>,
) -> Vec<Left> {
    let folder = match root(variable).and_then(|folder| try_out(&folder).map(|()| folder)) {
        Ok(folder) => folder,
        Err(error) => {
            findings.push(Finding::trouble("journal", &journal_trouble(&error)));
            return Vec::new();
        }
    };
    let shown = printable(&folder.display().to_string());
    findings.push(Finding::fine("journal", format!("the journal of a run can be kept in {shown}")));
    let phases: Vec<(&str, &str)> = match (own, status) {
        (Some(own), _) => own.phases().map(|phase| (own.migration(), phase)).collect(),
        (None, Some(status)) => status.phases.iter().map(|phase| (status.migration.as_str(), phase.name.as_str())).collect(),
        (None, None) => Vec::new(),
    };
    let flag = file_flag(own.map(Own::file));
    let mut left = Vec::new();
    for (migration, phase) in phases {
        match Place::new(&folder, migration, phase).and_then(|place| Story::read(&place)) {
            Ok(Some(story)) if story.over.is_none() => {
                left.push(Left { phase: phase.to_owned(), story, flag: flag.clone() });
            }
            Ok(Some(_) | None) => {}
            Err(error) => findings.push(unreadable(&error)),
        }
    }
    findings.extend(left.iter().filter_map(|run| half_way(run, status)));
    left
}

fn unreadable(error: &JournalError) -> Finding {
    Finding::trouble("journal", &journal_trouble(error))
}

/// A run that was left, unless it is under way at this moment.
fn half_way(run: &Left, status: Option<&StatusBody>) -> Option<Finding> {
    let Left { phase, story, flag } = run;
    let stands = status.and_then(|status| status.phases.iter().find(|body| body.name == *phase)).map(|body| body.state);
    let since = moment(story.opened.at);
    match stands {
        // Whatever it left is over: the next run begins with a journal of its own.
        Some(PhaseState::Waiting | PhaseState::Complete) => None,
        Some(PhaseState::Active) if status.is_some_and(|status| status.lock.as_ref().is_some_and(|lock| works(lock, story))) => {
            None
        }
        Some(PhaseState::Active) | None => Some(Finding::problem(
            "journal",
            Exit::MOVED,
            format!("the run of phase {phase} that began on this machine at {since} is not over"),
            way_out(story, flag),
        )),
    }
}

/// On its way back it only goes back.
fn way_out(story: &Story, flag: &str) -> String {
    if story.steps.values().any(|step| step.state.went_back()) {
        return format!("cutover abort{flag}   (brings the way back to its end)");
    }
    format!("cutover resume{flag}   (goes on; `cutover abort{flag}` goes back)")
}

/// Whether the holder of this lock is this machine's run, and was heard of.
fn works(lock: &LockBody, story: &Story) -> bool {
    story.lock == Some(lock.id) && heard(lock)
}

fn heard(lock: &LockBody) -> bool {
    lock.live && lock.heard_seconds <= lock.ttl_seconds
}

/// Whether a run could take the lock.
pub(super) fn lock(status: &StatusBody, left: &[Left], findings: &mut Vec<Finding>) {
    let Some(lock) = &status.lock else {
        return findings.push(Finding::fine("lock", "it is free"));
    };
    let text = lock_line(lock);
    if !lock.live {
        return findings.push(Finding::fine("lock", format!("it can be taken: {text}")));
    }
    let id = lock.id;
    let own = left.iter().find(|run| run.story.lock == Some(id));
    let next = match own {
        _ if heard(lock) => "cutover status --watch   (until it is over)".to_owned(),
        Some(Left { flag, story, .. }) => format!("{}: it is this machine's own", way_out(story, flag)),
        None => format!(
            "cutover resume   (on {}; if that is gone for good: `cutover lock release {id} --reason …`)",
            printable(&lock.place)
        ),
    };
    findings.push(Finding::problem("lock", Exit::MOVED, text, next));
}
