//! `cutover postgres fence`, and the only SQL of the product that changes anything beside the canary and `carry-back`: one setting of the
//! old server, and the end of sessions there.

use std::time::Duration;

use checks::postgres::by_hand::Hand;
use checks::postgres::fence::NOT_STOPPED;
use clap::Args;
use tokio::time::sleep;

use super::super::doctor::{Finding, exit};
use super::super::render::Found;
use super::super::trouble::Trouble;
use super::super::{Answer, Context, positive, told};
use super::judge::{Sight, list};
use super::{Dsn, Patience, Talk, dsn, enter, servers, trouble};
use crate::exit::Exit;

/// How often to look again.
const PACE: Duration = Duration::from_millis(200);

const CLOSE: &str = "ALTER SYSTEM SET default_transaction_read_only = on";
const OPEN: &str = "ALTER SYSTEM RESET default_transaction_read_only";
const RELOAD: &str = "SELECT pg_reload_conf()";

/// The sessions of these roles that began before the server last loaded its settings.
fn end_sessions(roles: &[String]) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = ANY ({}) \
         AND backend_start <= pg_conf_load_time() AND pid <> pg_backend_pid()",
        list(roles)
    )
}

/// `cutover postgres fence`
#[derive(Debug, Args)]
pub(crate) struct FenceArgs {
    /// The old server, where its connection string is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// A role that the application logs in with; may be given more than once
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = told)]
    roles: Vec<String>,
    /// How long to wait until no session can write any more
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "1m")]
    timeout: Duration,
    /// Only look whether the fence stands; change nothing
    #[arg(long)]
    check: bool,
}

/// Runs `cutover postgres fence`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: FenceArgs) -> Answer {
    let servers = servers(cx, [("old", Some(&args.old))])?;
    let patience = Patience::new(args.timeout);
    let (hand, before) = anew(cx, &servers, &args.roles).await?;
    hand.leave().await;
    if args.check {
        return Ok(show(cx, &before.place, &before.findings()));
    }
    may_begin(&before)?;
    if !before.hindrances.is_empty() {
        let exit = show(cx, &before.place, &before.hindrances);
        cx.io.say("refused: nothing was changed");
        return Ok(exit);
    }
    if before.read_only {
        let origin = &before.origin;
        cx.io.say(format!(
            "default_transaction_read_only was on before ({origin}), by a fence or for another reason: `cutover postgres unfence` resets it"
        ));
    }
    change(cx, &servers, Setting::Closed, before.read_only).await?;
    let after = Box::pin(settle(cx, &servers, &args.roles, patience)).await.map_err(stands)?;
    let exit = show(cx, &after.place, &after.findings());
    cx.io.say(NOT_STOPPED);
    Ok(exit)
}

fn may_begin(sight: &Sight) -> Result<(), Trouble> {
    if sight.lacks.is_empty() {
        return Ok(());
    }
    let message = format!("{}: role {} can not put up a fence: nothing was changed", sight.place, sight.role);
    Err(Trouble::new(Exit::AUTH, message).hint(format!("run {}", sight.lacks.join(" "))))
}

fn show(cx: &mut Context<'_, '_>, place: &str, findings: &[Finding]) -> Exit {
    cx.io.show(&Found { verb: "fence", place, findings, more: &[] });
    exit(findings)
}

/// What is there although the rest failed.
fn stands(trouble: Trouble) -> Trouble {
    let hint = trouble.hint.clone().unwrap_or_default();
    let stands = "default_transaction_read_only is set on the server; the same command again goes on from there, \
         `cutover postgres unfence` takes it off";
    trouble.hint(format!("{hint}; {stands}"))
}

/// A login that has just begun, and what it sees.
pub(super) async fn anew(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    roles: &[String],
) -> Result<(Hand, Sight), Trouble> {
    let mut hand = enter(cx, servers, "old").await?;
    let sight = Sight::take(&mut hand, roles, cx.request_timeout).await?;
    Ok((hand, sight))
}

/// What new transactions are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    Closed,
    Open,
}

/// Writes the setting down, so that it outlives a restart, and has it loaded if that was not seen yet. Each is done again without
/// harm: a command that was killed in between goes on.
pub(super) async fn change(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    setting: Setting,
    loaded: bool,
) -> Result<(), Trouble> {
    let mut hand = enter(cx, servers, "old").await?;
    let statement = if setting == Setting::Closed { CLOSE } else { OPEN };
    let limit = cx.request_timeout;
    let denied = |trouble: Trouble, grant: &str| {
        if trouble.exit == Exit::AUTH { trouble.hint(format!("run {grant}, or log in as a superuser")) } else { trouble }
    };
    hand.ask(statement, limit).await.map_err(|refused| {
        denied(trouble(&refused), "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO that role")
    })?;
    if !loaded {
        hand.ask(RELOAD, limit).await.map_err(|refused| {
            let failed = denied(trouble(&refused), "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO that role");
            let hint = failed.hint.clone().unwrap_or_default();
            failed.hint(format!("{hint}; the setting is written down, and counts from the server's next reload or start on"))
        })?;
    }
    hand.leave().await;
    Ok(())
}

/// Waits until new sessions get what was set.
pub(super) async fn seen(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    roles: &[String],
    setting: Setting,
    patience: Patience,
) -> Result<(Hand, Sight), Trouble> {
    let mut talk = Talk::default();
    loop {
        let (hand, sight) = anew(cx, servers, roles).await?;
        if sight.read_only == (setting == Setting::Closed) {
            return Ok((hand, sight));
        }
        hand.leave().await;
        if patience.is_over() {
            let message = format!(
                "{}: new sessions do not get what was set within {patience}: default_transaction_read_only is {}",
                sight.place, sight.origin
            );
            return Err(Trouble::new(Exit::TIMEOUT, message).hint(
                "a command line option of the server comes before the setting, a file that it can not load keeps it out, and one that \
                 sets the same stays: look at `pg_file_settings`",
            ));
        }
        talk.say(cx.io, format!("{}: waiting until new sessions see it", sight.place));
        sleep(PACE).await;
    }
}

/// Ends the application's sessions, and waits until nobody can write any more.
async fn settle(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    roles: &[String],
    patience: Patience,
) -> Result<Sight, Trouble> {
    let (mut hand, mut sight) = seen(cx, servers, roles, Setting::Closed, patience).await?;
    let mut talk = Talk::default();
    let place = sight.place.clone();
    loop {
        let left = sight.sessions.iter().chain(&sight.hindrances).map(|finding| finding.text.clone()).collect::<Vec<_>>();
        if left.is_empty() {
            hand.leave().await;
            return Ok(sight);
        }
        if patience.is_over() {
            let message = format!("{place}: something can still write after {patience}: {}", left.join("; "));
            return Err(Trouble::new(Exit::TIMEOUT, message).hint("end what is named"));
        }
        talk.say(cx.io, format!("{place}: {}", left.join("; ")));
        hand.ask(&end_sessions(roles), cx.request_timeout).await.map_err(|refused| trouble(&refused))?;
        sleep(PACE.min(patience.left())).await;
        sight = Sight::take(&mut hand, roles, cx.request_timeout).await?;
    }
}
