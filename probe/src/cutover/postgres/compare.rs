//! `cutover postgres compare`: the proofs of phase 4 by hand, for any two servers, from beginning to end in one go.

use std::sync::Arc;
use std::time::Duration;

use checks::postgres::mark::{Mark, Side};
use checks::{DynCheck, Fact, Outcome, Step};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::super::doctor::{Finding, exit};
use super::super::render::{Found, Io};
use super::super::trouble::Trouble;
use super::super::{Answer, Context, name};
use super::{Dsn, dsn, editions, servers};
use crate::exit::Exit;

/// How often it is told how far it has come.
const TOLD: Duration = Duration::from_secs(2);
/// What is between two slices: none would leave no time for an interruption.
const PAUSE: Duration = Duration::from_millis(10);
/// The name of the mark that is taken for the comparison.
const NOW: &str = "now";

/// `cutover postgres compare`
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The old server, where the connection string of a role that can read everything is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// The new server, in the same way
    #[arg(long, value_name = "REF", value_parser = dsn)]
    new: Dsn,
    /// Compare rows as of this recorded mark, instead of as they are now
    #[arg(long, value_name = "FACT", value_parser = name)]
    mark: Option<String>,
    /// Compare with what this recorded manifest says that the old server held
    #[arg(long, value_name = "FACT", value_parser = name, requires = "mark")]
    manifest: Option<String>,
    /// Compare only this; may be given more than once
    #[arg(long, value_name = "WHAT", value_enum)]
    only: Vec<What>,
    /// A table whose rows are left out, like `public.cache` or `audit.*`; `largeObjects` stands for those
    #[arg(long, value_name = "TABLE")]
    except: Vec<String>,
    /// Up to how many gigabytes every row of every table is compared
    #[arg(long, value_name = "GIB", default_value_t = 10)]
    exact_up_to_gib: u32,
    /// Beyond that, one row in so many of large tables is
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    sample_one_in: u32,
    /// For how much of the time the servers are read
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    load_percent: u32,
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What the databases consist of: tables, columns, indexes, privileges, roles, settings
    Catalog,
    /// Every row of every table
    Rows,
    /// That no sequence gives out what is there already
    Sequences,
    /// That the new server's indexes and collations are sound
    Indexes,
}

impl What {
    const ALL: [Self; 4] = [Self::Catalog, Self::Rows, Self::Sequences, Self::Indexes];

    fn word(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Rows => "rows",
            Self::Sequences => "sequences",
            Self::Indexes => "indexes",
        }
    }

    /// The check, and its block as a document has it.
    fn block(self, args: &CompareArgs) -> (&'static str, Value) {
        let load = args.load_percent;
        match self {
            Self::Catalog => ("postgresCatalog", json!({"old": "old", "new": "new"})),
            Self::Sequences => ("postgresSequences", json!({"old": "old", "new": "new", "loadPercent": load})),
            Self::Indexes => ("postgresIndexes", json!({"postgres": "new", "loadPercent": load})),
            Self::Rows => {
                let mut block = Map::new();
                block.insert("mark".to_owned(), args.mark.as_deref().unwrap_or(NOW).into());
                block.extend(args.manifest.as_ref().map(|manifest| ("manifest".to_owned(), manifest.clone().into())));
                block.extend([
                    ("old".to_owned(), json!("old")),
                    ("new".to_owned(), json!("new")),
                    ("except".to_owned(), json!(args.except)),
                    ("exactUpToGib".to_owned(), json!(args.exact_up_to_gib)),
                    ("sampleOneIn".to_owned(), json!(args.sample_one_in)),
                    ("loadPercent".to_owned(), json!(load)),
                ]);
                ("postgresRows", block.into())
            }
        }
    }

    fn check(self, args: &CompareArgs) -> Result<Arc<dyn DynCheck>, Trouble> {
        let (kind, block) = self.block(args);
        let refused =
            |why: String| Trouble::new(Exit::USAGE, why).hint("`cutover postgres compare --help` shows what can be said");
        let registry = checks::registry();
        let entry = registry.get(kind).ok_or_else(|| refused(format!("there is no check {kind}")))?;
        let check = (entry.parse)(block).map_err(|error| refused(error.message))?;
        match check.validate().into_iter().next() {
            Some(wrong) => Err(refused(format!("{}: {}; {}", wrong.field, wrong.message, wrong.hint))),
            None => Ok(check),
        }
    }
}

/// Runs `cutover postgres compare`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: CompareArgs) -> Answer {
    let mut servers = servers(cx, [("old", Some(&args.old)), ("new", Some(&args.new))])?;
    servers.facts = Arc::new(facts(cx, &servers, &args).await?);
    let chosen: Vec<What> = What::ALL.into_iter().filter(|what| args.only.is_empty() || args.only.contains(what)).collect();
    let mut checks = Vec::new();
    for what in chosen {
        checks.push((what, what.check(&args)?));
    }
    let mut findings = Vec::new();
    for (what, check) in checks {
        findings.extend(compare(cx.io, &servers, what, check.as_ref(), cx.now).await);
    }
    let equal = exit(&findings) == Exit::OPEN;
    cx.io.show(&Found { verb: "compare", place: "old → new", findings: &findings, more: &[("equal", equal.into())] });
    Ok(exit(&findings))
}

/// What is recorded, if that is what is compared with; otherwise a mark of now.
async fn facts(cx: &Context<'_, '_>, servers: &checks::Context, args: &CompareArgs) -> Result<checks::Facts, Trouble> {
    let mut facts = checks::Facts::new();
    for (name, what) in [(&args.mark, "mark of two servers"), (&args.manifest, "manifest")] {
        let Some(name) = name else { continue };
        let Some((edition, value)) = editions::newest_of::<Value>(cx.client, name, what).await? else {
            return Err(
                Trouble::new(Exit::NOT_FOUND, format!("no fact {name} is recorded")).hint("`cutover report` shows which are")
            );
        };
        facts.insert(edition, Fact { at: servers.now, value });
    }
    if args.mark.is_none() {
        let told = |outcome: Outcome| super::trouble(&outcome.into());
        let old = Side::now(servers, "old").await.map_err(told)?;
        let new = Side::now(servers, "new").await.map_err(told)?;
        facts.insert(NOW.to_owned(), Fact { at: servers.now, value: super::super::render::value(&Mark { old, new }) });
    }
    Ok(facts)
}

/// Runs one check to its end.
async fn compare(
    io: &mut Io<'_>,
    servers: &checks::Context,
    what: What,
    check: &dyn DynCheck,
    now: super::super::Wall,
) -> Vec<Finding> {
    let (mut memory, mut told) = (None::<Vec<u8>>, Instant::now());
    loop {
        let cx = checks::Context { now: now(), ..servers.clone() };
        let report = match check.run(&cx, memory.as_deref()).await {
            Ok(report) => report,
            Err(error) => {
                let next = "repeat the command; this is a mistake in phasegate";
                return vec![Finding::problem(what.word(), Exit::UNKNOWN, error.to_string(), next)];
            }
        };
        memory = Some(report.memory);
        match report.step {
            Step::Done(parts) => {
                return parts.iter().map(|(part, outcome)| finding(check, what, part.as_str(), outcome)).collect();
            }
            Step::More(progress) if told.elapsed() >= TOLD => {
                told = Instant::now();
                let percent = progress.done.saturating_mul(100) / progress.total.max(1);
                io.say(format!("{}: {percent} %, {}", what.word(), progress.note));
            }
            Step::More(_) => {}
        }
        sleep(PAUSE).await;
    }
}

fn finding(check: &dyn DynCheck, what: What, part: &str, outcome: &Outcome) -> Finding {
    let part = if part == what.word() || part == checks::PartId::WHOLE { String::new() } else { format!("{part}: ") };
    let next = || {
        let reason = outcome.reason().map(ToString::to_string).unwrap_or_default();
        let known = check.meta().reasons().find(|spec| spec.name == reason);
        known.map_or_else(|| "look at the server's log".to_owned(), |spec| spec.next.to_owned())
    };
    let text = |reason: Option<&checks::Reason>| {
        let reason = reason.map_or_else(String::new, |reason| format!("{reason}: "));
        format!("{part}{reason}{}", outcome.evidence())
    };
    match outcome {
        Outcome::Pass { .. } => Finding::fine(what.word(), text(None)),
        Outcome::Fail { reason, .. } => Finding::problem(what.word(), Exit::CLOSED, text(Some(reason)), next()),
        Outcome::Unknown { reason, .. } | Outcome::Waiting { reason, .. } => {
            Finding::problem(what.word(), Exit::UNKNOWN, text(Some(reason)), next())
        }
    }
}
