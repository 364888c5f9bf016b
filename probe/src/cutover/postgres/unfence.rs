//! `cutover postgres unfence`: the way back, unless the new server has rows by now that no other has.

use std::time::Duration;

use clap::Args;

use super::super::doctor::{Finding, exit};
use super::super::render::Found;
use super::super::trouble::Trouble;
use super::super::{Answer, Context, name, positive};
use super::fence::{Setting, anew, change, seen};
use super::judge::Sight;
use super::marks::{self, Known};
use super::risk::{self, Risk};
use super::{Dsn, Patience, dsn, enter, servers, trouble};
use crate::exit::Exit;

/// `cutover postgres unfence`
#[derive(Debug, Args)]
pub(crate) struct UnfenceArgs {
    /// The old server, where its connection string is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// The new server, in the same way, with a role that may read all of its tables
    #[arg(long, value_name = "REF", value_parser = dsn)]
    new: Option<Dsn>,
    /// The name that the mark was recorded by
    #[arg(long, value_name = "NAME", value_parser = name, default_value = "postgres-mark")]
    fact: String,
    /// Go on if no mark was ever recorded: then the application was never switched
    #[arg(long)]
    no_mark: bool,
    /// Go on whatever the new server has: rows that are nowhere else stay there, and the old server goes on without them
    #[arg(long)]
    accept_loss: bool,
    /// How long counting and waiting may take
    #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "5m")]
    timeout: Duration,
    /// Only look whether the old server takes writes; change nothing
    #[arg(long)]
    check: bool,
}

/// Runs `cutover postgres unfence`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: UnfenceArgs) -> Answer {
    let servers = servers(cx, [("old", Some(&args.old)), ("new", args.new.as_ref())])?;
    let patience = Patience::new(args.timeout);
    let (hand, before) = anew(cx, &servers, &[]).await?;
    hand.leave().await;
    if args.check {
        let findings = [setting(&before)];
        show(cx, &before, &findings, &[]);
        return Ok(exit(&findings));
    }
    let mut findings = Vec::new();
    let mut more = Vec::new();
    if before.read_only {
        match Box::pin(at_risk(cx, &servers, &args, &before, patience)).await {
            Ok(Looked::NoMark) => findings.push(Finding::fine("mark", "none was recorded, so nothing was switched")),
            Ok(Looked::At(fact, risk)) => {
                findings.push(Finding::fine("mark", format!("rows were counted since {fact}")));
                findings.extend(risk.findings(args.accept_loss));
                more = risk.more();
                if exit(&findings) != Exit::OPEN {
                    show(cx, &before, &findings, &more);
                    cx.io.say(format!("refused: the old server stays fenced; {}", risk.advice()));
                    return Ok(exit(&findings));
                }
            }
            Err(trouble) if args.accept_loss => {
                let text = format!("not counted, and the loss is accepted: {}", trouble.message);
                findings.push(Finding::warning("rows", text, "look at the new server before it is given up"));
            }
            Err(trouble) => return Err(trouble),
        }
    }
    change(cx, &servers, Setting::Open, !before.read_only).await?;
    let (hand, after) = seen(cx, &servers, &[], Setting::Open, patience).await?;
    hand.leave().await;
    findings.insert(0, setting(&after));
    show(cx, &after, &findings, &more);
    cx.io.say("the application's sessions take writes from their next transaction on");
    Ok(exit(&findings))
}

fn setting(sight: &Sight) -> Finding {
    let origin = &sight.origin;
    if sight.read_only {
        let text = format!("default_transaction_read_only is on for new sessions ({origin})");
        return Finding::problem("setting", Exit::CLOSED, text, "`cutover postgres unfence` takes it off");
    }
    Finding::fine("setting", format!("default_transaction_read_only is off for new sessions ({origin})"))
}

fn show(cx: &mut Context<'_, '_>, sight: &Sight, findings: &[Finding], more: &[(&'static str, serde_json::Value)]) {
    cx.io.show(&Found { verb: "unfence", place: &sight.place, findings, more });
}

/// What is known of the new server.
enum Looked {
    /// No mark was ever recorded.
    NoMark,
    /// Since the mark of this name.
    At(String, Risk),
}

async fn at_risk(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    args: &UnfenceArgs,
    old: &Sight,
    patience: Patience,
) -> Result<Looked, Trouble> {
    let Some(known) = marks::known(cx, &args.fact, &old.system).await? else {
        if args.no_mark {
            return Ok(Looked::NoMark);
        }
        let message =
            format!("no mark is known as {}, so rows of the application on the new server can not be counted", args.fact);
        return Err(Trouble::new(Exit::UNKNOWN, message)
            .hint("say --no-mark if none was ever taken, name another one with --fact, or accept the loss with --accept-loss"));
    };
    let Known { fact, mark } = known;
    if marks::system(&mark.old.identity) != old.system {
        let message = format!("{fact} is of another old server, {}; this one is system {}", mark.old.identity, old.system);
        return Err(Trouble::new(Exit::UNKNOWN, message).hint("correct --old, or name the mark of this server with --fact"));
    }
    if args.new.is_none() {
        return Err(Trouble::new(
            Exit::USAGE,
            format!("{fact} is recorded, so the new server may have rows that are nowhere else"),
        )
        .hint("name it with --new, and they are counted"));
    }
    let mut new = enter(cx, servers, "new").await?;
    let limit = cx.request_timeout;
    let is = new.identity(limit).await.map_err(|refused| trouble(&refused))?;
    if is != mark.new.identity {
        let message = format!("{}: this is {is}, and {fact} was taken of {}", new.place(), mark.new.identity);
        return Err(Trouble::new(Exit::UNKNOWN, message).hint("correct --new: it leads to another server or database"));
    }
    let counted = risk::count(cx, &mut new, &mark.new, patience).await;
    new.leave().await;
    Ok(Looked::At(fact, counted?))
}
