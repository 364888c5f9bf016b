//! PURE. Commands: what somebody wants, what that depends on, and how it is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use checks::PartId;
use serde::{Deserialize, Serialize};

use crate::gate::{Blocker, Verdict};
use crate::plan::{PhaseName, ProbeName, StepName, TargetName};

/// A wish, with the name of who has it.
#[derive(Debug, Clone)]
pub struct Command {
    /// Name of the token.
    pub by: String,
    /// What.
    pub wish: Wish,
    /// What it depends on.
    pub terms: Terms,
}

/// What a command depends on, said with it so that it is looked at in the same moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The id of the lock that its sender holds.
    pub lock: Option<u64>,
    /// The hash of the plan that its sender has seen: refused if anything has moved since.
    pub plan: Option<String>,
    /// The hash of the document that its sender has: refused if another one is in force.
    pub document: Option<String>,
    /// The name of the phase, typed once more by somebody who knows that nothing leads back.
    pub confirm: Option<String>,
}

/// Which way a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its `do`.
    Do,
    /// Its `undo`.
    Undo,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepEnd {
    /// As it should.
    Done,
    /// It failed, or took too long.
    Failed,
    /// It was broken off: how far it came is not known.
    Interrupted,
}

/// The only ways state changes from outside.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Make a phase active.
    Begin(PhaseName),
    /// The work of re-pointing begins.
    Switch(PhaseName),
    /// The phase is done.
    Complete(PhaseName),
    /// Back to waiting.
    Rollback(PhaseName, String),
    /// Mark a finished phase complete without proof.
    Adopt(PhaseName, String),
    /// A latched regression is seen and mended.
    Acknowledge(PhaseName, String),
    /// A time-boxed exception for a probe.
    Override {
        /// Which.
        probe: ProbeName,
        /// Why.
        reason: String,
        /// Where that is discussed.
        ticket: Option<String>,
        /// For how long.
        ttl: Duration,
    },
    /// End an exception.
    Revoke(u64),
    /// Record a fact.
    Record(String, serde_json::Value),
    /// A part is gone for good.
    Forget(ProbeName, PartId),
    /// The right to run a phase's steps. `own` is the id of a lock that the same run held before.
    Lock {
        /// For which phase.
        phase: PhaseName,
        /// Where the holder works.
        place: String,
        /// For how long it holds without being renewed.
        ttl: Duration,
        /// The lock that this one goes on from.
        own: Option<u64>,
    },
    /// The holder of this lock is still there.
    Renew(u64),
    /// The holder of this lock is done.
    Release(u64),
    /// Somebody else ends this lock, with a reason.
    ForceRelease(u64, String),
    /// A step starts. `checked`: its `check` has said that it is not done already, or a person has.
    StartStep {
        /// Of which phase.
        phase: PhaseName,
        /// Which.
        step: StepName,
        /// Do or undo.
        way: Way,
        /// Whether somebody has looked if it is done already.
        checked: bool,
    },
    /// The `do` of a step is over; its probes must turn green yet.
    StepWorked(PhaseName, StepName),
    /// A step has ended, with a note.
    EndStep {
        /// Of which phase.
        phase: PhaseName,
        /// Which.
        step: StepName,
        /// How.
        end: StepEnd,
        /// In words.
        note: String,
    },
    /// Somebody other than its runner finds this plan of a phase right.
    Approve(PhaseName, String),
    /// An old side is removed for good, with a reason.
    Decommission(TargetName, String),
    /// That was a mistake: the old side is there.
    Recommission(TargetName, String),
    /// How long steps took in a rehearsal.
    Rehearsed(PhaseName, BTreeMap<StepName, Duration>),
}

/// Why a command, run or document was not taken. Nothing changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What kind of no.
    pub kind: RefusalKind,
    /// In words, a sentence fragment.
    pub message: String,
    /// What stands in the way.
    pub blockers: Vec<Blocker>,
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The gate or guard says so.
    Gate(Verdict),
    /// Not in this state of the phase.
    Conflict,
    /// No such phase, probe, part or override.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// Somebody else holds the lock, or the sender's is not the newest.
    Locked,
    /// Something is not as the sender has seen it.
    Moved,
    /// It can not be taken back, and nobody has confirmed it.
    Unconfirmed,
    /// It belongs to an earlier start of the probe.
    Outdated,
}

impl RefusalKind {
    /// Stable, `snake_case`: as the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate(Verdict::Closed) => "gate_closed",
            Self::Gate(Verdict::Pending) => "gate_pending",
            Self::Gate(Verdict::Unknown | Verdict::Open) => "gate_unknown",
            Self::Conflict | Self::Outdated => "conflict",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::Locked => "locked",
            Self::Moved => "moved",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl Refusal {
    /// A refusal without blockers.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), blockers: Vec::new() }
    }
}
