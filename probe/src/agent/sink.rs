//! Where canary lines go.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};

use super::journal::{Journal, Queue};

/// What `--sink` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// The node's journal.
    Journald,
    /// Standard output.
    Stdout,
    /// A file that grows.
    File(PathBuf),
}

impl FromStr for SinkKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "journald" => Ok(Self::Journald),
            "stdout" => Ok(Self::Stdout),
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Ok(Self::File(path.into())),
                _ => Err("journald, stdout or file:PATH"),
            },
        }
    }
}

/// An open sink.
#[derive(Debug)]
pub(super) enum Sink {
    /// Never waits.
    Journal(Journal),
    /// May wait for a reader or a disk, so it is written to aside.
    Pen(Pen),
}

impl Sink {
    /// What it has taken may lie unread in a queue: this one, if so.
    pub(super) fn queue(&self) -> Option<Queue> {
        match self {
            Self::Journal(journal) => Some(journal.queue()),
            Self::Pen(_) => None,
        }
    }
}

/// Writes one line at a time, with one system call each.
#[derive(Debug)]
pub(super) struct Pen {
    out: Out,
    /// The last write broke off within a line: the next one begins a new line first.
    broken: bool,
}

#[derive(Debug)]
enum Out {
    Stdout(File),
    File { path: PathBuf, file: Option<File> },
}

/// Why a line was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// The words of the sink.
    pub(super) why: String,
    /// No later line will be taken either.
    pub(super) for_good: bool,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), for_good: false }
    }
}

impl Pen {
    /// Writes to standard output.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Self::of(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Writes to what is open already.
    pub(super) fn of(file: File) -> Self {
        Self { out: Out::Stdout(file), broken: false }
    }

    /// Appends to a file, which is made if it is not there.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = Some(append(&path)?);
        Ok(Self { out: Out::File { path, file }, broken: false })
    }

    /// Writes a line. `Ok` says that all of it is there.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Refused> {
        let file = match &mut self.out {
            Out::Stdout(file) => file,
            Out::File { path, file } => {
                if file.as_ref().is_some_and(|file| moved(file, path)) {
                    (*file, self.broken) = (None, false);
                }
                match file {
                    Some(file) => file,
                    None => file.insert(append(path)?),
                }
            }
        };
        let line = format!("{}{text}\n", if self.broken { "\n" } else { "" });
        let written = loop {
            match file.write(line.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        match written {
            // A reader that has closed its end does not come back.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && matches!(self.out, Out::Stdout(_)) => {
                Err(Refused { why: "nobody reads standard output any more".into(), for_good: true })
            }
            Err(error) => Err(error.into()),
            Ok(written) => {
                self.broken = if written == 0 { self.broken } else { written < line.len() };
                // Without its line break it is a whole line all the same, and the next one brings the break.
                if written + 1 >= line.len() {
                    return Ok(());
                }
                Err(Refused { why: format!("only {written} of {} bytes were taken", line.len()), for_good: false })
            }
        }
    }
}

/// Opens a file for appending; does not wait if it is a pipe that nobody reads.
fn append(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?))
}

/// Whether the path leads to another file by now, or to none: it was rotated or removed.
fn moved(file: &File, path: &Path) -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    let (Ok(open), Ok(there)) = (file.metadata().map(id), path.metadata().map(id)) else { return true };
    open != there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_one_of_three() {
        assert_eq!("journald".parse(), Ok(SinkKind::Journald));
        assert_eq!("stdout".parse(), Ok(SinkKind::Stdout));
        assert_eq!("file:/a".parse(), Ok(SinkKind::File("/a".into())));
        for wrong in ["", "file:", "stderr", "/a"] {
            assert!(wrong.parse::<SinkKind>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_was_rotated_or_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("lines"), folder.path().join("lines.1"));
        std::fs::write(&path, "before\n").unwrap();
        let mut pen = Pen::file(path.clone()).unwrap();
        pen.write("1").unwrap();
        std::fs::rename(&path, &rotated).unwrap();
        pen.write("2").unwrap();
        std::fs::remove_file(&path).unwrap();
        pen.write("3").unwrap();
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "before\n1\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
    }

    #[test]
    fn a_folder_that_is_gone_refuses_lines_until_it_is_back() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("logs");
        std::fs::create_dir(&folder).unwrap();
        let mut pen = Pen::file(folder.join("lines")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!pen.write("1").unwrap_err().for_good);
        std::fs::create_dir(&folder).unwrap();
        pen.write("2").unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("lines")).unwrap(), "2\n");
    }

    #[test]
    fn a_line_that_broke_off_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "{\"half").unwrap();
        let mut pen = Pen::file(path.clone()).unwrap();
        pen.broken = true;
        pen.write("1").unwrap();
        pen.write("2").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\n1\n2\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(Pen::file(path).is_err());
    }
}
