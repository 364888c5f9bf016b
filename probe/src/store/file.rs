//! The ledger in a directory: `events/` holds the chain in segments, `head.json` what was acknowledged last, `snapshot.json`
//! the newest checkpoint, `lock` keeps other verifiers away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::scan::{EVENTS, HEAD, HeadFile, SNAPSHOT, Scan, Segment, SnapshotRef, scan, segment_name};
use super::{BootMoment, Filling, Loaded, Resume, Store, StoreError, frames, lock, page, sealed};
use crate::audit::{AuditPage, Head};
use crate::event::Event;
use crate::now::Now;
use crate::state::State;

/// A segment that is longer than this is not continued.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// What the root of a file system may hold besides.
const LOST_AND_FOUND: &str = "lost+found";

/// The ledger in a directory, which it holds locked.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    dir_file: File,
    _lock: File,
    segments: Vec<Segment>,
    head: Head,
    /// Of the last append.
    moment: Option<Resume>,
    /// What a failed append may have left behind.
    undo: Option<Undo>,
    segment_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
enum Undo {
    /// Bytes after the end of the last segment.
    Frames,
    /// These, and a head that knows of them.
    FramesAndHead,
}

/// Verifies a state directory, which may be in use, without changing it, and says where its chain ends.
pub fn verify_dir(dir: &Path) -> Result<Head, StoreError> {
    match scan(dir)? {
        Some(scan) => Ok(scan.head),
        None => Err(StoreError::Absent(dir.to_owned())),
    }
}

impl FileStore {
    /// Takes a directory and reads what it holds: nothing, if it is empty or does not exist yet.
    pub fn open(dir: &Path) -> Result<(Self, Option<Loaded>), StoreError> {
        create(dir)?;
        let lock = lock::take(dir)?;
        let found = scan(dir)?;
        let dir_file = File::open(dir).map_err(StoreError::io("open", dir))?;
        let mut store = Self {
            dir: dir.to_owned(),
            dir_file,
            _lock: lock,
            segments: Vec::new(),
            head: Head::genesis(),
            moment: None,
            undo: None,
            segment_bytes: SEGMENT_BYTES,
        };
        create_dir(&dir.join(EVENTS))?;
        match found {
            Some(found) => store.take(found),
            None => store.initialise().map(|()| (store, None)),
        }
    }

    /// The head comes last: as long as it is missing, nothing was ever acknowledged.
    fn initialise(&mut self) -> Result<(), StoreError> {
        self.write_snapshot(&State::default(), None)?;
        self.stage_head(&self.head, None)?;
        sealed::publish(&self.dir.join(HEAD), &self.dir_file)
    }

    fn take(mut self, found: Scan) -> Result<(Self, Option<Loaded>), StoreError> {
        let Scan { head, acknowledged, state, resume, segments, torn } = found;
        (self.head, self.segments, self.moment) = (head, segments, acknowledged.moment);
        if let Some(why) = torn {
            let segment = self.segments.last().map(|segment| &segment.path);
            tracing::warn!(segment = ?segment, head = self.head.seq, why, "cut the unacknowledged end of the events");
            self.cut()?;
        }
        if self.head != acknowledged.head {
            tracing::warn!(from = acknowledged.head.seq, to = self.head.seq, "took in frames that were not acknowledged");
            self.moment.clone_from(&resume);
            // The next append writes it as well; a full disk must not keep the ledger from being read.
            let head = self.stage_head(&self.head, self.moment.as_ref());
            if let Err(error) = head.and_then(|()| sealed::publish(&self.dir.join(HEAD), &self.dir_file)) {
                tracing::warn!(%error, "the head of the events could not be brought up to date");
            }
        }
        let loaded = resume.map(|resume| Loaded { state, resume });
        Ok((self, loaded))
    }

    fn write_snapshot(&self, state: &State, moment: Option<Resume>) -> Result<(), StoreError> {
        let path = self.dir.join(SNAPSHOT);
        let snapshot = SnapshotRef { head: &self.head, moment, durable: &state.durable, soft: &state.soft };
        sealed::stage(&path, &sealed::seal(&snapshot)?)?;
        sealed::publish(&path, &self.dir_file)
    }

    fn stage_head(&self, head: &Head, moment: Option<&Resume>) -> Result<(), StoreError> {
        let file = HeadFile { head: head.clone(), moment: moment.cloned() };
        sealed::stage(&self.dir.join(HEAD), &sealed::seal(&file)?)
    }

    /// Writes behind the end of the last segment, or into a new one, and waits for the disk.
    fn write_frames(&mut self, text: &str) -> Result<(), StoreError> {
        if self.segments.last().is_none_or(|segment| segment.len >= self.segment_bytes) {
            self.begin_segment()?;
        }
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let write = || {
            let file = OpenOptions::new().write(true).open(&segment.path)?;
            file.write_all_at(text.as_bytes(), segment.len)?;
            file.sync_data()
        };
        write().map_err(StoreError::io("write", &segment.path))
    }

    fn begin_segment(&mut self) -> Result<(), StoreError> {
        let (events, first) = (self.dir.join(EVENTS), self.head.seq.saturating_add(1));
        let path = events.join(segment_name(first));
        let create = || {
            // An attempt that failed may have left it behind, without a frame that counts.
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            File::open(&events)?.sync_all()
        };
        create().map_err(StoreError::io("create", &path))?;
        self.segments.push(Segment { first, path, len: 0 });
        Ok(())
    }

    /// Removes what is behind the end of the last segment.
    fn cut(&self) -> Result<(), StoreError> {
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let cut = || {
            let file = OpenOptions::new().write(true).open(&segment.path)?;
            file.set_len(segment.len)?;
            file.sync_all()
        };
        cut().map_err(StoreError::io("cut", &segment.path))
    }

    /// Brings the disk back to what was acknowledged. The head goes first: a head without its frames would be damage.
    fn undo(&mut self) -> Result<(), StoreError> {
        let Some(undo) = self.undo else { return Ok(()) };
        if matches!(undo, Undo::FramesAndHead) {
            self.stage_head(&self.head, self.moment.as_ref())?;
            sealed::publish(&self.dir.join(HEAD), &self.dir_file)?;
        }
        self.cut()?;
        self.undo = None;
        Ok(())
    }

    fn append_text(&mut self, text: &str, head: &Head, moment: &Resume) -> Result<(), StoreError> {
        self.undo()?;
        self.undo = Some(Undo::Frames);
        self.write_frames(text)?;
        self.stage_head(head, Some(moment))?;
        self.undo = Some(Undo::FramesAndHead);
        sealed::publish(&self.dir.join(HEAD), &self.dir_file)?;
        self.undo = None;
        Ok(())
    }
}

impl Store for FileStore {
    fn append(&mut self, events: &[Event], at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        let frames = frames(&self.head, events, at)?;
        let Some(last) = frames.last() else { return Ok(()) };
        let (head, moment) = (Head { seq: last.seq, hash: last.hash.clone() }, Resume::new(at, boot));
        let mut text = String::new();
        for frame in &frames {
            text.push_str(&serde_json::to_string(frame).map_err(StoreError::Encode)?);
            text.push('\n');
        }
        if let Err(error) = self.append_text(&text, &head, &moment) {
            if let Err(error) = self.undo() {
                tracing::warn!(%error, "what a failed write left behind is still there; the next write begins with it");
            }
            return Err(error);
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.len = segment.len.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        }
        (self.head, self.moment) = (head, Some(moment));
        Ok(())
    }

    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        self.write_snapshot(state, Some(Resume::new(at, boot)))
    }

    fn audit(&self, from_seq: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let from = from_seq.max(1);
        // Who follows the trail asks often for what is not there yet, and no file has to be read for that.
        if from > self.head.seq {
            return Ok(page(Vec::new(), &self.head));
        }
        let mut filling = Filling::new(limit);
        let begin = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        for segment in self.segments.iter().skip(begin) {
            let bytes = sealed::read_file(&segment.path)?.unwrap_or_default();
            let counts = bytes.get(..usize::try_from(segment.len).unwrap_or(usize::MAX)).unwrap_or(&bytes);
            let skipped = usize::try_from(from.saturating_sub(segment.first)).unwrap_or(usize::MAX);
            for line in counts.split_inclusive(|byte| *byte == b'\n').skip(skipped) {
                if !filling.takes(line.len()) {
                    return Ok(page(filling.frames, &self.head));
                }
                let frame = serde_json::from_slice(line);
                filling
                    .frames
                    .push(frame.map_err(|error| StoreError::damaged(&segment.path, format!("it is not readable: {error}")))?);
            }
        }
        Ok(page(filling.frames, &self.head))
    }

    fn head(&self) -> Head {
        self.head.clone()
    }
}

/// Makes sure of a directory that is ours, or empty.
fn create(dir: &Path) -> Result<(), StoreError> {
    match fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => return Err(StoreError::NotADirectory(dir.to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return create_dir(dir),
        Err(error) => return Err(StoreError::io("look at", dir)(error)),
    }
    let mut foreign = None;
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        if name == HEAD || name == SNAPSHOT {
            return Ok(());
        }
        let waiting = |file: &str| sealed::waiting(Path::new(file)).as_os_str() == name;
        let ours = name == EVENTS || name == lock::NAME || name == LOST_AND_FOUND || waiting(HEAD) || waiting(SNAPSHOT);
        if !ours {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    foreign.map_or(Ok(()), |name| Err(StoreError::Foreign { dir: dir.to_owned(), name }))
}

/// Creates a directory with those above it, durably: what is acknowledged in it later must not vanish with it.
fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Of a working directory that was deleted, `.` is not there either.
    if above != dir {
        create_dir(above)?;
    }
    let create = || {
        DirBuilder::new().mode(0o700).create(dir)?;
        File::open(above)?.sync_all()
    };
    create().map_err(StoreError::io("create", dir))
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod tests;
