//! A stand-in for a node's journal.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::now;

const LOOK: Duration = Duration::from_millis(20);
const MICROSECOND: i64 = 1000;

/// What a journal holds of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the journal received it, in nanoseconds, to the microsecond.
    pub(crate) at: i64,
    /// `SYSLOG_IDENTIFIER`.
    pub(crate) identifier: String,
    pub(crate) text: String,
}

/// The lines of a journal; more than one collector can read it, and each sees the same moments.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Vec<Record>>);

impl Records {
    fn write(&self, identifier: &str, text: &str) {
        let mut records = self.0.lock();
        // No two lines of a journal were received at the same moment.
        let next = records.last().map_or(0, |last| last.at + MICROSECOND);
        let at = (now() / MICROSECOND * MICROSECOND).max(next);
        records.push(Record { at, identifier: identifier.to_owned(), text: text.to_owned() });
    }

    /// The lines from this number on.
    pub(crate) fn since(&self, number: usize) -> Vec<Record> {
        self.0.lock().get(number..).unwrap_or_default().to_vec()
    }
}

/// A stand-in for a node's journal: lines come in by [`StandinJournal::write`], or from files that something else writes, such as
/// `probe agent --sink file:PATH`.
#[derive(Debug)]
pub struct StandinJournal {
    records: Arc<Records>,
    following: Mutex<JoinSet<()>>,
}

impl Default for StandinJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl StandinJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self { records: Arc::default(), following: Mutex::default() }
    }

    /// Receives a line.
    pub fn write(&self, identifier: &str, text: &str) {
        self.records.write(identifier, text);
    }

    /// Receives each line that is appended to a file, now and from now on, under this identifier. The file may come later, and may
    /// begin anew. Needs a runtime.
    pub fn follow(&self, path: &Path, identifier: &str) {
        let mut tail = Tail { path: path.to_owned(), read: 0, partial: Vec::new() };
        let (records, identifier) = (Arc::clone(&self.records), identifier.to_owned());
        self.following.lock().spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                for line in tail.lines() {
                    records.write(&identifier, &line);
                }
            }
        });
    }

    /// How many lines it has received.
    pub fn len(&self) -> usize {
        self.records.0.lock().len()
    }

    /// It has received none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn records(&self) -> Arc<Records> {
        Arc::clone(&self.records)
    }
}

struct Tail {
    path: PathBuf,
    read: u64,
    partial: Vec<u8>,
}

impl Tail {
    /// Whole lines that were not there at the last look.
    fn lines(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        // What can not be read now is read at the next look.
        if self.append(&mut new).is_err() {
            return Vec::new();
        }
        self.partial.append(&mut new);
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        lines
    }

    fn append(&mut self, to: &mut Vec<u8>) -> std::io::Result<()> {
        let mut file = std::fs::File::open(&self.path)?;
        if file.metadata()?.len() < self.read {
            self.read = 0;
            self.partial.clear();
        }
        file.seek(SeekFrom::Start(self.read))?;
        self.read += u64::try_from(file.read_to_end(to)?).unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(journal: &StandinJournal) -> Vec<String> {
        journal.records().since(0).into_iter().map(|record| record.text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_followed_line_by_line_also_when_it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sink");
        let journal = StandinJournal::new();
        journal.follow(&path, "canary");
        tokio::time::sleep(LOOK * 3).await;
        assert!(journal.is_empty());
        let mut file = std::fs::File::create(&path).unwrap();
        write!(file, "one\ntw").unwrap();
        tokio::time::sleep(LOOK * 3).await;
        assert_eq!(texts(&journal), ["one"]);
        writeln!(file, "o").unwrap();
        tokio::time::sleep(LOOK * 3).await;
        assert_eq!(texts(&journal), ["one", "two"]);
        std::fs::write(&path, "new\n").unwrap();
        tokio::time::sleep(LOOK * 3).await;
        assert_eq!(texts(&journal), ["one", "two", "new"]);
    }

    #[test]
    fn no_two_lines_have_the_same_moment() {
        let journal = StandinJournal::new();
        (0..100).for_each(|number| journal.write("x", &number.to_string()));
        let moments: Vec<i64> = journal.records().since(0).into_iter().map(|record| record.at).collect();
        assert!(moments.windows(2).all(|pair| pair[0] < pair[1]), "{moments:?}");
        assert!(moments.iter().all(|at| at % MICROSECOND == 0));
    }
}
