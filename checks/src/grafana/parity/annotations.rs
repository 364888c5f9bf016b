//! Annotations are counted, window by window, since Grafana gives no count of them and no pages.

use futures::future::try_join;
use serde::Deserialize;

use crate::net::fetch;
use crate::outcome::Outcome;

use super::scan::{Counts, Scan};
use super::section::Section;
use super::side::{Side, Sides};
use super::told;

/// Most annotations in one answer.
const LIMIT: usize = 500;

#[derive(Debug, Deserialize)]
struct Annotation {
    #[serde(default)]
    time: i64,
}

/// Counts one window of time, or cuts it in two if an answer does not hold all that is in it.
pub(super) async fn step(sides: &Sides<'_>, scan: &mut Scan) -> Result<(), Outcome> {
    // From 0 on would mean at any time, to Grafana.
    let all = (1, scan.begun.timestamp_millis());
    let windows = scan.walk.windows.get_or_insert_with(|| vec![all]);
    let Some(window) = windows.last().copied() else {
        let (outcome, counts): (Outcome, Counts) = told::annotations(scan.walk.counted);
        scan.finish(Section::Annotations.part(), outcome, counts);
        return Ok(());
    };
    let asked = try_join(count(&sides.old, window), count(&sides.new, window)).await?;
    windows.pop();
    if let (Some(old), Some(new)) = asked {
        let counted = &mut scan.walk.counted;
        *counted = (counted.0.saturating_add(old), counted.1.saturating_add(new));
    } else {
        let (from, to) = window;
        let middle = from + (to - from) / 2;
        windows.extend([(from, middle), (middle + 1, to)]);
    }
    Ok(())
}

/// How many annotations begin in a window; none if one answer can not hold them. Those that alert rules write are left out.
async fn count(side: &Side<'_>, (from, to): (i64, i64)) -> Result<Option<u64>, Outcome> {
    let (first, last, limit) = (from.to_string(), to.to_string(), LIMIT.to_string());
    let query = [("type", "annotation"), ("from", first.as_str()), ("to", &last), ("limit", &limit)];
    let found: Result<Vec<Annotation>, Outcome> = side.get(&["api", "annotations"], &query).await;
    let too_large = matches!(&found, Err(outcome) if outcome.reason() == Some(&fetch::TOO_LARGE.into()));
    if too_large && from < to {
        return Ok(None);
    }
    let found = found?;
    if found.len() >= LIMIT {
        if from < to {
            return Ok(None);
        }
        return Err(side.named(fetch::TOO_LARGE.because(format!("GET /api/annotations: {LIMIT} within one millisecond"))));
    }
    // One that lasts is in the answer of each window that it touches, and is counted where it begins.
    let begins = found.iter().filter(|annotation| (from..=to).contains(&annotation.time)).count();
    Ok(Some(u64::try_from(begins).unwrap_or_default()))
}
