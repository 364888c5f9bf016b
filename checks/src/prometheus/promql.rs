//! `promql`: a query to Prometheus gives the number that is asked for, from fresh data.

use std::cmp::Ordering;
use std::time::Duration;

use futures::future::{BoxFuture, join, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::words;
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::{ANSWERS, Client, NO_DATA, Sample};

/// The number is not the one that is asked for.
const WRONG_VALUE: ReasonSpec =
    ReasonSpec::fail("wrong_value", "mend what the query measures, or correct the bounds: the value is outside of them");
/// The data behind the query is old.
const STALE_DATA: ReasonSpec = ReasonSpec::fail(
    "stale_data",
    "see why the series under `freshness` get no new samples: whoever scrapes or writes them stopped, or `within` is too short",
);

/// The longest query, since it travels in a URL.
const MAX_QUERY: usize = 2000;
/// The longest time that data may be old.
const LONGEST: Duration = Duration::from_hours(24);

/// An instant query gives exactly one finite sample, within the bounds (`above`, `below`, `equals`), and the data behind it is
/// fresh.
///
/// Prometheus goes on showing the last value of a series for 5 minutes when whoever writes it dies without a word. So the check
/// also asks for the time of the newest sample of each series of a selector, and the oldest of these must be younger than
/// `freshness.within`. If `query` is a plain selector like `up{job="loki"}`, it is its own selector, within 2 m; any other query
/// needs `freshness: {of: SELECTOR, within: 2m}`, because the time of a sample is only known as long as nothing
/// was computed from it. Its limits: series that a recording rule or a Pushgateway writes are as fresh as the rule or the scrape,
/// not as what is behind them, so name what is scraped itself; and series that are missing have no age, so let the query give
/// nothing without them.
///
/// Fail: refused, reset, silent, 5xx, a web page, another server; no sample (so too a filter like `x == 1` that is not met),
/// several samples, NaN, an infinity, a value out of bounds, data that is too old. Unknown: the token is missing or refused,
/// Prometheus refuses the query or warns that its result may be incomplete, its clock and the verifier's are more than 30 s apart,
/// our own resolver or network, an untrusted certificate, a reply that is cut short, too large or not parsable. Prometheus is a
/// secondary witness: what it knows came through a pipeline of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promql {
    /// Name of the target, of kind `prometheus`.
    pub prometheus: String,
    /// The query. It must give one sample: an instant vector with one element.
    pub query: String,
    /// The value must be greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The value must be less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// The value must be this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<f64>,
    /// How old the data behind the query may be. Needed unless the query is a plain selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
}

/// How old data may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// A plain selector of the series that the query reads, like `up{job="loki"}`; the query itself if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// How old the newest sample of each series may be, like `2m`: more than one scrape interval.
    #[serde(default = "two_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
}

fn two_minutes() -> Duration {
    Duration::from_mins(2)
}

/// Whether a text is a plain selector of series: a metric's name, matchers in braces, or both. Only of these does Prometheus know
/// the time of their samples: `timestamp()` of anything else is the time of asking.
fn is_selector(text: &str) -> bool {
    let text = text.trim();
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let matchers = text.trim_start_matches(inner).trim_start();
    let name = text.len() > text.trim_start_matches(inner).len();
    let Some(mut rest) = matchers.strip_prefix('{') else {
        return name && matchers.is_empty();
    };
    loop {
        let Some(at) = rest.find(|c: char| !inner(c) && !c.is_ascii_whitespace() && !"=!~,.".contains(c)) else {
            return false;
        };
        let (quote, after) = match rest.get(at..).map(|rest| (rest.chars().next(), rest.get(1..).unwrap_or_default())) {
            Some((Some('}'), after)) => return after.is_empty(),
            Some((Some(quote @ ('"' | '\'' | '`')), after)) => (quote, after),
            _ => return false,
        };
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && quote != '`' && !escaped;
            ends
        });
        match end.and_then(|end| after.get(end + 1..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// What is asked: the query, and one that gives the time of the oldest sample behind it.
struct Questions {
    value: String,
    time: String,
}

impl Promql {
    /// The selector whose samples must be fresh.
    fn selector(&self) -> &str {
        self.freshness.as_ref().and_then(|freshness| freshness.of.as_deref()).unwrap_or(&self.query)
    }

    fn within(&self) -> Duration {
        self.freshness.as_ref().map_or_else(two_minutes, |freshness| freshness.within)
    }

    fn questions(&self) -> Questions {
        Questions { value: self.query.clone(), time: format!("min(timestamp({}))", self.selector().trim()) }
    }

    async fn look(&self, client: &Client<'_>, questions: Questions) -> (Outcome, Option<(f64, f64)>) {
        let (sample, time) = join(client.ask(&questions.value), client.ask(&questions.time)).await;
        match (sample, time) {
            (Ok(sample), Ok(time)) => (self.judge(sample, time), Some((sample.value, time.at - time.value))),
            (Err(outcome), Ok(_)) | (Ok(_), Err(outcome)) => (outcome, None),
            (Err(one), Err(other)) => (if other.rank() > one.rank() { other } else { one }, None),
        }
    }

    fn judge(&self, sample: Sample, time: Sample) -> Outcome {
        let (value, age) = (sample.value, time.at - time.value);
        let of = self.selector();
        if age > self.within().as_secs_f64() {
            let within = words(self.within());
            return STALE_DATA.because(format!("the oldest sample of {of} is {age:.0} s old, due within {within}"));
        }
        let right = self.above.is_none_or(|bound| value > bound)
            && self.below.is_none_or(|bound| value < bound)
            && self.equals.is_none_or(|bound| value.partial_cmp(&bound) == Some(Ordering::Equal));
        let text = format!("{} is {value}, must be {}; data {age:.0} s old", self.query, self.bounds());
        if right { Outcome::pass(text) } else { WRONG_VALUE.because(text) }
    }

    fn bounds(&self) -> String {
        let bounds = [("above", self.above), ("below", self.below), ("equal to", self.equals)];
        let words: Vec<_> = bounds.iter().filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}"))).collect();
        words.join(" and ")
    }

    /// A number that is out of bounds.
    fn wrong_number(&self) -> f64 {
        let unequal = self.equals.map(|bound| if bound != 0.0 { 0.0 } else { 1.0 });
        unequal.or(self.above).or(self.below).unwrap_or(f64::NAN)
    }

    /// Asks for what must not pass: the query with all its samples taken away, a number out of bounds, and data that is too old.
    async fn look_wrong(&self, client: &Client<'_>) -> Outcome {
        let Questions { value, time } = self.questions();
        // The new line ends a comment at the query's end.
        let nothing = format!("({value}\n) and on() (vector(0) == 1)");
        let wrong = format!("vector({:e})", self.wrong_number());
        let old = format!("vector(time() - {})", self.within().as_secs() + 1);
        let (nothing, wrong, old) = join3(
            self.look(client, Questions { value: nothing, time: time.clone() }),
            self.look(client, Questions { value: wrong, time: time.clone() }),
            self.look(client, Questions { value, time: old }),
        )
        .await;
        let others = [wrong.0, old.0];
        let nearer = others.into_iter().find(|outcome| !matches!(outcome, Outcome::Fail { .. }));
        if matches!(nothing.0, Outcome::Fail { .. }) { nearer.unwrap_or(nothing.0) } else { nothing.0 }
    }
}

impl Check for Promql {
    const META: Meta = Meta {
        kind: "promql",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, fetch::REPLIES, ANSWERS, &[WRONG_VALUE, STALE_DATA]],
        control: NO_DATA,
        measures: &["value", "data_age_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "prometheus", kind: Some(TargetKind::Prometheus), name: self.prometheus.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: &str, hint: &str| {
            errors.push(FieldError { field, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.query.trim().is_empty() || self.query.len() > MAX_QUERY {
            wrong("query", "no query, or a very long one", "write at most 2000 characters; a recording rule can hold more");
        }
        let selector = is_selector(self.selector());
        if self.freshness.as_ref().is_some_and(|freshness| freshness.of.is_some()) {
            if !selector || self.selector().len() > MAX_QUERY {
                let hint =
                    "write a metric's name with matchers, like up{job=\"loki\"}: only of such a one is the time of samples known";
                wrong("freshness", "`of` is not a plain selector", hint);
            }
        } else if !selector {
            let hint = "add freshness: {of: 'up{job=\"…\"}', within: 2m} with a selector of the series that the query reads";
            wrong("query", "it is no plain selector, so the age of its data can not be told", hint);
        }
        if !(Duration::from_secs(1)..=LONGEST).contains(&self.within()) {
            wrong("freshness", "`within` is out of bounds", "write 1s to 24h, more than one scrape interval");
        }
        if self.above.is_none() && self.below.is_none() && self.equals.is_none() {
            wrong("query", "any value would pass", "add above, below or equals");
        }
        for (field, bound) in [("above", self.above), ("below", self.below), ("equals", self.equals)] {
            if bound.is_some_and(|bound| !bound.is_finite()) {
                wrong(field, "not a number that a value can be compared with", "write a finite number");
            }
        }
        if self.equals.is_some() && (self.above.is_some() || self.below.is_some()) {
            wrong("equals", "it leaves nothing for `above` and `below` to say", "keep one of them");
        }
        if self.above.zip(self.below).is_some_and(|(above, below)| above >= below) {
            wrong("above", "no value is above this and below `below`", "make it less than `below`");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let (outcome, numbers) = match Client::of(cx, &self.prometheus, Budget::start(cx.timeout)).await {
                Ok(client) => self.look(&client, self.questions()).await,
                Err(outcome) => (outcome, None),
            };
            let mut report = Report::new(Step::whole(outcome), ());
            if let Some((value, age)) = numbers {
                let measure = |name, value| Measure { part: PartId::new(PartId::WHOLE), name, value };
                report.measures = vec![measure("value", value), measure("data_age_seconds", age)];
            }
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match Client::of(cx, &self.prometheus, Budget::start(cx.timeout)).await {
                Ok(client) => self.look_wrong(&client).await,
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
