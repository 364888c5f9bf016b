//! What a Run saw: [`Outcome`], its closed vocabulary of [`Reason`]s, and the [`Evidence`] a person needs to believe it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Longest evidence text that is kept, in bytes. A hostile target must not be able to fill memory or a screen.
pub const MAX_EVIDENCE: usize = 1024;
/// Most parts one Run may report.
pub const MAX_PARTS: usize = 1000;
/// Most measures one Run may report.
pub const MAX_MEASURES: usize = 1000;
/// Largest serialized Memory of a probe, in bytes.
pub const MAX_MEMORY: usize = 64 * 1024;

/// Which colour a reason stands for. Fixed per reason, so that the same sight never means two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Colour {
    /// We looked and it is wrong, the target's silence included.
    Fail,
    /// We could not look.
    Unknown,
    /// Nothing is wrong, the thing is just not due yet.
    Waiting,
}

/// One entry of a check's closed list of reasons ([`crate::Meta::reasons`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonSpec {
    /// `snake_case`; used as a metric label, so it is bounded by construction.
    pub name: &'static str,
    /// The one colour it always has.
    pub colour: Colour,
    /// What a person does next to make it go away. A sentence fragment in the imperative.
    pub next: &'static str,
}

impl ReasonSpec {
    /// A reason that always means Fail.
    pub const fn fail(name: &'static str, next: &'static str) -> Self {
        Self { name, colour: Colour::Fail, next }
    }

    /// A reason that always means Unknown.
    pub const fn unknown(name: &'static str, next: &'static str) -> Self {
        Self { name, colour: Colour::Unknown, next }
    }

    /// A reason that always means Waiting.
    pub const fn waiting(name: &'static str, next: &'static str) -> Self {
        Self { name, colour: Colour::Waiting, next }
    }

    /// The Outcome of this reason. A waiting reason without a due time is Unknown: use [`Self::until`].
    pub fn because(self, evidence: impl Into<Evidence>) -> Outcome {
        let (reason, evidence) = (Reason::from(self), evidence.into());
        match self.colour {
            Colour::Fail => Outcome::Fail { reason, evidence },
            Colour::Unknown | Colour::Waiting => Outcome::Unknown { reason, evidence },
        }
    }

    /// The Outcome of a waiting reason: nothing is wrong, the next sight is due at `due`.
    pub fn until(self, due: DateTime<Utc>, evidence: impl Into<Evidence>) -> Outcome {
        Outcome::Waiting { reason: self.into(), due, evidence: evidence.into() }
    }
}

/// A reason's name, as it travels in state, API and metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The `snake_case` name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ReasonSpec> for Reason {
    fn from(spec: ReasonSpec) -> Self {
        Self(Cow::Borrowed(spec.name))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line for a person: what was seen, in the target's own words. Control characters are replaced and the length is
/// bounded by [`MAX_EVIDENCE`], because the words may come from a hostile reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(Arc<str>);

impl Evidence {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: AsRef<str>> From<S> for Evidence {
    fn from(text: S) -> Self {
        let mut line = String::new();
        for c in text.as_ref().trim().chars() {
            if line.len() + c.len_utf8() > MAX_EVIDENCE - '…'.len_utf8() {
                line.push('…');
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        Self(line.into())
    }
}

impl Default for Evidence {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one Run saw of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// We looked and it is right.
    Pass {
        /// What was seen.
        evidence: Evidence,
    },
    /// We looked and it is wrong.
    Fail {
        /// Why.
        reason: Reason,
        /// What was seen.
        evidence: Evidence,
    },
    /// We could not look.
    Unknown {
        /// Why not.
        reason: Reason,
        /// What was seen instead.
        evidence: Evidence,
    },
    /// Not due yet; past `due` it counts as Unknown.
    Waiting {
        /// What for.
        reason: Reason,
        /// When it must have happened.
        due: DateTime<Utc>,
        /// What was seen so far.
        evidence: Evidence,
    },
}

impl Outcome {
    /// A Pass with its evidence.
    pub fn pass(evidence: impl Into<Evidence>) -> Self {
        Self::Pass { evidence: evidence.into() }
    }

    /// The evidence of any outcome.
    pub fn evidence(&self) -> &Evidence {
        match self {
            Self::Pass { evidence }
            | Self::Fail { evidence, .. }
            | Self::Unknown { evidence, .. }
            | Self::Waiting { evidence, .. } => evidence,
        }
    }

    /// The same outcome, its evidence begun with what it is about.
    #[must_use]
    pub(crate) fn of(mut self, what: &str) -> Self {
        match &mut self {
            Self::Pass { evidence }
            | Self::Fail { evidence, .. }
            | Self::Unknown { evidence, .. }
            | Self::Waiting { evidence, .. } => *evidence = Evidence::from(format!("{what}: {evidence}")),
        }
        self
    }

    /// The reason, of any outcome but Pass.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Pass { .. } => None,
            Self::Fail { reason, .. } | Self::Unknown { reason, .. } | Self::Waiting { reason, .. } => Some(reason),
        }
    }

    /// `pass`, `fail`, `unknown` or `waiting`: the metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Fail { .. } => "fail",
            Self::Unknown { .. } => "unknown",
            Self::Waiting { .. } => "waiting",
        }
    }

    /// How bad it is; the worst part of a Run decides.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Pass { .. } => 0,
            Self::Waiting { .. } => 1,
            Self::Unknown { .. } => 2,
            Self::Fail { .. } => 3,
        }
    }
}

/// One element a probe fans out to: a node, a pod, a table. Bounded like evidence, since targets name them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartId(String);

impl PartId {
    /// The part of a probe that looks at one thing only.
    pub const WHOLE: &'static str = "all";

    /// A part's name; cut at 128 characters.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).take(128).collect())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a proof's scan has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, as far as is known.
    pub total: u64,
    /// What is being scanned now.
    pub note: Evidence,
}

/// What a Run brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A complete look: an Outcome for each part. No part at all counts as Unknown.
    Done(BTreeMap<PartId, Outcome>),
    /// A proof's slice: not finished, the colour stays as it is.
    More(Progress),
}

impl Step {
    /// A complete look at a thing that has one part.
    pub fn whole(outcome: Outcome) -> Self {
        Self::Done(BTreeMap::from([(PartId::new(PartId::WHOLE), outcome)]))
    }
}

/// A number a Run reports, declared in [`crate::Meta::measures`] and exported as `phasegate_probe_value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Which part it belongs to.
    pub part: PartId,
    /// The declared name, with its unit: `latency_seconds`.
    pub name: &'static str,
    /// The number. Not finite values are dropped.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_one_bounded_line() {
        let hostile = format!("a\nb\u{1b}[31m{}", "é".repeat(MAX_EVIDENCE));
        let evidence = Evidence::from(hostile);
        assert!(evidence.as_str().len() <= MAX_EVIDENCE);
        assert!(evidence.as_str().starts_with("a b [31m"));
        assert!(evidence.as_str().ends_with('…'));
    }

    #[test]
    fn a_waiting_reason_without_a_due_time_is_unknown() {
        let spec = ReasonSpec::waiting("not_due", "wait");
        assert_eq!(spec.because("x").label(), "unknown");
    }
}
