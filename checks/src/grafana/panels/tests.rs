use std::time::Duration;

use serde_json::{Value, json};

use crate::testing::check;
use crate::{MAX_MEMORY, Outcome, Step};

use super::judge::Sight;
use super::scan::{Next, Place, Scan};
use super::*;
use world::{Two, board, panel, rows};

mod answers;
mod kinds;
mod values;
mod world;

fn with(mut panel: Value, more: Value) -> Value {
    panel.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    panel
}

#[tokio::test]
async fn the_same_panels_pass_and_rest_and_are_asked_for_the_same_time() {
    let mut two = Two::start(json!({})).await;
    two.passes(&[
        "3 panels of 1 dashboard asked on both sides, 3 show something; from 2027-01-15 06:59:00Z to 2027-01-15 07:59:00Z",
    ])
    .await;
    for fake in two.both() {
        let asked = fake.asked();
        assert_eq!(asked.len(), 3);
        assert_eq!((&asked[0]["from"], &asked[0]["to"]), (&json!("1799996340000"), &json!("1799999940000")));
        let query = json!({
            "refId": "A", "expr": "lines", "datasource": {"type": "loki", "uid": "l1"}, "queryType": "range", "maxLines": 100,
            "intervalMs": 60000, "maxDataPoints": 100,
        });
        assert_eq!(asked[0]["queries"], json!([query]));
    }
    let Step::More(progress) = two.slice().await else { panic!("does not rest") };
    assert!(progress.note.as_str().starts_with("finished; the next look begins at 2027-01-15 08:15:00Z"), "{}", progress.note);
}

#[tokio::test]
async fn a_panel_that_is_empty_and_was_not_is_named_with_what_the_old_one_has() {
    let mut two = Two::start(json!({})).await;
    two.new.brings("errors", json!({"status": 200}));
    two.says("panel_empty", &["dashboard Homelab: panel \"Errors\" is empty, the old one has 3 rows"]).await;
    // The other way round nothing is missing.
    two.old.brings("errors", json!({"status": 200}));
    two.old.brings("rate", rows(&[]));
    two.passes(&["2 show something; 1 empty on both sides: dashboard Homelab: panel \"Errors\";"]).await;
}

#[tokio::test]
async fn a_number_that_fell_to_zero_is_as_good_as_nothing() {
    let mut two = Two::start(json!({})).await;
    two.new.brings("errors", rows(&[0.0, 0.0, 0.0]));
    two.says("panel_empty", &["panel \"Errors\" shows nothing but zeros, the old one has 3 rows, and others than zeros"]).await;
    two.old.brings("errors", rows(&[0.0]));
    two.passes(&["3 show something"]).await;
}

#[tokio::test]
async fn what_is_wrong_for_a_moment_is_asked_once_more() {
    let mut two = Two::start(json!({})).await;
    two.new.brings("errors", json!({"status": 500, "error": "too many outstanding requests"}));
    let Step::More(progress) = two.slice().await else { panic!("decided at once") };
    let note = "panels: 3 of about 3 asked, 0 empty so far; 1 not as before, to be asked once more";
    assert_eq!((progress.done, progress.total, progress.note.as_str()), (3, 3, note));
    two.new.brings("errors", rows(&[1.0]));
    two.passes(&["3 show something"]).await;
    assert_eq!(two.new.asked().len(), 4);
}

#[tokio::test]
async fn what_is_refused_on_both_sides_is_named_and_an_outage_on_both_is_not_excused() {
    let mut two = Two::start(json!({})).await;
    let error = |words: &str| json!({"status": 500, "error": words});
    for fake in two.both() {
        fake.brings("errors", error("parse error at line 1, col 6"));
    }
    two.passes(&[
        "2 show something; 1 broken on both sides: dashboard Homelab: panel \"Errors\" (parse error at line 1, col 6);",
    ])
    .await;
    two.memory = Memory::default();
    for fake in two.both() {
        fake.brings("errors", error("Get \"http://loki/x?q\": dial tcp: lookup loki: no such host, unknown"));
    }
    two.says("panel_errors", &["panel \"Errors\" errs: Get ", "no such host, unknown; the old one errs too: Get "]).await;
    // What the old one has is not known then.
    two.new.brings("errors", rows(&[]));
    two.says("not_asked", &["panel \"Errors\": is empty, and what the old one has is not known: Get "]).await;
    two.new.brings("errors", rows(&[1.0]));
    two.passes(&["3 show something"]).await;
}

#[tokio::test]
async fn without_an_old_one_only_errors_and_an_empty_whole_are_wrong() {
    let mut two = Two::start(json!({"old": null})).await;
    two.new.brings("errors", rows(&[]));
    two.passes(&["3 panels of 1 dashboard asked, 2 show something; 1 empty: dashboard Homelab: panel \"Errors\";"]).await;
    two.memory = Memory::default();
    two.new.brings("rate", json!({"status": 500, "error": "parse error"}));
    two.says("panel_errors", &["panel \"Rate\" errs: parse error"]).await;
    two.new.brings("rate", rows(&[]));
    two.new.brings("lines", rows(&[]));
    two.says("nothing_shown", &["3 panels of 1 dashboard asked, 0 show something; 3 empty"]).await;
    assert_eq!(two.old.asked(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_emptiness_on_both_sides_is_no_pass_and_neither_is_nothing_to_ask() {
    let mut two = Two::start(json!({})).await;
    for fake in two.both() {
        for expr in ["lines", "errors", "rate"] {
            fake.brings(expr, rows(&[]));
        }
    }
    two.says("nothing_shown", &["3 empty on both sides"]).await;
    two.check.skip = ["home/1", "home/2", "home/3"].map(str::to_owned).to_vec();
    two.says("nothing_asked", &["0 panels of 1 dashboard", "3 skipped"]).await;
    two.check.skip = vec!["home".to_owned()];
    two.says("nothing_asked", &["0 panels of 0 dashboards"]).await;
}

#[tokio::test]
async fn dashboards_and_panels_that_are_gone_are_named() {
    let mut two = Two::start(json!({"dashboards": ["home", "gone"]})).await;
    two.old.shows("gone", board("Backups", json!([panel(1, "Last", "last")])));
    two.says("dashboard_missing", &["dashboard Backups is not there, the old Grafana has it"]).await;
    two.new.shows("gone", board("Backups", json!([])));
    two.says("panel_missing", &["dashboard Backups: panel \"Last\" is not there, the old dashboard has it"]).await;
    two.new.shows("gone", board("Backups", json!([{"id": 1, "title": "Last", "type": "text"}])));
    two.says("panel_empty", &["dashboard Backups: panel \"Last\" is empty, the old one has 3 rows"]).await;
    two.new.shows("gone", board("Backups", json!([panel(1, "Last", "last"), panel(2, "More", "more")])));
    two.passes(&["5 panels of 2 dashboards", "5 show something"]).await;
    two.check.dashboards.push("never".to_owned());
    two.memory = Memory::default();
    two.says("dashboard_missing", &["dashboard never is on neither side"]).await;
    two.new
        .edit(|held| held.refuses = Some(("/api/dashboards/uid/never".to_owned(), 403, json!({"message": "You'll need more"}))));
    two.says("not_asked", &["dashboard never: GET http://", "403 Forbidden: You'll need more"]).await;
}

#[tokio::test]
async fn all_dashboards_are_looked_at_only_by_a_token_that_sees_all() {
    let mut two = Two::start(json!({"dashboards": []})).await;
    two.old.shows("other", board("Other", json!([panel(1, "Last", "last")])));
    two.says("dashboard_missing", &["dashboard Other is not there"]).await;
    two.new.shows("other", board("Other", json!([panel(1, "Last", "last")])));
    two.passes(&["4 panels of 2 dashboards"]).await;
    two.memory = Memory::default();
    two.new.edit(|held| {
        held.permissions = json!({"datasources:read": ["datasources:*"], "dashboards:read": ["dashboards:uid:home"]});
    });
    two.says("permission_missing", &["GET /api/search needs dashboards:read on dashboards:*"]).await;
    two.check.dashboards = vec!["home".to_owned()];
    two.passes(&["3 panels of 1 dashboard"]).await;
}

#[tokio::test]
async fn what_can_not_be_asked_is_no_pass() {
    let mut two = Two::start(json!({})).await;
    for fake in two.both() {
        let mut model = board("Homelab", json!([panel(1, "Lines", "lines"), panel(2, "Node", "{node=\"$node\"}")]));
        model["templating"] = json!({"list": [{"name": "node", "type": "query", "current": {}}]});
        fake.shows("home", model);
    }
    two.says("not_asked", &["1 panel not asked: dashboard Homelab: panel \"Node\": variable node has no value that is known"])
        .await;
    // It stays said while the next look is under way, which may be long.
    let Step::Done(parts) = two.slice().await else { panic!("nothing is said") };
    assert_eq!(parts.into_values().next().unwrap().reason(), Some(&NOT_ASKED.into()));
    two.memory = Memory::default();
    two.check.skip = vec!["home/2".to_owned()];
    two.passes(&["1 panel of 1 dashboard", "1 skipped"]).await;
    two.memory = Memory::default();
    two.check.skip.clear();
    two.check.variables.insert("node".to_owned(), Values::One("a".to_owned()));
    two.passes(&["2 show something"]).await;
}

#[tokio::test]
async fn a_datasource_that_the_new_side_has_not_is_named_and_one_of_another_uid_is_found() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|held| held.datasources = json!([{"uid": "other", "name": "Loki", "type": "loki"}]));
    two.says("panel_errors", &["panel \"Lines\" errs: there is no datasource l1; the old one has 3 rows"]).await;
    for fake in two.both() {
        fake.shows(
            "home",
            board(
                "Homelab",
                json!([with(panel(1, "Lines", "lines"), json!({"targets": [{"expr": "lines"}], "datasource": "Loki"}))]),
            ),
        );
    }
    two.passes(&["1 show something"]).await;
    assert_eq!(two.new.asked().last().unwrap()["queries"][0]["datasource"], json!({"type": "loki", "uid": "other"}));
}

#[tokio::test]
async fn one_server_under_two_names_is_not_compared_with_itself() {
    let mut two = Two::start(json!({})).await;
    for (old, reason) in [(1_700_000_000, "same_server"), (1_700_000_001, "pass")] {
        two.new.edit(|held| held.started = Some(1_700_000_000));
        two.old.edit(|held| held.started = Some(old));
        let outcome = two.decided().await;
        assert_eq!(outcome.reason().map_or("pass", crate::Reason::as_str), reason, "{outcome:?}");
    }
}

#[tokio::test]
async fn an_old_grafana_that_is_away_is_waited_for_and_then_said_with_what_to_do() {
    let mut two = Two::start(json!({})).await;
    two.old.edit(|held| held.refuses = Some(("/api".to_owned(), 503, json!({"message": "starting"}))));
    let Step::More(progress) = two.slice().await else { panic!("decided at once") };
    assert!(progress.note.as_str().starts_with("no answer, asked again with the next run: the old Grafana"), "{}", progress.note);
    two.says(
        "server_error",
        &["the old Grafana (take `old` out once it is gone for good): GET http://", "503 Service Unavailable: starting"],
    )
    .await;
    two.check.old = None;
    two.passes(&["3 show something"]).await;
}

#[tokio::test]
async fn a_dashboard_that_is_saved_meanwhile_is_asked_anew() {
    let mut two = Two::start(json!({"perSecond": 1})).await;
    two.cx.timeout = Duration::from_secs(1);
    let Step::More(progress) = two.slice().await else { panic!("decided at once") };
    assert_eq!((progress.done, progress.total), (1, 3));
    let mut model = board("Homelab", json!([panel(0, "First", "first"), panel(1, "Lines", "lines")]));
    model["version"] = json!(2);
    for fake in two.both() {
        fake.shows("home", model.clone());
    }
    two.new.brings("first", rows(&[]));
    two.check.per_second = 100;
    two.says("panel_empty", &["panel \"First\" is empty"]).await;
}

#[tokio::test]
async fn panels_of_the_same_id_are_told_apart() {
    let mut two = Two::start(json!({})).await;
    for fake in two.both() {
        fake.shows("home", board("Homelab", json!([panel(1, "Lines", "lines"), panel(1, "Errors", "errors")])));
    }
    two.new.brings("errors", rows(&[]));
    two.says("panel_empty", &["dashboard Homelab: panel \"Errors\" is empty"]).await;
}

#[tokio::test]
async fn the_control_asks_a_datasource_that_is_not_there() {
    let mut two = Two::start(json!({})).await;
    for fake in two.both() {
        fake.shows("a", board("Silent", json!([{"id": 1, "type": "text"}])));
    }
    for _ in 0..2 {
        let outcome = two.control().await;
        assert_eq!(outcome.reason(), Some(&PANEL_ERRORS.into()), "{outcome:?}");
        assert_eq!(outcome.evidence().as_str(), "panel \"Lines\" errs: Data source not found; the old one has 1 row");
        two.passes(&["3 show something"]).await;
    }
    assert_eq!(two.memory.lively.as_deref(), Some("home"));
    // A Grafana that answers whatever it is asked can not be trusted.
    let answer = json!({"results": {"A": rows(&[1.0])}}).to_string();
    two.new.edit(|held| held.instead = Some((200, "application/json", answer, 1)));
    assert!(matches!(two.control().await, Outcome::Pass { .. }));
    two.new.edit(|held| held.boards.clear());
    assert_eq!(two.control().await.reason(), Some(&NOTHING_ASKED.into()));
}

#[tokio::test]
async fn of_more_than_can_be_asked_once_more_none_is_forgotten() {
    let mut two = Two::start(json!({})).await;
    for fake in two.both() {
        fake.shows("home", board("Homelab", (0..130).map(|id| panel(id, "Errors", &format!("e{id}"))).collect()));
    }
    for id in 0..130 {
        two.new.brings(&format!("e{id}"), rows(&[]));
    }
    // The first hundred are mended before they are asked once more.
    assert!(matches!(two.slice().await, Step::More(_)));
    for id in 0..100 {
        two.new.brings(&format!("e{id}"), rows(&[1.0]));
    }
    two.says("panel_empty", &["; and 25 more"]).await;
    for fake in two.both() {
        fake.shows("home", board("Homelab", (0..130).map(|id| panel(id, "Errors", "${__user}")).collect()));
    }
    two.says("not_asked", &["130 panels not asked", "variable __user has no value that is known", "; and 125 more"]).await;
}

#[test]
fn the_worst_case_fits_into_memory() {
    let uids: std::collections::BTreeSet<String> = (0..400).map(|n| format!("{n:0>128}")).collect();
    let mut scan = Scan::begin(chrono::DateTime::UNIX_EPOCH, (0, 1));
    let mut now = chrono::DateTime::UNIX_EPOCH;
    let words = "\u{1}\"\\é".repeat(500);
    let mut looks = 0;
    loop {
        let place = |uid: String, panel| Place { uid, panel: Some((i64::MIN, panel)) };
        match scan.next(&uids, now) {
            Next::Dashboard(uid) => {
                for n in 0..5 {
                    assert_eq!(scan.enter(&uid, (1, 1)), Some(n));
                    let sight = [Sight::Empty, Sight::Broken(words.clone()), Sight::Unseen(words.clone())][n % 3].clone();
                    scan.judged(place(uid.clone(), n), &words, sight);
                }
                scan.leave();
            }
            Next::Again(again) => {
                looks += 1;
                let sight = if looks % 2 == 0 { Sight::Bad(Kind::Empty, words.clone()) } else { Sight::Unseen(words.clone()) };
                scan.judged(again, &words, sight);
            }
            Next::Wait(until) => now = until,
            Next::Over => break,
        }
        let memory = Memory {
            scan: Some(scan.clone()),
            rests_until: Rest::default(),
            lively: Some("x".repeat(128)),
            not_asked: Some("x".repeat(1024)),
        };
        let bytes = serde_json::to_vec(&memory).unwrap().len();
        assert!(bytes < MAX_MEMORY, "{bytes} bytes");
    }
    assert_eq!((looks, scan.found_more, scan.beyond(), scan.done()), (100, 38, 300, 2000));
}

#[test]
fn wrong_fields_are_named() {
    let two = |more: Value| with(json!({"old": "a", "new": "b"}), more);
    for (spec, field) in [
        (json!({"old": "a", "new": "a"}), "old"),
        (two(json!({"dashboards": ["a b"]})), "dashboards"),
        (two(json!({"dashboards": ["a", "a"]})), "dashboards"),
        (two(json!({"skip": ["a/b"]})), "skip"),
        (two(json!({"skip": ["/1"]})), "skip"),
        (two(json!({"variables": {"$a": "b"}})), "variables"),
        (two(json!({"variables": {"a": []}})), "variables"),
        (two(json!({"variables": {"__from": "1"}})), "variables"),
        (two(json!({"window": "59s"})), "window"),
        (two(json!({"window": "32d"})), "window"),
        (two(json!({"settle": "25h"})), "settle"),
        (two(json!({"rest": "8d"})), "rest"),
        (two(json!({"perSecond": 0})), "perSecond"),
        (two(json!({"perSecond": 101})), "perSecond"),
    ] {
        let fields: Vec<_> =
            Check::validate(&check::<GrafanaPanels>(spec.clone())).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, [field], "{spec}");
    }
    let right = two(json!({"skip": ["a", "a/-1"], "variables": {"a": "b", "c": ["d"]}, "dashboards": ["x-Y_1"]}));
    assert_eq!(Check::validate(&check::<GrafanaPanels>(right)), []);
}
