//! `cutover postgres manifest`: records what the old server's tables hold in the very snapshot that a dump is made of, or right before
//! the server is stopped for a copy of its files.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use checks::postgres::manifest::Manifest;
use checks::postgres::taking::{Counting, Depth, Holding};
use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::doctor::{Finding, exit};
use super::super::render::{Found, Io, moment};
use super::super::trouble::Trouble;
use super::super::work::{End, Job, work};
use super::super::{Answer, Context, name, positive};
use super::{Dsn, dsn, editions, enter, servers, stopped, trouble};
use crate::exit::Exit;

/// What stands for the snapshot in the command.
const SNAPSHOT: &str = "{snapshot}";
/// How often the snapshot is looked after, and how far the counting has come is told.
const PACE: Duration = Duration::from_secs(2);

/// `cutover postgres manifest`
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// The name that the manifest is recorded by
    #[arg(value_name = "NAME", value_parser = name, default_value = "postgres-manifest")]
    fact: String,
    /// The old server, where the connection string of the verifier's own role is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// Record a new manifest although there is one; the newest counts
    #[arg(long, conflicts_with = "check")]
    again: bool,
    /// Only look whether a manifest of this server is recorded
    #[arg(long, conflicts_with = "command")]
    check: bool,
    /// For a copy of the files: the data directory that is copied once the command has stopped the server
    #[arg(long, value_name = "DIR", requires = "command")]
    data: Option<PathBuf>,
    /// The server's own `pg_controldata`, for --data
    #[arg(long, value_name = "PROGRAM", requires = "data", default_value = "pg_controldata")]
    pg_controldata: PathBuf,
    /// Up to how many gigabytes every row of every table is hashed
    #[arg(long, value_name = "GIB", default_value_t = 10)]
    exact_up_to_gib: u32,
    /// Beyond that, one row in so many of large tables is
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    sample_one_in: u32,
    /// For how much of the time the old server is read
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    load_percent: u32,
    /// How long the command may take
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "24h")]
    timeout: Duration,
    /// The command: `pg_dump --snapshot={snapshot} …`, or what stops the server if --data is given
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `cutover postgres manifest`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: ManifestArgs) -> Answer {
    rules(&args)?;
    let servers = servers(cx, [("old", Some(&args.old))])?;
    let recorded = editions::newest_of::<Manifest>(cx.client, &args.fact, "manifest").await?;
    if let Some((fact, manifest)) = recorded.as_ref().filter(|_| !args.again) {
        return already(cx, &servers, fact, manifest).await;
    }
    if args.check {
        return Err(Trouble::new(Exit::CLOSED, format!("no manifest is recorded as {}", args.fact))
            .hint("`cutover postgres manifest … -- pg_dump --snapshot={snapshot} …` records one"));
    }
    warn(cx, &servers).await?;
    let taken =
        if args.data.is_some() { before_a_copy(cx, &servers, &args).await } else { with_a_dump(cx, &servers, &args).await };
    let (place, manifest) = taken?;
    let fact = editions::next(&args.fact, recorded.as_ref().map(|(fact, _)| fact.as_str()));
    cx.client.put(&["facts", &fact], &manifest).await?;
    let text = format!("{fact} is recorded, as of {}: {}", moment(manifest.at), held(&manifest));
    Ok(show(cx, &place, &fact, &manifest, text))
}

fn rules(args: &ManifestArgs) -> Result<(), Trouble> {
    if args.check {
        return Ok(());
    }
    if args.command.is_empty() {
        return Err(Trouble::new(Exit::USAGE, "there is no command: a manifest that no dump belongs to proves nothing")
            .hint("add `-- pg_dump --snapshot={snapshot} …`, or --data DIR and what stops the server"));
    }
    let placed = args.command.iter().any(|word| word.contains(SNAPSHOT));
    if args.data.is_none() && !placed {
        return Err(Trouble::new(
            Exit::USAGE,
            format!("the command does not say {SNAPSHOT}: it would dump other rows than are counted"),
        )
        .hint("write `pg_dump --snapshot={snapshot} …`, in a script pass it on as an argument"));
    }
    Ok(())
}

async fn already(cx: &mut Context<'_, '_>, servers: &checks::Context, fact: &str, manifest: &Manifest) -> Answer {
    let mut hand = enter(cx, servers, "old").await?;
    let (place, is) = (hand.place().to_owned(), hand.identity(cx.request_timeout).await);
    hand.leave().await;
    let is = is.map_err(|refused| trouble(&refused))?;
    if manifest.identity != is {
        return Err(Trouble::new(Exit::CLOSED, format!("{fact} is of another server: {}, and this is {is}", manifest.identity))
            .hint("correct --old, or dump anew with `cutover postgres manifest --again`"));
    }
    let text = format!("{fact} is recorded already, as of {}: {}; --again takes a new one", moment(manifest.at), held(manifest));
    Ok(show(cx, &place, fact, manifest, text))
}

fn held(manifest: &Manifest) -> String {
    let rows: i64 = manifest.tables.values().map(|held| held.sum.rows).sum();
    let sampled = manifest.tables.values().filter(|held| held.one_in > 1).count();
    let sampled = if sampled > 0 { format!(", {sampled} of them SAMPLED") } else { String::new() };
    format!("{} tables with {rows} rows{sampled}", manifest.tables.len())
}

fn show(cx: &mut Context<'_, '_>, place: &str, fact: &str, manifest: &Manifest, text: String) -> Exit {
    let findings = [Finding::fine("manifest", text)];
    let more = [("fact", fact.into()), ("value", super::super::render::value(manifest))];
    cx.io.show(&Found { verb: "manifest", place, findings: &findings, more: &more });
    exit(&findings)
}

/// What is written from now on is in no dump.
async fn warn(cx: &mut Context<'_, '_>, servers: &checks::Context) -> Result<(), Trouble> {
    let mut hand = enter(cx, servers, "old").await?;
    let rows = hand.ask("SELECT current_setting('default_transaction_read_only') AS read_only", cx.request_timeout).await;
    hand.leave().await;
    let rows = rows.map_err(|refused| trouble(&refused))?;
    if !rows.first().is_some_and(|row| row.yes("read_only")) {
        cx.io.say(
            "warning: the old server is not fenced: what is written there from now on is in no dump, and `postgresRows` will say so; \
             `cutover postgres fence` first",
        );
    }
    Ok(())
}

async fn begin(cx: &mut Context<'_, '_>, servers: &checks::Context, args: &ManifestArgs) -> Result<(Holding, Counting), Trouble> {
    let depth =
        Depth { exact_up_to_gib: args.exact_up_to_gib, sample_one_in: args.sample_one_in, load_percent: args.load_percent };
    let holding = Holding::begin(servers, "old").await.map_err(|refused| trouble(&refused))?;
    let counting = Counting::begin(servers, "old", &holding, depth).await.map_err(|refused| trouble(&refused))?;
    cx.io.say(format!("{}: snapshot {} is held", holding.place(), holding.name));
    Ok((holding, counting))
}

/// Counts to the end.
async fn count(
    mut counting: Counting,
    servers: &checks::Context,
    said: &mpsc::UnboundedSender<String>,
) -> Result<Counting, Trouble> {
    let mut told = tokio::time::Instant::now();
    while let Some(come) = counting.next(servers).await.map_err(|refused| trouble(&refused))? {
        if told.elapsed() >= PACE {
            told = tokio::time::Instant::now();
            // Nobody listens any more once the command has failed.
            let _gone = said.send(format!("counted {} of {} tables, last {}", come.tables, come.of_tables, come.now));
        }
    }
    Ok(counting)
}

fn job(cx: &Context<'_, '_>, words: Vec<String>, timeout: Duration) -> Result<Job, Trouble> {
    let dir = std::env::current_dir().map_err(|error| Trouble::new(Exit::USAGE, format!("the current folder: {error}")))?;
    Ok(Job { words, env: Vec::new(), secrets: cx.token.iter().cloned().collect(), dir, timeout })
}

/// Counts while the dump runs, in its snapshot, and makes sure that the snapshot outlives both.
async fn with_a_dump(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    args: &ManifestArgs,
) -> Result<(String, Manifest), Trouble> {
    let (mut holding, counting) = begin(cx, servers, args).await?;
    let words = args.command.iter().map(|word| word.replace(SNAPSHOT, &holding.name)).collect();
    let job = job(cx, words, args.timeout)?;
    let (say, mut said) = mpsc::unbounded_channel::<String>();
    let (broken, mut cancelled) = watch::channel(false);
    let mut stop = cx.stop.clone();
    let cancel = async move {
        tokio::select! {
            () = stop.once() => {}
            _ = cancelled.wait_for(|broken| *broken) => {}
        }
    };
    let mut echo = |line: &str| {
        let _gone = say.send(format!("  dump | {line}"));
    };
    let mut worked = pin!(work(&job, cancel, &mut echo));
    let mut counted = pin!(count(counting, servers, &say));
    let (mut ended, mut counts, mut wrong) = (None, None, None::<Trouble>);
    let mut tick = interval(PACE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ended.is_none() || (counts.is_none() && wrong.is_none()) {
        tokio::select! {
            done = &mut worked, if ended.is_none() => {
                wrong = wrong.or_else(|| failed(&done.end, args.timeout));
                ended = Some(done);
            }
            done = &mut counted, if counts.is_none() && wrong.is_none() => match done {
                Ok(done) => counts = Some(done),
                Err(trouble) => wrong = Some(trouble),
            },
            Some(line) = said.recv() => cx.io.say(line),
            _ = tick.tick() => if let Err(refused) = holding.is_held(servers).await {
                wrong = wrong.or_else(|| Some(snapshot_ended(trouble(&refused))));
            },
        }
        if wrong.is_some() {
            // The command is broken off already, if there is nobody to tell.
            let _gone = broken.send(true);
        }
    }
    rest(cx.io, &mut said);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    holding.is_held(servers).await.map_err(|refused| snapshot_ended(trouble(&refused)))?;
    let Some(counting) = counts else {
        return Err(Trouble::new(Exit::UNKNOWN, "nothing was counted; nothing was recorded"));
    };
    let (place, manifest) = (holding.place().to_owned(), counting.end(servers, &holding).await);
    holding.end(servers).await;
    Ok((place, manifest))
}

fn rest(io: &mut Io<'_>, said: &mut mpsc::UnboundedReceiver<String>) {
    while let Ok(line) = said.try_recv() {
        io.say(line);
    }
}

fn snapshot_ended(trouble: Trouble) -> Trouble {
    Trouble::new(Exit::CLOSED, format!("the snapshot ended before the dump and the counting did: {}", trouble.message))
        .hint("throw the dump away: it may be of another moment; nothing was recorded. Repeat the command")
}

/// Why the command's work does not count.
fn failed(end: &End, timeout: Duration) -> Option<Trouble> {
    if *end == End::Cancelled {
        return Some(
            Trouble::new(Exit::INTERRUPTED, "interrupted; nothing was recorded")
                .hint("throw a half-made dump away, and repeat the command"),
        );
    }
    let words = end.trouble(timeout)?;
    Some(
        Trouble::new(Exit::CLOSED, format!("the command failed, {words}; nothing was recorded"))
            .hint("correct it and repeat: nothing was changed"),
    )
}

/// Counts first, then has the server stopped, and reads from its files where it stood.
async fn before_a_copy(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    args: &ManifestArgs,
) -> Result<(String, Manifest), Trouble> {
    let (mut holding, counting) = begin(cx, servers, args).await?;
    let (say, mut said) = mpsc::unbounded_channel::<String>();
    let mut stop = cx.stop.clone();
    let counting = {
        let mut counted = pin!(count(counting, servers, &say));
        loop {
            tokio::select! {
                done = &mut counted => break done?,
                Some(line) = said.recv() => cx.io.say(line),
                () = stop.once() => return Err(Trouble::new(Exit::INTERRUPTED, "interrupted; nothing was recorded")),
            }
        }
    };
    holding.is_held(servers).await.map_err(|refused| snapshot_ended(trouble(&refused)))?;
    let (place, mut manifest) = (holding.place().to_owned(), counting.end(servers, &holding).await);
    holding.end(servers).await;
    let job = job(cx, args.command.clone(), args.timeout)?;
    let io = &mut *cx.io;
    let done = work(&job, async move { stop.once().await }, &mut |line| io.say(format!("  stop | {line}"))).await;
    if let Some(trouble) = failed(&done.end, args.timeout) {
        return Err(trouble);
    }
    let data = args.data.clone().unwrap_or_default();
    let stood = stopped::read(cx, &args.pg_controldata, &data, &manifest).await?;
    if stood.next_xid != manifest.snapshot.end {
        let more = stood.next_xid.saturating_sub(manifest.snapshot.end);
        cx.io.say(format!(
            "warning: {more} transactions wrote between the count and the stop; if they left rows, those are in the copy and not in the \
             manifest, and `postgresRows` will name them"
        ));
    }
    manifest.stopped = Some(stood);
    Ok((place, manifest))
}
