//! Where a server stood when it was stopped: what `pg_controldata` says of its files.

use std::path::Path;
use std::time::Duration;

use checks::postgres::manifest::{Manifest, Stopped};

use super::super::Context;
use super::super::trouble::Trouble;
use super::super::work::{Job, work};
use crate::exit::Exit;

/// It reads one page.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads it, and makes sure that it is the server of the manifest, stopped cleanly.
pub(super) async fn read(cx: &Context<'_, '_>, program: &Path, data: &Path, manifest: &Manifest) -> Result<Stopped, Trouble> {
    let dir = std::env::current_dir().map_err(|error| Trouble::new(Exit::USAGE, format!("the current folder: {error}")))?;
    let words = vec![program.display().to_string(), "-D".to_owned(), data.display().to_string()];
    // Its words are translated otherwise.
    let env = vec![("LC_ALL".to_owned(), "C".to_owned())];
    let job = Job { words, env, secrets: cx.token.iter().cloned().collect(), dir, timeout: LIMIT };
    let (mut stop, mut lines) = (cx.stop.clone(), Vec::new());
    let done = work(&job, async move { stop.once().await }, &mut |line| lines.push(line.to_owned())).await;
    if let Some(words) = done.end.trouble(LIMIT) {
        let said = lines.last().cloned().unwrap_or_default();
        return Err(Trouble::new(Exit::CLOSED, format!("{}: {words} {said}; nothing was recorded", program.display()))
            .hint("correct --data and --pg-controldata: the server is stopped now, and `--again` counts it anew once it runs"));
    }
    judged(&lines, manifest)
        .map_err(|why| Trouble::new(Exit::CLOSED, format!("{}: {why}; nothing was recorded", data.display())).hint(
            "the files are copied only of a server that was stopped cleanly (`pg_ctl stop -m fast`); correct --data, start it, and count anew",
        ))
}

fn judged(lines: &[String], manifest: &Manifest) -> Result<Stopped, String> {
    let field = |name: &str| {
        let value = lines.iter().find_map(|line| line.split_once(':').filter(|(label, _)| label.trim() == name));
        value.map(|(_, value)| value.trim()).ok_or_else(|| format!("pg_controldata does not tell \"{name}\""))
    };
    let (system, state) = (field("Database system identifier")?, field("Database cluster state")?);
    let is = manifest.identity.split('/').next().unwrap_or_default();
    if system != is {
        return Err(format!("these are the files of system {system}, and the manifest is of {is}"));
    }
    if state != "shut down" {
        return Err(format!("the server is \"{state}\", not \"shut down\""));
    }
    let next = field("Latest checkpoint's NextXID")?;
    let read = || {
        let (epoch, xid) = next.split_once(':')?;
        let (epoch, xid): (u64, u64) = (epoch.parse().ok()?, xid.parse().ok()?);
        epoch.checked_mul(1 << 32)?.checked_add(xid)
    };
    let next_xid = read().ok_or_else(|| format!("NextXID {next:?} is no number of a transaction"))?;
    Ok(Stopped { next_xid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let value = serde_json::json!({"identity": "7/5", "snapshot": "7:9:", "at": "2026-01-01T00:00:00Z", "tables": {}});
        serde_json::from_value(value).unwrap()
    }

    fn said(system: &str, state: &str, next: &str) -> Vec<String> {
        vec![
            "pg_control version number:            1300".to_owned(),
            format!("Database system identifier:           {system}"),
            format!("Database cluster state:               {state}"),
            format!("Latest checkpoint's NextXID:          {next}"),
        ]
    }

    #[test]
    fn only_the_same_server_stopped_cleanly_counts() {
        assert_eq!(judged(&said("7", "shut down", "1:5"), &manifest()), Ok(Stopped { next_xid: (1 << 32) + 5 }));
        for (system, state, next, why) in [
            ("8", "shut down", "0:5", "system 8"),
            ("7", "in production", "0:5", "in production"),
            ("7", "shut down", "x", "NextXID"),
        ] {
            let wrong = judged(&said(system, state, next), &manifest()).unwrap_err();
            assert!(wrong.contains(why), "{wrong}");
        }
        assert!(judged(&[], &manifest()).is_err());
    }
}
