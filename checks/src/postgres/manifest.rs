//! The manifest: what the old server's tables held in the very snapshot that a dump was made of. Recorded as a Fact by `cutover postgres
//! manifest`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, ReasonSpec};

use super::content::Sum;
use super::mark::is_from;
use super::pair::Reader;

/// The manifest is of another server.
pub(crate) const OTHER_MANIFEST: ReasonSpec = ReasonSpec::unknown(
    "other_manifest",
    "point the target at the server that the manifest was taken of, or take a new one with a new dump: `cutover postgres manifest --again`",
);

/// What the old server held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Which database of which server: `SYSTEM/OID`.
    pub identity: String,
    /// What was visible.
    pub snapshot: Snapshot,
    /// The server's own clock.
    pub at: DateTime<Utc>,
    /// Where the server stood when it was stopped, for a copy of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Its tables, as SQL names them.
    pub tables: BTreeMap<String, Held>,
}

/// A server that was stopped cleanly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stopped {
    /// The next transaction, in the control file; 64 bits.
    pub next_xid: u64,
}

/// What one table held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Held {
    /// All its rows; their hashes if it is not sampled.
    pub sum: Sum,
    /// The hashes are those of one row in so many.
    pub one_in: u32,
}

/// As short as it can be: a fact has room for two thousand tables.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Exact(Sum),
    Sampled(Sum, u32),
}

impl From<Kept> for Held {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Exact(sum) => Self { sum, one_in: 1 },
            Kept::Sampled(sum, one_in) => Self { sum, one_in },
        }
    }
}

impl From<Held> for Kept {
    fn from(Held { sum, one_in }: Held) -> Self {
        if one_in > 1 { Self::Sampled(sum, one_in) } else { Self::Exact(sum) }
    }
}

impl Manifest {
    /// Whether it was taken of the server that answers.
    pub(crate) fn is_of(&self, old: &Reader) -> Result<(), Outcome> {
        if self.identity == old.identity {
            return Ok(());
        }
        let words = format!("{}: this is {}, the manifest was taken of {}", old.place, old.identity, self.identity);
        Err(OTHER_MANIFEST.because(words))
    }

    /// The condition on a row of the old server that it was not taken over: it is in neither the dump nor the copied files.
    pub(crate) fn left_behind(&self) -> String {
        self.stopped.as_ref().map_or_else(|| format!("NOT ({})", self.snapshot.sees()), |stopped| is_from(stopped.next_xid))
    }

    /// The next transaction when everything was taken over, if none was open then: while it is the next one still, nothing was left
    /// behind.
    pub(crate) fn complete_up_to(&self) -> Option<u64> {
        match &self.stopped {
            Some(stopped) => Some(stopped.next_xid),
            None => self.snapshot.open.is_empty().then_some(self.snapshot.end),
        }
    }
}

/// Which transactions are visible: all before the end but those that were open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshot {
    begin: u64,
    /// The first transaction that had not begun yet; 64 bits.
    pub end: u64,
    open: Vec<u64>,
}

/// No snapshot in PostgreSQL's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no snapshot: {0:?}")]
pub struct NoSnapshot(String);

impl TryFrom<String> for Snapshot {
    type Error = NoSnapshot;

    fn try_from(text: String) -> Result<Self, NoSnapshot> {
        let number = |part: &str| part.parse::<u64>().ok();
        let read = || {
            let mut parts = text.splitn(3, ':');
            let (begin, end) = (number(parts.next()?)?, number(parts.next()?)?);
            let open = parts.next()?;
            let open: Option<Vec<u64>> = if open.is_empty() { Some(Vec::new()) } else { open.split(',').map(number).collect() };
            Some(Self { begin, end, open: open? })
        };
        read().ok_or_else(|| NoSnapshot(text.clone()))
    }
}

impl From<Snapshot> for String {
    fn from(Snapshot { begin, end, open }: Snapshot) -> Self {
        let open: Vec<String> = open.iter().map(u64::to_string).collect();
        format!("{begin}:{end}:{}", open.join(","))
    }
}

impl Snapshot {
    /// The condition on a row that it is visible. Right across the wrap of the 32 bits of `xmin`.
    pub(crate) fn sees(&self) -> String {
        let open: Vec<String> = self.open.iter().map(|xid| (xid % (1 << 32)).to_string()).collect();
        let open = if open.is_empty() { String::new() } else { format!(" AND xmin::text <> ALL ('{{{}}}')", open.join(",")) };
        format!("NOT ({}){open}", is_from(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Result<Snapshot, NoSnapshot> {
        Snapshot::try_from(text.to_owned())
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let text = "4294967300:4294967310:4294967300,4294967305";
        let seen = snapshot(text).unwrap();
        assert_eq!(String::from(seen.clone()), text);
        assert_eq!(seen.sees(), "NOT (age(xmin) <= age('14'::xid)) AND xmin::text <> ALL ('{4,9}')");
        assert_eq!(snapshot("7:9:").unwrap().sees(), "NOT (age(xmin) <= age('9'::xid))");
        for wrong in ["", "7", "7:9", "a:b:", "7:9:x", "7:9:1,"] {
            assert!(snapshot(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_manifest_is_short_and_comes_back() {
        let held = |one_in| Held { sum: Sum { rows: 3, hash: -9 }, one_in };
        let manifest = Manifest {
            identity: "7/5".into(),
            snapshot: snapshot("7:9:8").unwrap(),
            at: DateTime::UNIX_EPOCH,
            stopped: None,
            tables: BTreeMap::from([("public.a".into(), held(1)), ("public.b".into(), held(100))]),
        };
        let text = serde_json::to_string(&manifest).unwrap();
        assert!(text.contains(r#""tables":{"public.a":[3,"-9"],"public.b":[[3,"-9"],100]}"#), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        assert_eq!(manifest.complete_up_to(), None);
        let stopped = Manifest { stopped: Some(Stopped { next_xid: 12 }), ..manifest };
        assert_eq!(stopped.complete_up_to(), Some(12));
        assert_eq!(stopped.left_behind(), "age(xmin) <= age('12'::xid)");
    }
}
