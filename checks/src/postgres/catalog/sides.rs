//! The two databases, each asked as its version can be asked.

use futures::future::try_join;
use tokio_postgres::SimpleQueryRow;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::NO_PERMISSION;
use crate::postgres::observer::Row;
use crate::postgres::pair::{Pair, Reader};

use super::ask::{Question, list};
use super::part::Part;
use super::questions::{Side, text};
use super::{PostgresCatalog, TOO_OLD};

/// The oldest version whose catalog is known.
const OLDEST: u32 = 15;
/// What a row of an answer takes beside its values, in bytes.
const ROW: usize = 16;

/// Whose login it is, and whether it is the verifier's alone: one that owns something, or may write, is the application's, and is compared.
const LOGIN: &str = "SELECT r.rolname AS name, NOT r.rolsuper AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass \
     AND d.refobjid = r.oid AND d.deptype = 'o') AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'phasegate') \
     AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS ours FROM pg_roles r WHERE r.rolname = session_user";

/// Both.
pub(super) struct Sides {
    pub(super) pair: Pair,
    old: Side,
    new: Side,
    /// How many bytes either side has sent.
    pub(super) spent: usize,
}

/// What a question about a part brought from both sides.
pub(super) struct Both<T> {
    pub(super) old: T,
    pub(super) new: T,
}

impl Sides {
    pub(super) async fn enter(cx: &Context, check: &PostgresCatalog, budget: Budget) -> Result<Self, Outcome> {
        let mut pair = Box::pin(Pair::enter(cx, &check.old, &check.new, budget)).await?;
        match logins(&mut pair, budget).await {
            Ok(logins) => {
                let (old, new) = (pair.old.major, pair.new.major);
                let (old, new) = (Side::of(old, new, logins.clone()), Side::of(new, old, logins));
                Ok(Self { pair, old, new, spent: 0 })
            }
            Err(outcome) => {
                pair.leave(budget).await;
                Err(outcome)
            }
        }
    }

    /// The questions about a part; `besides` is left out on the new side alone.
    pub(super) fn questions(&self, part: Part, except: &[String], besides: Option<&str>) -> Both<Question> {
        let on_new: Vec<String> = except.iter().cloned().chain(besides.map(str::to_owned)).collect();
        Both { old: Question::of(&self.old, part, except), new: Question::of(&self.new, part, &on_new) }
    }

    /// Asks both sides at once.
    pub(super) async fn ask<T>(
        &mut self,
        questions: &Both<Question>,
        put: impl Fn(&Question) -> String,
        read: impl Fn(&[SimpleQueryRow]) -> Result<T, &'static str>,
        budget: Budget,
    ) -> Result<Both<T>, Outcome> {
        self.ask_sql(&put(&questions.old), &put(&questions.new), read, budget).await
    }

    pub(super) async fn ask_sql<T>(
        &mut self,
        to_old: &str,
        to_new: &str,
        read: impl Fn(&[SimpleQueryRow]) -> Result<T, &'static str>,
        budget: Budget,
    ) -> Result<Both<T>, Outcome> {
        let Pair { old, new } = &mut self.pair;
        let (of_old, of_new) = try_join(answer(old, to_old, budget), answer(new, to_new, budget)).await?;
        self.spent = self.spent.saturating_add(size(&of_old).max(size(&of_new)));
        let unreadable = |reader: &Reader, field| reader.unreadable(field);
        Ok(Both {
            old: read(&of_old).map_err(|field| unreadable(&self.pair.old, field))?,
            new: read(&of_new).map_err(|field| unreadable(&self.pair.new, field))?,
        })
    }

    /// Ends a transaction that a refused question may have left open.
    pub(super) async fn clear(&mut self, budget: Budget) -> Result<(), Outcome> {
        let Pair { old, new } = &mut self.pair;
        try_join(old.ask("ROLLBACK", budget), new.ask("ROLLBACK", budget)).await.map(|_| ())
    }
}

async fn answer(reader: &mut Reader, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
    let outcome = match reader.ask(sql, budget).await {
        Ok(rows) => return Ok(rows),
        Err(outcome) => outcome,
    };
    let functions = match denied(&outcome, "function") {
        Some(name) => signatures(reader, &name, budget).await,
        None => Vec::new(),
    };
    Err(granted(outcome, &reader.role, &functions))
}

/// The functions of this name that may not be called: there may be several, and a GRANT names one. None if that can not be seen either.
async fn signatures(reader: &mut Reader, name: &str, budget: Budget) -> Vec<String> {
    let sql = format!(
        "SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.proname = {} AND p.pronamespace = 'pg_catalog'::regnamespace \
         AND NOT has_function_privilege(p.oid, 'EXECUTE') ORDER BY p.oid",
        text(name)
    );
    let Ok(rows) = reader.ask(&sql, budget).await else { return Vec::new() };
    list(&rows).unwrap_or_default()
}

fn size(rows: &[SimpleQueryRow]) -> usize {
    let of_row = |row: &SimpleQueryRow| (0..row.len()).filter_map(|n| row.try_get(n).ok().flatten()).map(str::len).sum::<usize>();
    rows.iter().map(|row| ROW + of_row(row)).sum()
}

/// What of this kind a refusal names.
fn denied(outcome: &Outcome, kind: &str) -> Option<String> {
    let (_, rest) = outcome.evidence().as_str().split_once(&format!("permission denied for {kind} "))?;
    rest.split([' ', '(', ';']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// A refusal, with the statement that takes it away.
pub(super) fn granted(outcome: Outcome, role: &str, functions: &[String]) -> Outcome {
    if outcome.reason() != Some(&NO_PERMISSION.into()) {
        return outcome;
    }
    let said = outcome.evidence().as_str();
    let grant = if let Some(name) = denied(&outcome, "table").or_else(|| denied(&outcome, "view")) {
        format!("SELECT ON pg_catalog.{name}")
    } else if let Some(name) = denied(&outcome, "function") {
        let all: Vec<String> = functions.iter().map(|function| format!("pg_catalog.{function}")).collect();
        format!("EXECUTE ON FUNCTION {}", if all.is_empty() { format!("pg_catalog.{name}") } else { all.join(", ") })
    } else {
        "pg_monitor".to_owned()
    };
    NO_PERMISSION.because(format!("{said}; run GRANT {grant} TO {role};"))
}

/// The logins that are the verifier's alone, wherever they log in.
async fn logins(pair: &mut Pair, budget: Budget) -> Result<Vec<String>, Outcome> {
    let mut told: Vec<(String, bool)> = Vec::new();
    for reader in [&mut pair.old, &mut pair.new] {
        if reader.major < OLDEST {
            return Err(TOO_OLD.because(format!("{}: PostgreSQL {}", reader.place, reader.major)));
        }
        let rows = answer(reader, LOGIN, budget).await?;
        let [row] = rows.as_slice() else { return Err(reader.unreadable("role")) };
        let one = || Ok((Row(row).text("name")?.to_owned(), Row(row).truth("ours")?));
        told.push(one().map_err(|field: &'static str| reader.unreadable(field))?);
    }
    let ours = |name: &String| told.iter().all(|(other, ours)| other != name || *ours);
    Ok(told.iter().map(|(name, _)| name.clone()).filter(ours).collect())
}
