//! `/metrics` pages in Prometheus' text format. Strict: a page with one line that can not be read is not believed at all.

use std::collections::BTreeMap;

use crate::outcome::{Outcome, ReasonSpec};

use super::fetch::{self, Reply};

/// When a process was started; all programs written in Go serve it.
pub(crate) const STARTED_AT: &str = "process_start_time_seconds";

/// 5xx.
pub(crate) const SERVER_ERROR: ReasonSpec =
    ReasonSpec::fail("server_error", "look at the target's log: it answers with the error in the evidence");
/// Something else answers.
pub(crate) const WRONG_REPLY: ReasonSpec =
    ReasonSpec::fail("wrong_reply", "correct the target's URL: what answers there is not the server that was meant");
/// What can be wrong with a page besides what can be wrong with any reply.
pub(crate) const PAGES: &[ReasonSpec] = &[SERVER_ERROR, WRONG_REPLY];

/// Some metrics of a page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    samples: Vec<Sample>,
    place: String,
}

/// One line of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// The metric's name.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The number. May be anything that a float can be.
    pub(crate) value: f64,
}

/// What a status other than 200 means, or a web page.
pub(crate) fn refused(reply: &Reply) -> Option<Outcome> {
    let reason = match reply.status.as_u16() {
        200 if reply.is_html() => fetch::HTML,
        200 => return None,
        300..=399 => fetch::REDIRECT,
        401 | 403 => fetch::DENIED,
        500..=599 => SERVER_ERROR,
        _ => WRONG_REPLY,
    };
    Some(reason.because(reply.quote()))
}

impl Page {
    /// Reads a reply, and keeps the metrics of these names. The first of them is one that only the right kind of server has.
    pub(crate) fn read(reply: &Reply, wanted: &[&str]) -> Result<Self, Outcome> {
        if let Some(outcome) = refused(reply) {
            return Err(outcome);
        }
        let place = reply.place().to_owned();
        let text = std::str::from_utf8(reply.whole()?)
            .map_err(|error| fetch::UNPARSABLE.because(format!("{place}: not UTF-8: {error}")))?;
        let mut samples = Vec::new();
        for (line, number) in text.lines().zip(1_u64..) {
            let sample = sample(line)
                .map_err(|what| fetch::UNPARSABLE.because(format!("{place}: {what} in line {number}: {}", reply.clip(line))))?;
            samples.extend(sample.filter(|sample| wanted.contains(&sample.name.as_str())));
        }
        // A number that is cut short is another number.
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(fetch::UNPARSABLE.because(format!("{place}: the last line does not end")));
        }
        let page = Self { samples, place };
        match wanted.first() {
            Some(mark) if page.all(mark).next().is_none() => {
                Err(WRONG_REPLY.because(format!("no metric {mark} in {}", reply.quote())))
            }
            _ => Ok(page),
        }
    }

    /// All samples of one metric.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The number of a metric without labels.
    pub(crate) fn gauge(&self, name: &str) -> Option<f64> {
        self.all(name).next().map(|sample| sample.value)
    }

    /// The number of a sample as a counter: finite and not negative.
    pub(crate) fn count(&self, sample: &Sample) -> Result<f64, Outcome> {
        if sample.value.is_finite() && sample.value >= 0.0 {
            return Ok(sample.value);
        }
        Err(self.unparsable(&format!("{} is {}, which no counter can be", sample.name, sample.value)))
    }

    /// The sum of a metric's samples that are asked for; 0 without any, since many counters appear with their first event.
    pub(crate) fn sum(&self, name: &str, keep: impl Fn(&Sample) -> bool) -> Result<f64, Outcome> {
        self.all(name).filter(|sample| keep(sample)).try_fold(0.0, |sum, sample| Ok(sum + self.count(sample)?))
    }

    /// A page of the right kind that can not be understood.
    pub(crate) fn unparsable(&self, what: &str) -> Outcome {
        fetch::UNPARSABLE.because(format!("{}: {what}", self.place))
    }
}

/// Reads one line: a sample, or none in a comment or an empty line.
fn sample(line: &str) -> Result<Option<Sample>, &'static str> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, rest) = split_name(line, true).ok_or("no metric name")?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    if labels.is_empty() && rest.len() + name.len() == line.len() {
        return Err("no space after the metric name");
    }
    let mut fields = rest.split([' ', '\t']).filter(|field| !field.is_empty());
    let value = fields.next().and_then(|value| value.parse().ok()).ok_or("no number")?;
    if fields.next().is_some_and(|time| time.parse::<i64>().is_err()) || fields.next().is_some() {
        return Err("more than a number and its time");
    }
    Ok(Some(Sample { name: name.to_owned(), labels, value }))
}

/// The name at the beginning, and what follows it.
fn split_name(text: &str, colons: bool) -> Option<(&str, &str)> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let end = text.find(|c| !inner(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// The labels behind `{`, and what follows their `}`.
fn labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), &'static str> {
    let spaces: &[char] = &[' ', '\t'];
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(spaces);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = split_name(rest, false).ok_or("no label name")?;
        let after = after.trim_start_matches(spaces).strip_prefix('=').ok_or("no = after a label name")?;
        let after = after.trim_start_matches(spaces).strip_prefix('"').ok_or("no quoted label value")?;
        let (value, after) = quoted(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("a label twice");
        }
        rest = after.trim_start_matches(spaces);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("neither , nor } after a label"),
        }
    }
}

/// The text behind a quote, and what follows the quote at its end.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or("an open quote")? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(match chars.next() {
                Some('n') => '\n',
                Some(c @ ('\\' | '"')) => c,
                _ => return Err("an unknown escape"),
            }),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (String, Vec<(String, String)>, f64) {
        let sample = sample(line).unwrap().unwrap();
        (sample.name, sample.labels.into_iter().collect(), sample.value)
    }

    fn label(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn samples_are_read() {
        assert_eq!(read("up 1"), ("up".into(), vec![], 1.0));
        assert_eq!(read("up{} 1"), ("up".into(), vec![], 1.0));
        assert_eq!(read("a:b_c\t{ } 3.6001077e+07 1795398440399"), ("a:b_c".into(), vec![], 36_001_077.0));
        assert!(read("x{le=\"+Inf\",} -Inf").2 < f64::MIN);
        assert!(read("x NaN").2.is_nan());
        let labels = vec![label("a", "{\"}\\\n,é"), label("b", "")];
        assert_eq!(read(r#"x { a = "{\"}\\\n,é" , b="" } 2"#), ("x".into(), labels, 2.0));
    }

    #[test]
    fn comments_and_empty_lines_hold_no_sample() {
        for line in ["", "  ", "# HELP x \"{", "# EOF", "#", "\r"] {
            assert_eq!(sample(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn a_damaged_line_is_never_skipped() {
        for line in [
            "x",
            "x ",
            "x 1 2 3",
            "x 1 now",
            "x one",
            "x{ 1",
            "x{a} 1",
            "x{a=1} 1",
            "x{a=\"} 1",
            "x{a=\"1\"b=\"2\"} 1",
            "x{,} 1",
            "x{a=\"1\",a=\"1\"} 1",
            "x{a=\"\\t\"} 1",
            "1x 1",
            "{a=\"1\"} 1",
            "x-y 1",
            "é 1",
            "x{1a=\"\"} 1",
            "x{a=\"1\"}",
            "x1.5",
        ] {
            assert!(sample(line).is_err(), "{line:?}: {:?}", sample(line));
        }
    }
}
