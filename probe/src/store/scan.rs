//! Reads a state directory without changing anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::walk::Walk;
use super::{Resume, StoreError, sealed};
use crate::audit::Head;
use crate::state::{Durable, Soft, State};

pub(super) const HEAD: &str = "head.json";
pub(super) const SNAPSHOT: &str = "snapshot.json";
pub(super) const EVENTS: &str = "events";

/// `head.json`: what was acknowledged last. It is what tells a shorter chain from a young one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadFile {
    pub(super) head: Head,
    /// None before the first append.
    pub(super) moment: Option<Resume>,
}

/// `snapshot.json`: the checkpoint.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// The newest frame that it includes.
    pub(super) head: Head,
    /// None before the first checkpoint.
    pub(super) moment: Option<Resume>,
    pub(super) durable: Durable,
    pub(super) soft: Soft,
}

/// [`Snapshot`], on its way out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotRef<'a> {
    pub(super) head: &'a Head,
    pub(super) moment: Option<Resume>,
    pub(super) durable: &'a Durable,
    pub(super) soft: &'a Soft,
}

/// One file of frames, named after its first one.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    /// Bytes that count; a torn tail comes after them.
    pub(super) len: u64,
}

/// What a state directory holds.
pub(super) struct Scan {
    /// The newest frame that counts.
    pub(super) head: Head,
    /// What `head.json` says.
    pub(super) acknowledged: HeadFile,
    pub(super) state: State,
    /// The last moment; none if nothing was ever appended or checkpointed.
    pub(super) resume: Option<Resume>,
    pub(super) segments: Vec<Segment>,
    /// Why the last segment is longer than what counts of it.
    pub(super) torn: Option<String>,
}

/// Reads everything. None: nothing was ever kept here.
pub(super) fn scan(dir: &Path) -> Result<Option<Scan>, StoreError> {
    let (head_path, snapshot_path) = (dir.join(HEAD), dir.join(SNAPSHOT));
    let head: Option<HeadFile> = sealed::read(&head_path)?;
    let snapshot: Option<Snapshot> = sealed::read(&snapshot_path)?;
    let segments = list(&dir.join(EVENTS))?;
    // The head is the last thing that is written at the first start.
    let untouched = segments.is_empty() && snapshot.as_ref().is_none_or(|snapshot| snapshot.moment.is_none());
    match (head, snapshot) {
        (None, _) if untouched => Ok(None),
        (None, _) => Err(StoreError::damaged(&head_path, "it is missing, although there is state")),
        (Some(_), None) => Err(StoreError::damaged(&snapshot_path, "it is missing")),
        (Some(head), Some(snapshot)) => walk(dir, head, snapshot, segments).map(Some),
    }
}

fn walk(dir: &Path, acknowledged: HeadFile, snapshot: Snapshot, segments: Vec<Segment>) -> Result<Scan, StoreError> {
    let state = State { durable: snapshot.durable, soft: snapshot.soft, ..State::default() };
    let marks = [(HEAD, &acknowledged.head), (SNAPSHOT, &snapshot.head)].map(|(name, head)| (dir.join(name), head.clone()));
    let mut walk = Walk::new(Head::genesis(), marks.into(), snapshot.head.seq, state)?;
    let mut read = Vec::with_capacity(segments.len());
    for segment in segments {
        if let Some(why) = walk.torn {
            return Err(StoreError::damaged(&segment.path, format!("it follows an unfinished one ({why})")));
        }
        walk.comes_to(&segment.path, segment.first)?;
        let bytes = sealed::read_file(&segment.path)?.unwrap_or_default();
        let len = walk.segment(&segment.path, &bytes)?;
        read.push(Segment { len, ..segment });
    }
    walk.ends()?;
    let unacknowledged = walk.last.filter(|_| walk.head.seq > acknowledged.head.seq);
    Ok(Scan {
        resume: Resume::latest([acknowledged.moment.clone(), snapshot.moment, unacknowledged].into_iter().flatten()),
        head: walk.head,
        acknowledged,
        state: walk.state.restarted(),
        segments: read,
        torn: walk.torn,
    })
}

/// Name of the segment that begins with this frame.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:010}.jsonl")
}

/// The segments in their order.
fn list(events: &Path) -> Result<Vec<Segment>, StoreError> {
    let entries = match fs::read_dir(events) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", events)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", events))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let first = name.strip_suffix(".jsonl").and_then(|digits| digits.parse().ok());
        match first.filter(|first| segment_name(*first) == name) {
            Some(first) => segments.push(Segment { first, path, len: 0 }),
            None => return Err(StoreError::damaged(&path, "it is not one of ours; if it is yours, move it away")),
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}
