//! PURE. Soak: continuous green time and samples of one probe, with the numbers of its phase's gate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::now::{Millis, millis};
use crate::plan::GatePlan;

/// More separate stretches of green than this are not kept; the oldest go first, which only ever shortens a soak.
const MAX_STRETCHES: usize = 1024;

/// What one probe has served of its soak.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soak {
    /// Stretches of evaluated green time, ordered, not touching.
    green: Vec<(Millis, Millis)>,
    /// The last reset: red, or a control that passed.
    reset_at: Option<Millis>,
    /// When it was last red.
    red_at: Option<Millis>,
    /// Passes since the last reset.
    samples: u32,
    /// Whether the control failed as it should since the last reset.
    control_failed: bool,
}

/// What is still missing, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// It was red within the window; it leaves the window after this long.
    RedInWindow(Duration),
    /// This much green time is missing.
    Time(Duration),
    /// This many Passes are missing.
    Samples(u32),
    /// The negative control has not failed since the last reset.
    Control,
}

impl Soak {
    /// Green from the last epoch to this one; what lies before the last reset is not of this soak.
    pub fn credit(&mut self, from: Millis, to: Millis, gate: &GatePlan) {
        let from = self.reset_at.map_or(from, |reset| from.max(reset));
        if to <= from {
            return;
        }
        match self.green.last_mut() {
            Some((_, end)) if *end >= from => *end = (*end).max(to),
            _ => self.green.push((from, to)),
        }
        let start = to.minus(window(gate));
        self.green.retain(|(_, end)| *end > start);
        if self.green.len() > MAX_STRETCHES {
            self.green.remove(0);
        }
    }

    /// One accepted Pass of a Run that started at this moment; one that started before the last reset is not of this soak.
    pub fn sample(&mut self, started: Millis) {
        if self.is_of_this_soak(started) {
            self.samples = self.samples.saturating_add(1);
        }
    }

    /// The negative control that started at this moment failed as it should.
    pub fn control_failed(&mut self, started: Millis) {
        self.control_failed |= self.is_of_this_soak(started);
    }

    fn is_of_this_soak(&self, started: Millis) -> bool {
        self.reset_at.is_none_or(|reset| started >= reset)
    }

    /// The probe is red: the soak starts anew, and the window remembers it.
    pub fn red(&mut self, at: Millis) {
        self.reset(at);
        self.red_at = self.red_at.max(Some(at));
    }

    /// The soak starts anew.
    pub fn reset(&mut self, at: Millis) {
        *self = Self { red_at: self.red_at, reset_at: self.reset_at.max(Some(at)), ..Self::default() };
    }

    /// Green time within the window that ends now.
    pub fn have(&self, now: Millis, gate: &GatePlan) -> Duration {
        let start = now.minus(window(gate));
        let served: u64 = self.green.iter().map(|(from, to)| millis(to.since((*from).max(start)))).sum();
        Duration::from_millis(served)
    }

    /// Passes since the last reset.
    pub const fn samples(&self) -> u32 {
        self.samples
    }

    /// Whether the control failed as it should since the last reset.
    pub const fn has_control(&self) -> bool {
        self.control_failed
    }

    /// The first thing that is still missing. A proof has no samples and its control ran with it.
    pub fn short(&self, now: Millis, gate: &GatePlan, proof: bool) -> Option<Short> {
        let left = self.red_at.and_then(|red| window(gate).checked_sub(now.since(red)));
        if let Some(left) = left {
            return Some(Short::RedInWindow(left));
        }
        let missing = gate.soak.saturating_sub(self.have(now, gate));
        if !missing.is_zero() {
            return Some(Short::Time(missing));
        }
        if proof {
            return None;
        }
        let missing = gate.min_samples.max(1).saturating_sub(self.samples);
        if missing > 0 {
            return Some(Short::Samples(missing));
        }
        (!self.control_failed).then_some(Short::Control)
    }
}

fn window(gate: &GatePlan) -> Duration {
    gate.soak.saturating_add(gate.unknown_budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(soak: u64, budget: u64, min_samples: u32) -> GatePlan {
        GatePlan { soak: Duration::from_secs(soak), unknown_budget: Duration::from_secs(budget), min_samples, max_wait: None }
    }

    fn s(seconds: u64) -> Millis {
        Millis(seconds * 1000)
    }

    fn served(soak: &mut Soak, from: u64, to: u64, gate: &GatePlan) {
        for at in from..to {
            soak.credit(s(at), s(at + 1), gate);
        }
    }

    #[test]
    fn green_time_adds_up_over_gaps_within_the_budget() {
        let (gate, mut soak) = (gate(60, 10, 1), Soak::default());
        soak.sample(s(1));
        soak.control_failed(s(1));
        served(&mut soak, 0, 30, &gate);
        served(&mut soak, 38, 67, &gate);
        assert_eq!(soak.short(s(67), &gate, false), Some(Short::Time(Duration::from_secs(1))));
        served(&mut soak, 67, 68, &gate);
        assert_eq!(soak.short(s(68), &gate, false), None);
    }

    #[test]
    fn a_gap_longer_than_the_budget_costs_the_green_time_before_it() {
        let (gate, mut soak) = (gate(60, 10, 1), Soak::default());
        soak.sample(s(1));
        soak.control_failed(s(1));
        served(&mut soak, 0, 30, &gate);
        served(&mut soak, 50, 85, &gate);
        assert!(matches!(soak.short(s(85), &gate, false), Some(Short::Time(_))));
        served(&mut soak, 85, 110, &gate);
        assert_eq!(soak.short(s(110), &gate, false), None);
    }

    #[test]
    fn red_anywhere_in_the_window_shuts_it() {
        let (gate, mut soak) = (gate(60, 10, 1), Soak::default());
        soak.red(s(0));
        soak.sample(s(1));
        soak.control_failed(s(1));
        served(&mut soak, 1, 70, &gate);
        assert_eq!(soak.short(s(70), &gate, false), Some(Short::RedInWindow(Duration::ZERO)));
        served(&mut soak, 70, 71, &gate);
        assert_eq!(soak.short(s(71), &gate, false), None);
    }

    #[test]
    fn samples_and_control_count_from_the_last_reset() {
        let (gate, mut soak) = (gate(0, 0, 2), Soak::default());
        soak.sample(s(1));
        soak.control_failed(s(1));
        assert_eq!(soak.short(s(1), &gate, false), Some(Short::Samples(1)));
        soak.sample(s(1));
        assert_eq!(soak.short(s(1), &gate, false), None);
        soak.reset(s(1));
        assert_eq!(soak.short(s(2), &gate, false), Some(Short::Samples(2)));
        soak.sample(s(1));
        soak.sample(s(1));
        assert_eq!(soak.short(s(2), &gate, false), Some(Short::Control));
    }

    #[test]
    fn zero_min_samples_still_wants_one_sight() {
        let gate = gate(0, 0, 0);
        assert_eq!(Soak::default().short(s(1), &gate, false), Some(Short::Samples(1)));
    }
}
