//! A line as it may be shown: no secrets, nothing that a terminal obeys, not too long.

use std::ops::Range;

use super::lines::Extent;

/// Longest line that is shown, in bytes.
pub(super) const LINE: usize = 4096;
/// Where a line was cut.
const CUT: &str = "… (cut)";
/// What is shown instead of a secret, whatever its length.
const HIDDEN: &str = "***";
/// Shorter secrets are not searched for: they would be found everywhere.
const SHORTEST: usize = 4;

/// What must not be shown.
pub(super) struct Mask(Vec<String>);

impl Mask {
    /// Of a secret of several lines, each line.
    pub(super) fn new(secrets: &[String]) -> Self {
        let lines = secrets.iter().flat_map(|secret| secret.split(['\n', '\r']));
        let mut hidden: Vec<String> = lines.map(|line| clean(line).trim().to_owned()).collect();
        hidden.retain(|line| line.chars().count() >= SHORTEST);
        hidden.sort_unstable();
        hidden.dedup();
        Self(hidden)
    }

    /// How many bytes of a line have to be known, so that a secret at the end of what is shown of it is seen as one.
    pub(super) fn most(&self) -> usize {
        LINE + self.0.iter().map(String::len).max().unwrap_or(0)
    }

    /// A line of output.
    pub(super) fn line(&self, raw: &[u8], extent: Extent) -> String {
        let text = clean(&String::from_utf8_lossy(raw));
        let whole = extent == Extent::Whole;
        // The last character may be half there.
        let text = if whole { text.as_str() } else { text.trim_end_matches(char::REPLACEMENT_CHARACTER) };
        let hidden = self.hide(text, whole);
        if extent != Extent::Cut && hidden.len() <= LINE {
            return hidden;
        }
        let end = hidden.floor_char_boundary(LINE - CUT.len());
        format!("{}{CUT}", hidden.get(..end).unwrap_or_default())
    }

    /// Words of our own.
    pub(super) fn text(&self, text: &str) -> String {
        self.hide(&clean(text), true)
    }

    fn hide(&self, text: &str, whole: bool) -> String {
        let mut found: Vec<Range<usize>> = self.0.iter().flat_map(|secret| places(secret, text)).collect();
        if !whole {
            found.extend(self.0.iter().filter_map(|secret| begun(secret, text)));
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut shown = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            // Where two secrets overlap, both are one.
            if range.start >= at {
                shown.push_str(text.get(at..range.start).unwrap_or_default());
                shown.push_str(HIDDEN);
            }
            at = at.max(range.end);
        }
        shown.push_str(text.get(at..).unwrap_or_default());
        shown
    }
}

/// Where a secret stands, also where it overlaps itself.
fn places(secret: &str, text: &str) -> Vec<Range<usize>> {
    let step = secret.chars().next().map_or(1, char::len_utf8);
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(secret)) {
        let start = from + at;
        found.push(start..start + secret.len());
        from = start + step;
    }
    found
}

/// Where a secret begins whose end is not there.
fn begun(secret: &str, text: &str) -> Option<Range<usize>> {
    let ends: Vec<usize> = secret.char_indices().skip(SHORTEST).map(|(at, _)| at).collect();
    let mut starts = ends.into_iter().rev().filter_map(|end| secret.get(..end)).filter(|start| text.ends_with(start));
    starts.next().map(|start| text.len() - start.len()..text.len())
}

/// Without colours and other commands to a terminal, and without marks that turn the direction of text.
fn clean(text: &str) -> String {
    let harmless = |c: &char| *c == '\t' || !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    anstream::adapter::strip_str(text).to_string().chars().filter(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>())
    }

    fn whole(mask: &Mask, raw: &[u8]) -> String {
        mask.line(raw, Extent::Whole)
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        let mask = mask(&["hunter2", "pässword"]);
        assert_eq!(whole(&mask, b"hunter2 is not hunter 2"), "*** is not hunter 2");
        assert_eq!(whole(&mask, b"a=hunter2hunter2&b=hunter2"), "a=******&b=***");
        assert_eq!(whole(&mask, "x pässword y".as_bytes()), "x *** y");
        assert_eq!(mask.text("`hunter2` is not found"), "`***` is not found");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        assert_eq!(whole(&mask(&["hunter2", "hunter2-long", "long-tail"]), b"<hunter2-long-tail>"), "<***>");
        assert_eq!(whole(&mask(&["abab"]), b"<ababab>"), "<***>");
    }

    #[test]
    fn colours_within_a_secret_do_not_show_it() {
        assert_eq!(whole(&mask(&["hunter2"]), b"is hun\x1b[31mter\x1b[0m2 or hun\x00ter2"), "is *** or ***");
    }

    #[test]
    fn each_line_of_a_secret_is_one() {
        let mask = mask(&["-----BEGIN-----\r\n  MIIEv\nabc\n", "with-an-end\n"]);
        assert_eq!(whole(&mask, b"> MIIEv"), "> ***");
        assert_eq!(whole(&mask, b"x with-an-end."), "x ***.");
        assert_eq!(whole(&mask, b"abc"), "abc", "too short to be searched for");
    }

    #[test]
    fn short_secrets_are_not_searched_for() {
        assert_eq!(whole(&mask(&["a", "", "abc"]), b"abc"), "abc");
        assert_eq!(whole(&mask(&["abcd"]), b"abcd"), "***");
    }

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        let raw = b"a\x1b[2J\x1b]0;title\x07b\x07\tc\x08d \xff \xc2\x9b31m\xe2\x80\xaee";
        assert_eq!(whole(&mask(&[]), raw), "ab\tcd \u{fffd} 31me");
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark() {
        let mask = mask(&[]);
        let fits = "é".repeat(LINE / 2);
        assert_eq!(whole(&mask, fits.as_bytes()), fits);
        let cut = whole(&mask, format!("{fits}x").as_bytes());
        assert!(cut.len() <= LINE && cut.ends_with("é… (cut)"), "{} {cut}", cut.len());
        assert_eq!(mask.line(b"short", Extent::Cut), "short… (cut)", "the colours were longer than the line");
        assert_eq!(mask.line(b"short", Extent::Open), "short");
    }

    #[test]
    fn the_beginning_of_a_secret_is_hidden_where_its_end_is_missing() {
        let mask = mask(&["hunter2", "pässword-of-mine"]);
        for extent in [Extent::Cut, Extent::Open] {
            let shown = |raw: &[u8]| mask.line(raw, extent).replace(CUT, "");
            assert_eq!(shown(b"it is hunter"), "it is ***");
            assert_eq!(shown(b"it is hun"), "it is hun", "as short as what is not searched for");
            assert_eq!(shown(b"it is hunter2"), "it is ***");
            assert_eq!(shown("it is pässword-of".as_bytes()), "it is ***");
            assert_eq!(shown(b"it is hunter\xc3"), "it is ***", "before half a character");
        }
        assert_eq!(whole(&mask, b"it is hunter"), "it is hunter");
    }

    #[test]
    fn what_is_hidden_does_not_move_the_beginning_of_a_secret_into_sight() {
        let secret: String = (100..150).map(|number| number.to_string()).collect();
        let mask = mask(&[&secret]);
        let known = secret.repeat(100).into_bytes();
        let shown = mask.line(&known[..mask.most()], Extent::Cut);
        assert!(shown.ends_with("***… (cut)") && !shown.contains("100101"), "{shown}");
    }
}
