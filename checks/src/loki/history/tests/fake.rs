//! A Loki of a few lines, which answers the questions of this check.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::{HOUR, NANOS, lines};

/// What a Loki holds: service, time in nanoseconds, text.
pub(super) type Held = Vec<(&'static str, i64, String)>;

/// A status, its text, and how often it is still answered.
type Trouble = (u16, &'static str, usize);

/// A Loki that answers the questions of this check.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pub(super) held: Arc<Mutex<Held>>,
    /// Answered instead, so many times.
    trouble: Arc<Mutex<Option<Trouble>>>,
    /// The queries it was asked.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    /// How many hours it counts at most at once.
    pub(super) most: Arc<Mutex<i64>>,
    /// When it was started.
    pub(super) started: Arc<Mutex<i64>>,
}

impl Fake {
    pub(super) fn of(lines: Held) -> Self {
        let fake = Self::default();
        *fake.held.lock().unwrap() = lines;
        *fake.most.lock().unwrap() = i64::MAX;
        fake
    }

    pub(super) fn edit(&self, edit: impl FnOnce(&mut Held)) {
        edit(&mut self.held.lock().unwrap());
    }

    pub(super) fn fails(&self, status: u16, text: &'static str, times: usize) {
        *self.trouble.lock().unwrap() = Some((status, text, times));
    }

    pub(super) async fn start(&self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(path("/loki/api/v1/query_range")).respond_with(self.clone()).mount(&server).await;
        let fake = self.clone();
        let metrics = move |_: &Request| {
            let page = format!("loki_build_info 1\nprocess_start_time_seconds {}\n", fake.started.lock().unwrap());
            ResponseTemplate::new(200).set_body_string(page)
        };
        Mock::given(path("/metrics")).respond_with(metrics).mount(&server).await;
        server
    }

    fn matrix(&self, bytes: bool, start: i64, end: i64) -> Value {
        let held = self.held.lock().unwrap();
        let services: std::collections::BTreeSet<_> = held.iter().map(|(of, ..)| *of).collect();
        let series = services.into_iter().filter_map(|of| {
            let values: Vec<Value> = (start..=end)
                .step_by(usize::try_from(HOUR).unwrap())
                .filter_map(|point| {
                    // As Loki counts: after the beginning of the hour, up to its end.
                    let within = |at: i64| at > (point - HOUR) * NANOS && at <= point * NANOS;
                    let lines = held.iter().filter(|line| line.0 == of && within(line.1));
                    let count: usize = if bytes { lines.map(|line| line.2.len()).sum() } else { lines.count() };
                    (count > 0).then(|| json!([point, count.to_string()]))
                })
                .collect();
            (!values.is_empty()).then(|| json!({"metric": {"service": of}, "values": values}))
        });
        json!({"status": "success", "data": {"resultType": "matrix", "result": series.collect::<Vec<_>>()}})
    }

    fn streams(&self, start: i64, end: i64) -> Value {
        let held = self.held.lock().unwrap();
        let lines = held.iter().filter(|(_, at, _)| *at >= start && *at < end).take(lines::LIMIT);
        let stream =
            |(of, at, text): &(&str, i64, String)| json!({"stream": {"service": of}, "values": [[at.to_string(), text]]});
        json!({"status": "success", "data": {"resultType": "streams", "result": lines.map(stream).collect::<Vec<_>>()}})
    }
}

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let field = |name: &str| request.url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let (start, end): (i64, i64) = (field("start").parse().unwrap(), field("end").parse().unwrap());
        self.asked.lock().unwrap().push(field("query"));
        if let Some((status, text, times)) = self.trouble.lock().unwrap().as_mut().filter(|(.., times)| *times > 0) {
            *times -= 1;
            return ResponseTemplate::new(*status).set_body_string(*text);
        }
        let query = field("query");
        if query.starts_with('{') {
            return ResponseTemplate::new(200).set_body_json(self.streams(start, end));
        }
        assert_eq!((start % HOUR, end % HOUR, field("step")), (0, 0, HOUR.to_string()), "not aligned");
        if (end - start) / HOUR >= *self.most.lock().unwrap() {
            return ResponseTemplate::new(504).set_body_string("request timed out");
        }
        ResponseTemplate::new(200).set_body_json(self.matrix(query.contains("bytes_over_time"), start, end))
    }
}
