//! The real Loki and its stand-in are asked the same, and have to answer the same.

use serde_json::{Value, json};
use tests::wait_until;

use super::SOON;
use super::pair::{HOUR, JSON, Pair, SECOND, form, now};

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
    let mut random = 1_u64;
    for (index, service) in (0..).zip(["a", "b", "c", "d", "e", "f"]) {
        // No two lines of one moment: which comes first is not said.
        let lines: Vec<(i64, &str)> = (0..4 + 9 * index)
            .map(|_| {
                random = (random * 1_103_515_245 + 12_345) % (1 << 31);
                let second = i64::try_from((random >> 8) % 3600).unwrap() - 1800;
                (hour + second * SECOND + index, "line")
            })
            .collect();
        pair.push_lines(&json!({"job": "cut", "service": service}), &lines).await;
    }
    let (start, end) = ((hour - HOUR).to_string(), (hour + HOUR).to_string());
    for limit in [1, 50, 83, 97, 108, 119, 133, 143, 144, 154, 158, 159] {
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
        r#"sum(count_over_time({job="j"}[3599999ms] offset 1ms))"#,
        r#"sum(count_over_time({job="j"} |= "error" [1h] offset 30m))"#,
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
