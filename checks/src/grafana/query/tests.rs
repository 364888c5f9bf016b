mod agents;
mod answers;
mod old;
mod others;
mod world;

use serde_json::json;

use std::collections::BTreeMap;

use super::*;
use crate::testing::{check, context, report_of};
use world::{Form, NOW, Side, World, at, canary_at, reason};

#[tokio::test]
async fn a_fresh_line_through_grafana_passes_in_every_form_of_frames() {
    for form in [Form::Classic, Form::Dataplane, Form::Scattered] {
        let world = World { form, ..World::default() };
        let (loki, grafana) = world.seen().await;
        assert_eq!((loki.label(), grafana.label()), ("pass", "pass"), "{form:?} {loki:?} {grafana:?}");
        assert_eq!(loki.evidence().as_str(), "#30 of node-1 (boot 000000000000001f) is 2.0 s old; 29 lines in all");
        assert_eq!(grafana.evidence().as_str(), "29 lines, as in Loki");
    }
}

#[tokio::test]
async fn the_same_closed_window_is_asked_of_both_with_our_token_and_past_the_cache() {
    let world = World { token: true, ..World::default() };
    let servers = world.start().await;
    let report = report_of(&world.check(), &servers.context()).await;
    assert_eq!(report.measures.len(), 3, "{report:?}");
    let direct = &servers.loki.received_requests().await.unwrap()[0];
    let query: BTreeMap<_, _> = direct.url.query_pairs().into_owned().collect();
    let (start, end) = (NOW - 30_000, NOW - 1000);
    assert_eq!(query["start"], format!("{start}000000"));
    assert_eq!(query["end"], format!("{end}000000"));
    assert_eq!((query["limit"].as_str(), query["query"].as_str()), ("1000", r#"{service="migration-canary"}"#));
    let through = &servers.grafana.received_requests().await.unwrap()[0];
    assert_eq!((through.method.as_str(), through.url.path()), ("POST", "/base/api/ds/query"));
    let header = |name: &str| through.headers[name].to_str().unwrap();
    assert_eq!((header("authorization"), header("x-cache-skip")), ("Bearer glsa_secret", "true"));
    let body: serde_json::Value = serde_json::from_slice(&through.body).unwrap();
    assert_eq!((body["from"].clone(), body["to"].clone()), (json!(start.to_string()), json!(end.to_string())));
    let query = &body["queries"][0];
    assert_eq!(query["datasource"], json!({"type": "loki", "uid": "P8E80F9AEF21F6940"}));
    assert_eq!((&query["maxLines"], &query["queryType"]), (&json!(1000), &json!("range")));
}

#[tokio::test]
async fn a_line_that_only_one_side_has_fails_and_is_named() {
    let fewer = World { grafana: Side::Without(canary_at(5)), ..World::default() };
    let (loki, grafana) = fewer.seen().await;
    assert_eq!((loki.label(), reason(&grafana)), ("pass", "differs".to_owned()));
    let evidence = grafana.evidence().as_str();
    assert!(
        evidence.starts_with("1 of Loki's 29 lines are not among Grafana's 28, first ")
            && evidence.ends_with("#27 of node-1 (boot 000000000000001f)"),
        "{evidence}"
    );
    let more = World { loki: Side::Without(canary_at(5)), ..World::default() };
    let (loki, grafana) = more.seen().await;
    assert_eq!((loki.label(), reason(&grafana)), ("pass", "differs".to_owned()));
    assert!(grafana.evidence().as_str().starts_with("1 of Grafana's 29 lines are not in Loki, first "), "{grafana:?}");
}

#[tokio::test]
async fn another_text_or_another_nanosecond_is_another_line() {
    let (time, text) = canary_at(5);
    for other in [(time, text.replace("node-1", "node-2")), (time + 1, text.clone())] {
        let world = World { grafana: Side::Instead(canary_at(5), other), ..World::default() };
        assert_eq!(reason(&world.seen().await.1), "differs");
    }
}

#[tokio::test]
async fn a_line_that_arrives_between_the_two_questions_is_no_difference() {
    let world = World { loki: Side::LateBy(canary_at(5), 1), ..World::default() };
    let (loki, grafana) = world.seen().await;
    assert_eq!((loki.label(), grafana.label()), ("pass", "pass"), "{grafana:?}");
}

#[tokio::test]
async fn nothing_on_both_sides_is_never_a_pass() {
    let world = World { lines: Vec::new(), ..World::default() };
    let (loki, grafana) = world.seen().await;
    assert_eq!((reason(&loki), reason(&grafana)), ("no_fresh_line".to_owned(), "not_compared".to_owned()));
    let world = World { loki: Side::Nothing, ..World::default() };
    let (loki, grafana) = world.seen().await;
    assert_eq!((reason(&loki), reason(&grafana)), ("no_fresh_line".to_owned(), "differs".to_owned()));
}

#[tokio::test]
async fn lines_that_are_no_fresh_canaries_prove_nothing() {
    let (time, text) = canary_at(5);
    let written = |ago: i64| text.replace(&at(5).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), &at(ago).to_rfc3339());
    for (line, why) in [
        ((time, "no canary".to_owned()), "none of them a canary"),
        ((time, written(31)), "the newest canary is #27 of node-1"),
        ((time, written(-31)), "the newest canary is #27 of node-1"),
        ((at(31).timestamp_nanos_opt().unwrap(), text.clone()), "no line in the last 30s"),
    ] {
        let (loki, grafana) = World { lines: vec![line], ..World::default() }.seen().await;
        assert_eq!((reason(&loki), reason(&grafana)), ("no_fresh_line".to_owned(), "not_compared".to_owned()));
        assert!(loki.evidence().as_str().contains(why), "{loki:?}");
    }
    assert_eq!(World { lines: vec![(time, written(29))], ..World::default() }.seen().await.0.label(), "pass");
}

#[tokio::test]
async fn a_line_with_an_old_timestamp_is_not_fresh_whatever_it_says_of_itself() {
    let world = World { lines: vec![(at(40).timestamp_nanos_opt().unwrap(), canary_at(5).1)], ..World::default() };
    let window = Window::before(at(0), Duration::from_secs(30)).earlier();
    let check = world.check();
    let question = Question { datasource: &check.datasource, window, earlier: false };
    let look = check.look(&world.start().await.context(), question).await;
    assert_eq!((reason(&look.loki), reason(&look.grafana)), ("no_fresh_line".to_owned(), "not_compared".to_owned()));
}

#[tokio::test]
async fn an_answer_for_another_time_than_asked_is_stale() {
    let old = (at(3600).timestamp_nanos_opt().unwrap(), "old".to_owned());
    let world = World { loki: Side::Always(vec![old.clone()]), ..World::default() };
    assert_eq!(reason(&world.seen().await.0), "stale_answer");
    let world = World { grafana: Side::Always(vec![old]), ..World::default() };
    let (loki, grafana) = world.seen().await;
    assert_eq!((loki.label(), reason(&grafana)), ("pass", "stale_answer".to_owned()));
}

#[tokio::test]
async fn more_lines_than_can_be_compared_narrow_the_window_and_then_are_unknown() {
    let crowd = |from: i64, to: i64, each: i64| {
        let (_, text) = canary_at(5);
        (from..to).flat_map(move |second| {
            let text = text.clone();
            (0..each).map(move |n| (at(second).timestamp_nanos_opt().unwrap() + n, text.clone()))
        })
    };
    let many = World { lines: crowd(2, 30, 100).collect(), ..World::default() };
    let (loki, grafana) = many.seen().await;
    assert_eq!((loki.label(), grafana.label()), ("pass", "pass"), "{loki:?} {grafana:?}");
    assert_eq!(grafana.evidence().as_str(), "700 lines, as in Loki");
    for lines in [crowd(2, 30, 3000).collect(), crowd(25, 26, 3000).collect()] {
        let (loki, grafana) = World { lines, ..World::default() }.seen().await;
        assert_eq!(reason(&loki), "too_many_lines");
        assert_ne!(grafana.label(), "pass");
    }
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_at_servers_that_can_tell() {
    let control = async |world: World| Check::control(&world.check(), &world.start().await.context(), ()).await;
    let honest = control(World::default()).await;
    assert_eq!(honest.reason(), Some(&DIFFERS.into()), "{honest:?}");
    let blind = control(World { any_datasource: true, ..World::default() }).await;
    assert_eq!(blind.label(), "pass", "{blind:?}");
    let all: Vec<_> = World::default().lines.into_iter().take(29).collect();
    let parrot = control(World { grafana: Side::Always(all), ..World::default() }).await;
    assert_eq!(reason(&parrot), "stale_answer", "{parrot:?}");
    let empty = control(World { lines: Vec::new(), ..World::default() }).await;
    assert_eq!(reason(&empty), "no_fresh_line");
}

#[tokio::test]
async fn a_target_that_is_missing_is_unknown() {
    let query: GrafanaQuery = check(json!({"grafana": "g", "datasource": "d", "loki": "l"}));
    let look = query.look(&context(), Question { datasource: "d", window: Window { start: 0, end: 1 }, earlier: false }).await;
    assert_eq!((reason(&look.loki), reason(&look.grafana)), ("target_missing".to_owned(), "target_missing".to_owned()));
}

#[test]
fn what_can_not_be_asked_is_refused_in_the_document() {
    let fields = |block: serde_json::Value| {
        let mut whole = json!({"grafana": "g", "datasource": "P8E80F9AEF21F6940", "loki": "l"});
        whole.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
        Check::validate(&check::<GrafanaQuery>(whole)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({})), [""; 0]);
    assert_eq!(fields(json!({"selector": r#"{service="a"} |= "node-1""#, "within": "1h"})), [""; 0]);
    for uid in ["", "${DS_LOKI}", "a b", "phasegate-negative-control"] {
        assert_eq!(fields(json!({ "datasource": uid })), ["datasource"], "{uid}");
    }
    for selector in ["", "sum(count_over_time({a=\"b\"}[1m]))", "{a=\"$__range\"}"] {
        assert_eq!(fields(json!({ "selector": selector })), ["selector"], "{selector}");
    }
    for within in ["0s", "4s", "2h"] {
        assert_eq!(fields(json!({ "within": within })), ["within"], "{within}");
    }
}
