//! The checklist as one HTML page: no script, nothing from elsewhere, readable on paper, in the light and in the dark.

use super::super::text::visible;
use super::sheet::{Bit, Item, Mark, Sheet};

const STYLE: &str = "
:root{color-scheme:light dark;--text:#1a1a1a;--back:#fff;--soft:#5c5c5c;--line:#d6d6d6;--green:#176b2c;--red:#b3121d;--yellow:#8a5a00;--violet:#6b2fa0}
@media (prefers-color-scheme:dark){:root{--text:#e8e8e8;--back:#161616;--soft:#a8a8a8;--line:#3a3a3a;--green:#6fd08c;--red:#ff8a80;--yellow:#f0c060;--violet:#cfa8ff}}
body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back)}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem;padding-top:.5rem;border-top:1px solid var(--line)}h3{font-size:1rem;margin-bottom:.25rem}
p{margin:.25rem 0}ul{margin:.5rem 0;padding-left:0;list-style:none}li{margin:.4rem 0;padding-left:1.8rem;text-indent:-1.8rem;break-inside:avoid}
li div{margin-left:1.8rem;padding-left:0;text-indent:0;color:var(--soft)}.mark{display:inline-block;width:1.8rem;text-indent:0}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
.green,.open{color:var(--green)}.red,.closed{color:var(--red)}.suspect,.waiting,.pending{color:var(--yellow)}.unknown{color:var(--violet)}
@media print{:root{--text:#000;--back:#fff;--soft:#333;--line:#999;--green:#000;--red:#000;--yellow:#000;--violet:#000}body{max-width:none;margin:0;font-size:11pt}h2{break-after:avoid}}
";

/// The page.
pub(super) fn page(sheet: &Sheet) -> String {
    let paragraphs =
        |lines: &[Vec<Bit>]| lines.iter().map(|line| format!("<p>{}</p>\n", bits(line))).collect::<Vec<_>>().concat();
    let title = escaped(&sheet.title);
    let mut body = vec![format!("<h1>{title}</h1>\n{}", paragraphs(&sheet.facts))];
    for section in &sheet.sections {
        body.push(format!("<section>\n<h2>{}</h2>\n{}", bits(&section.title), paragraphs(&section.facts)));
        for part in &section.parts {
            body.push(format!("<h3>{}</h3>\n<ul>\n", escaped(part.title)));
            body.extend(part.items.iter().map(item));
            body.push("</ul>\n".to_owned());
        }
        body.push("</section>\n".to_owned());
    }
    body.push(format!("<footer>\n{}</footer>\n", paragraphs(&sheet.end)));
    let body = body.concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn item(item: &Item) -> String {
    let (mark, word) = match item.mark {
        Mark::Done => ("☑", "done"),
        Mark::Missing => ("☐", "not done"),
        Mark::Left => ("–", "not asked for"),
        Mark::Plain => ("•", "note"),
    };
    let notes = item.notes.iter().map(|note| format!("<div>{}</div>", bits(note))).collect::<Vec<_>>().concat();
    let mark = format!("<span class=\"mark\" role=\"img\" aria-label=\"{word}\">{mark}</span>");
    format!("<li>{mark}{}{notes}</li>\n", bits(&item.line))
}

fn bits(bits: &[Bit]) -> String {
    bits.iter().map(bit).collect()
}

fn bit(bit: &Bit) -> String {
    match bit {
        Bit::Own(words) => escaped(words),
        Bit::Told(words) => format!("<code>{}</code>", escaped(words)),
        Bit::State(state) => format!("<strong class=\"{state}\">{}</strong>", state.to_uppercase()),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let hostile = Bit::Told("</code><script>alert('1')</script>\" onload=\"x &amp; \u{202e}\u{0}".to_owned());
        let shown = bit(&hostile);
        assert_eq!(
            shown,
            "<code>&lt;/code&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x &amp;amp; \u{fffd} </code>"
        );
    }
}
