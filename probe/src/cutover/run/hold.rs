//! Asking the ledger until it agrees, for as long as that makes sense.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Runner;
use crate::api::types::Receipt;
use crate::cutover::render::waiting_lines;
use crate::cutover::trouble::Trouble;
use crate::event::{StepEnd, Way};
use crate::exit::Exit;
use crate::gate::phase_reasons::REGRESSED;
use crate::state::{ProbeState, StepState};

/// A regression, or another red, holds a run this long at most.
const RED_HOLDS: Duration = Duration::from_mins(10);
/// Time between two questions.
const PACE: Duration = Duration::from_secs(1);

/// What the ledger is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'s> {
    /// A step's `do` starts.
    Start { step: &'s str, checked: bool },
    /// Its work is over.
    Worked { step: &'s str },
    /// It is done, as its probes can tell.
    Done { step: &'s str, note: &'s str },
}

impl Ask<'_> {
    const fn step(&self) -> &str {
        match self {
            Self::Start { step, .. } | Self::Worked { step } | Self::Done { step, .. } => step,
        }
    }

    /// Where the step stands once the ledger has agreed.
    const fn leads_to(&self) -> StepState {
        match self {
            Self::Start { .. } => StepState::Running,
            Self::Worked { .. } => StepState::Verifying,
            Self::Done { .. } => StepState::Done,
        }
    }
}

impl Runner<'_, '_, '_> {
    async fn put(&self, ask: Ask<'_>) -> Result<Receipt, Trouble> {
        match ask {
            Ask::Start { step, checked } => self.tell_start(step, Way::Do, checked).await,
            Ask::Worked { step } => self.tell_worked(step).await,
            Ask::Done { step, note } => self.tell_end(step, StepEnd::Done, note).await,
        }
    }

    /// Asks until the ledger agrees, until it says something that no waiting changes, or until the deadline.
    pub(super) async fn insist(&mut self, ask: Ask<'_>, deadline: Instant) -> Result<(), Trouble> {
        let began = Instant::now();
        let mut said = None;
        let mut unanswered = false;
        loop {
            let next = Instant::now() + PACE;
            let trouble = match self.put(ask).await {
                Ok(receipt) => {
                    self.heard(receipt)?;
                    break;
                }
                Err(trouble) => trouble,
            };
            // An answer got lost, and what was asked for has happened.
            if unanswered && trouble.exit == Exit::CLOSED && self.refresh().await.is_ok() && self.stands_as(ask) {
                break;
            }
            unanswered |= trouble.exit == Exit::UNREACHABLE;
            let patience = match self.patience(ask, &trouble) {
                Some(patience) => began.checked_add(patience).map_or(deadline, |end| deadline.min(end)),
                None => return Err(trouble),
            };
            if next > patience {
                let message = format!("waited {} in vain: {}", crate::now::span(began.elapsed()), trouble.message);
                return Err(Trouble { message: message.into(), ..trouble });
            }
            if said.as_ref() != Some(&trouble.message) {
                said = Some(trouble.message.clone());
                self.cx.io.say(format!("step {}: waiting, at most {}", ask.step(), crate::now::span(patience - began)));
                for line in waiting_lines(&trouble) {
                    self.cx.io.say(format!("  {line}"));
                }
            }
            let starts = matches!(ask, Ask::Start { .. });
            let mut stop = self.stop.clone();
            // A step that runs is brought to its end, its verification included; one that does not is not started any more.
            let stopped = async move { if starts { stop.once().await } else { stop.twice().await } };
            tokio::select! {
                () = sleep_until(next) => {}
                () = stopped => return Err(self.interrupted()),
            }
        }
        let step = ask.step().to_owned();
        self.set(&step, ask.leads_to());
        Ok(())
    }

    fn stands_as(&self, ask: Ask<'_>) -> bool {
        self.step(ask.step()).is_some_and(|step| step.state == Some(ask.leads_to()))
    }

    /// For how long it makes sense to ask again. None: no waiting changes this.
    fn patience(&self, ask: Ask<'_>, trouble: &Trouble) -> Option<Duration> {
        match trouble.exit {
            Exit::UNREACHABLE | Exit::UNKNOWN | Exit::PENDING => Some(Duration::MAX),
            Exit::CLOSED if trouble.blockers.is_empty() => None,
            Exit::CLOSED if matches!(ask, Ask::Done { .. }) => Some(Duration::MAX),
            Exit::CLOSED => {
                let passes = |b: &crate::api::types::BlockerBody| b.state == Some(ProbeState::Red) || b.reason == REGRESSED.name;
                (self.has_begun() && trouble.blockers.iter().all(passes)).then_some(RED_HOLDS)
            }
            _ => None,
        }
    }

    pub(super) fn interrupted(&self) -> Trouble {
        let phase = &self.phase;
        Trouble::new(Exit::INTERRUPTED, format!("phase {phase} stops half-way"))
            .hint("`cutover resume` goes on from here, `cutover abort` goes back")
    }
}
