//! PURE. Reasons that phases themselves give, with what opens them.

use checks::ReasonSpec;

use crate::state::Unwritable;

/// No document was ever loaded.
pub const NO_CONFIG: ReasonSpec = ReasonSpec::unknown("no_config", "load a valid Migration document");
/// Nothing required is left to look at.
pub const NO_PROBES: ReasonSpec = ReasonSpec::unknown(
    "no_probes",
    "give the phase a gate probe that is neither retired nor overridden; a gate opens on evidence only",
);
/// The ledger can not be written.
pub const UNWRITABLE: ReasonSpec = ReasonSpec::unknown(
    "ledger_unwritable",
    "make the state directory writable and give it space; the verifier retries by itself",
);
/// The ledger is kept in a cluster whose API server can not be reached, or says no.
pub const UNREACHABLE: ReasonSpec = ReasonSpec::unknown(
    "store_unreachable",
    "see what keeps the verifier from its objects in the cluster; it goes on by itself once it can renew its Lease and write",
);
/// An earlier phase is not complete.
pub const EARLIER: ReasonSpec =
    ReasonSpec::fail("earlier_phase_not_complete", "complete or adopt that phase first: `cutover advance`");
/// Not begun.
pub const NOT_BEGUN: ReasonSpec = ReasonSpec::fail("not_begun", "begin the phase: `cutover begin PHASE`, or `cutover advance`");
/// Not switched.
pub const NOT_SWITCHED: ReasonSpec = ReasonSpec::fail("not_switched", "say `cutover switch PHASE` when you begin to re-point");
/// Its steps are not all done.
pub const STEPS_LEFT: ReasonSpec = ReasonSpec::fail("steps_left", "run the rest of its steps: `cutover resume`");
/// A step is being carried out.
pub const IN_FLIGHT: ReasonSpec =
    ReasonSpec::fail("step_in_flight", "wait for its end; if nobody works on it any more, `cutover resume` goes on from there");
/// Its steps are being undone.
pub const GOING_BACK: ReasonSpec = ReasonSpec::fail("going_back", "bring the way back to its end: `cutover rollback PHASE`");
/// A probe has not looked since the step's work was over.
pub const BEFORE_THE_STEP: ReasonSpec =
    ReasonSpec::waiting("before_the_step", "wait for its next run: what it saw is older than the step");
/// Another phase is active.
pub const OTHER_ACTIVE: ReasonSpec = ReasonSpec::fail("other_phase_active", "complete or roll back the active phase first");
/// Nothing is left to do in this phase.
pub const NOTHING_LEFT: ReasonSpec = ReasonSpec::fail("nothing_left", "complete the phase: `cutover advance`");
/// It is complete.
pub const ALREADY_COMPLETE: ReasonSpec = ReasonSpec::fail("already_complete", "go on with the next phase: `cutover advance`");
/// A regression is latched.
pub const REGRESSED: ReasonSpec =
    ReasonSpec::fail("regressed", "mend it and say `cutover regression ack PHASE --reason …`, or roll the phase back");
/// The soak is not served.
pub const SOAK: ReasonSpec = ReasonSpec::waiting("soaking", "wait until the soak is served; a red starts it anew");

/// All of them.
pub const ALL: &[ReasonSpec] = &[
    NO_CONFIG,
    NO_PROBES,
    UNWRITABLE,
    UNREACHABLE,
    EARLIER,
    NOT_BEGUN,
    NOT_SWITCHED,
    STEPS_LEFT,
    IN_FLIGHT,
    GOING_BACK,
    BEFORE_THE_STEP,
    OTHER_ACTIVE,
    NOTHING_LEFT,
    ALREADY_COMPLETE,
    REGRESSED,
    SOAK,
];

/// The reason that it is for a ledger not to be written.
pub const fn unwritable(why: &Unwritable) -> ReasonSpec {
    if why.remote { UNREACHABLE } else { UNWRITABLE }
}
