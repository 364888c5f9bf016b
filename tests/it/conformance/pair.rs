//! A real Loki and its stand-in, side by side. What differs by nature is masked: statistics, the moment of an instant query, the
//! wording of a JSON or a regular expression library.

use std::fmt::Write;

use serde_json::{Value, json};
use tests::standin::StandinLoki;
use tests::{Loki, World};

pub(super) use tests::now;

pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const HOUR: i64 = 3600 * SECOND;
pub(super) const JSON: &str = "application/json";

/// Both, and what they did not agree on.
pub(super) struct Pair {
    pub(super) world: World,
    pub(super) real: Loki,
    pub(super) standin: StandinLoki,
    differences: String,
}

impl Pair {
    pub(super) async fn start() -> Self {
        let world = World::new().unwrap();
        let (real, standin) = (Loki::start(&world).await.unwrap(), StandinLoki::start().unwrap());
        Self { world, real, standin, differences: String::new() }
    }

    pub(super) async fn both(&mut self, what: &str, ask: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder) {
        let mut answers = Vec::new();
        for base in [self.real.url().to_owned(), self.standin.url()] {
            let response = ask(self.world.http(), &base).send().await.unwrap();
            answers.push(normal(response).await);
        }
        if answers[0] != answers[1] {
            write!(self.differences, "\n{what}\n  real     {}\n  stand-in {}\n", answers[0], answers[1]).unwrap();
        }
    }

    pub(super) async fn get(&mut self, path: &str, parameters: &[(&str, &str)]) {
        let query = form(parameters);
        let what = format!("GET {path}?{query}");
        self.both(&what, |http, base| http.get(format!("{base}{path}?{query}"))).await;
    }

    pub(super) async fn query(&mut self, query: &str, parameters: &[(&str, &str)]) {
        self.get("/loki/api/v1/query_range", &[&[("query", query)], parameters].concat()).await;
    }

    pub(super) async fn push(&mut self, kind: &'static str, body: &str) {
        let shown: String = body.chars().take(200).collect();
        self.both(&format!("push {kind} {shown}"), |http, base| {
            let request = http.post(format!("{base}/loki/api/v1/push")).body(body.to_owned());
            if kind.is_empty() { request } else { request.header("content-type", kind) }
        })
        .await;
    }

    pub(super) async fn push_lines(&mut self, labels: &Value, lines: &[(i64, &str)]) {
        let values: Vec<Value> = lines.iter().map(|(at, line)| json!([at.to_string(), line])).collect();
        self.push(JSON, &json!({"streams": [{"stream": labels, "values": values}]}).to_string()).await;
    }

    pub(super) fn agree(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
    }
}

pub(super) fn form(parameters: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://host/").unwrap();
    url.query_pairs_mut().extend_pairs(parameters);
    url.query().unwrap_or_default().to_owned()
}

/// An answer without what differs by nature.
async fn normal(response: reqwest::Response) -> String {
    let status = response.status();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(mut body) => {
            mask(&mut body);
            body.to_string()
        }
        Err(_) => masked(&text),
    };
    format!("{status} {} {body:?}", kind.unwrap_or_default())
}

fn mask(body: &mut Value) {
    let Some(data) = body.get_mut("data") else { return };
    if let Some(data) = data.as_object_mut() {
        data.remove("stats");
    }
    if let Some(series) = data.as_array_mut() {
        // Series come in no order.
        series.sort_by_key(Value::to_string);
    }
    if data["resultType"] == "vector" {
        for series in data["result"].as_array_mut().unwrap() {
            assert!(series["value"][0].is_number(), "{series}");
            series["value"][0] = json!("moment");
        }
    }
}

/// The words of libraries are theirs; only that they are quoted is compared.
fn masked(text: &str) -> String {
    for words in ["LogProtoStream: ", "error parsing regexp: ", "in #1 byte"] {
        if let Some((before, _)) = text.split_once(words) {
            return format!("{before}{words}…");
        }
    }
    // Both clocks are read, one after the other.
    let mut text = text.to_owned();
    if let Some(at) = text.find("oldest acceptable timestamp is: ") {
        let from = at + "oldest acceptable timestamp is: ".len();
        let to = text[from..].find('Z').map_or(text.len(), |end| from + end);
        text.replace_range(from..to, "…");
    }
    text
}
