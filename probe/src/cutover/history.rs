//! `cutover history`: what people and runs did, and what came of it.

mod words;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::audit::NO_LONGER_KEPT;
use super::render::{Deed, Deeds};
use super::trouble::Trouble;
use super::when::{When, when};
use super::{Answer, Context, name};
use crate::api::types::ReportBody;
use crate::audit::{AuditPage, Frame};
use crate::event::Event;
use crate::exit::Exit;
use words::{Told, tell};

/// Frames asked for at once.
const PAGE: u64 = 500;

/// Which part of the history.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only what this phase is about
    #[arg(long, value_parser = name)]
    phase: Option<String>,
    /// Only what happened since: a span like 2h, or a moment in RFC 3339
    #[arg(long, value_parser = when, value_name = "SPAN|TIME")]
    since: Option<When>,
    /// Also each change of a probe's colour
    #[arg(long)]
    all: bool,
    /// At most this many lines, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// What belongs to a phase without naming it.
struct Belongings {
    phase: String,
    probes: Vec<String>,
    overrides: Vec<u64>,
}

/// Runs `cutover history`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: HistoryArgs) -> Answer {
    let own = match &args.phase {
        Some(phase) => Some(belongings(cx, phase).await?),
        None => None,
    };
    let since = args.since.map(|since| since.moment((cx.now)()));
    let wanted = usize::from(args.limit);
    let newest = page(cx, 0, 1).await?;
    let (newest, mut dropped) = (newest.head, newest.anchor.map_or(0, |anchor| anchor.seq));
    let (mut deeds, mut end): (Vec<Deed>, u64) = (Vec::new(), newest.seq);
    let mut enough = false;
    while end > dropped && !enough {
        let begin = end.saturating_sub(PAGE).max(dropped).saturating_add(1);
        let frames = match frames(cx, begin, end).await {
            Ok(frames) => frames,
            Err(trouble) if &*trouble.code == NO_LONGER_KEPT => {
                // They were removed a moment ago, or the verifier contradicts itself.
                dropped = page(cx, 0, 1).await?.anchor.map_or(0, |anchor| anchor.seq);
                if dropped < begin {
                    return Err(trouble);
                }
                continue;
            }
            Err(trouble) => return Err(trouble),
        };
        let old = |frame: &Frame| since.is_some_and(|since| frame.utc < since);
        for frame in frames.iter().rev().take_while(|frame| !old(frame)) {
            let deed = deed(frame);
            let colour = matches!(deed.kind.as_str(), "probeChanged");
            if (args.all || !colour) && own.as_ref().is_none_or(|own| own.has(&deed)) && deeds.len() < wanted {
                deeds.push(deed);
            }
        }
        enough = deeds.len() >= wanted || frames.first().is_none_or(old);
        end = begin.saturating_sub(1);
    }
    deeds.reverse();
    if dropped > 0 && !enough {
        cx.io.say(format!("events 1 to {dropped} are no longer kept"));
    }
    if deeds.is_empty() {
        cx.io.say("nothing happened that was asked for; `--all` also shows the colours of probes");
    }
    cx.io.show(&Deeds { deeds: &deeds, head: &newest });
    Ok(Exit::OPEN)
}

async fn belongings(cx: &Context<'_, '_>, phase: &str) -> Result<Belongings, Trouble> {
    let report: ReportBody = cx.client.get(&["report"]).await?;
    let Some(found) = report.phases.iter().find(|each| each.phase.name == phase) else {
        let names: Vec<_> = report.phases.iter().map(|each| each.phase.name.as_str()).collect();
        return Err(Trouble::new(Exit::NOT_FOUND, format!("no phase `{phase}`; there is {}", names.join(", ")))
            .hint("leave --phase out to see everything"));
    };
    Ok(Belongings {
        phase: phase.to_owned(),
        probes: found.criteria.iter().map(|criterion| criterion.probe.name.clone()).collect(),
        overrides: found.overrides_ever.iter().map(|each| each.made.id).collect(),
    })
}

impl Belongings {
    fn has(&self, deed: &Deed) -> bool {
        let text = |pointer: &str| deed.event.pointer(pointer).and_then(Value::as_str);
        let named = text("/phase").or_else(|| text("/lock/phase"));
        let probe = || text("/probe").is_some_and(|probe| self.probes.iter().any(|own| own == probe));
        let exception = || {
            let id = deed.event.get("id").and_then(Value::as_u64);
            deed.kind == "overrideEnded" && id.is_some_and(|id| self.overrides.contains(&id))
        };
        // What concerns the verifier and the document concerns every phase.
        let everybody = matches!(deed.kind.as_str(), "verifierStarted" | "nobodyLooked" | "anotherBoot" | "configLoaded");
        named.map_or_else(|| probe() || exception() || everybody, |named| named == self.phase)
    }
}

async fn page(cx: &Context<'_, '_>, from: u64, limit: u64) -> Result<AuditPage, Trouble> {
    cx.client.get_exact(&["audit"], &[("from", from.to_string()), ("limit", limit.to_string())]).await
}

/// All frames of a part of the trail; one page may hold fewer than were asked for.
async fn frames(cx: &Context<'_, '_>, begin: u64, end: u64) -> Result<Vec<Frame>, Trouble> {
    let (mut frames, mut from): (Vec<Frame>, u64) = (Vec::new(), begin);
    while from <= end {
        let page = page(cx, from, end.saturating_sub(from).saturating_add(1)).await?;
        let Some(last) = page.frames.last().map(|frame| frame.seq) else { break };
        frames.extend(page.frames);
        from = last.saturating_add(1);
    }
    Ok(frames)
}

fn deed(frame: &Frame) -> Deed {
    let event: Value = serde_json::from_str(frame.event.get()).unwrap_or_default();
    let at = ["/stamp/at/utc", "/at/utc", "/lock/stamp/at/utc"].iter().find_map(|place| event.pointer(place)?.as_str());
    let at = at.and_then(|at| at.parse::<DateTime<Utc>>().ok()).unwrap_or(frame.utc);
    let kind = event.get("event").and_then(Value::as_str).unwrap_or("?").to_owned();
    let told = match serde_json::from_str::<Event>(frame.event.get()) {
        Ok(known) => tell(&known),
        // A newer verifier knows of more.
        Err(_) => Told::by_verifier(format!("{kind} (see `cutover audit list --from {} --limit 1`)", frame.seq)),
    };
    Deed { seq: frame.seq, at, by: told.by, what: told.what, kind, event }
}
