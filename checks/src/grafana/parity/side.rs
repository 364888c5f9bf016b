//! The two Grafanas, each asked no more often than it was said.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::target::GrafanaTarget;

use super::super::access::Access;
use super::super::api::Api;
use super::section::Section;

/// One of the two.
#[derive(Debug)]
pub(super) struct Side<'a> {
    name: &'a str,
    api: Api<'a>,
    pace: Mutex<Interval>,
    budget: Budget,
}

impl<'a> Side<'a> {
    pub(super) async fn open(cx: &'a Context, name: &'a str, per_second: u32, budget: Budget) -> Result<Self, Outcome> {
        let target = cx.target::<GrafanaTarget>(name)?;
        let api = Api::open(cx, target).await.map_err(|outcome| outcome.of(name))?;
        let mut pace = interval(Duration::from_secs(1) / per_second.max(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { name, api, pace: Mutex::new(pace), budget })
    }

    /// The way to ask it the next question, as soon as that may be.
    pub(super) async fn turn(&self) -> (&Api<'a>, Budget) {
        self.pace.lock().await.tick().await;
        (&self.api, self.budget.until(5))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, Outcome> {
        let (api, budget) = self.turn().await;
        api.get(path, query, budget).await.map_err(|outcome| self.named(outcome))
    }

    /// None if it is not there.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, Outcome> {
        let (api, budget) = self.turn().await;
        api.find(path, &[], budget).await.map_err(|outcome| self.named(outcome))
    }

    /// What its token may see.
    pub(super) async fn access(&self) -> Result<Access, Outcome> {
        let (api, budget) = self.turn().await;
        Access::of(api, budget).await.map_err(|outcome| self.named(outcome))
    }

    /// An outcome, begun with whose it is.
    pub(super) fn named(&self, outcome: Outcome) -> Outcome {
        outcome.of(self.name)
    }
}

/// Both.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub(super) old: Side<'a>,
    pub(super) new: Side<'a>,
}

/// What the two tokens may see.
#[derive(Debug)]
pub(super) struct Seen {
    old: Access,
    new: Access,
}

impl Sides<'_> {
    pub(super) async fn seen(&self) -> Result<Seen, Outcome> {
        let (old, new) = futures::future::try_join(self.old.access(), self.new.access()).await?;
        Ok(Seen { old, new })
    }

    /// That they are two servers.
    pub(super) async fn are_two(&self) -> Result<(), Outcome> {
        let ((old, budget), (new, _)) = futures::future::join(self.old.turn(), self.new.turn()).await;
        old.is_not(new, budget).await
    }

    /// Whether all of it is seen on both sides.
    pub(super) fn all_of(&self, section: Section, seen: &Seen) -> Result<(), Outcome> {
        section.seen_with(&seen.old).map_err(|outcome| self.old.named(outcome))?;
        section.seen_with(&seen.new).map_err(|outcome| self.new.named(outcome))
    }
}
