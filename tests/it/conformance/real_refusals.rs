//! The real Loki and its stand-in are asked and sent what they can not take, and have to say the same.

use serde_json::{Value, json};

use super::pair::{HOUR, JSON, Pair, SECOND, now};

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
