//! Tables, times and colours for people.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{Table, presets};

use crate::now::span;

/// Longest free text in a table's cell.
const CELL: usize = 72;

/// A table without lines; the first row is its head.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Free text cut to a cell's length.
pub(crate) fn clip(text: &str, wide: bool) -> String {
    if wide || text.chars().count() <= CELL {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(CELL - 1).collect();
    cut.push('…');
    cut
}

/// Text of others that can neither steer a terminal nor turn the direction of what stands around it.
pub(crate) fn visible(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |c: char| match c {
        _ if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => ' ',
        _ if turns(c) => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    text.chars().map(plain).collect()
}

/// A moment for people.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A moment with its distance from the server's now.
pub(crate) fn ago(at: DateTime<Utc>, now: Option<DateTime<Utc>>) -> String {
    match now.and_then(|now| (now - at).to_std().ok()) {
        Some(age) => format!("{} ({} ago)", moment(at), span(age)),
        None => moment(at),
    }
}

/// Seconds on the wire as a span for people. What is less than a second is not nothing.
pub(crate) fn seconds(seconds: f64) -> String {
    let short = seconds > 0.0 && seconds < 1.0;
    if short { "<1s".to_owned() } else { span(Duration::try_from_secs_f64(seconds).unwrap_or_default()) }
}

/// Lines with a newline each.
pub(crate) fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Lines whose first word of state has its colour. The word itself carries the meaning; the stream drops colours where
/// they do not belong.
pub(crate) fn painted(lines: &[String]) -> String {
    lines.iter().map(|line| paint(line) + "\n").collect()
}

const WORDS: [(&str, AnsiColor); 14] = [
    ("OK", AnsiColor::Green),
    ("WARNING", AnsiColor::Yellow),
    ("PROBLEM", AnsiColor::Red),
    ("OPEN", AnsiColor::Green),
    ("GREEN", AnsiColor::Green),
    ("PASS", AnsiColor::Green),
    ("CLOSED", AnsiColor::Red),
    ("RED", AnsiColor::Red),
    ("FAIL", AnsiColor::Red),
    ("PENDING", AnsiColor::Yellow),
    ("WAITING", AnsiColor::Yellow),
    ("SUSPECT", AnsiColor::Yellow),
    ("UNKNOWN", AnsiColor::Magenta),
    ("error:", AnsiColor::Red),
];

fn paint(line: &str) -> String {
    let mut at = 0;
    for word in line.split(' ') {
        if let Some((_, colour)) = WORDS.iter().find(|(known, _)| *known == word) {
            let style = Style::new().bold().fg_color(Some((*colour).into()));
            let (before, rest) = line.split_at(at);
            let after = rest.strip_prefix(word).unwrap_or(rest);
            return format!("{before}{style}{word}{style:#}{after}");
        }
        at += word.len() + 1;
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_state_is_coloured() {
        assert_eq!(paint("é  RED x RED"), "é  \u{1b}[1m\u{1b}[31mRED\u{1b}[0m x RED");
        assert_eq!(paint("REDIS is no colour"), "REDIS is no colour");
    }

    #[test]
    fn less_than_a_second_is_not_nothing() {
        for (span, said) in [(0.0, "0s"), (0.001, "<1s"), (0.999, "<1s"), (1.0, "1s"), (61.5, "1m 1s"), (-1.0, "0s")] {
            assert_eq!(seconds(span), said, "{span}");
        }
    }

    #[test]
    fn a_cell_is_cut_between_characters() {
        let long = "é".repeat(100);
        assert_eq!(clip(&long, false).chars().count(), CELL);
        assert_eq!(clip(&long, true), long);
    }
}
