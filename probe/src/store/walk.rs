//! The walk along the chain of frames, wherever it is kept: what counts of it, and whether it is damaged.

use std::path::{Path, PathBuf};

use super::{Resume, StoreError};
use crate::apply::apply;
use crate::audit::{Frame, Head};
use crate::event::Event;
use crate::state::State;

/// The walk along a chain, with what it has led to so far.
pub(super) struct Walk {
    /// The newest frame of a complete append.
    pub(super) head: Head,
    /// Frames that other places know of.
    marks: Vec<(PathBuf, Head)>,
    /// The state includes the frames up to this one.
    included: u64,
    pub(super) state: State,
    pub(super) last: Option<Resume>,
    /// Why the last segment is longer than what counts of it.
    pub(super) torn: Option<String>,
}

enum Flaw {
    /// As an interrupted write leaves it.
    Torn(String),
    Wrong(String),
}

impl Walk {
    /// From the frame after `start` on. `marks` are frames that other places know of; the state includes all up to `included`.
    pub(super) fn new(start: Head, marks: Vec<(PathBuf, Head)>, included: u64, state: State) -> Result<Self, StoreError> {
        let walk = Self { head: start, marks, included, state: state.restarted(), last: None, torn: None };
        walk.check_marks()?;
        Ok(walk)
    }

    /// Whether the segment that begins with this frame comes next.
    pub(super) fn comes_to(&self, path: &Path, first: u64) -> Result<(), StoreError> {
        let next = self.head.seq.saturating_add(1);
        if first == next {
            return Ok(());
        }
        Err(StoreError::damaged(path, format!("it begins with frame {first}, but frame {next} is missing")))
    }

    /// Takes in one segment and says how many bytes of it count.
    pub(super) fn segment(&mut self, path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
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

    /// Whether every frame that another place knows of has been seen.
    pub(super) fn ends(&self) -> Result<(), StoreError> {
        for (path, mark) in &self.marks {
            if mark.seq > self.head.seq {
                let why = format!(
                    "it knows of frame {}, but the events end with frame {}: events are missing",
                    mark.seq, self.head.seq
                );
                return Err(StoreError::damaged(path, why));
            }
        }
        Ok(())
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
