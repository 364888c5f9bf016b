//! One of the two Grafanas, and what it has.

use serde_json::Value;

use crate::check::Context;
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Outcome, Reason};
use crate::target::GrafanaTarget;

use super::super::WRONG_REPLY;
use super::super::access::{Access, DASHBOARDS, DATASOURCES};
use super::super::api::{Api, PERMISSION_MISSING};
use super::super::dashboard;
use super::super::datasources::Datasources;
use super::answer::{self, Trouble};
use super::judge::Seen;
use super::question::{About, Asker, Made, Question};
use super::shape::{Board, Shape};

/// A Grafana that is asked.
#[derive(Debug)]
pub(super) struct Side<'a> {
    api: Api<'a>,
    datasources: Datasources,
}

/// What there is of a dashboard.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    Board(Board),
    Missing,
    /// It can not be read; why.
    Unclear(String),
}

fn is(outcome: &Outcome, reasons: &[crate::ReasonSpec]) -> bool {
    reasons.iter().any(|reason| outcome.reason() == Some(&Reason::from(*reason)))
}

impl<'a> Side<'a> {
    /// Reads its token and its datasources; `all` dashboards are to be seen by the token, if they are to be listed.
    pub(super) async fn open(cx: &'a Context, name: &str, all: bool, budget: Budget) -> Result<Self, Outcome> {
        let api = Api::open(cx, cx.target::<GrafanaTarget>(name)?).await?;
        let access = Access::of(&api, budget).await?;
        access.covers(DATASOURCES, "GET /api/datasources")?;
        if all {
            access.covers(DASHBOARDS, "GET /api/search")?;
        }
        let datasources = Datasources::of(&api, budget).await?;
        Ok(Self { api, datasources })
    }

    /// That another one is another server.
    pub(super) async fn is_not(&self, other: &Self, budget: Budget) -> Result<(), Outcome> {
        self.api.is_not(&other.api, budget).await
    }

    /// The uids of all dashboards.
    pub(super) async fn dashboards(&self, budget: Budget) -> Result<Vec<String>, Outcome> {
        Ok(dashboard::list(&self.api, budget).await?.into_iter().map(|listed| listed.uid).collect())
    }

    /// One of them.
    pub(super) async fn board(&self, uid: &str, budget: Budget) -> Result<Found, Outcome> {
        match dashboard::read(&self.api, uid, budget).await {
            Ok(Some(dashboard)) => Ok(Found::Board(Board::of(&dashboard))),
            Ok(None) => Ok(Found::Missing),
            Err(outcome) if is(&outcome, &[PERMISSION_MISSING]) => {
                let words = "or it is not there: Grafana tells them apart only to a token that may see all dashboards";
                Ok(Found::Unclear(format!("{}; {words}", outcome.evidence())))
            }
            Err(outcome) if is(&outcome, &[WRONG_REPLY, fetch::TOO_LARGE, fetch::UNPARSABLE]) => {
                Ok(Found::Unclear(outcome.evidence().as_str().to_owned()))
            }
            Err(outcome) => Err(outcome),
        }
    }

    /// What a panel shows.
    pub(super) async fn seen(&self, about: About<'_>, panel: &Shape, budget: Budget) -> Result<(Seen, Shape), Outcome> {
        let panel = match panel.library() {
            None => panel.clone(),
            Some(uid) => match self.api.find::<Value>(&["api", "library-elements", uid], &[], budget).await {
                Ok(Some(found)) => panel.with_library(found.pointer("/result/model").unwrap_or(&Value::Null)),
                Ok(None) => return Ok((Seen::Wrong(format!("there is no library panel {uid}")), panel.clone())),
                Err(outcome) if is(&outcome, &[PERMISSION_MISSING, WRONG_REPLY]) => {
                    return Ok((Seen::Unclear(outcome.evidence().as_str().to_owned()), panel.clone()));
                }
                Err(outcome) => return Err(outcome),
            },
        };
        let seen = match self.question(about, &panel) {
            Made::Ask(question) => self.asked(&question, budget).await?,
            Made::Nothing => Seen::Nothing,
            Made::Wrong(words) => Seen::Wrong(words),
            Made::Unclear(words) => Seen::Unclear(words),
        };
        Ok((seen, panel))
    }

    /// Whether a panel's own model asks something.
    pub(super) fn asks(&self, about: About<'_>, panel: &Shape) -> bool {
        matches!(self.question(about, panel), Made::Ask(_))
    }

    fn question(&self, about: About<'_>, panel: &Shape) -> Made {
        Asker { about, datasources: &self.datasources }.made(panel)
    }

    async fn asked(&self, question: &Question, budget: Budget) -> Result<Seen, Outcome> {
        let reply = match self.api.ask(&["api", "ds", "query"], &question.body, budget).await {
            Ok(reply) => reply,
            Err(outcome) if is(&outcome, &[reasons::TIMEOUT]) => return Ok(late(&outcome)),
            Err(outcome) => return Err(outcome),
        };
        match answer::read(&reply, question) {
            Ok(answers) => Ok(Seen::Answers(answers)),
            Err(Trouble::Panel(words)) => Ok(Seen::Unclear(words)),
            Err(Trouble::Side(outcome)) if is(&outcome, &[reasons::TIMEOUT]) => Ok(late(&outcome)),
            Err(Trouble::Side(outcome)) => Err(outcome),
        }
    }
}

fn late(outcome: &Outcome) -> Seen {
    Seen::Late(outcome.evidence().as_str().to_owned())
}
