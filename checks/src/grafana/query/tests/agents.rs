use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::super::*;
use super::world::{BOOT, Form, World, at, reason};
use crate::log_path::line::{Boot, Head};

/// The head of the agent that wrote the world's lines, a moment after the newest of them.
fn head() -> Head {
    Head {
        node: "node-1".into(),
        boot: BOOT,
        first: 1,
        last: 31,
        last_at: Some(at(1)),
        failed: 0,
        now: at(0),
        every_ms: 1000,
        unread_ms: 0,
        trouble: None,
    }
}

async fn seen(head: Head) -> (Outcome, Outcome) {
    World { head: Some(ResponseTemplate::new(200).set_body_json(head)), form: Form::Dataplane, ..World::default() }.seen().await
}

#[tokio::test]
async fn a_line_that_the_agent_has_just_written_passes() {
    let (loki, grafana) = seen(head()).await;
    assert_eq!((loki.label(), grafana.label()), ("pass", "pass"), "{loki:?} {grafana:?}");
}

#[tokio::test]
async fn lines_that_no_agent_vouches_for_do_not_count() {
    for stranger in [
        Head { node: "node-2".into(), ..head() },
        Head { boot: Boot(0x20), ..head() },
        Head { last: 400, first: 300, ..head() },
        Head { last: 300, ..head() },
        Head { now: at(-40), last_at: Some(at(-39)), ..head() },
    ] {
        let (loki, grafana) = seen(stranger.clone()).await;
        assert_eq!((reason(&loki), reason(&grafana)), ("not_live".to_owned(), "not_compared".to_owned()), "{stranger:?}");
    }
}

#[tokio::test]
async fn numbers_that_the_agent_has_not_reached_are_forged() {
    let ahead = Head { first: 1, last: 1, every_ms: 40_000, ..head() };
    assert_eq!(reason(&seen(ahead).await.0), "not_live");
}

#[tokio::test]
async fn an_agent_that_has_only_just_started_is_waited_for() {
    let restarted = Head { boot: Boot(0x20), last: 3, ..head() };
    let (loki, grafana) = seen(restarted).await;
    let Outcome::Waiting { due, reason, .. } = loki.clone() else { panic!("{loki:?}") };
    assert_eq!((reason, due), (AGENT_STARTING.into(), at(-27)));
    assert_eq!(grafana, loki);
}

#[tokio::test]
async fn agents_that_write_nothing_or_can_not_be_asked_are_unknown() {
    let world = |head: ResponseTemplate| World { lines: Vec::new(), head: Some(head), ..World::default() };
    let idle = Head { first: 0, last: 0, last_at: None, ..head() };
    let blocked = Head { last_at: Some(at(31)), ..head() };
    for head in [idle, blocked] {
        assert_eq!(reason(&world(ResponseTemplate::new(200).set_body_json(head)).seen().await.0), "no_canary");
    }
    for reply in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("hello"),
        ResponseTemplate::new(200).set_body_json(Value::Null),
        ResponseTemplate::new(200).set_body_json(json!({"node": "node-1"})),
        ResponseTemplate::new(200).set_body_raw("<html></html>", "text/html"),
    ] {
        assert_eq!(reason(&world(reply).seen().await.0), "agent_unreachable");
    }
    // A running agent whose lines do not arrive is no fault of the agent.
    let (loki, grafana) = world(ResponseTemplate::new(200).set_body_json(head())).seen().await;
    assert_eq!((reason(&loki), reason(&grafana)), ("no_fresh_line".to_owned(), "not_compared".to_owned()));
}

#[tokio::test]
async fn the_control_earns_its_reason_with_agents_too() {
    let world = World { head: Some(ResponseTemplate::new(200).set_body_json(head())), ..World::default() };
    let control = Check::control(&world.check(), &world.start().await.context(), ()).await;
    assert_eq!(control.reason(), Some(&DIFFERS.into()), "{control:?}");
}
