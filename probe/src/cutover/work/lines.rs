//! Bytes as they come, put together to lines of bounded length.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

/// How often a state of a progress bar is shown.
const PROGRESS: Duration = Duration::from_secs(1);

/// How much of a line there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Its beginning; it was too long.
    Cut,
    /// What had come of it when the output ended.
    Open,
}

/// Who takes lines.
pub(super) type Take<'a> = &'a mut dyn FnMut(&[u8], Extent);

/// Puts lines together. A carriage return begins the line anew, as on a terminal.
#[derive(Debug)]
pub(super) struct Lines {
    kept: Vec<u8>,
    most: usize,
    cut: bool,
    returned: bool,
    /// When a state of a progress bar was shown last.
    shown: Instant,
}

impl Lines {
    /// Keeps at most so many bytes of a line.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, cut: false, returned: false, shown: Instant::now() }
    }

    /// Takes in what came, and hands out the lines that are over.
    pub(super) fn add(&mut self, bytes: &[u8], take: Take<'_>) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = rest.split_at(at);
            self.push(text, take);
            let Some((mark, after)) = end.split_first() else { return };
            if *mark == b'\n' {
                self.hand_out(Extent::Whole, take);
            } else {
                self.returned = true;
            }
            rest = after;
        }
        self.push(rest, take);
    }

    /// Hands out what is left when nothing more comes.
    pub(super) fn finish(&mut self, take: Take<'_>) {
        if !self.kept.is_empty() {
            self.hand_out(Extent::Open, take);
        }
    }

    fn push(&mut self, text: &[u8], take: Take<'_>) {
        if text.is_empty() {
            return;
        }
        if mem::take(&mut self.returned) && !self.kept.is_empty() {
            self.overwrite(take);
        }
        let room = self.most.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(text.get(..room).unwrap_or(text));
        self.cut |= text.len() > room;
    }

    /// A progress bar goes on. One state in a while is shown: all of them are too many, none is a command that seems to hang.
    fn overwrite(&mut self, take: Take<'_>) {
        let now = Instant::now();
        if now.duration_since(self.shown) >= PROGRESS {
            self.shown = now;
            self.hand_out(Extent::Whole, take);
        }
        self.kept.clear();
        self.cut = false;
    }

    fn hand_out(&mut self, extent: Extent, take: Take<'_>) {
        take(&self.kept, if self.cut { Extent::Cut } else { extent });
        self.kept.clear();
        (self.cut, self.returned) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, given what comes in at once each.
    fn lines(parts: &[&str]) -> Vec<(String, Extent)> {
        let mut lines = Lines::new(10);
        let mut out = Vec::new();
        let mut take = |line: &[u8], extent: Extent| out.push((String::from_utf8(line.to_vec()).unwrap(), extent));
        for part in parts {
            lines.add(part.as_bytes(), &mut take);
        }
        lines.finish(&mut take);
        out
    }

    fn whole(texts: &[&str]) -> Vec<(String, Extent)> {
        texts.iter().map(|text| ((*text).to_owned(), Extent::Whole)).collect()
    }

    #[test]
    fn lines_are_put_together_however_they_come() {
        assert_eq!(lines(&["one\ntwo\n\nfour\n"]), whole(&["one", "two", "", "four"]));
        assert_eq!(lines(&["o", "ne", "\n", "two\n"]), whole(&["one", "two"]));
        assert_eq!(lines(&["one\r\ntwo\r", "\n"]), whole(&["one", "two"]), "line ends of another system");
        assert_eq!(lines(&["one\ntw", "o"]), [("one".to_owned(), Extent::Whole), ("two".to_owned(), Extent::Open)]);
    }

    #[test]
    fn no_more_of_a_line_is_kept_than_its_beginning() {
        assert_eq!(lines(&["0123456789\nx\n"]), whole(&["0123456789", "x"]));
        let cut = [("0123456789".to_owned(), Extent::Cut), ("x".to_owned(), Extent::Whole)];
        assert_eq!(lines(&["0123456789ab\nx\n"]), cut);
        assert_eq!(lines(&["01234", "56789", "a", "\nx\n"]), cut);
        assert_eq!(lines(&["01234567890123"]), [("0123456789".to_owned(), Extent::Cut)]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_progress_bar_one_state_in_a_while_is_shown_and_the_last() {
        let mut lines = Lines::new(10);
        let mut out = Vec::new();
        let mut take = |line: &[u8], _: Extent| out.push(String::from_utf8(line.to_vec()).unwrap());
        for percent in 0..40 {
            lines.add(format!("\r{percent}%").as_bytes(), &mut take);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        lines.add(b"\r100%\r\ndone\n", &mut take);
        assert_eq!(out, ["9%", "19%", "29%", "39%", "100%", "done"]);
    }

    #[test]
    fn a_long_state_of_a_progress_bar_does_not_cut_the_next() {
        assert_eq!(lines(&["0123456789ab\rdone\n"]), whole(&["done"]));
    }
}
