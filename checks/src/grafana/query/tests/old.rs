//! The Loki that Grafana asked before.

use wiremock::ResponseTemplate;

use super::world::{Side, World, canary_at, reason};

#[tokio::test]
async fn one_line_that_the_old_loki_has_not_tells_them_apart() {
    for old in [Side::Nothing, Side::Without(canary_at(2)), Side::Without(canary_at(29))] {
        let world = World { old: Some(old.clone()), ..World::default() };
        let (loki, grafana) = world.seen().await;
        assert_eq!((loki.label(), grafana.label()), ("pass", "pass"), "{old:?} {grafana:?}");
        let has = if matches!(old, Side::Nothing) { 0 } else { 28 };
        assert_eq!(grafana.evidence().as_str(), format!("29 lines, as in Loki; the old Loki has {has} of Loki's 29"));
    }
}

#[tokio::test]
async fn an_old_loki_that_has_all_lines_too_proves_nothing() {
    let world = World { old: Some(Side::Honest), ..World::default() };
    let (loki, grafana) = world.seen().await;
    assert_eq!((loki.label(), reason(&grafana)), ("pass", "same_in_both".to_owned()));
    assert_eq!(grafana.evidence().as_str(), "the old Loki has all 29 lines too");
}

#[tokio::test]
async fn an_old_loki_that_answers_with_another_time_is_not_believed() {
    let world = World { old: Some(Side::Always((-5..120).map(canary_at).collect())), ..World::default() };
    assert_eq!(reason(&world.seen().await.1), "old_loki_unreadable");
}

#[tokio::test]
async fn a_line_that_reaches_the_old_loki_before_it_is_asked_proves_nothing_either() {
    // New is asked once and has not the line yet that Grafana has; old is asked last and has it.
    let world = World { loki: Side::LateBy(canary_at(5), 1), old: Some(Side::Honest), ..World::default() };
    assert_eq!(reason(&world.seen().await.1), "same_in_both");
}

#[tokio::test]
async fn an_old_loki_that_can_not_be_read_is_unknown_also_when_nobody_listens_there() {
    for status in [401, 404, 429, 500] {
        let old = Some(Side::Reply(ResponseTemplate::new(status)));
        let world = World { old, ..World::default() };
        assert_eq!(reason(&world.seen().await.1), "old_loki_unreadable", "{status}");
    }
    let seen = World { old: Some(Side::Gone), ..World::default() }.seen().await.1;
    assert_eq!(reason(&seen), "old_loki_unreadable", "{seen:?}");
}

#[tokio::test]
async fn what_differs_is_said_before_the_old_loki_is_looked_at() {
    let world = World { old: Some(Side::Honest), grafana: Side::Without(canary_at(5)), ..World::default() };
    assert_eq!(reason(&world.seen().await.1), "differs");
}
