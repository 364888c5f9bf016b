//! What is wrong with a document, and how it is shown: every problem at once, each with its place and a way out.

use std::fmt;
use std::ops::Range;

use super::mask::{Mask, Shown, clean};
use super::tree::{Node, Path, Span};

/// One broken rule, or one remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Display name of the file.
    pub file: String,
    /// Where; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

/// A place in a file, with its line as it may be shown: without anything that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In characters, at least 1.
    pub length: usize,
    /// The line, masked and cropped.
    excerpt: String,
    /// What to underline of the excerpt, in characters.
    underline: Range<usize>,
}

/// Everything that is wrong with a document, by position. Its Display is for a terminal or a log, one problem after the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    file: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// One error about a file as a whole.
    pub(crate) fn of_file(file: &str, message: String, hint: &str) -> Self {
        let problem = Problem { file: file.to_owned(), place: None, message, hint: hint.to_owned() };
        Self { file: file.to_owned(), problems: vec![problem] }
    }

    /// The errors, by position; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "error: {problem}\n")?;
        }
        let (count, s) = (self.problems.len(), if self.problems.len() == 1 { "" } else { "s" });
        write!(f, "{count} error{s} in {}", clean(&self.file))
    }
}

impl fmt::Display for Problem {
    /// Without its level, so that it reads after `error: ` and after `warning: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", clean(&self.message))?;
        let Some(place) = &self.place else {
            return write!(f, "\n  --> {}\n   = hint: {}", clean(&self.file), clean(&self.hint));
        };
        let number = place.line.to_string();
        let gap = " ".repeat(number.len());
        let (lead, carets) = (" ".repeat(place.underline.start), "^".repeat(place.underline.len()));
        writeln!(f, "\n{gap}--> {}:{}:{}", clean(&self.file), place.line, place.column)?;
        writeln!(f, "{gap} |\n{number} | {}\n{gap} | {lead}{carets}", place.excerpt)?;
        write!(f, "{gap} = hint: {}", clean(&self.hint))
    }
}

/// Collects problems while a document is read.
pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    lines: Vec<usize>,
    mask: Mask,
    errors: Vec<(Span, String, String)>,
    warnings: Vec<(Span, String, String)>,
}

impl<'a> Problems<'a> {
    /// No problems yet with this text.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, mask: Mask::default(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// An error at a span.
    pub(super) fn error(&mut self, at: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.errors.push((at, message.into(), hint.into()));
    }

    /// An error at a value.
    pub(super) fn value(&mut self, root: &Node, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.error(root.value_span(path), message, hint);
    }

    /// An error at a key.
    pub(super) fn key(&mut self, root: &Node, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.error(root.key_span(path), message, hint);
    }

    /// A remark about a key that stops nothing.
    pub(super) fn warn(&mut self, root: &Node, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push((root.key_span(path), message.into(), hint.into()));
    }

    /// Never shows what stands there.
    pub(super) fn hide(&mut self, at: Span) {
        // A block of text ends with the indentation of the next line, which is no part of the secret.
        let text = self.text.get(at.start..at.start + at.len).unwrap_or_default();
        let len = if text.is_empty() { at.len } else { text.trim_end().len() };
        self.mask.hide(Span { len, ..at });
    }

    /// Whether what stands there is never shown.
    pub(super) fn hides(&self, at: Span) -> bool {
        self.mask.hides(at)
    }

    /// Shows the shape of lines only, because nothing is known of what their words mean.
    pub(super) fn outline(&mut self) {
        self.mask.outline();
    }

    /// Whether any error was found.
    pub(super) fn any(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The errors, if any, or the warnings.
    pub(super) fn finish(self) -> Result<Vec<Problem>, ConfigErrors> {
        if self.any() {
            Err(ConfigErrors { file: self.file.to_owned(), problems: self.placed(&self.errors) })
        } else {
            Ok(self.placed(&self.warnings))
        }
    }

    fn placed(&self, found: &[(Span, String, String)]) -> Vec<Problem> {
        let mut found: Vec<_> = found.iter().collect();
        found.sort();
        found.dedup();
        let problem = |(span, message, hint): &(Span, String, String)| Problem {
            file: self.file.to_owned(),
            place: Some(self.place(*span)),
            message: message.clone(),
            hint: hint.clone(),
        };
        found.into_iter().map(problem).collect()
    }

    /// The line of a span, from 1.
    pub(super) fn line(&self, span: Span) -> usize {
        self.lines.partition_point(|start| *start <= span.start)
    }

    fn place(&self, span: Span) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.line(span);
        let start = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or_default();
        let content = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let within = at - start;
        let chars = |range: Range<usize>| content.get(range).map_or(0, |part| part.chars().count());
        let end = (within + span.len).min(content.len());
        let Shown { text, underline } = self.mask.show(content, start, within..end);
        // A byte order mark is no column of its own.
        let column = chars(0..within) + usize::from(!(line == 1 && content.starts_with('\u{feff}')));
        Place { line, column, length: chars(within..end).max(1), excerpt: text, underline }
    }
}
