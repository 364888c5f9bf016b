//! `cutover report`: the verification checklist.

use clap::Args;

use super::render::{Checklist, Format};
use super::trouble::Trouble;
use super::{Answer, Context, status, trust};
use crate::api::types::ReportBody;
use crate::exit::Exit;

/// How the checklist is written.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// As one HTML page that needs nothing else: to be printed, or kept with the audit trail
    #[arg(long)]
    html: bool,
}

/// Runs `cutover report`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: &ReportArgs) -> Answer {
    if args.html && !matches!(cx.io.format, Format::Table | Format::Wide) {
        return Err(Trouble::new(Exit::USAGE, "--html and another output format can not both be had")
            .hint("leave out one of --html and -o"));
    }
    let mut report: ReportBody = cx.client.get(&["report"]).await?;
    let trusted = trust::report(&mut report);
    if args.html {
        cx.io.data(&Checklist(&report).html());
    } else {
        cx.io.show(&Checklist(&report));
    }
    Ok(status::verdict_on(cx, trusted))
}
