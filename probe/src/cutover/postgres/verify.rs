//! `cutover postgres verify-fence`: whether the fence stands, and if asked for, an attempt to write as the application.

use checks::postgres::by_hand::Hand;
use checks::postgres::fence::UNHEARD;
use clap::Args;

use super::super::doctor::{Finding, exit};
use super::super::render::Found;
use super::super::trouble::Trouble;
use super::super::{Answer, Context, told};
use super::{Dsn, dsn, enter, fence, servers, trouble};
use crate::exit::Exit;

/// What a server says to a write in a transaction that may only read.
const READ_ONLY: &str = "25006";
/// `cutover postgres verify-fence`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The old server, where its connection string is found: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "REF", value_parser = dsn)]
    old: Dsn,
    /// A role that the application logs in with; may be given more than once
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = told)]
    roles: Vec<String>,
    /// The application's own login, to try a write with it: the deletion of no row
    #[arg(long, value_name = "REF", value_parser = dsn)]
    attempt: Option<Dsn>,
}

/// Runs `cutover postgres verify-fence`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: VerifyArgs) -> Answer {
    let servers = servers(cx, [("old", Some(&args.old)), ("attempt", args.attempt.as_ref())])?;
    let (mut hand, sight) = fence::anew(cx, &servers, &args.roles).await?;
    let mut findings = sight.findings();
    if args.attempt.is_some() {
        let mut application = enter(cx, &servers, "attempt").await?;
        let same = hand.is_where(&mut application, &servers).await.map_err(|refused| trouble(&refused))?;
        if !same {
            let message = format!("{} and {} are two servers", hand.place(), application.place());
            return Err(Trouble::new(Exit::USAGE, message).hint("name the application's login on the old server with --attempt"));
        }
        findings.push(attempt(cx, &mut application).await?);
        application.leave().await;
    }
    hand.leave().await;
    let fenced = exit(&findings) == Exit::OPEN;
    cx.io.show(&Found { verb: "verify-fence", place: &sight.place, findings: &findings, more: &[("fenced", fenced.into())] });
    Ok(exit(&findings))
}

/// Tries to write: no row, and without a transaction that gets a number.
async fn attempt(cx: &Context<'_, '_>, application: &mut Hand) -> Result<Finding, Trouble> {
    let limit = cx.request_timeout;
    let place = application.place().to_owned();
    let tried = format!("SELECT ({UNHEARD}) AS name, quote_ident(current_user) AS role");
    let rows = application.ask(&tried, limit).await.map_err(|refused| trouble(&refused))?;
    let Some((table, role)) = rows.first().and_then(|row| Some((row.text("name")?, row.text("role")?))) else {
        return Err(Trouble::new(
            Exit::UNKNOWN,
            format!("{place}: the role may delete from no table without triggers, so nothing can be tried"),
        )
        .hint("name the login that the application itself uses with --attempt"));
    };
    match application.ask(&format!("DELETE FROM ONLY {table} WHERE false"), limit).await {
        Ok(_) => {
            let text = format!("a new session of {role} may write to {table}");
            let next = format!(
                "find out where {role} gets default_transaction_read_only = off from: its connection string, or a pooler"
            );
            Ok(Finding::problem("attempt", Exit::CLOSED, text, next))
        }
        Err(refused) if refused.code.as_deref() == Some(READ_ONLY) => {
            Ok(Finding::fine("attempt", format!("a new session of {role} is refused to write to {table}")))
        }
        Err(refused) => Err(trouble(&refused)),
    }
}
