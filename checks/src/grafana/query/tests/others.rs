//! The other ways: Grafana's count, and the gateway of Loki.

use serde_json::json;
use wiremock::ResponseTemplate;

use super::super::*;
use super::world::{Side, World, canary_at, reason};
use crate::testing::{part, report_of};

/// The outcome of one part of one Run.
async fn seen(world: World, name: &str) -> Outcome {
    let servers = world.start().await;
    part(&report_of(&world.check(), &servers.context()).await, name)
}

#[tokio::test]
async fn grafana_counts_what_loki_has() {
    let counted = seen(World::default(), METRIC).await;
    // The line at the very start of the window is not in a count of what comes after it.
    assert_eq!((counted.label(), counted.evidence().as_str()), ("pass", "Grafana counts 28 lines, as Loki has them"));
    for (miscounts, expected, words) in [
        (1, "count_differs", "Grafana counts 29 lines, Loki has 28"),
        (-1, "count_differs", "Grafana counts 27 lines, Loki has 28"),
        (-28, "empty_answer", "Grafana counts nothing; Loki has 28 lines"),
    ] {
        let outcome = seen(World { miscounts, ..World::default() }, METRIC).await;
        assert_eq!((reason(&outcome).as_str(), outcome.evidence().as_str()), (expected, words));
        assert_eq!(seen(World { miscounts, ..World::default() }, GRAFANA).await.label(), "pass");
    }
    // A line that comes between the two questions is in the count, and in Loki's second answer.
    let late = World { loki: Side::LateBy(canary_at(5), 1), ..World::default() };
    assert_eq!(seen(late, METRIC).await.label(), "pass");
}

#[tokio::test]
async fn one_question_may_fail_while_the_other_is_answered() {
    let lines = include_str!("../../../../testdata/grafana/ds-query-no-data-200.json");
    let lines: serde_json::Value = serde_json::from_str(lines).unwrap();
    let results = |b: serde_json::Value| {
        let results = json!({"A": lines["body"]["results"]["A"], "B": b});
        Side::Reply(ResponseTemplate::new(400).set_body_json(json!({ "results": results })))
    };
    for (answer, expected) in [
        (json!({"error": "parse error at line 1", "status": 400}), "datasource_error"),
        (json!({"frames": [{"schema": {"fields": []}, "data": {"values": [["x"]]}}]}), "unparsable"),
        (json!({"frames": [{"schema": {"fields": [{"type": "number"}]}, "data": {"values": [["x"]]}}]}), "unparsable"),
        (json!({"frames": [{"schema": {"fields": [{"type": "number"}]}, "data": {"values": [[1.5]]}}]}), "unparsable"),
        (json!({"frames": [{"schema": {"fields": [{"type": "number"}]}, "data": {"values": [[1, 2]]}}]}), "unparsable"),
        (json!({"frames": [{"schema": {"fields": [{"type": "number"}]}, "data": {"values": [[-3]]}}]}), "unparsable"),
    ] {
        let world = World { grafana: results(answer.clone()), ..World::default() };
        assert_eq!(reason(&seen(world, METRIC).await), expected, "{answer}");
        let world = World { grafana: results(answer), ..World::default() };
        assert_eq!(reason(&seen(world, GRAFANA).await), "empty_answer");
    }
    let only_lines = json!({"results": {"A": lines["body"]["results"]["A"]}});
    let world = World { grafana: Side::Reply(ResponseTemplate::new(200).set_body_json(only_lines)), ..World::default() };
    assert_eq!(reason(&seen(world, METRIC).await), "wrong_reply");
}

#[tokio::test]
async fn the_gateway_answers_as_loki_does() {
    for (side, expected) in [
        (Side::Honest, "pass"),
        (Side::Without(canary_at(5)), "differs"),
        (Side::Nothing, "empty_answer"),
        (Side::Reply(ResponseTemplate::new(502)), "server_error"),
        (Side::Reply(ResponseTemplate::new(401)), "denied"),
        (Side::Always(vec![canary_at(3600)]), "stale_answer"),
    ] {
        let world = || World { gateway: Some(side.clone()), ..World::default() };
        assert_eq!(reason(&seen(world(), GATEWAY).await), expected, "{side:?}");
        assert_eq!(seen(world(), GRAFANA).await.label(), "pass");
    }
    let nothing = World { lines: Vec::new(), gateway: Some(Side::Honest), ..World::default() };
    assert_eq!(reason(&seen(nothing, GATEWAY).await), "not_compared");
}
