//! `cutover postgres baseline`: takes the mark of both servers, and records it.

use std::time::Duration;

use checks::Outcome;
use checks::postgres::by_hand::{Hand, Refused};
use checks::postgres::mark::{Mark, Side};
use clap::Args;
use futures::future::try_join;
use tokio::time::sleep;

use super::super::doctor::{Finding, exit};
use super::super::render::{Found, moment};
use super::super::trouble::Trouble;
use super::super::{Answer, Context, name, positive};
use super::marks::{self, Known};
use super::{Dsn, Patience, Talk, dsn, editions, enter, patiently, servers, trouble};
use crate::exit::Exit;

/// How often to look again.
const PACE: Duration = Duration::from_millis(500);
/// What is asked of each server before anything is taken.
const STATE: &str = "SELECT current_setting('default_transaction_read_only') AS read_only, \
     (SELECT string_agg(quote_literal(gid) || ' in database ' || quote_ident(database), ', ' ORDER BY prepared) \
      FROM (SELECT * FROM pg_prepared_xacts ORDER BY prepared LIMIT 10) AS p) AS prepared";

/// `cutover postgres baseline`
#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// The old server, where the connection string of the verifier's own role is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// The new server, in the same way
    #[arg(long, value_name = "REF", value_parser = dsn)]
    new: Dsn,
    /// The name that the mark is recorded by
    #[arg(long, value_name = "NAME", value_parser = name, default_value = "postgres-mark")]
    fact: String,
    /// Record a new mark although there is one; the newest counts
    #[arg(long, conflicts_with = "check")]
    again: bool,
    /// How long to wait for transactions that are open
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "1m")]
    timeout: Duration,
    /// Only look whether a mark of these two servers is recorded
    #[arg(long)]
    check: bool,
}

/// Both servers, before a mark is taken.
struct Pair {
    places: String,
    old: String,
    new: String,
}

/// Runs `cutover postgres baseline`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: BaselineArgs) -> Answer {
    let servers = servers(cx, [("old", Some(&args.old)), ("new", Some(&args.new))])?;
    let recorded = marks::recorded(cx.client, &args.fact).await?;
    let pair = pair(cx, &servers).await?;
    if let Some(known) = recorded.as_ref().filter(|_| !args.again) {
        return already(cx, &args, &pair, known);
    }
    if args.check {
        return Err(Trouble::new(Exit::CLOSED, format!("no mark is recorded as {}", args.fact))
            .hint("`cutover postgres baseline` without --check records one"));
    }
    let mark = take(cx, &servers, Patience::new(args.timeout)).await?;
    let fact = editions::next(&args.fact, recorded.as_ref().map(|known| known.fact.as_str()));
    let known = Known { fact, mark };
    // Kept here first: what the ledger has, an undo without the ledger has, too.
    marks::keep(&args.fact, &known)?;
    cx.client.put(&["facts", &known.fact], &known.mark).await?;
    let text = format!("{} is recorded, as of {}", known.fact, moment(known.mark.new.at));
    Ok(show(cx, &pair, &known, text))
}

/// There is a mark already.
fn already(cx: &mut Context<'_, '_>, args: &BaselineArgs, pair: &Pair, known: &Known) -> Answer {
    if (known.mark.old.identity.as_str(), known.mark.new.identity.as_str()) != (pair.old.as_str(), pair.new.as_str()) {
        let Known { fact, mark } = known;
        let message = format!(
            "{fact} is of other servers: {} and {}, and these are {} and {}",
            mark.old.identity, mark.new.identity, pair.old, pair.new
        );
        return Err(Trouble::new(Exit::CLOSED, message)
            .hint("correct --old and --new, or record a mark of these with `cutover postgres baseline --again`"));
    }
    marks::keep(&args.fact, known)?;
    let text = format!("{} is recorded already, as of {}; --again takes a new one", known.fact, moment(known.mark.new.at));
    Ok(show(cx, pair, known, text))
}

fn show(cx: &mut Context<'_, '_>, pair: &Pair, known: &Known, text: String) -> Exit {
    let servers = format!("two servers: old is {}, new is {}", pair.old, pair.new);
    let findings = [Finding::fine("servers", servers), Finding::fine("mark", text)];
    let more = [("fact", known.fact.clone().into()), ("value", super::super::render::value(&known.mark))];
    cx.io.show(&Found { verb: "baseline", place: &pair.places, findings: &findings, more: &more });
    exit(&findings)
}

fn told<T>(answer: Result<T, Refused>) -> Result<T, Trouble> {
    answer.map_err(|refused| trouble(&refused))
}

/// Which servers they are, and that they are two.
async fn pair(cx: &mut Context<'_, '_>, servers: &checks::Context) -> Result<Pair, Trouble> {
    let mut old = enter(cx, servers, "old").await?;
    let mut new = enter(cx, servers, "new").await?;
    let places = format!("{} → {}", old.place(), new.place());
    if told(old.is_where(&mut new, servers).await)? {
        let message =
            format!("{} and {} are one server: a lock that was taken in one is seen in the other", old.place(), new.place());
        return Err(Trouble::new(Exit::USAGE, message).hint("correct the connection string of one of the two"));
    }
    let limit = cx.request_timeout;
    let pair = Pair { places, old: told(old.identity(limit).await)?, new: told(new.identity(limit).await)? };
    old.leave().await;
    new.leave().await;
    Ok(pair)
}

/// Takes both sides in a moment in which nothing is being written on either.
async fn take(cx: &mut Context<'_, '_>, servers: &checks::Context, patience: Patience) -> Result<Mark, Trouble> {
    let fenced = is_clear(cx, servers, "old").await?;
    if !fenced {
        cx.io.say(
            "warning: the old server is not fenced: what is written there from now on is on no other server; `cutover postgres fence` first",
        );
    }
    let mut talk = Talk::default();
    loop {
        is_clear(cx, servers, "new").await?;
        let both = try_join(Box::pin(Side::take(servers, "old")), Box::pin(Side::take(servers, "new")));
        let outcome = match patiently(cx.io, "looking at both servers", both).await {
            Ok((old, new)) => return Ok(Mark { old, new }),
            Err(outcome) => outcome,
        };
        let refused = told::<()>(Err(Refused::from(outcome.clone()))).err();
        let Some(refused) = refused.filter(|_| !is_in_motion(&outcome)) else {
            if patience.is_over() {
                let message = format!("no moment without an open transaction within {patience}: {}", outcome.evidence());
                return Err(Trouble::new(Exit::TIMEOUT, message).hint(
                    "end them (`pg_stat_activity`), fence the old server, or give more time with --timeout; nothing was recorded",
                ));
            }
            talk.say(cx.io, format!("waiting: {}", outcome.evidence()));
            sleep(PACE.min(patience.left())).await;
            is_clear(cx, servers, "old").await?;
            continue;
        };
        return Err(refused);
    }
}

fn is_in_motion(outcome: &Outcome) -> bool {
    outcome.reason().is_some_and(|reason| reason.as_str() == "not_still")
}

/// Whether a server is fenced. A prepared transaction goes by itself never, so it is not waited for.
async fn is_clear(cx: &mut Context<'_, '_>, servers: &checks::Context, which: &str) -> Result<bool, Trouble> {
    let mut hand: Hand = enter(cx, servers, which).await?;
    let rows = told(hand.ask(STATE, cx.request_timeout).await)?;
    let place = hand.place().to_owned();
    hand.leave().await;
    let row = rows.first().ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{place}: no row in the answer")))?;
    if let Some(prepared) = row.text("prepared") {
        let message = format!("{place}: prepared transactions would come after the mark: {prepared}");
        return Err(Trouble::new(Exit::CLOSED, message)
            .hint("COMMIT PREPARED or ROLLBACK PREPARED each of them, in its database; nothing was recorded"));
    }
    Ok(row.yes("read_only"))
}
