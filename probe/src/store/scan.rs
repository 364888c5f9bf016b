//! Reads a state directory without changing anything, and tells the torn tail of an append that was never acknowledged from
//! damage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Resume, StoreError, sealed};
use crate::apply::apply;
use crate::audit::{Frame, Head};
use crate::event::Event;
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
    let mut walk = Walk {
        head: Head::genesis(),
        marks: [(HEAD, &acknowledged.head), (SNAPSHOT, &snapshot.head)].map(|(name, head)| (dir.join(name), head.clone())),
        included: snapshot.head.seq,
        state: state.restarted(),
        last: None,
        torn: None,
    };
    walk.check_marks()?;
    let mut read = Vec::with_capacity(segments.len());
    for segment in segments {
        if let Some(why) = walk.torn {
            return Err(StoreError::damaged(&segment.path, format!("it follows an unfinished one ({why})")));
        }
        if segment.first != walk.head.seq.saturating_add(1) {
            let why = format!("it begins with frame {}, but frame {} is missing", segment.first, walk.head.seq.saturating_add(1));
            return Err(StoreError::damaged(&segment.path, why));
        }
        let bytes = sealed::read_file(&segment.path)?.unwrap_or_default();
        let len = walk.segment(&segment.path, &bytes)?;
        read.push(Segment { len, ..segment });
    }
    for (path, mark) in &walk.marks {
        if mark.seq > walk.head.seq {
            let why =
                format!("it knows of frame {}, but the events end with frame {}: events are missing", mark.seq, walk.head.seq);
            return Err(StoreError::damaged(path, why));
        }
    }
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

struct Walk {
    /// The newest frame of a complete append.
    head: Head,
    /// Frames that other files know of.
    marks: [(PathBuf, Head); 2],
    /// The state includes the frames up to this one.
    included: u64,
    state: State,
    last: Option<Resume>,
    torn: Option<String>,
}

enum Flaw {
    /// As an interrupted write leaves it.
    Torn(String),
    Wrong(String),
}

impl Walk {
    /// Takes in one segment and says how many bytes of it count.
    fn segment(&mut self, path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
        let (mut kept, mut offset) = (0, 0);
        let mut append: Vec<Frame> = Vec::new();
        let mut start = (1, 0);
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let at = (index.saturating_add(1), length(offset));
            let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), line: Some(at), why };
            offset = offset.saturating_add(line.len());
            let tip = append.last().map_or_else(|| self.head.clone(), head_of);
            let frame = match parse(line) {
                Ok(frame) => frame,
                Err(Flaw::Torn(why)) if self.may_tear() => {
                    self.torn = Some(why);
                    return Ok(kept);
                }
                Err(Flaw::Torn(why) | Flaw::Wrong(why)) => return Err(damaged(why)),
            };
            tip.follow(&frame).map_err(|broken| damaged(broken.to_string()))?;
            if append.last().is_some_and(|before| before.rest != frame.rest.saturating_add(1)) {
                return Err(damaged(format!("frame {}: it does not continue the append before it", frame.seq)));
            }
            if append.is_empty() {
                start = at;
            }
            let complete = frame.rest == 0;
            append.push(frame);
            if complete {
                self.take(&append).map_err(damaged)?;
                self.check_marks()?;
                append.clear();
                kept = length(offset);
            }
        }
        if append.is_empty() {
            return Ok(kept);
        }
        let why = "the last append is unfinished".to_owned();
        if !self.may_tear() {
            return Err(StoreError::Damaged { path: path.to_owned(), line: Some(start), why });
        }
        self.torn = Some(why);
        Ok(kept)
    }

    /// Whether everything that was acknowledged has been seen, so that what follows never was.
    fn may_tear(&self) -> bool {
        self.marks.iter().all(|(_, mark)| mark.seq <= self.head.seq)
    }

    /// Takes in one complete append.
    fn take(&mut self, append: &[Frame]) -> Result<(), String> {
        for frame in append {
            let event: Event = frame.event().map_err(|error| format!("frame {}: unknown event: {error}", frame.seq))?;
            if frame.seq > self.included {
                apply(&mut self.state, &event);
            }
            self.last = Some(Resume { t: frame.t, utc: frame.utc, boot: None });
            self.head = head_of(frame);
        }
        Ok(())
    }

    /// Whether the frame that another file knows of is the one that stands there. Each is the last one of its append.
    fn check_marks(&self) -> Result<(), StoreError> {
        for (path, mark) in &self.marks {
            if mark.seq == self.head.seq && mark.hash != self.head.hash {
                return Err(StoreError::damaged(path, format!("frame {} is another one in the events", mark.seq)));
            }
        }
        Ok(())
    }
}

fn head_of(frame: &Frame) -> Head {
    Head { seq: frame.seq, hash: frame.hash.clone() }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn parse(line: &[u8]) -> Result<Frame, Flaw> {
    let torn = |why: &str| Flaw::Torn(why.to_owned());
    let line = line.strip_suffix(b"\n").ok_or_else(|| torn("the last line has no end"))?;
    let text = std::str::from_utf8(line).map_err(|_| torn("not text"))?;
    let frame: Frame = serde_json::from_str(text).map_err(|error| {
        let why = format!("not a frame: {error}");
        if error.is_data() { Flaw::Wrong(why) } else { Flaw::Torn(why) }
    })?;
    match serde_json::to_string(&frame) {
        Ok(written) if written == text => Ok(frame),
        _ => Err(Flaw::Wrong("it was changed after it was written: not the form that phasegate writes".to_owned())),
    }
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
