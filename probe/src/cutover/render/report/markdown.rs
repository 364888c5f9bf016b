//! The checklist as Markdown. What others said stands in code spans, in which nothing is markup.

use super::super::text::{clip, visible};
use super::sheet::{Bit, Item, Mark, Sheet};

/// The checklist, line by line.
pub(super) fn lines(sheet: &Sheet, wide: bool) -> Vec<String> {
    let text = |bits: &[Bit]| bits.iter().map(|bit| bit_text(bit, wide)).collect::<String>();
    // A paragraph each.
    let block = |lines: &[Vec<Bit>]| lines.iter().flat_map(|line| [String::new(), text(line)]).collect::<Vec<_>>();
    let mut lines = vec![format!("# {}", escaped(&sheet.title))];
    lines.extend(block(&sheet.facts));
    for section in &sheet.sections {
        lines.push(String::new());
        lines.push(format!("## {}", text(&section.title)));
        lines.extend(block(&section.facts));
        for part in &section.parts {
            lines.extend([String::new(), format!("### {}", part.title), String::new()]);
            lines.extend(part.items.iter().flat_map(|item| item_lines(item, &text)));
        }
    }
    lines.extend(block(&sheet.end));
    lines
}

fn item_lines(item: &Item, text: &impl Fn(&[Bit]) -> String) -> Vec<String> {
    let mark = match item.mark {
        Mark::Done => "[x] ",
        Mark::Missing => "[ ] ",
        Mark::Left => "[-] ",
        Mark::Plain => "",
    };
    let notes = item.notes.iter().map(|note| format!("  - {}", text(note)));
    [format!("- {mark}{}", text(&item.line))].into_iter().chain(notes).collect()
}

fn bit_text(bit: &Bit, wide: bool) -> String {
    match bit {
        Bit::Own(words) => escaped(words),
        Bit::Told(words) => code(&clip(words, wide || is_hash(words))),
        Bit::State(state) => state.to_uppercase(),
    }
}

/// A hash that is cut is none.
fn is_hash(words: &str) -> bool {
    words.len() == 64 && words.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A code span that nothing in it can end: its fence is longer than any run of backticks inside.
fn code(words: &str) -> String {
    let words = visible(words);
    let longest = words.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // Next to a backtick, or when only spaces are inside, the span needs spaces of its own.
    let pad = if longest > 0 || words.trim().is_empty() { " " } else { "" };
    format!("{fence}{pad}{words}{pad}{fence}")
}

/// Our own words and names, with nothing in them that Markdown reads. Our own code spans stay what they are.
fn escaped(words: &str) -> String {
    let words = visible(words);
    let chars: Vec<char> = words.chars().collect();
    let mut text = String::with_capacity(words.len());
    let mut inside = false;
    let balanced = chars.iter().filter(|c| **c == '`').count() % 2 == 0;
    for (at, &c) in chars.iter().enumerate() {
        let within = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
        let markup = match c {
            '`' if balanced => {
                inside = !inside;
                false
            }
            '_' => !(within(at.checked_sub(1)) && within(at.checked_add(1))),
            _ => matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#'),
        };
        if markup && !inside {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(code("3 nodes"), "`3 nodes`");
        assert_eq!(code("a `b` ``` <img src=x>"), "```` a `b` ``` <img src=x> ````");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\nb\u{202e}c"), "`a b\u{fffd}c`");
        assert_eq!(code(""), "`  `");
        assert_eq!(escaped("log_path <b> [x](y) *z* #1 _u_"), "log_path \\<b\\> \\[x\\](y) \\*z\\* \\#1 \\_u\\_");
        assert_eq!(escaped("say `cutover <x>`, or ` not"), "say \\`cutover \\<x\\>\\`, or \\` not");
        assert_eq!(escaped("say `cutover lock <x>`"), "say `cutover lock <x>`");
    }
}
