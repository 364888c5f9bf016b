//! `cutover postgres carry-back`: the way back once the new server has taken rows, for as long as it has taken nothing but rows.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::doctor::{Finding, exit};
use super::super::render::Found;
use super::super::trouble::Trouble;
use super::super::{Answer, Context, name, positive};
use super::marks::{self, Known};
use super::{Dsn, Patience, dsn, editions, risk, servers};
use crate::exit::Exit;

mod copying;
mod judging;
mod sequences;
mod standing;
mod tables;
mod way;

use copying::Load;
use judging::{Judged, Verdict};
use standing::Ends;

/// `cutover postgres carry-back`
#[derive(Debug, Args)]
pub(crate) struct CarryBackArgs {
    /// The old server, with a login that may add rows to its tables: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// The new server, in the same way, with a role that may read all of its tables
    #[arg(long, value_name = "REF", value_parser = dsn)]
    new: Dsn,
    /// The name that the mark was recorded by
    #[arg(long, value_name = "NAME", value_parser = name, default_value = "postgres-mark")]
    fact: String,
    /// It is well if no mark was ever recorded: then the application was never switched
    #[arg(long)]
    no_mark: bool,
    /// How long to wait until nothing writes
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "1m")]
    wait: Duration,
    /// How long all of it may take
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "1h")]
    timeout: Duration,
    /// Show what would be carried; change nothing
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Only look whether anything is left to carry
    #[arg(long)]
    check: bool,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Spans {
    /// All of it.
    whole: Patience,
    /// Each wait for something that is open.
    wait: Duration,
}

/// Runs `cutover postgres carry-back`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: CarryBackArgs) -> Answer {
    let servers = servers(cx, [("old", Some(&args.old)), ("new", Some(&args.new))])?;
    let mut ends = Ends::enter(cx, &servers).await?;
    let places = ends.places();
    let Some(known) = marks::known(cx, &args.fact, marks::system(&ends.old_is)).await? else {
        return no_mark(cx, &args, &places);
    };
    ends.are_of(&known)?;
    let spans = Spans { whole: Patience::new(args.timeout), wait: args.wait };
    let counted = standing::settled(cx, &mut ends.new, spans.wait).await?;
    let risk = risk::count(cx, &mut ends.new, &known.mark.new, spans.whole).await?;
    let Judged { verdict, rows, findings } = Box::pin(judging::judge(cx, &mut ends, &known, spans)).await?;
    let findings = risk.changes().into_iter().chain(findings).collect();
    let mut report = Report { places, known, findings, carried: rows, done: false };
    let clear = exit(&report.findings) == Exit::OPEN;
    match verdict {
        Verdict::Nothing if clear => {
            report.done = true;
            report.findings.push(Finding::fine("rows", "nothing is left to carry: no row came to the new server after the mark"));
        }
        Verdict::Nothing | Verdict::Already(_) | Verdict::Carry(_) if args.check => {
            let text = format!("{} rows are left to carry", report.rows());
            let next = "`cutover postgres carry-back` without --check carries them";
            report.findings.insert(0, Finding::problem("rows", Exit::CLOSED, text, next));
        }
        Verdict::Nothing | Verdict::Already(_) | Verdict::Carry(_) if !clear => {
            report.show(cx);
            cx.io.say("refused: nothing was changed");
            return Ok(exit(&report.findings));
        }
        Verdict::Already(_) if args.dry_run => report.tell("are on the old server already"),
        Verdict::Already(xids) => {
            report.tell("are on the old server already, equal by count and hash");
            Box::pin(record(cx, &servers, &args, ends, &mut report, xids)).await?;
        }
        Verdict::Carry(load) if !args.dry_run => {
            let load = Load { counted, ..*load };
            let old_xid = Box::pin(copying::copy(cx, &mut ends, &report.known, &load, spans)).await?;
            report.tell("were carried back; counts and hashes add up");
            let raised = load.sequences.len();
            report.findings.push(Finding::fine("sequences", format!("{raised} were behind on the old server, and are raised")));
            Box::pin(record(cx, &servers, &args, ends, &mut report, (old_xid, load.new_xid))).await?;
        }
        Verdict::Carry(_) | Verdict::Nothing => report.tell("would be carried back; nothing was changed"),
    }
    report.show(cx);
    Ok(exit(&report.findings))
}

fn no_mark(cx: &mut Context<'_, '_>, args: &CarryBackArgs, places: &str) -> Answer {
    if args.no_mark {
        let findings = [Finding::fine("mark", "none was recorded, so nothing was switched, and nothing is to be carried")];
        cx.io.show(&Found { verb: "carry-back", place: places, findings: &findings, more: &[] });
        return Ok(Exit::OPEN);
    }
    let message = format!("no mark is known as {}, so it can not be told which rows came after it", args.fact);
    Err(Trouble::new(Exit::UNKNOWN, message).hint("say --no-mark if none was ever taken, or name another one with --fact"))
}

/// What is shown in the end.
struct Report {
    places: String,
    known: Known,
    findings: Vec<Finding>,
    /// Tables, and their rows from after the mark.
    carried: Vec<(String, u64)>,
    /// Whether nothing is left to carry.
    done: bool,
}

impl Report {
    fn rows(&self) -> u64 {
        self.carried.iter().map(|(_, rows)| rows).sum()
    }

    fn tell(&mut self, words: &str) {
        let told = self.carried.iter().map(|(table, rows)| Finding::fine("rows", format!("{table}: {rows} rows {words}")));
        self.findings.extend(told.collect::<Vec<_>>());
    }

    fn show(&self, cx: &mut Context<'_, '_>) {
        let tables: Value = self.carried.iter().map(|(table, rows)| json!({"table": table, "rows": rows})).collect();
        let more = [("fact", self.known.fact.clone().into()), ("tables", tables), ("done", self.done.into())];
        cx.io.show(&Found { verb: "carry-back", place: &self.places, findings: &self.findings, more: &more });
    }
}

/// Records that both servers are equal again: a new mark, first on this machine, since the way back needs no verifier.
async fn record(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    args: &CarryBackArgs,
    ends: Ends,
    report: &mut Report,
    xids: (u64, u64),
) -> Result<(), Trouble> {
    report.done = true;
    let mark = standing::mark(cx, servers, ends, xids).await.map_err(|trouble| {
        let hint = trouble.hint.clone().unwrap_or_default();
        trouble.hint(format!("{hint}; the rows are on the old server: the same command again records that"))
    })?;
    let known = Known { fact: editions::next(&args.fact, Some(&report.known.fact)), mark };
    marks::keep(&args.fact, &known)?;
    let fact = known.fact.clone();
    report.findings.push(match cx.client.put(&["facts", &fact], &known.mark).await {
        Ok(_) => Finding::fine("mark", format!("{fact} is recorded: from here on both servers are equal")),
        Err(trouble) => {
            let text = format!("{fact} is kept on this machine alone: {}", trouble.message);
            Finding::warning(
                "mark",
                text,
                "unfence from this machine, before the verifier is back; or say the same command again then",
            )
        }
    });
    report.known = known;
    Ok(())
}
