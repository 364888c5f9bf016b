//! The real Loki and its stand-in get the same exchanges and have to give the same answers. What differs by nature is masked:
//! statistics, the moment of an instant query, the wording of a JSON or a regular expression library.

use std::fmt::Write;

use serde_json::{Value, json};
use tests::standin::{Settings, StandinLoki};
use tests::{Loki, World, wait_until};

use super::SOON;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const JSON: &str = "application/json";

#[expect(clippy::disallowed_methods, reason = "a real Loki takes lines of the real time only")]
fn now() -> i64 {
    chrono::Utc::now().timestamp_nanos_opt().unwrap()
}

/// Both, and what they did not agree on.
struct Pair {
    world: World,
    real: Loki,
    standin: StandinLoki,
    differences: String,
}

impl Pair {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let (real, standin) = (Loki::start(&world).await.unwrap(), StandinLoki::start().unwrap());
        Self { world, real, standin, differences: String::new() }
    }

    async fn both(&mut self, what: &str, ask: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder) {
        let mut answers = Vec::new();
        for base in [self.real.url().to_owned(), self.standin.url()] {
            let response = ask(self.world.http(), &base).send().await.unwrap();
            answers.push(normal(response).await);
        }
        if answers[0] != answers[1] {
            write!(self.differences, "\n{what}\n  real     {}\n  stand-in {}\n", answers[0], answers[1]).unwrap();
        }
    }

    async fn get(&mut self, path: &str, parameters: &[(&str, &str)]) {
        let query = form(parameters);
        let what = format!("GET {path}?{query}");
        self.both(&what, |http, base| http.get(format!("{base}{path}?{query}"))).await;
    }

    async fn query(&mut self, query: &str, parameters: &[(&str, &str)]) {
        self.get("/loki/api/v1/query_range", &[&[("query", query)], parameters].concat()).await;
    }

    async fn push(&mut self, kind: &'static str, body: &str) {
        let shown: String = body.chars().take(200).collect();
        self.both(&format!("push {kind} {shown}"), |http, base| {
            let request = http.post(format!("{base}/loki/api/v1/push")).body(body.to_owned());
            if kind.is_empty() { request } else { request.header("content-type", kind) }
        })
        .await;
    }

    async fn push_lines(&mut self, labels: &Value, lines: &[(i64, &str)]) {
        let values: Vec<Value> = lines.iter().map(|(at, line)| json!([at.to_string(), line])).collect();
        self.push(JSON, &json!({"streams": [{"stream": labels, "values": values}]}).to_string()).await;
    }

    fn agree(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
    }
}

fn form(parameters: &[(&str, &str)]) -> String {
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

#[tokio::test]
async fn lines_come_back_the_same_way() {
    let mut pair = Pair::start().await;
    // Around a full hour, where Loki splits queries; never so old that ingesters are not asked.
    let hour = (now() - HOUR) / HOUR * HOUR;
    let at = |seconds: i64| hour + seconds * SECOND;
    let a = json!({"job": "j", "service": "a"});
    let lines = [(at(-100), "one"), (at(10), "two error"), (at(10), "two b"), (at(20), "three info"), (at(30), "[error] four")];
    pair.push_lines(&a, &lines).await;
    pair.push_lines(&a, &lines).await;
    pair.push_lines(&a, &[(at(15), "late"), (at(-90), "later")]).await;
    let b = json!({"job": "j", "service": "b", "app": "x"});
    pair.push_lines(&b, &[(at(-50), "b one"), (at(11), r#"{"level":"warn","msg":"x"}"#), (at(21), "level=error msg=\"y z\"")])
        .await;
    pair.push_lines(&json!({"job": "j", "level": "Info"}), &[(at(12), "zz error"), (at(13), "\\ \"quoted\" \u{e9}")]).await;
    pair.push_lines(&json!({}), &[(at(5), "nameless")]).await;
    let metadata = json!({"streams": [{"stream": {"job": "meta"}, "values": [
        [at(1).to_string(), "traced", {"trace_id": "abc"}], [at(2).to_string(), "{\"a\":{\"level\":\"fatal\"}}", {}],
        [at(3).to_string(), "{\"a\":{\"b\":{\"level\":\"fatal\"}}}"], [at(4).to_string(), "lvl=dbg"], [at(5).to_string()],
        [at(6).to_string(), "WARN: x"], [at(7).to_string(), "CRITICAL: x"], [at(8).to_string(), "a debug"], [at(9).to_string(), "x", {"level": "y"}],
    ]}]});
    pair.push(JSON, &metadata.to_string()).await;

    let (within, across) = ((at(0).to_string(), at(60).to_string()), (at(-200).to_string(), at(60).to_string()));
    for (start, end) in [&within, &across] {
        for direction in ["forward", "backward", "BACKWARD"] {
            for limit in ["1", "2", "6", "100"] {
                let parameters = [("start", start.as_str()), ("end", end), ("limit", limit), ("direction", direction)];
                pair.query("{job=\"j\",service!=\"\"}", &parameters).await;
            }
        }
        let queries = [
            r#"{job="j"}"#,
            r#"{job="j", service="a"}"#,
            r#"{job="j", service!="a"}"#,
            r#"{job=~"j|k"}"#,
            r#"{job=~"meta|j",service!~"a|b"}"#,
            r#"{service_name=~".+"}"#,
            r#"{job="j"} |= "error""#,
            r#"{job="j"} != "error""#,
            r#"{job="j"} |= "e" != "error" |= "t""#,
            r#"{job="j"} |~ "err.r$""#,
            r#"{job="j"} !~ "^(one|two)""#,
            r#"{job="j"} |= "\"level\":\"warn\"""#,
            "{job=\"j\"} |= `\"quoted\"`",
            r#"{job="j",app=""}"#,
            r#"{app!="",job="j"}"#,
            r#"{job="nobody"}"#,
            r#"{service_name="unknown_service"}"#,
            r#"{job="meta"}"#,
            r#"{job="meta", detected_level="fatal"}"#,
        ];
        for query in queries {
            pair.query(query, &[("start", start), ("end", end), ("direction", "forward")]).await;
            pair.query(query, &[("start", start), ("end", end), ("limit", "5000")]).await;
        }
    }
    // The start is in it, the end is not; a time can be written in four ways.
    let (start, end) = (at(10), at(20));
    let seconds = |at: i64| (at / SECOND).to_string();
    let rfc3339 = |at: i64| chrono::DateTime::from_timestamp_nanos(at).to_rfc3339();
    let fraction = |at: i64| format!("{}.5", at / SECOND);
    for (start, end) in [
        (start.to_string(), end.to_string()),
        (start.to_string(), (end + 1).to_string()),
        ((start + 1).to_string(), end.to_string()),
        (start.to_string(), start.to_string()),
        (seconds(start), seconds(end)),
        (fraction(start), fraction(end)),
        (rfc3339(start), rfc3339(end)),
    ] {
        pair.query(r#"{job="j"}"#, &[("start", &start), ("end", &end), ("direction", "forward")]).await;
    }
    pair.query(r#"{job="j"}"#, &[("since", "30s")]).await;
    let (start, end) = across;
    pair.both("labels apart", |http, base| {
        let url =
            format!("{base}/loki/api/v1/query_range?{}", form(&[("query", r#"{job="meta"}"#), ("start", &start), ("end", &end)]));
        http.get(url).header("X-Loki-Response-Encoding-Flags", "categorize-labels")
    })
    .await;
    pair.both("as a form", |http, base| {
        let body = form(&[("query", r#"{job="j"}"#), ("start", &start), ("end", &end)]);
        let request = http.post(format!("{base}/loki/api/v1/query_range")).body(body);
        request.header("content-type", "application/x-www-form-urlencoded")
    })
    .await;
    pair.agree();
}

#[tokio::test]
async fn a_limit_cuts_several_streams_at_the_same_lines() {
    let mut pair = Pair::start().await;
    let hour = (now() - HOUR) / HOUR * HOUR;
    let mut count = 0;
    for service in ["a", "b", "c", "d", "e"] {
        // No two lines of one moment: which comes first is not said.
        let lines: Vec<(i64, &str)> = (0..24)
            .map(|n| {
                count += 1;
                (hour - 1800 * SECOND + (n * 173 + count * 31) % 3600 * SECOND + count, "line")
            })
            .collect();
        pair.push_lines(&json!({"job": "cut", "service": service}), &lines).await;
    }
    let (start, end) = ((hour - HOUR).to_string(), (hour + HOUR).to_string());
    for limit in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 119, 120] {
        for direction in ["forward", "backward"] {
            let limit = limit.to_string();
            let parameters = [("start", start.as_str()), ("end", &end), ("limit", &limit), ("direction", direction)];
            pair.query(r#"{job="cut"}"#, &parameters).await;
        }
    }
    pair.agree();
}

#[tokio::test]
async fn numbers_come_back_the_same_way() {
    let mut pair = Pair::start().await;
    let hour = (now() - HOUR) / HOUR * HOUR;
    let at = |seconds: i64| hour + seconds * SECOND;
    pair.push_lines(
        &json!({"job": "j", "service": "a"}),
        &[(at(-1800), "1"), (at(0), "on the hour"), (at(1), "next"), (at(90), "x")],
    )
    .await;
    pair.push_lines(&json!({"job": "j", "service": "b", "agent": "alloy"}), &[(at(-100), "1 error"), (at(30), "22")]).await;
    let (start, end) = (at(-3600).to_string(), at(3600).to_string());
    for query in [
        r#"sum by (service) (count_over_time({job="j"}[1h]))"#,
        r#"sum(count_over_time({job="j"}[1h])) by (service)"#,
        r#"sum by (agent) (count_over_time({job="j"}[30m]))"#,
        r#"sum by (service, agent) (bytes_over_time({job="j"}[1h]))"#,
        r#"sum(count_over_time({job="j"}[1h]))"#,
        r#"count_over_time({job="j"}[1h])"#,
        r#"sum by (nothing) (count_over_time({job="j"}[2h]))"#,
        r#"sum without (service, service_name) (count_over_time({job="j"}[2h]))"#,
        r#"sum(count_over_time({job="j"} |= "error" [1h]))"#,
        r#"sum(count_over_time({job="j"}[1h] != "error"))"#,
        r#"sum(count_over_time({job="nobody"}[1h]))"#,
        "vector(1)",
        "vector(1)+vector(1)",
        r#"SUM BY (service) (Count_Over_Time({job="j"}[1h30m]))"#,
    ] {
        for step in ["3600", "30m", "1800.0"] {
            pair.query(query, &[("start", &start), ("end", &end), ("step", step)]).await;
        }
        pair.query(query, &[("start", &at(-700).to_string()), ("end", &at(100).to_string()), ("step", "5m")]).await;
        for time in [at(0).to_string(), at(0).to_string(), (at(0) - 1).to_string(), (at(30) / SECOND).to_string()] {
            pair.get("/loki/api/v1/query", &[("query", query), ("time", &time)]).await;
        }
    }
    pair.agree();
}

#[tokio::test]
async fn what_is_no_good_question_is_refused_in_the_same_words() {
    let mut pair = Pair::start().await;
    for query in [
        "",
        "  ",
        "{",
        "{}",
        "{a",
        "{a=",
        "{a=\"x\"",
        "{a=\"x\",",
        "{a=\"x\",}",
        "{a=\"x\"} |",
        "{a=\"x\"} |=",
        "{a=\"x\"} |= y",
        "{a=\"x\"} x",
        "{a=\"x\"}}",
        "{a=~\"[\"}",
        "{a=\"x\"} |~ \"[\"",
        "{a=~\".*\"}",
        "{a!=\"x\"}",
        "{a!~\"x\", b=\"\"}",
        "{a==\"\"}",
        "a",
        "&",
        "count_over_time({a=\"x\"})",
        "count_over_time({a=\"x\"}[1h)",
        "count_over_time({a=\"x\"}[x])",
        "count_over_time({a=\"x\"}[])",
        "count_over_time({a=\"x\"}[1h]",
        "count_over_time({a=\"x\"}[1h]) x",
        "count_over_time({a=\"x\"}[1h]) by (x)",
        "count_over_time(",
        "count_over_time(x",
        "sum",
        "sum(",
        "sum(x)",
        "sum by",
        "sum by (",
        "sum by (a",
        "sum by (a)",
        "sum by (a) (",
        "sum by (a) ()",
        "sum by x (count_over_time({a=\"x\"}[1h]))",
        "sum by (x (count_over_time({a=\"x\"}[1h]))",
        "sum({a=\"x\"})",
        "sum({a=\"x\"",
        "sum(count_over_time({a=\"x\"}[1h])",
        "sum(count_over_time({a=\"x\"}[1h]))  )",
        "sum(count_over_time({a=\"x\"}[1h])) by",
        "sum(count_over_time({a=\"x\"}[1h])) by (",
        "{a=\"x",
        "{a=\"x\ny\"}",
        "{a=\"\\q\"}",
        "{a=\"x\", \"b\"}",
        "{a x}",
        "{a=x}",
        "{1=\"x\"}",
        "{a=\"x\" b=\"y\"}",
        "{a=\"x\" &",
        "{a=x \"",
        "{a=\"x\"}[1h]",
        "{a=\"x\"} \"y\"",
        "{a=\"x\"} =",
        "{a=\"x\"} !=",
        "{a=\"x\"}\n|= y",
        "vector(",
        "vector(1",
        "vector(x)",
        "vector(1)+",
        "foo(x)",
        "{a=\"x\"} |= \"y\" |",
    ] {
        pair.query(query, &[]).await;
        pair.get("/loki/api/v1/query", &[("query", query)]).await;
    }
    pair.get("/loki/api/v1/query", &[("query", "{a=\"x\"}")]).await;
    let good = "{a=\"x\"}";
    for (name, value) in [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "x"),
        ("limit", "5001"),
        ("direction", "sideways"),
        ("start", "x"),
        ("end", "y"),
        ("since", "x"),
    ] {
        pair.query(good, &[(name, value)]).await;
    }
    let hour = now() / HOUR * HOUR;
    let (late, early, ancient) = (hour.to_string(), (hour - HOUR).to_string(), (hour - 745 * HOUR).to_string());
    pair.query(good, &[("start", &late), ("end", &early)]).await;
    pair.query(good, &[("start", &ancient), ("end", &late)]).await;
    let milliseconds = (hour / 1_000_000).to_string();
    pair.query(good, &[("start", &milliseconds), ("end", &late)]).await;
    let numbers = "sum(count_over_time({a=\"x\"}[1h]))";
    for step in ["0", "-1", "x", "1ms"] {
        pair.query(numbers, &[("start", &early), ("end", &late), ("step", step)]).await;
    }
    pair.query(numbers, &[("start", &ancient), ("end", &late), ("step", "60")]).await;
    pair.get("/loki/api/v1/query", &[("query", numbers), ("time", "x")]).await;
    for matchers in ["{x", "{a=\"x\"} |= \"y\"", "x", "count_over_time({a=\"x\"}[1h])"] {
        pair.get("/loki/api/v1/series", &[("match[]", matchers)]).await;
    }
    // Not a GET of the push path: a real one answers it with 404 or 405, differently from start to start.
    for path in ["/", "/healthz", "/nothing", "/loki/api/v1/nothing", "/-/ready"] {
        pair.get(path, &[]).await;
    }
    pair.agree();
}

#[tokio::test]
async fn pushes_are_refused_in_the_same_words() {
    let mut pair = Pair::start().await;
    let now = now() / SECOND * SECOND;
    let n = now.to_string();
    for body in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"streams":[]}"#,
        r#"{"streams":null}"#,
        r#"{"streams":{}}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"}}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":["x"]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["x","x"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[[NOW,"x"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["NOW","x"]]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["NOW","x",1]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["NOW","x",{"y":1}]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["NOW",1]]}]}"#,
        r#"{"streams":[{"stream":{"a-b":"1"},"values":[["NOW","x"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1","b+c":"2"},"values":[["NOW","x"]]}]}"#,
        r#"{"streams":[{"stream":{"1a":"1"},"values":[["NOW","x"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"","b":"2"},"values":[["NOW","x"]]}]}"#,
        r#"{"streams":[{"values":[["NOW","no labels"]]}]}"#,
        r#"{"streams":[{"stream":{"a":"1"},"values":[["NOW"]]}]}"#,
    ] {
        pair.push(JSON, &body.replace("NOW", &n)).await;
    }
    pair.push("", r#"{"streams":[]}"#).await;
    pair.push("text/plain", r#"{"streams":[]}"#).await;
    pair.push("application/json; charset=utf-8", r#"{"streams":[]}"#).await;

    let labels = json!({"job": "x"});
    pair.push_lines(&labels, &[(now - 169 * HOUR, "too old")]).await;
    pair.push_lines(&labels, &[(now + 700 * SECOND, "too new")]).await;
    pair.push_lines(&labels, &[(now - 169 * HOUR, "too old"), (now - 1, "good"), (now - 169 * HOUR, "too old too")]).await;
    pair.push_lines(&labels, &[(now, &"x".repeat(262_145))]).await;
    pair.push_lines(&labels, &[(now, &"x".repeat(262_144))]).await;
    pair.push_lines(
        &labels,
        &[(now - HOUR, "just in time"), (now - HOUR - 1, "too far behind"), (now - HOUR - 1_500_000, "behind")],
    )
    .await;
    let behind: Vec<(i64, &str)> = (0..12).map(|n| (now - 2 * HOUR - n * SECOND, "behind")).collect();
    pair.push_lines(&labels, &behind).await;
    let many: serde_json::Map<String, Value> = (0..16).map(|n| (format!("l{n:02}"), json!("v"))).collect();
    pair.push_lines(&Value::Object(many.clone()), &[(now, "labels")]).await;
    let fewer: serde_json::Map<String, Value> = many.into_iter().skip(1).collect();
    pair.push_lines(&Value::Object(fewer), &[(now, "labels")]).await;
    // Late for the one and too old for the other: the ingester's word counts.
    let mixed = json!({"streams": [
        {"stream": {"job": "x"}, "values": [[(now - 3 * HOUR).to_string(), "late"]]},
        {"stream": {"job": "y"}, "values": [[(now - 200 * HOUR).to_string(), "old"], [n, "fine"]]},
    ]});
    pair.push(JSON, &mixed.to_string()).await;
    let mut turned = mixed.clone();
    turned["streams"].as_array_mut().unwrap().reverse();
    pair.push(JSON, &turned.to_string()).await;
    let start = (now - 4 * HOUR).to_string();
    for query in ["{job=~\"x|y\"} |~ \"^.{0,20}$\"", "{l01=\"v\"}", "{service_name=~\".+\",job=\"\"}"] {
        pair.query(query, &[("start", &start), ("direction", "forward")]).await;
    }
    pair.agree();
    same_metrics(&pair).await;
}

/// The metrics that the product reads, with labels and values.
async fn same_metrics(pair: &Pair) {
    const READ: &[&str] = &[
        "loki_distributor_lines_received_total",
        "loki_discarded_samples_total",
        "loki_ingester_streams_created_total",
        "loki_ingester_memory_streams",
        "loki_ingester_chunks_flush_failures_total",
        "loki_ingester_wal_disk_full_failures_total",
        "loki_ingester_wal_replay_active",
        "loki_ingester_checkpoint_creations_failed_total",
        "loki_panic_total",
        "loki_request_duration_seconds_count",
    ];
    let mut seen = Vec::new();
    for base in [pair.real.url().to_owned(), pair.standin.url()] {
        let response = pair.world.http().get(format!("{base}/metrics")).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let ours = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap();
            let push = !line.contains("duration_seconds") || line.contains("route=\"loki_api_v1_push\"");
            READ.contains(&name) && push
        };
        let types = text.lines().filter(|line| READ.iter().any(|name| line.starts_with(&format!("# TYPE {name} "))));
        let mut lines: Vec<String> = text.lines().filter(ours).chain(types).map(str::to_owned).collect();
        lines.sort();
        seen.push((kind, lines));
    }
    assert!(seen[0].1.len() > 20, "{seen:?}");
    pretty_eq(&seen[0], &seen[1]);
}

fn pretty_eq(real: &(String, Vec<String>), standin: &(String, Vec<String>)) {
    let only =
        |these: &[String], those: &[String]| these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>();
    let (real_only, standin_only) = (only(&real.1, &standin.1), only(&standin.1, &real.1));
    assert!(
        real.0 == standin.0 && real_only.is_empty() && standin_only.is_empty(),
        "real {real_only:#?}\nstand-in {standin_only:#?}"
    );
}

#[tokio::test]
async fn labels_and_series_are_listed_the_same_way() {
    let mut pair = Pair::start().await;
    let now = now();
    let everything = |pair: Pair| async {
        let mut pair = pair;
        for path in ["labels", "label", "label/job/values", "label/nothing/values", "label/service_name/values", "series"] {
            pair.get(&format!("/loki/api/v1/{path}"), &[]).await;
        }
        for matchers in [r#"{job="j"}"#, r#"{job=~"j|k"}"#, r#"{service_name=~".+"}"#, r#"{job="nobody"}"#, "{}"] {
            pair.get("/loki/api/v1/series", &[("match[]", matchers)]).await;
        }
        pair.get("/loki/api/v1/series", &[("match[]", r#"{job="j"}"#), ("match[]", r#"{job="k"}"#)]).await;
        pair
    };
    pair = everything(pair).await;
    pair.push_lines(&json!({"job": "j", "service": "a"}), &[(now - SECOND, "x")]).await;
    pair.push_lines(&json!({"job": "k", "host": "h"}), &[(now - SECOND, "x"), (now, "y")]).await;
    pair = everything(pair).await;
    for path in ["/ready", "/loki/api/v1/status/buildinfo"] {
        let mut kinds = Vec::new();
        for base in [pair.real.url().to_owned(), pair.standin.url()] {
            let answer = pair.world.http().get(format!("{base}{path}")).send().await.unwrap();
            let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
            let text = answer.text().await.unwrap();
            let keys =
                serde_json::from_str::<Value>(&text).map(|body| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
            kinds.push((kind, keys.unwrap_or_else(|_| vec![text])));
        }
        assert_eq!(kinds[0], kinds[1], "{path}");
    }
    pair.agree();
}

#[tokio::test]
async fn old_lines_are_seen_once_they_are_flushed() {
    let mut pair = Pair::start().await;
    let now = now();
    let labels = json!({"job": "backfill"});
    let lines: Vec<(i64, &str)> = [100, 50, 5, 4, 2, 1].iter().map(|hours| (now - hours * HOUR, "x")).collect();
    pair.push_lines(&labels, &lines).await;
    let start = (now - 120 * HOUR).to_string();
    let numbers = r#"sum(count_over_time({job="backfill"}[120h]))"#;
    pair.query(r#"{job="backfill"}"#, &[("start", &start)]).await;
    pair.get("/loki/api/v1/query", &[("query", numbers)]).await;
    pair.agree();
    pair.both("flush", |http, base| http.post(format!("{base}/flush"))).await;
    let (http, base) = (pair.world.http().clone(), pair.real.url().to_owned());
    wait_until(SOON, "the real Loki has flushed", async || {
        let url = format!("{base}/loki/api/v1/query?{}", form(&[("query", numbers)]));
        let body: Value = http.get(url).send().await?.json().await?;
        anyhow::ensure!(body.pointer("/data/result/0/value/1") == Some(&json!("6")), "{body}");
        Ok(())
    })
    .await
    .unwrap();
    pair.query(r#"{job="backfill"}"#, &[("start", &start)]).await;
    pair.get("/loki/api/v1/query", &[("query", numbers)]).await;
    pair.agree();
}

#[tokio::test]
async fn a_standin_with_tenants_keeps_them_apart() {
    let settings = Settings { tenants: true, ..Settings::default() };
    let standin = StandinLoki::start_with(settings).unwrap();
    let world = World::new().unwrap();
    let url = format!("{}/loki/api/v1/labels", standin.url());
    let anonymous = world.http().get(&url).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert_eq!(anonymous.text().await.unwrap(), "no org id\n");
    let body = json!({"streams": [{"stream": {"job": "x"}, "values": [[now().to_string(), "l"]]}]});
    let push = world.http().post(format!("{}/loki/api/v1/push", standin.url())).json(&body).header("X-Scope-OrgID", "one");
    assert_eq!(push.send().await.unwrap().status(), 204);
    for (tenant, data) in [("one", json!(["job", "service_name"])), ("two", Value::Null)] {
        let answer: Value = world.http().get(&url).header("X-Scope-OrgID", tenant).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["data"], data, "{tenant}");
    }
}
