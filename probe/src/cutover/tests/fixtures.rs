//! Bodies as a verifier serves them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::api::types::{
    BlockerBody, CompletionBody, CriterionBody, EndedBody, ExceptionBody, GapBody, GateBody, GateKind, LatchedBody, LockBody,
    OverrideBody, PastBlockerBody, PastBody, PastLockBody, PastOverrideBody, PastProbeBody, PhaseBody, PlanBody, ProbeBody,
    Receipt, RegressionBody, ReportBody, ReportPhaseBody, SightBody, SoakBody, StampBody, StatusBody, StepBody,
};
use crate::audit::Head;
use crate::gate::Verdict;
use crate::plan::StepKind;
use crate::state::{PhaseState, ProbeState, StepState};

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000 + seconds, 0).unwrap()
}

pub(crate) fn probe(phase: &str, name: &str, state: ProbeState) -> ProbeBody {
    let green = state == ProbeState::Green;
    ProbeBody {
        name: name.to_owned(),
        phase: phase.to_owned(),
        check: "logCanary".to_owned(),
        state,
        reason: (!green).then(|| "lost".to_owned()),
        evidence: if green { "3 nodes delivered".to_owned() } else { "node-2: 12 lines lost, 4711..4722".to_owned() },
        next: (!green).then(|| "read Alloy's log on node-2".to_owned()),
        since: Some(at(-252)),
        last_pass: Some(at(-260)),
        last_run: Some(at(-1)),
        age_seconds: Some(1.0),
        gate: true,
        preflight: false,
        proof: false,
        retired: false,
        tripwire: false,
        overridden: false,
        consecutive_failures: 0,
        control: "trusted".to_owned(),
        soak: SoakBody { need: 3600.0, have: 3600.0, samples_need: 60, samples_have: 720 },
        parts: Vec::new(),
        trails: Vec::new(),
    }
}

pub(crate) fn blocker(verdict: Verdict, state: Option<ProbeState>, reason: &str) -> BlockerBody {
    BlockerBody {
        phase: "alloy".to_owned(),
        probe: Some("journal".to_owned()),
        verdict,
        state,
        reason: reason.to_owned(),
        evidence: "node-2: 12 lines lost, 4711..4722".to_owned(),
        since: state.map(|_| at(-252)),
        next: "read Alloy's log on node-2".to_owned(),
    }
}

/// The gate of phase `alloy`, switched.
pub(crate) fn gate(verdict: Verdict) -> GateBody {
    let (state, blockers) = match verdict {
        Verdict::Open => (ProbeState::Green, vec![]),
        Verdict::Closed => (ProbeState::Red, vec![blocker(verdict, Some(ProbeState::Red), "lost")]),
        Verdict::Pending => (ProbeState::Green, vec![blocker(verdict, None, "soaking")]),
        Verdict::Unknown => (ProbeState::Unknown, vec![blocker(verdict, Some(ProbeState::Unknown), "stale")]),
    };
    let open = verdict == Verdict::Open;
    GateBody {
        schema_version: 1,
        gate: "alloy".to_owned(),
        kind: GateKind::Gate,
        open,
        verdict,
        phase_state: PhaseState::Active,
        overridden: false,
        reason: format!("{}: journal says so", verdict.as_str()),
        evaluated_at: Some(at(0)),
        age_seconds: Some(0.4),
        open_since: open.then(|| at(-600)),
        soak: SoakBody { need: 3600.0, have: if open { 3600.0 } else { 1230.0 }, samples_need: 60, samples_have: 246 },
        probes: vec![probe("alloy", "journal", state), probe("alloy", "rollout", ProbeState::Green)],
        probe_count: 2,
        blocked_by: blockers.len(),
        blockers,
        ratchet: vec![],
        epoch: 4812,
        config_hash: Some("a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned()),
        overrides: vec![],
        next_step: "read Alloy's log on node-2".to_owned(),
    }
}

pub(crate) fn phase(name: &str, state: PhaseState, switched: bool, verdict: Verdict) -> PhaseBody {
    let stamp = || StampBody { at: at(-7200), by: "vic".to_owned() };
    let waiting = state == PhaseState::Waiting;
    PhaseBody {
        name: name.to_owned(),
        state,
        begun: (!waiting).then(stamp),
        switching: switched.then(stamp),
        switched: switched.then(stamp),
        ponr_crossed: None,
        steps: vec![],
        complete: (state == PhaseState::Complete).then(stamp),
        adopted: None,
        regressed: vec![],
        verdict,
        reason: if waiting {
            "closed: the phase is not begun".to_owned()
        } else {
            format!("{}: journal says so", verdict.as_str())
        },
        soak: SoakBody { need: 3600.0, have: 1230.0, samples_need: 60, samples_have: 246 },
        blockers: vec![],
        blocked_by: usize::from(verdict != Verdict::Open),
        overridden: false,
        probes: BTreeMap::from([("green".to_owned(), 3), ("red".to_owned(), usize::from(verdict == Verdict::Closed))]),
        can_roll_back: !waiting,
    }
}

pub(crate) fn status(phases: Vec<PhaseBody>) -> StatusBody {
    StatusBody {
        schema_version: 1,
        migration: "homelab".to_owned(),
        version: "0.1.0".to_owned(),
        config_hash: "a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned(),
        epoch: 4812,
        evaluated_at: Some(at(0)),
        age_seconds: Some(0.4),
        phases,
        probes: vec![probe("alloy", "journal", ProbeState::Green), probe("loki", "ingest", ProbeState::Red)],
        left_out: BTreeMap::new(),
        overrides: vec![],
        lock: None,
        decommissioned: vec![],
        annotations: vec![],
        ledger_error: None,
        config_error: None,
        next_step: "read Alloy's log on node-2".to_owned(),
    }
}

/// Alloy complete with a regression, Loki active, Grafana waiting; one override.
pub(crate) fn midway() -> StatusBody {
    let mut alloy = phase("alloy", PhaseState::Complete, true, Verdict::Open);
    alloy.regressed.push(RegressionBody {
        probe: "journal".to_owned(),
        since: at(-252),
        reason: "lost".to_owned(),
        evidence: "node-2: 12 lines lost".to_owned(),
    });
    let phases = vec![
        alloy,
        phase("loki", PhaseState::Active, true, Verdict::Closed),
        phase("grafana", PhaseState::Waiting, false, Verdict::Closed),
    ];
    StatusBody { overrides: vec![exception()], ..status(phases) }
}

pub(crate) fn exception() -> OverrideBody {
    OverrideBody {
        id: 3,
        probe: "cluster-dns".to_owned(),
        reason: "resolver is being replaced".to_owned(),
        ticket: Some("OPS-4711".into()),
        by: "vic".to_owned(),
        since: at(-600),
        remaining_seconds: 1200.0,
    }
}

/// A lock of `vic`'s for phase `loki`, heard of so many seconds ago.
pub(crate) fn lock(id: u64, heard: f64, live: bool) -> LockBody {
    LockBody {
        id,
        phase: "loki".to_owned(),
        holder: "vic".to_owned(),
        place: "desk, process 7".to_owned(),
        since: at(-600),
        ttl_seconds: 30.0,
        heard_seconds: heard,
        live,
    }
}

pub(crate) fn receipt(message: &str) -> Receipt {
    Receipt { message: message.to_owned(), phase: None, id: None }
}

pub(crate) fn plan(phase: &str, steps: Vec<StepBody>) -> PlanBody {
    PlanBody {
        schema_version: 1,
        migration: "homelab".to_owned(),
        phase: phase.to_owned(),
        hash: "7c31e0d2f4a5b6c7".to_owned(),
        config_hash: "a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned(),
        phase_state: PhaseState::Active,
        switching: None,
        ponr_crossed: None,
        going_back: false,
        steps,
        entry: Verdict::Open,
        entry_reason: "open: the next step may run".to_owned(),
        retires: vec![],
        four_eyes: false,
        approved: None,
        lock: None,
    }
}

pub(crate) fn step(name: &str, state: Option<StepState>) -> StepBody {
    StepBody {
        name: name.to_owned(),
        kind: StepKind::Command,
        switch: false,
        ponr: false,
        undo: true,
        check: true,
        verify: vec![],
        gate: None,
        disturbs: vec![],
        timeout_seconds: 600.0,
        took_seconds: None,
        rehearsed: false,
        state,
        since: state.map(|_| StampBody { at: at(-3600), by: "vic".to_owned() }),
        started: state.map(|_| at(-3785)),
        attempts: u32::from(state.is_some()),
        note: String::new(),
    }
}

fn sight(state: ProbeState) -> SightBody {
    let reason = (state != ProbeState::Green).then(|| "lost".to_owned());
    SightBody { state, reason, evidence: "3 nodes delivered, 0 of 1,200 lines lost".to_owned(), since: at(-9000) }
}

fn made(id: u64, probe: &str, reason: &str) -> PastOverrideBody {
    PastOverrideBody {
        id,
        probe: probe.to_owned(),
        reason: reason.to_owned(),
        ticket: Some("OPS-4711".into()),
        by: "vic".to_owned(),
        since: at(-8000),
        until: at(-6200),
    }
}

/// The same as [`midway`], with steps, overrides and regressions of all kinds.
pub(crate) fn report() -> ReportBody {
    let status = midway();
    let stamp = |seconds, by: &str| StampBody { at: at(seconds), by: by.to_owned() };
    let ended = |seconds, by: &str, how: &str| EndedBody { stamp: stamp(seconds, by), how: how.to_owned() };
    let hash = |digit: &str| digit.repeat(64);
    let phases = status.phases.into_iter().map(|phase| {
        let complete = phase.state == PhaseState::Complete;
        let criterion = |probe: ProbeBody| CriterionBody { at_completion: complete.then(|| sight(ProbeState::Green)), probe };
        let retired = ProbeBody { retired: true, ..probe("alloy", "old-side", ProbeState::Red) };
        let preflight = ProbeBody { gate: false, ..probe("grafana", "preflight", ProbeState::Unknown) };
        let own = status.probes.iter().cloned().chain([retired, preflight]).filter(|probe| probe.phase == phase.name);
        let latched = |seconds, ended| LatchedBody {
            probe: "journal".to_owned(),
            since: at(seconds),
            reason: "lost".to_owned(),
            evidence: "node-2: 12 lines lost".to_owned(),
            ended,
        };
        let latched = vec![latched(-5000, Some(ended(-4000, "ann", "a cable was loose"))), latched(-252, None)];
        let overrides_ever = vec![
            ExceptionBody { made: made(1, "journal", "node-2 is being replaced"), ended: None },
            ExceptionBody { made: made(0, "journal", "disk"), ended: Some(ended(-7000, "vic", "it was revoked")) },
        ];
        let switch = StepBody { switch: true, ponr: true, attempts: 2, ..step("retire-promtail", Some(StepState::Done)) };
        let steps = match phase.name.as_str() {
            "alloy" => vec![step("deploy-alloy", Some(StepState::Done)), switch],
            "loki" => {
                let failed = StepBody { note: "exit 3: no space left".to_owned(), ..step("copy", Some(StepState::Failed)) };
                vec![failed, step("point-alloy", None)]
            }
            _ => vec![],
        };
        let ponr_crossed = complete.then(|| stamp(-3785, "vic"));
        ReportPhaseBody {
            completion: complete.then(|| CompletionBody {
                stamp: stamp(-7200, "vic"),
                event: Head { seq: 31, hash: hash("a") },
                overrides: vec![1],
            }),
            criteria: own.map(criterion).collect(),
            overrides_ever: if complete { overrides_ever } else { vec![] },
            regressions_ever: if complete { latched } else { vec![] },
            phase: PhaseBody { ponr_crossed, steps, ..phase },
        }
    });
    ReportBody {
        schema_version: 1,
        migration: "homelab".to_owned(),
        version: "0.1.0".to_owned(),
        config_hash: "a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned(),
        epoch: 4812,
        evaluated_at: Some(at(0)),
        age_seconds: Some(0.4),
        head: Head { seq: 42, hash: hash("b") },
        recorded_since: Some(at(-90_000)),
        phases: phases.collect(),
        lock: Some(LockBody {
            id: 7,
            phase: "loki".to_owned(),
            holder: "vic".to_owned(),
            place: "laptop, process 4711".to_owned(),
            since: at(-3800),
            ttl_seconds: 60.0,
            heard_seconds: 12.0,
            live: true,
        }),
        ledger_error: None,
        config_error: None,
        next_step: "read Alloy's log on node-2".to_owned(),
    }
}

/// The gate of phase `loki` as it was: closed, or unknown because nobody looked.
pub(crate) fn past(verdict: Verdict) -> PastBody {
    let gap = (verdict == Verdict::Unknown).then(|| GapBody {
        from: at(-1000),
        to: Some(at(-400)),
        reason: "not_running".to_owned(),
        recorded: Some(Verdict::Open),
    });
    let probe = |name: &str, state| PastProbeBody {
        name: name.to_owned(),
        phase: "loki".to_owned(),
        check: "lokiIngest".to_owned(),
        required: true,
        overridden: false,
        seen: sight(state),
    };
    let red = PastBlockerBody {
        phase: "loki".to_owned(),
        probe: Some("ingest".to_owned()),
        reason: "lost".to_owned(),
        state: Some(ProbeState::Red),
        evidence: "node-2: 12 lines lost, 4711..4722".to_owned(),
        since: Some(at(-900)),
    };
    let dark = PastBlockerBody {
        probe: None,
        reason: "not_running".to_owned(),
        state: None,
        evidence: "the verifier did not run between 02:23:20 and 02:33:20".to_owned(),
        since: None,
        ..red.clone()
    };
    PastBody {
        schema_version: 1,
        gate: "loki".to_owned(),
        time: at(-600),
        verdict,
        since: at(-900),
        until: Some(at(-300)),
        reason: format!("{} since then, for a reason", verdict.as_str()),
        phase_state: PhaseState::Active,
        blockers: match verdict {
            Verdict::Open => vec![],
            Verdict::Unknown => vec![dark],
            Verdict::Closed | Verdict::Pending => vec![red],
        },
        probes: vec![probe("ingest", ProbeState::Red), probe("ready", ProbeState::Green)],
        probe_count: 2,
        overrides: vec![made(3, "ready", "resolver is being replaced")],
        steps: vec![step("copy", Some(StepState::Done)), step("point-alloy", None)],
        lock: Some(PastLockBody {
            id: 7,
            phase: "loki".to_owned(),
            holder: "vic".to_owned(),
            place: "laptop, process 4711".to_owned(),
            since: at(-3800),
        }),
        config_hash: "a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned(),
        gap,
        head: Head { seq: 40, hash: "c".repeat(64) },
    }
}
