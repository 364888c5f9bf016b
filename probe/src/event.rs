//! PURE. What can happen to the ledger: [`Input`]s come in, [`Event`]s change the state, [`Refusal`]s change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::{Evidence, Outcome, PartId, Reason};
use serde::{Deserialize, Serialize};

use crate::gate::{Evaluation, Verdict};
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, Plan, ProbeName, StepName, TargetName};
use crate::state::{Lock, ProbeState, RunRecord, Stamp, Unwritable};

mod command;
mod input;

pub use command::{Command, Refusal, RefusalKind, StepEnd, Terms, Way, Wish};
pub use input::{Control, Input, Run};

/// What changes the state. [`Event::is_chained`] tells which are kept in the hash chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A document is in force.
    ConfigLoaded {
        /// When.
        at: Now,
        /// What it says.
        plan: Arc<Plan>,
    },
    /// A phase is active.
    PhaseBegun {
        /// Which.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
    },
    /// A phase has switched.
    PhaseSwitched {
        /// Which.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Proofs that it seals.
        seals: Vec<ProbeName>,
    },
    /// A phase is complete.
    PhaseCompleted {
        /// Which.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Proofs that it seals.
        seals: Vec<ProbeName>,
        /// Overrides that were active.
        overrides: Vec<u64>,
    },
    /// A phase went back to waiting.
    PhaseRolledBack {
        /// Which.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// A phase was marked complete without proof.
    PhaseAdopted {
        /// Which.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// A probe changed colour.
    ProbeChanged {
        /// Which.
        probe: ProbeName,
        /// When.
        at: Now,
        /// From.
        from: ProbeState,
        /// To.
        to: ProbeState,
        /// Why it is not green.
        reason: Option<Reason>,
        /// What was seen.
        evidence: Evidence,
    },
    /// A gate's verdict changed.
    VerdictChanged {
        /// Of which phase.
        phase: PhaseName,
        /// When.
        at: Now,
        /// From; none after a start.
        from: Option<Verdict>,
        /// To.
        to: Verdict,
        /// In which evaluation.
        epoch: u64,
        /// The first blockers, as `phase/probe: reason`.
        blockers: Vec<String>,
    },
    /// A negative control passed: its probe is not to be believed.
    ControlPassed {
        /// Of which probe.
        probe: ProbeName,
        /// When.
        at: Now,
        /// What it saw.
        evidence: Evidence,
    },
    /// A required probe of a complete phase went from green to red.
    RegressionLatched {
        /// Of which phase.
        phase: PhaseName,
        /// Which probe.
        probe: ProbeName,
        /// When.
        at: Now,
        /// Why it is red.
        reason: Reason,
        /// What was seen.
        evidence: Evidence,
    },
    /// Somebody has seen and mended a regression.
    RegressionAcknowledged {
        /// Of which phase.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// What they say.
        reason: String,
    },
    /// A probe's Memory could not be read back: it starts with none, and its soak anew.
    MemoryLost {
        /// Which.
        probe: ProbeName,
        /// When.
        at: Now,
    },
    /// A proof came to its end.
    ProofFinished {
        /// Which.
        probe: ProbeName,
        /// When its last slice started.
        at: Now,
        /// None: it passed.
        failed: Option<Reason>,
        /// What was seen.
        evidence: Evidence,
        /// Hash of the probe it belongs to.
        hash: String,
        /// Identities that its slices read, by target.
        identities: BTreeMap<String, String>,
    },
    /// Another server stands where a probe looked, or a fact that it read has a newer edition: it starts afresh, and a proof is void.
    AnotherServer {
        /// Which.
        probe: ProbeName,
        /// When.
        at: Now,
        /// Which target, or which fact ([`checks::FACT_READ`]).
        target: String,
        /// What it was bound to.
        was: String,
        /// What is read now.
        is: String,
    },
    /// The machine has booted since the ledger was written, so it is not known for how long it was down: whatever is true for
    /// a time only, starts anew or ends.
    AnotherBoot {
        /// When it was noticed.
        at: Now,
    },
    /// A verifier began to write this ledger: between the last moment and this one, nobody knows what was.
    VerifierStarted {
        /// When.
        at: Now,
        /// The last moment that the ledger knows of before; none: it is new.
        last: Option<Now>,
        /// Its version.
        version: String,
    },
    /// The verifier ran and did not get to evaluate anything for longer than an evaluation counts.
    NobodyLooked {
        /// When it did again.
        at: Now,
        /// The evaluation before.
        last: Now,
    },
    /// Somebody wanted something that was refused; nothing changed.
    Refused {
        /// When, who. Of several alike, the last.
        stamp: Stamp,
        /// What they wanted, in words.
        what: String,
        /// About which phase.
        phase: Option<PhaseName>,
        /// What kind of no.
        kind: String,
        /// Why, in words.
        message: String,
        /// How many alike this stands for: what is repeated within a minute is counted, not written.
        times: u64,
    },
    /// A fact is recorded.
    FactRecorded {
        /// Its name.
        name: String,
        /// When, by whom.
        stamp: Stamp,
        /// The content.
        value: serde_json::Value,
    },
    /// An exception begins.
    OverrideCreated {
        /// Its number.
        id: u64,
        /// For which probe.
        probe: ProbeName,
        /// When, by whom.
        stamp: Stamp,
        /// Why.
        reason: String,
        /// Where that is discussed.
        #[serde(default)]
        ticket: Option<String>,
        /// Up to when.
        until: Millis,
    },
    /// An exception ended: revoked by somebody, or expired.
    OverrideEnded {
        /// Its number.
        id: u64,
        /// When, by whom; the verifier itself when it expired.
        stamp: Stamp,
    },
    /// A part is gone for good.
    PartForgotten {
        /// Of which probe.
        probe: ProbeName,
        /// Which.
        part: PartId,
        /// When, by whom.
        stamp: Stamp,
    },
    /// Somebody holds the lock now; whoever held it before does not.
    LockTaken {
        /// Whose, for what, for how long.
        lock: Lock,
    },
    /// The lock is free.
    LockReleased {
        /// Its id.
        id: u64,
        /// For which phase it was.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Why, if it was not its holder.
        forced: Option<String>,
    },
    /// A step starts.
    StepStarted {
        /// Of which phase.
        phase: PhaseName,
        /// Which.
        step: StepName,
        /// Do or undo.
        way: Way,
        /// When, by whom.
        stamp: Stamp,
        /// Under which lock.
        lock: u64,
        /// Whether somebody has looked if it is done already.
        checked: bool,
        /// Whether it is the switch of its phase.
        switch: bool,
        /// Whether nothing leads back from here.
        ponr: bool,
        /// Proofs that it seals.
        seals: Vec<ProbeName>,
    },
    /// The `do` of a step is over.
    StepWorked {
        /// Of which phase.
        phase: PhaseName,
        /// Which.
        step: StepName,
        /// When, by whom.
        stamp: Stamp,
    },
    /// A step has ended.
    StepEnded {
        /// Of which phase.
        phase: PhaseName,
        /// Which.
        step: StepName,
        /// Do or undo.
        way: Way,
        /// When, by whom.
        stamp: Stamp,
        /// How.
        end: StepEnd,
        /// Whether it is the switch of its phase.
        switch: bool,
        /// In words.
        note: String,
    },
    /// The plan of a phase was approved.
    PlanApproved {
        /// Of which phase.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// Its hash.
        plan: String,
    },
    /// A probe has seen that nothing leads back any more.
    PonrDetected {
        /// For which phase.
        phase: PhaseName,
        /// Which probe.
        probe: ProbeName,
        /// When.
        stamp: Stamp,
        /// What was seen.
        evidence: Evidence,
    },
    /// An old side is removed for good.
    TargetRemoved {
        /// Which.
        target: TargetName,
        /// When, by whom.
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// The tripwire of a removed target has seen that it is gone: from here on it must not come back.
    TargetGone {
        /// Which.
        target: TargetName,
        /// When.
        at: Now,
    },
    /// That a target was removed is taken back: it is there.
    TargetReturned {
        /// Which.
        target: TargetName,
        /// When, by whom.
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// How long the steps of a phase took in a rehearsal.
    StepsRehearsed {
        /// Of which phase.
        phase: PhaseName,
        /// When, by whom.
        stamp: Stamp,
        /// By step.
        spans: BTreeMap<StepName, Duration>,
    },
    /// The lock's holder was heard of. Not chained.
    #[serde(skip)]
    LockRenewed {
        /// Its id.
        id: u64,
        /// When.
        at: Millis,
    },
    /// A Run was taken in. Not chained.
    #[serde(skip)]
    RunObserved {
        /// Of which probe.
        probe: ProbeName,
        /// What it saw.
        run: Arc<RunRecord>,
        /// Memory for the next Run.
        memory: Option<Arc<[u8]>>,
        /// Identities it read, by target.
        identities: BTreeMap<String, String>,
    },
    /// A control was taken in. Not chained.
    #[serde(skip)]
    ControlObserved {
        /// Of which probe.
        probe: ProbeName,
        /// When it started.
        at: Now,
        /// When it was over.
        finished: Now,
        /// What it saw.
        outcome: Outcome,
        /// Whether it failed with its own reason.
        earned: bool,
    },
    /// Everything was evaluated. Not chained.
    #[serde(skip)]
    Evaluated(Arc<Evaluation>),
    /// Whether the store can be written. Not chained.
    #[serde(skip)]
    StoreChanged {
        /// Why it can not.
        unwritable: Option<Unwritable>,
    },
}

impl Event {
    /// Whether it is an edge that is kept, durable and hash-chained.
    pub const fn is_chained(&self) -> bool {
        !matches!(
            self,
            Self::LockRenewed { .. }
                | Self::RunObserved { .. }
                | Self::ControlObserved { .. }
                | Self::Evaluated(_)
                | Self::StoreChanged { .. }
        )
    }
}
