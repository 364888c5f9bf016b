//! The parameters of Loki's read endpoints, and what it says of bad ones.

use chrono::DateTime;

use super::lex::duration;
use super::store::{HOUR, SECOND};

/// Longest range of a query: 30 days and an hour.
const LONGEST: i64 = 721 * HOUR;
const MOST_POINTS: i64 = 11_000;
const MOST_LINES: usize = 5000;

/// Names and values, in the order in which they came.
#[derive(Debug, Clone)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Of a query string or a form.
    pub(crate) fn new(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The moment of an instant query.
    pub(crate) fn time(&self, now: i64) -> Result<i64, String> {
        moment(self.get("time"), now)
    }

    /// The range: the last hour, unless it says otherwise.
    pub(crate) fn range(&self, now: i64) -> Result<(i64, i64), String> {
        let since = match self.get("since") {
            "" => HOUR,
            text => duration(text)
                .ok_or_else(|| format!("could not parse 'since' parameter: not a valid duration string: {text:?}"))?,
        };
        let named = |name: &'static str| move |error| format!("could not parse '{name}' parameter: {error}");
        let end = moment(self.get("end"), now).map_err(named("end"))?;
        let start = moment(self.get("start"), end.min(now) - since).map_err(named("start"))?;
        Ok((start, end))
    }

    pub(crate) fn limit(&self) -> Result<usize, String> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(100);
        }
        let limit: i64 = text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?;
        match usize::try_from(limit) {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => Err("limit must be a positive value".into()),
        }
    }

    pub(crate) fn forward(&self) -> Result<bool, String> {
        let text = self.get("direction");
        match text.to_lowercase().as_str() {
            "forward" => Ok(true),
            "" | "backward" => Ok(false),
            _ => Err(format!("invalid direction '{text}'")),
        }
    }

    /// The step of a range query, in nanoseconds.
    pub(crate) fn step(&self, (start, end): (i64, i64)) -> Result<i64, String> {
        let text = self.get("step");
        let step = if text.is_empty() {
            ((end - start) / SECOND / 250).max(1) * SECOND
        } else {
            seconds(text).or_else(|| duration(text)).ok_or_else(|| format!("cannot parse {text:?} to a valid duration"))?
        };
        if step <= 0 {
            return Err("zero or negative query resolution step widths are not accepted. Try a positive integer".into());
        }
        if (end - start) / step > MOST_POINTS {
            return Err(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter"
                    .into(),
            );
        }
        Ok(step)
    }
}

/// What Loki refuses before it looks at a single line.
pub(crate) fn check((start, end): (i64, i64), limit: usize) -> Result<(), String> {
    if end < start {
        return Err("end timestamp must not be before or equal to start time".into());
    }
    if limit > MOST_LINES {
        let words = "max entries limit per query exceeded, limit > max_entries_limit_per_query";
        return Err(format!("{words} ({limit} > {MOST_LINES})"));
    }
    Ok(())
}

/// The length is checked last.
pub(crate) fn check_length((start, end): (i64, i64)) -> Result<(), String> {
    if end - start > LONGEST {
        // Told to the millisecond.
        let length = shown((end.div_euclid(1_000_000) - start.div_euclid(1_000_000)) * 1_000_000);
        return Err(format!("the query time range exceeds the limit (query length: {length}, limit: 30d1h)"));
    }
    Ok(())
}

/// As Go prints a duration of hours.
fn shown(length: i64) -> String {
    let (hours, minutes) = (length / HOUR, length / (60 * SECOND) % 60);
    let fraction = format!("{:09}", length % SECOND);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{hours}h{minutes}m{}{point}{fraction}s", length / SECOND % 60)
}

/// Seconds with a fraction, whole seconds of up to ten digits, nanoseconds, or RFC 3339.
fn moment(text: &str, default: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(default);
    }
    if let Some(nanos) = text.contains('.').then(|| seconds(text)).flatten() {
        return Ok(nanos);
    }
    match text.parse::<i64>() {
        Ok(number) if text.len() <= 10 => Ok(number * SECOND),
        Ok(number) => Ok(number),
        Err(_) => DateTime::parse_from_rfc3339(text)
            .ok()
            .and_then(|time| time.timestamp_nanos_opt())
            .ok_or_else(|| format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
    }
}

/// Decimal seconds, to the millisecond.
fn seconds(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    if !fraction.chars().all(|char| char.is_ascii_digit()) {
        return None;
    }
    Some(sign * (whole.parse::<i64>().ok()?.checked_mul(SECOND)? + millis.parse::<i64>().ok()? * 1_000_000))
}
