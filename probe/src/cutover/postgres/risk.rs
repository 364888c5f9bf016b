//! What the new server has that no other has: rows that were written there after the mark.

use std::collections::BTreeSet;
use std::time::Duration;

use checks::postgres::by_hand::Hand;
use checks::postgres::mark::Side;
use checks::postgres::tables::{Counts, OF_ROWS};
use tokio::time::{Instant, sleep};

use super::super::Context;
use super::super::doctor::Finding;
use super::super::trouble::Trouble;
use super::{Patience, Talk, patiently, trouble};
use crate::exit::Exit;

/// How often to look again.
const PACE: Duration = Duration::from_millis(200);
/// By then the counters of sessions that have gone idle show all that they did.
const SETTLED: Duration = Duration::from_secs(11);

/// A table with rows that are nowhere else, or that lack rows that are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtRisk {
    table: String,
    rows: u64,
    /// What was counted since the mark; none: the counters began anew.
    counts: Option<Counts>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Risk {
    pub(super) tables: Vec<AtRisk>,
    after: String,
    /// Whether the counters have counted since the mark without a break.
    counted: bool,
}

impl Risk {
    fn take(&mut self, table: &str, rows: u64, counts: Option<Counts>) {
        let changed = counts.is_some_and(|counts| counts.updated > 0 || counts.deleted > 0);
        if rows > 0 || changed {
            self.tables.push(AtRisk { table: table.to_owned(), rows, counts });
        }
    }

    /// Whether rows were only added, so that to add them to the old server brings all over.
    fn is_insert_only(&self) -> bool {
        self.tables.iter().all(|table| table.counts.is_some_and(|counts| counts.updated == 0 && counts.deleted == 0))
    }

    /// What copying rows to the old server would not bring over; a problem only if there is something to be copied, or is known.
    pub(super) fn changes(&self) -> Vec<Finding> {
        let changed = |table: &&AtRisk| table.counts.is_none_or(|counts| counts.updated > 0 || counts.deleted > 0);
        let mut changes: Vec<Finding> = self
            .tables
            .iter()
            .filter(changed)
            .map(|table| {
                let counted = table.counts.map_or_else(
                    || "the server's counters began anew since the mark, so whether rows were changed can not be told".to_owned(),
                    |counts| format!("counted since the mark: {counts}, rolled back or not"),
                );
                let text = format!("{}: {} rows came to the new server; {counted}", table.table, table.rows);
                let next =
                    "nothing leads back without a loss: go on with the new server, or `cutover postgres unfence --accept-loss`";
                Finding::problem("changes", Exit::CLOSED, text, next)
            })
            .collect();
        if self.tables.is_empty() && !self.counted {
            let text = "the new server's counters began anew since the mark: whether rows were deleted there can not be told";
            changes.push(Finding::warning("changes", text, "look at the new server before it is given up"));
        }
        changes
    }

    /// How to get the rows of a table out of the new server.
    fn export(&self, table: &AtRisk) -> String {
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let file: String = table.table.chars().map(plain).collect();
        format!("\\copy (SELECT * FROM ONLY {} WHERE {}) TO '{file}.copy'", table.table, self.after)
    }

    /// As it is shown: each table with what is to be done about it.
    pub(super) fn findings(&self, loss_accepted: bool) -> Vec<Finding> {
        let insert_only = self.is_insert_only();
        let finding = |table: &AtRisk| {
            let counted = match table.counts {
                Some(counts) => format!("counted since the mark: {counts}"),
                None => "the counters began anew since the mark".to_owned(),
            };
            let text = format!("{}: {} rows are nowhere else ({counted})", table.table, table.rows);
            let next = if table.rows > 0 { self.export(table) } else { "look at what was deleted".to_owned() };
            if loss_accepted { Finding::warning("rows", text, next) } else { Finding::problem("rows", Exit::CLOSED, text, next) }
        };
        let mut all: Vec<_> = self.tables.iter().map(finding).collect();
        if all.is_empty() {
            all.push(Finding::fine("rows", "the new server has no row from after the mark"));
        } else if !insert_only {
            let text = "rows were changed or deleted as well, or it is not known: what is copied back does not bring that over";
            all.push(Finding::warning("changes", text, "compare these tables by hand before you give the new server up"));
        }
        all
    }

    /// What to do with rows that are nowhere else, after the list of them.
    pub(super) fn advice(&self) -> &'static str {
        if self.is_insert_only() {
            "rows were only added. To keep them: stop the application, `cutover postgres carry-back`, and unfence again; or by hand: run each \
             \\copy in psql on the new server, unfence with --accept-loss, then on the old one `\\copy TABLE FROM 'FILE'` and raise the \
             sequences (`setval`) beyond the new ids"
        } else {
            "nothing leads back without a loss: go on with the new server, or accept it with --accept-loss"
        }
    }

    /// For machines.
    pub(super) fn more(&self) -> Vec<(&'static str, serde_json::Value)> {
        let table = |table: &AtRisk| {
            let counts = table.counts;
            serde_json::json!({
                "table": table.table,
                "rows": table.rows,
                "inserted": counts.map(|counts| counts.inserted),
                "updated": counts.map(|counts| counts.updated),
                "deleted": counts.map(|counts| counts.deleted),
                "export": self.export(table),
            })
        };
        let insert_only = if self.tables.is_empty() { serde_json::Value::Null } else { self.is_insert_only().into() };
        vec![("tables", self.tables.iter().map(table).collect()), ("insertOnly", insert_only)]
    }
}

/// Counts the rows from after the mark, exactly, in every table. What deletes or changes counters alone is at risk, too.
pub(super) async fn count(cx: &mut Context<'_, '_>, new: &mut Hand, mark: &Side, patience: Patience) -> Result<Risk, Trouble> {
    let mut settled = false;
    loop {
        let restless = is_quiet(cx, new, patience).await?;
        let risk = scan(cx, new, mark, patience).await?;
        if !risk.tables.is_empty() || settled || restless == 0 {
            return Ok(risk);
        }
        cx.io.say(format!(
            "{}: {restless} sessions were active just now: waiting until all that they did is counted",
            new.place()
        ));
        sleep(SETTLED.min(patience.left())).await;
        settled = true;
    }
}

/// Waits until no transaction is open that could commit rows yet. How many sessions may not have been counted yet.
async fn is_quiet(cx: &mut Context<'_, '_>, new: &mut Hand, patience: Patience) -> Result<u64, Trouble> {
    let mut talk = Talk::default();
    loop {
        let written = new.written(cx.request_timeout).await.map_err(|refused| trouble(&refused))?;
        let (open, prepared) = (written.open_writers, written.prepared);
        if open == 0 && prepared == 0 {
            return Ok(written.restless);
        }
        let words = format!("{}: {open} transactions write, {prepared} are prepared", new.place());
        if patience.is_over() {
            return Err(Trouble::new(Exit::TIMEOUT, format!("{words}, and could commit rows there yet")).hint(
                "stop the application, end them (`pg_stat_activity`, `pg_prepared_xacts`), or accept the loss with --accept-loss",
            ));
        }
        talk.say(cx.io, format!("waiting: {words}"));
        sleep(PACE.min(patience.left())).await;
    }
}

/// What was counted for each table since the mark, as far as that is known.
struct Counted {
    since: Option<Vec<(String, Counts)>>,
    /// Tables that the counters know by name.
    named: BTreeSet<String>,
}

impl Counted {
    fn of(&self, table: &str) -> Option<Counts> {
        let since = self.since.as_ref()?;
        let found = since.iter().find(|(name, _)| name == table).map(|(_, counts)| *counts);
        let unnamed = self.rest().is_some() && !self.named.contains(table);
        found.or((!unnamed).then(Counts::default))
    }

    /// Of tables that are too many to be counted by name.
    fn rest(&self) -> Option<&(String, Counts)> {
        self.since.as_ref()?.iter().find(|(name, _)| !self.named.contains(name))
    }
}

async fn scan(cx: &mut Context<'_, '_>, new: &mut Hand, mark: &Side, patience: Patience) -> Result<Risk, Trouble> {
    let limit = cx.request_timeout;
    let told = |refused| trouble(&refused);
    let written = new.written(limit).await.map_err(told)?;
    let comparable = written.counted_since == mark.counted_since;
    let since = comparable.then(|| written.tables.since(&mark.tables)).flatten();
    let counted = Counted { since, named: written.tables.named.into_keys().collect() };
    let tables = format!("SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM {OF_ROWS} ORDER BY 1");
    let names = new.ask(&tables, limit).await.map_err(told)?;
    let mut risk = Risk { tables: Vec::new(), after: mark.is_after(), counted: counted.since.is_some() };
    let (mut talk, began) = (Talk::default(), Instant::now());
    for (at, row) in names.iter().enumerate() {
        let Some(table) = row.text("name") else { continue };
        if began.elapsed() > Duration::from_secs(1) {
            talk.say(cx.io, format!("{}: counting rows, table {} of {}: {table}", new.place(), at + 1, names.len()));
        }
        let words = format!("{}: counting rows of {table}", new.place());
        let rows = patiently(cx.io, &words, rows(new, table, &risk.after, patience)).await?;
        risk.take(table, rows, counted.of(table));
    }
    if let Some((name, counts)) = counted.rest() {
        risk.take(name, 0, Some(*counts));
    }
    Ok(risk)
}

async fn rows(new: &mut Hand, table: &str, after: &str, patience: Patience) -> Result<u64, Trouble> {
    let place = new.place().to_owned();
    let late = || {
        Trouble::new(Exit::TIMEOUT, format!("{place}: the rows of {table} are not counted within {patience}"))
            .hint("give more time with --timeout")
    };
    if patience.is_over() {
        return Err(late());
    }
    let answer = new.ask(&format!("SELECT count(*) AS rows FROM ONLY {table} WHERE {after}"), patience.left()).await;
    let counted = answer.map_err(|refused| {
        if refused.reason.as_str() == "timeout" {
            return late();
        }
        let denied = trouble(&refused);
        if denied.exit == Exit::AUTH {
            denied.hint(format!("GRANT SELECT ON {table} to that role, and USAGE on its schema"))
        } else {
            denied
        }
    })?;
    let rows = counted.first().and_then(|row| row.text("rows")?.parse().ok());
    rows.ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{place}: no readable count of {table}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risk(counts: Option<(u64, u64, u64)>) -> Risk {
        let table = AtRisk { table: "public.\"My rows\"".to_owned(), rows: 3, counts: counts.map(Counts::from) };
        Risk { tables: vec![table], after: "age(xmin) <= age('7'::xid)".to_owned(), counted: counts.is_some() }
    }

    #[test]
    fn rows_that_were_only_added_can_be_brought_back() {
        let only_added = risk(Some((3, 0, 0)));
        assert!(only_added.is_insert_only() && only_added.advice().contains("setval"));
        let next = only_added.findings(false)[0].next.clone().unwrap();
        assert_eq!(
            next,
            "\\copy (SELECT * FROM ONLY public.\"My rows\" WHERE age(xmin) <= age('7'::xid)) TO 'public._My_rows_.copy'"
        );
        for counts in [Some((3, 1, 0)), Some((3, 0, 1)), None] {
            let risk = risk(counts);
            assert!(!risk.is_insert_only() && risk.advice().contains("--accept-loss"), "{counts:?}");
            assert_eq!(risk.findings(false).len(), 2, "{counts:?}");
        }
    }
}
