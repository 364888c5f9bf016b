//! The naive second implementation of the verdict: it keeps everything that ever happened in one list and computes each
//! answer from the whole list, the way ARCHITECTURE.md says it in words. Slow and obvious; nothing is remembered but the past.

mod colour;
mod phases;
mod proofs;
mod removals;
mod soak;
mod steps;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;

use probe::gate::Verdict;
use probe::state::ProbeState;

pub(crate) use steps::PlanSeen;

use super::case::{Act, Doc, Look, ProbeDoc, Said, Seal, Thing, Tick};

/// One thing that happened, with what was to be seen at that moment.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) t: u64,
    pub(crate) act: Act,
    pub(crate) said: Said,
    /// Accepted.
    pub(crate) ok: bool,
    /// Number of the process.
    pub(crate) process: u32,
    /// A crash lost what this did to the checkpointed part.
    pub(crate) lost: bool,
    /// A finished Run: its worst part, and due times as wall clock.
    pub(crate) outcome: Option<Look>,
    /// A finished Run: whether its control was trusted then.
    pub(crate) trusted: bool,
    /// A Run: the colour that outcomes alone give after it.
    pub(crate) after: Option<ProbeState>,
    /// An epoch: what it showed.
    pub(crate) seen: Vec<Seen>,
    /// A control that passed, and was believed or untested before.
    pub(crate) edge: bool,
    /// A Run of a sealed proof: it does not count.
    pub(crate) ignored: bool,
    /// A Run that ends a proof: what its slices read.
    pub(crate) identities: BTreeMap<Thing, u8>,
    /// A Run that ends a proof with a Fail: how.
    pub(crate) failure: Option<Failure>,
    /// A Run: what it makes of a proof is told.
    pub(crate) told: bool,
    /// A Run or a fact: proofs, finished or not, that had read another identity, or an older edition.
    pub(crate) voided: Vec<u8>,
    /// A Run: a step in flight had said that it disturbs the probe, or a Fail of it says only that something is not yet.
    pub(crate) excused: bool,
    /// A Run: a Fail of it says only that something is not yet.
    pub(crate) awaits: bool,
    /// An epoch: targets that all their tripwires have seen gone.
    pub(crate) gone: Vec<u8>,
    /// An epoch: phases that a probe has seen past their point of no return.
    pub(crate) crossed: Vec<u8>,
    /// A switch, start of a step or completion: proofs that were needed for it, and valid.
    pub(crate) seals: Vec<u8>,
    /// What it does to its phase.
    pub(crate) turns: Vec<Turn>,
    /// Somebody reads or approves a plan: what there is to see.
    pub(crate) plan: Option<PlanSeen>,
}

/// How a proof fails: for the reason of which look, and the part that is named if there are several.
pub(crate) type Failure = (Look, Option<u8>);

/// What a step does to its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The switch step starts.
    Switching,
    /// The point of no return is crossed.
    Ponr,
    /// The last step is done.
    Switched,
    /// The switch step is undone.
    Back,
}

/// One probe in one epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) probe: u8,
    pub(crate) colour: ProbeState,
    /// Its red would be a regression of this phase: complete, and the probe required.
    pub(crate) watched: Option<u8>,
    /// The same process had shown it red in the epoch before, it has not started afresh since, and no excuse has ended: that
    /// a red begins to count is as good as a new one.
    pub(crate) still: bool,
    /// A step in flight has said that it disturbs it.
    pub(crate) excused: bool,
}

/// Regressions.
#[derive(Debug, Clone, Default)]
struct Latches {
    latched: Vec<(u8, u8)>,
    ever: Vec<u8>,
    armed: Vec<u8>,
}

/// What the oracle says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Says {
    pub(crate) colours: Vec<(u8, ProbeState)>,
    pub(crate) gates: Vec<Verdict>,
    pub(crate) guards: Vec<Verdict>,
    /// Phase and probe.
    pub(crate) latched: Vec<(u8, u8)>,
}

/// The list, and nothing else that counts.
#[derive(Debug, Clone)]
pub(crate) struct Oracle<'a> {
    docs: &'a [Doc],
    pub(crate) log: Vec<Entry>,
    process: u32,
    saved: usize,
    /// Where in the list the accepted commands and documents are, and what was seen that changes more than a colour.
    rare: Vec<usize>,
    /// The last fresh start of each probe, looked up once per length of the list.
    looked_up: RefCell<(usize, BTreeMap<u8, Option<usize>>)>,
    pub(crate) t: u64,
    pub(crate) utc: i64,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(docs: &'a [Doc], t: u64, utc: i64) -> Self {
        Self { docs, log: Vec::new(), process: 0, saved: 0, rare: Vec::new(), looked_up: RefCell::default(), t, utc }
    }

    /// Lets one thing happen, and says whether it was accepted.
    pub(crate) fn happen(&mut self, t: u64, utc: i64, tick: &Tick) -> bool {
        (self.t, self.utc) = (t, utc);
        let (act, said) = (&tick.act, tick.said);
        let ok = self.admits(act, said);
        let mut entry = Entry {
            t,
            act: act.clone(),
            said,
            ok,
            process: self.process,
            lost: false,
            outcome: None,
            trusted: false,
            after: None,
            seen: Vec::new(),
            edge: false,
            ignored: false,
            identities: BTreeMap::new(),
            failure: None,
            told: false,
            voided: Vec::new(),
            excused: false,
            awaits: false,
            gone: Vec::new(),
            crossed: Vec::new(),
            seals: Vec::new(),
            turns: Vec::new(),
            plan: None,
        };
        match act {
            Act::Run { probe, parts, reads, .. } if ok => {
                entry.outcome = parts.as_ref().map(|parts| self.worst(*probe, parts));
                entry.trusted = self.trusted(*probe);
                entry.voided = self.voids(*probe, reads);
                entry.awaits = self.doc().and_then(|doc| doc.probe(*probe)).is_some_and(|(_, probe)| self.awaits(probe));
                entry.excused = self.excused(*probe) || entry.awaits;
                entry.ignored = self.sealed(*probe);
                entry.identities = self.scan(*probe);
                entry.identities.extend(reads.iter().copied());
                entry.failure = parts.as_ref().and_then(|parts| self.failure(*probe, parts));
                entry.told = self.tells(*probe, &entry);
            }
            Act::Record(fact, edition, _) if ok => entry.voided = self.outdates(*fact, *edition),
            Act::Control { probe, .. } if ok => entry.edge = !self.untrusted(*probe),
            Act::Switch(phase) if ok => entry.seals = self.needs(*phase, |seal| seal == Seal::Switch),
            Act::Complete(phase) if ok => entry.seals = self.needs(*phase, |_| true),
            Act::StartStep { phase, step, way, .. } if ok => {
                entry.turns = self.turns_at_start(*phase, *step, *way);
                let turns = entry.turns.clone();
                entry.seals = self.needs(*phase, |seal| match seal {
                    Seal::Switch => turns.contains(&Turn::Switching),
                    Seal::Ponr => turns.contains(&Turn::Ponr),
                    Seal::Complete => false,
                });
            }
            Act::EndStep(phase, step, end) if ok => entry.turns = self.turns_at_end(*phase, *step, *end),
            Act::Read(phase) | Act::Approve(phase, _) => entry.plan = self.plan(*phase),
            Act::Epoch => {
                entry.seen = self.look();
                entry.gone = self.vanished();
                entry.crossed = self.crossings();
            }
            Act::Checkpoint => self.saved = self.log.len(),
            Act::Restart { crash, .. } => {
                if *crash {
                    let saved = self.saved;
                    self.log.iter_mut().skip(saved).for_each(|entry| entry.lost = true);
                } else {
                    self.saved = self.log.len();
                }
                self.process += 1;
            }
            _ => {}
        }
        let common =
            matches!(act, Act::Run { .. } | Act::Control { .. } | Act::Epoch | Act::Checkpoint | Act::Read(_) | Act::Renew(_));
        if ok && !common || !entry.voided.is_empty() || !entry.crossed.is_empty() {
            self.rare.push(self.log.len());
        }
        self.log.push(entry);
        if let Act::Run { probe, .. } = act
            && ok
        {
            let after = self.doc().and_then(|doc| doc.probe(*probe)).map(|(_, probe)| self.base(probe));
            self.log.last_mut().unwrap().after = after;
        }
        ok
    }

    /// The accepted commands and documents, and what was seen that changes more than a colour, with their places.
    fn rare(&self) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        self.rare.iter().map(|at| (*at, &self.log[*at]))
    }

    /// The document in force.
    pub(crate) fn doc(&self) -> Option<&'a Doc> {
        self.rare().rev().find_map(|(_, entry)| match entry.act {
            Act::Configure(index) if entry.ok => Some(&self.docs[index]),
            _ => None,
        })
    }

    /// What is to be seen now.
    pub(crate) fn says(&self) -> Says {
        let Some(doc) = self.doc() else {
            return Says { colours: vec![], gates: vec![], guards: vec![], latched: self.latched() };
        };
        let colours: Vec<(u8, ProbeState)> = doc.probes().map(|(_, probe)| (probe.id, self.colour(probe))).collect();
        let latched = self.latched();
        let phases = 0..doc.phases.len();
        Says {
            gates: phases.clone().map(|at| self.gate(doc, at, &colours)).collect(),
            guards: phases.map(|at| self.guard(doc, at, &colours, !latched.is_empty())).collect(),
            colours,
            latched,
        }
    }

    /// What an epoch shows.
    fn look(&self) -> Vec<Seen> {
        let Some(doc) = self.doc() else { return vec![] };
        let own = self.log.iter().enumerate().rev().take_while(|(_, e)| e.process == self.process);
        let before = own.into_iter().find(|(_, e)| e.act == Act::Epoch);
        let red = |id| {
            before.is_some_and(|(at, e)| {
                let same_start = self.start(id).is_none_or(|start| start < at);
                same_start && e.seen.iter().any(|s| s.probe == id && s.colour == ProbeState::Red)
            })
        };
        let armed = self.latches().armed;
        doc.probes()
            .map(|(at, probe)| {
                let phase = doc.phases[at].id;
                let watched = (self.phase(phase).complete && self.required(doc, at, probe)).then_some(phase);
                let (colour, excused) = (self.colour(probe), self.excused(probe.id));
                let counts = !excused && armed.contains(&probe.id);
                Seen { probe: probe.id, colour, watched, still: red(probe.id) && !counts, excused }
            })
            .collect()
    }

    /// Latched regressions: an armed probe that is watched is red, and nothing excuses it. It is armed when its last green or
    /// red was green; a red that was excused does not count for that.
    pub(crate) fn latched(&self) -> Vec<(u8, u8)> {
        let mut latched = self.latches().latched;
        latched.sort_unstable();
        latched.dedup();
        latched
    }

    /// What is latched, the phase of each that ever was, and what would be latched if it were red.
    fn latches(&self) -> Latches {
        let Latches { mut latched, mut ever, mut armed } = Latches::default();
        let mut old: Option<&Doc> = None;
        for entry in self.log.iter().filter(|e| e.ok) {
            match entry.act {
                Act::Epoch => {
                    for seen in &entry.seen {
                        let was_green = armed.contains(&seen.probe);
                        match seen.colour {
                            ProbeState::Green if !was_green => armed.push(seen.probe),
                            ProbeState::Red if !seen.excused => {
                                armed.retain(|probe| *probe != seen.probe);
                                if let (Some(phase), true) = (seen.watched, was_green) {
                                    latched.push((phase, seen.probe));
                                    ever.push(phase);
                                }
                            }
                            _ => {}
                        }
                    }
                }
                Act::Acknowledge(phase) | Act::Rollback(phase) => latched.retain(|(of, _)| *of != phase),
                Act::Configure(index) => {
                    let doc = &self.docs[index];
                    latched.retain(|(_, probe)| doc.probe(*probe).is_some());
                    armed.retain(|probe| {
                        let rev = |doc: &Doc| doc.probe(*probe).map(|(_, p)| p.rev);
                        rev(doc).is_some() && old.is_none_or(|old| rev(old) == rev(doc))
                    });
                    old = Some(doc);
                }
                _ => {}
            }
        }
        Latches { latched, ever, armed }
    }

    /// Whether the probe counts for gates now, seen from its own phase or a later one.
    fn required(&self, doc: &Doc, at: usize, probe: &ProbeDoc) -> bool {
        let adopted = self.phase(doc.phases[at].id).adopted;
        let waived = adopted && probe.proof.is_some();
        probe.gate && !waived && !self.retired(probe) && !self.overridden(probe)
    }

    /// Whether an exception is in force for it.
    pub(crate) fn overridden(&self, probe: &ProbeDoc) -> bool {
        if !probe.waivable {
            return false;
        }
        let mut ordinal = 0_u8;
        let mut active: Vec<u8> = Vec::new();
        let mut hash = None;
        for (_, entry) in self.rare() {
            match entry.act {
                Act::Override(of, span) => {
                    if of == probe.id && self.t < entry.t + span {
                        active.push(ordinal);
                    }
                    ordinal += 1;
                }
                Act::Revoke(which) => active.retain(|o| *o != which),
                Act::Restart { boot: true, .. } => active.clear(),
                Act::Configure(index) => {
                    let now = self.docs[index].probe(probe.id).map(|(_, probe)| probe.rev);
                    if now != hash {
                        active.clear();
                    }
                    hash = now;
                }
                _ => {}
            }
        }
        !active.is_empty()
    }
}
