//! Shows a line of a document without what may be a secret in it.

use std::ops::Range;

use super::tree::Span;

/// Longest excerpt, in characters.
const WIDTH: usize = 120;
/// What is shown instead of a secret, whatever its length.
pub(super) const HIDDEN: &str = "***";

/// What may not be shown.
#[derive(Debug, Default)]
pub(super) struct Mask {
    hidden: Vec<Range<usize>>,
    outline: bool,
}

/// A line as it may be shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) text: String,
    /// In characters of `text`; never empty.
    pub(super) underline: Range<usize>,
}

impl Mask {
    /// Hides a span.
    pub(super) fn hide(&mut self, at: Span) {
        self.hidden.push(at.start..at.start + at.len);
    }

    /// Whether a span is hidden.
    pub(super) fn hides(&self, at: Span) -> bool {
        self.hidden.iter().any(|range| range.contains(&at.start))
    }

    /// Hides all but keys and punctuation.
    pub(super) fn outline(&mut self) {
        self.outline = true;
    }

    /// One line that starts at byte `offset` of the document; `mark` is what to underline, in bytes of the line.
    pub(super) fn show(&self, line: &str, offset: usize, mark: Range<usize>) -> Shown {
        let (shown, underline) = self.masked(line, offset, mark);
        crop(&shown, underline)
    }

    fn masked(&self, line: &str, offset: usize, mark: Range<usize>) -> (Vec<char>, Range<usize>) {
        let mut hidden: Vec<Range<usize>> = self.hidden.clone();
        hidden.retain(|range| range.start < offset + line.len() && range.end > offset);
        for range in &mut hidden {
            *range = range.start.saturating_sub(offset)..range.end.saturating_sub(offset);
        }
        hidden.extend(userinfo(line));
        if self.outline {
            hidden.extend(words(line));
        }
        let mut shown = Vec::new();
        let (mut from, mut to) = (None, None);
        let mut inside = None;
        for (at, c) in line.char_indices() {
            if at >= mark.start {
                from = from.or(Some(shown.len()));
            }
            if at >= mark.end {
                to = to.or(Some(shown.len()));
            }
            let range = hidden.iter().position(|range| range.contains(&at));
            if range.is_none() {
                shown.push(if c.is_control() || c == '\u{feff}' { ' ' } else { c });
            } else if range != inside {
                shown.extend(HIDDEN.chars());
            }
            inside = range;
        }
        let from = from.unwrap_or(shown.len());
        let to = to.unwrap_or(shown.len()).max(from + 1);
        (shown, from..to)
    }
}

/// Text for a terminal: one line, nothing that a terminal obeys, no password of a URL.
pub(super) fn clean(text: &str) -> String {
    Mask::default().masked(text, 0, 0..0).0.into_iter().collect()
}

fn crop(line: &[char], mark: Range<usize>) -> Shown {
    let skip = if line.len() <= WIDTH { 0 } else { mark.start.saturating_sub(WIDTH / 2) };
    let mut text: String = line.iter().skip(skip).take(WIDTH).collect();
    let mut lead = 0;
    if skip > 0 {
        text.insert(0, '…');
        lead = 1;
    }
    if line.len() > skip + WIDTH {
        text.push('…');
    }
    let start = mark.start - skip + lead;
    let end = (mark.end - skip + lead).min(text.chars().count()).max(start + 1);
    Shown { text: text.trim_end().to_owned(), underline: start..end }
}

/// The `user:password` of every URL in a text.
pub(super) fn userinfo(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, scheme) in text.match_indices("://") {
        let start = at + scheme.len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'')).unwrap_or(rest.len());
        if let Some(end) = rest.get(..end).and_then(|authority| authority.rfind('@')) {
            found.push(start..start + end);
        }
    }
    found
}

/// All that is neither a key nor punctuation of YAML.
fn words(line: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut key_may_start = true;
    let mut skip_to = 0;
    for (at, c) in line.char_indices() {
        if at < skip_to {
            continue;
        }
        if key_may_start && let Some(len) = key_at(line.get(at..).unwrap_or_default()) {
            skip_to = at + len;
            key_may_start = false;
        } else if c == '#' {
            found.push(at..line.len());
            break;
        } else if matches!(c, '{' | ',' | '[') || matches!(c, '-' | '?') && ends_word(line.get(at + 1..)) {
            key_may_start = true;
        } else if !c.is_whitespace() && !matches!(c, '}' | ']' | ':' | '"' | '\'' | '&' | '*' | '|' | '>' | '%') {
            key_may_start = false;
            match found.last_mut() {
                Some(last) if last.end == at => last.end = at + c.len_utf8(),
                _ => found.push(at..at + c.len_utf8()),
            }
        }
    }
    found
}

fn ends_word(rest: Option<&str>) -> bool {
    rest.is_none_or(|rest| rest.starts_with(char::is_whitespace))
}

fn key_at(text: &str) -> Option<usize> {
    let len = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))?;
    let (name, rest) = text.split_at_checked(len)?;
    let colon = rest.strip_prefix(':')?;
    let is_key = name.starts_with(|c: char| c.is_ascii_alphabetic()) && len <= 40;
    (is_key && (colon.is_empty() || colon.starts_with(char::is_whitespace))).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_span_shows_neither_its_text_nor_its_length() {
        let mut mask = Mask::default();
        let line = "dsn: hunter2, evry: 3s";
        mask.hide(Span { start: 105, len: 7 });
        let shown = mask.show(line, 100, 14..18);
        assert_eq!(shown.text, "dsn: ***, evry: 3s");
        assert_eq!(shown.underline, 10..14);
    }

    #[test]
    fn a_secret_that_runs_over_lines_is_hidden_on_each() {
        let mut mask = Mask::default();
        mask.hide(Span { start: 4, len: 20 });
        assert_eq!(mask.show("  hunter2", 10, 2..9).text, "***");
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let shown = Mask::default().show("url: http://me:hunter2@host/x # http://me:p@w@host", 0, 0..3);
        assert_eq!(shown.text, "url: http://***@host/x # http://***@host");
    }

    #[test]
    fn an_outline_keeps_keys_and_the_place() {
        let mut mask = Mask::default();
        mask.outline();
        let line = "  - dsn: host=db password=hunter2: {x: y} # or hunter3";
        let shown = mask.show(line, 0, 33..34);
        assert!(!shown.text.contains("hunter"), "{}", shown.text);
        assert_eq!(shown.text, "  - dsn: *** ***: {x: ***} ***");
        assert_eq!(shown.text.chars().nth(shown.underline.start), Some(':'));
    }

    #[test]
    fn a_long_line_is_cropped_around_its_mark() {
        let line = format!("{}evry{}", "a".repeat(5000), "b".repeat(5000));
        let shown = Mask::default().show(&line, 0, 5000..5004);
        let marked: String = shown.text.chars().skip(shown.underline.start).take(shown.underline.len()).collect();
        assert_eq!(marked, "evry");
        assert!(shown.text.chars().count() <= WIDTH + 2);
    }

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        assert_eq!(Mask::default().show("a\u{1b}[31mb\tc", 0, 0..1).text, "a [31mb c");
    }
}
