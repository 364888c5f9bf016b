//! The two streams of a command, shown as they come.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::lines::{Extent, Lines};
use super::mask::Mask;

/// How much is read at once.
const READ: usize = 8 * 1024;
/// How much of the end is kept.
const TAIL: usize = 4 * 1024;

/// Where lines go.
pub(super) struct Screen<'a> {
    mask: Mask,
    echo: &'a mut dyn FnMut(&str),
    tail: String,
}

impl<'a> Screen<'a> {
    pub(super) fn new(mask: Mask, echo: &'a mut dyn FnMut(&str)) -> Self {
        Self { mask, echo, tail: String::new() }
    }

    pub(super) const fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Shows a line that hides nothing.
    pub(super) fn say(&mut self, line: &str) {
        (self.echo)(line);
        if !self.tail.is_empty() {
            self.tail.push('\n');
        }
        self.tail.push_str(line);
        // Not at each line: moving the rest costs more than keeping it for a while.
        if self.tail.len() > 4 * TAIL {
            self.shorten();
        }
    }

    /// The end of what was shown.
    pub(super) fn into_tail(mut self) -> String {
        self.shorten();
        self.tail
    }

    fn shorten(&mut self) {
        let start = self.tail.ceil_char_boundary(self.tail.len().saturating_sub(TAIL));
        self.tail.drain(..start);
    }

    fn line(&mut self, raw: &[u8], extent: Extent) {
        let line = self.mask.line(raw, extent);
        self.say(&line);
    }
}

/// What a command says, on both of its streams. Each has its own lines, so that none is torn by the other.
pub(super) struct Output {
    out: Stream<ChildStdout>,
    err: Stream<ChildStderr>,
}

impl Output {
    /// Takes the streams of a command that was just started.
    pub(super) fn new(child: &mut Child, mask: &Mask) -> Self {
        Self { out: Stream::new(child.stdout.take(), mask.most()), err: Stream::new(child.stderr.take(), mask.most()) }
    }

    /// Whether more may come.
    pub(super) const fn is_open(&self) -> bool {
        self.out.pipe.is_some() || self.err.pipe.is_some()
    }

    /// Waits for more, shows it, and says how much it was. Nothing is lost if this is dropped.
    pub(super) async fn more(&mut self, screen: &mut Screen<'_>) -> usize {
        tokio::select! {
            count = self.out.read() => self.out.show(count, screen),
            count = self.err.read() => self.err.show(count, screen),
        }
    }

    /// Shows what has no end yet.
    pub(super) fn finish(&mut self, screen: &mut Screen<'_>) {
        for lines in [&mut self.out.lines, &mut self.err.lines] {
            lines.finish(&mut |raw, extent| screen.line(raw, extent));
        }
    }
}

struct Stream<R> {
    pipe: Option<R>,
    read: Vec<u8>,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(pipe: Option<R>, most: usize) -> Self {
        Self { pipe, read: vec![0; READ], lines: Lines::new(most) }
    }

    /// Never comes back once it is over.
    async fn read(&mut self) -> usize {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let count = pipe.read(&mut self.read).await.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        count
    }

    fn show(&mut self, count: usize, screen: &mut Screen<'_>) -> usize {
        let bytes = self.read.get(..count).unwrap_or_default();
        self.lines.add(bytes, &mut |raw, extent| screen.line(raw, extent));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_shown_is_kept() {
        let mut lines = Vec::new();
        let mut echo = |line: &str| lines.push(line.to_owned());
        let mut screen = Screen::new(Mask::new(&[]), &mut echo);
        for at in 0..10_000 {
            screen.say(&format!("é line {at}"));
            assert!(screen.tail.len() <= 5 * TAIL, "memory is bounded");
        }
        let tail = screen.into_tail();
        assert!((TAIL - 1..=TAIL).contains(&tail.len()) && lines.join("\n").ends_with(&tail), "{tail}");
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        let mut echo = |_: &str| {};
        let mut screen = Screen::new(Mask::new(&[]), &mut echo);
        screen.say("one");
        screen.say("two");
        assert_eq!(screen.into_tail(), "one\ntwo");
    }
}
