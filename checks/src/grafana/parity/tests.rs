use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::testing::check;
use crate::{MAX_EVIDENCE, MAX_MEMORY};
use world::{Edit, Parts, Two, dashboard, panel, told, viewer, wrong};

mod permissions;
mod slices;
mod versions;
mod world;

const PARTS: &[&str] = &[
    "alertRules",
    "annotations",
    "contactPoints",
    "dashboards",
    "datasources",
    "folders",
    "plugins",
    "references",
    "serviceAccounts",
    "teams",
    "users",
];

#[tokio::test]
async fn everything_that_was_moved_is_the_same_and_what_was_compared_is_said() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| state.datasources[0]["url"] = json!("http://me:hunter2@gateway:80/x?hunter2"));
    let parts = two.parts().await;
    assert_eq!(parts.keys().collect::<Vec<_>>(), PARTS);
    assert!(wrong(&parts).is_empty(), "{parts:?}");
    let normalised = "left out: id, version, iteration, schemaVersion, pluginVersion, empty lists, how a datasource is named";
    for (part, evidence) in [
        ("dashboards", &*format!("2 dashboards with 3 panels are the same; versions 10.0.0 and 12.3.2; {normalised}")),
        ("references", "all 7 references in 2 dashboards lead to a datasource of the new side"),
        ("folders", "1 folders with their permissions are the same"),
        ("users", "2 users with their roles are the same"),
        ("plugins", "1 installed plugins are the same"),
        (
            "datasources",
            "2 datasources are the same; may differ 1: \"Loki\" (l1): URL: http://loki:3100/?…, now http://gateway/x?…",
        ),
        ("annotations", "2 on the old side, 2 on the new one; those that alert rules write are not counted"),
    ] {
        assert_eq!(told(&parts, part).1, evidence);
    }
    // Then it rests.
    let asked = two.new.edit(|state| state.asked.len());
    let Step::More(progress) = two.slice().await else { panic!("no rest") };
    assert!(progress.note.as_str().starts_with("finished; the next look begins at"), "{}", progress.note);
    assert_eq!(two.new.edit(|state| state.asked.len()), asked);
    two.cx.now += TimeDelta::minutes(15);
    assert!(wrong(&two.parts().await).is_empty());
}

#[tokio::test]
async fn whatever_is_missing_or_changed_is_named_in_its_part_and_no_other() {
    let cases: &[(&str, &str, &str, Edit)] = &[
        ("dashboards", "missing", "missing 1, changed 0, extra 0 of 2 dashboards; missing 1: \"Nodes\" (d2)", |s| {
            s.dashboards.remove("d2");
        }),
        ("dashboards", "changed", "changed 1: \"Logs\" (d1): panel \"Errors\": query", |s| {
            *s.at("d1", "/dashboard/panels/0/targets/0/expr") = json!("other");
        }),
        ("dashboards", "changed", "\"Logs\" (d1): panel \"Nested\": query", |s| {
            *s.at("d1", "/dashboard/panels/1/panels/0/targets/0/expr") = json!("other");
        }),
        ("dashboards", "changed", "panel \"Nested\" missing", |s| *s.at("d1", "/dashboard/panels/1/panels") = json!([])),
        ("dashboards", "changed", "panel \"Added\" added", |s| {
            s.at("d2", "/dashboard/panels").as_array_mut().unwrap().push(panel(5, "Added"));
        }),
        ("dashboards", "changed", "(d1): rows", |s| *s.at("d1", "/dashboard/panels/1/title") = json!("Less")),
        ("dashboards", "changed", "variable node: query", |s| {
            *s.at("d2", "/dashboard/templating/list/0/query") = json!("x");
        }),
        ("dashboards", "changed", "annotation deploys: expr", |s| {
            *s.at("d2", "/dashboard/annotations/list/0/expr") = json!("x");
        }),
        ("dashboards", "changed", "title: Nodes, now Knots", |s| *s.at("d2", "/dashboard/title") = json!("Knots")),
        ("dashboards", "changed", "tags: a, b, now a", |s| *s.at("d2", "/dashboard/tags") = json!(["a"])),
        ("dashboards", "changed", "folder: f1, now none", |s| *s.at("d2", "/meta/folderUid") = json!("general")),
        ("dashboards", "changed", "provisioned: no, now yes", |s| *s.at("d2", "/meta/provisioned") = json!(true)),
        ("folders", "missing", "missing 1: \"Team A\" (f1)", |s| s.folders.clear()),
        ("folders", "changed", "title: Team A, now Team B", |s| s.folders[0]["title"] = json!("Team B")),
        ("folders", "changed", "parent: none, now f0", |s| s.folders[0]["folderUid"] = json!("f0")),
        ("folders", "changed", "permission of role Editor missing", |s| {
            drop(s.folder_permissions.get_mut("f1").unwrap().as_array_mut().unwrap().pop());
        }),
        ("folders", "changed", "permission of role Viewer: View, now Edit", |s| {
            s.folder_permissions.get_mut("f1").unwrap()[0]["permissionName"] = json!("Edit");
        }),
        ("teams", "missing", "missing 1: Ops", |s| s.teams.clear()),
        ("teams", "changed", "Ops: member anna missing", |s| drop(s.members.insert("4".to_owned(), json!([])))),
        ("teams", "changed", "member anna: Member, now Admin", |s| s.members.get_mut("4").unwrap()[0]["permission"] = json!(4)),
        ("users", "missing", "missing 1: anna (Editor)", |s| drop(s.users.pop())),
        ("users", "changed", "anna (Editor): role: Editor, now Viewer", |s| s.users[1]["role"] = json!("Viewer")),
        ("users", "changed", "disabled: no, now yes", |s| s.users[1]["isDisabled"] = json!(true)),
        ("serviceAccounts", "missing", "missing 1: ci (Viewer)", |s| s.accounts.clear()),
        ("serviceAccounts", "changed", "tokens: 2, now 1", |s| s.accounts[0]["tokens"] = json!(1)),
        ("plugins", "missing", "missing 1: example-panel 1.2.3", |s| drop(s.plugins.remove(0))),
        ("plugins", "changed", "version: 1.2.3, now 1.2.0", |s| s.plugins[0]["info"]["version"] = json!("1.2.0")),
        ("plugins", "changed", "enabled: yes, now no", |s| s.plugins[0]["enabled"] = json!(false)),
        ("datasources", "missing", "missing 1: \"Prometheus\" (p1), there with the uid p2; extra 1: \"Prometheus\" (p2)", |s| {
            s.datasources[1]["uid"] = json!("p2");
        }),
        ("datasources", "changed", "\"Loki\" (l1): access: proxy, now direct", |s| s.datasources[0]["access"] = json!("direct")),
        ("datasources", "changed", "default: yes, now no", |s| s.datasources[0]["isDefault"] = json!(false)),
        ("alertRules", "missing", "missing 1: \"Too many errors\" (r1)", |s| s.rules.clear()),
        ("alertRules", "changed", "\"Too many errors\" (r1): query", |s| s.rules[0]["data"][0]["model"]["expr"] = json!("x")),
        ("alertRules", "changed", "(r1): isPaused", |s| s.rules[0]["isPaused"] = json!(true)),
        ("contactPoints", "missing", "missing 1: hook (webhook)", |s| s.points.clear()),
        ("contactPoints", "changed", "notification policies: receivers: hook, now mail; routes", |s| {
            s.policies = json!({"receiver": "mail"});
        }),
        ("annotations", "missing", "missing 1: 2 on the old side, 1 on the new one", |s| drop(s.annotations.pop())),
    ];
    let mut two = Two::start(json!({})).await;
    let whole = two.new.edit(|state| state.clone());
    for (part, reason, words, edit) in cases {
        two.new.edit(|state| {
            *state = whole.clone();
            edit(state);
        });
        let parts = two.parts().await;
        let (found, evidence) = told(&parts, part);
        assert!(found == *reason && evidence.contains(words), "{part} {words}: {found}: {evidence}");
        assert_eq!(wrong(&parts), [*part], "{words}: {parts:?}");
    }
}

#[tokio::test]
async fn what_the_new_side_has_beyond_the_old_one_is_named_and_no_failure() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| {
        state.put(dashboard("d3", "New", json!([])));
        state.folders.push(json!({"uid": "f2", "title": "Team B"}));
        state.teams.push(json!({"id": 5, "name": "Dev"}));
        state.users.extend((0..9).map(|n| json!({"login": format!("u{n}"), "role": "Viewer"})));
        state.users.push(json!({"login": "zoe", "role": "Admin"}));
        state.accounts.push(json!({"login": "sa-1-phasegate", "orgId": 1, "role": "Admin"}));
        state.accounts[0]["tokens"] = json!(3);
        state.plugins[0]["info"]["version"] = json!("1.10.0");
        state.datasources.push(json!({"uid": "t1", "name": "Tempo", "type": "tempo"}));
        state.rules.push(json!({"uid": "r2", "title": "Another"}));
        state.points.push(json!({"uid": "m", "name": "mail", "type": "email"}));
        state.annotations.push(json!({"time": 7000}));
    });
    let parts = two.parts().await;
    assert!(wrong(&parts).is_empty(), "{parts:?}");
    for (part, words) in [
        ("dashboards", "extra 1: \"New\" (d3)"),
        ("folders", "extra 1: \"Team B\" (f2)"),
        ("teams", "extra 1: Dev"),
        ("users", "extra 10: zoe (Admin), u0 (Viewer)"),
        ("serviceAccounts", "extra 1: phasegate (Admin)"),
        ("plugins", "may differ 1: example-panel 1.2.3: version: 1.2.3, now 1.10.0"),
        ("datasources", "extra 1: \"Tempo\" (t1)"),
        ("alertRules", "extra 1: \"Another\" (r2)"),
        ("contactPoints", "extra 1: mail (email)"),
        ("annotations", "2 on the old side, 3 on the new one"),
    ] {
        assert!(told(&parts, part).1.contains(words), "{part}: {parts:?}");
    }
    assert!(told(&parts, "users").1.contains("and 2 more"), "{parts:?}");
}

#[tokio::test]
async fn a_datasource_with_another_uid_leaves_every_reference_without_one() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| state.datasources[0]["uid"] = json!("l9"));
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), ["dashboards", "datasources", "references"], "the variable named it by its name");
    let (reason, evidence) = told(&parts, "references");
    assert_eq!(reason, "unresolved_datasource");
    assert!(evidence.starts_with("of 7 references in 2 dashboards; no datasource 5: "), "{evidence}");
    for words in ["\"Logs\" (d1): panel \"Errors\" to l1", "panel \"Nested\" to l1", "annotation deploys to l1"] {
        assert!(evidence.contains(words), "{evidence}");
    }
    assert!(told(&parts, "dashboards").1.contains("variable node: datasource"), "{parts:?}");
    // One that led nowhere before is no loss of the move, and nobody can be sure that it is meant.
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| *state.at("d2", "/dashboard/annotations/list/0/datasource/uid") = json!("gone"));
    }
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), ["references"]);
    assert!(told(&parts, "references").1.contains("annotation deploys to gone, nor on the old side"), "{parts:?}");
}

#[tokio::test]
async fn what_is_ignored_may_differ_and_sections_can_be_left_out() {
    let ignore = json!({"dashboards": ["d2"], "users": ["anna"], "datasources": ["p1"], "contactPoints": ["hook (webhook)"]});
    let mut two = Two::start(json!({"ignore": ignore})).await;
    two.new.edit(|state| {
        state.dashboards.remove("d2");
        state.users.pop();
        state.datasources.pop();
        state.points.clear();
    });
    let parts = two.parts().await;
    assert!(wrong(&parts).is_empty(), "{parts:?}");
    assert!(told(&parts, "dashboards").1.starts_with("1 dashboards with 2 panels are the same; ignored 1: d2"), "{parts:?}");
    let mut two = Two::start(json!({"sections": ["users", "dashboards"]})).await;
    two.new.edit(|state| state.folders.clear());
    assert_eq!(two.parts().await.into_keys().collect::<Vec<_>>(), ["dashboards", "references", "users"]);
    assert!(two.old.edit(|state| state.asked.iter().all(|path| !path.contains("folders"))));
}

#[tokio::test]
async fn a_grafana_without_dashboards_is_no_proof_of_anything() {
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| state.dashboards.clear());
    }
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), ["dashboards", "references"]);
    assert_eq!(told(&parts, "dashboards"), ("nothing_to_compare", "the old side has no dashboards"));
    assert_eq!(Check::control(&two.check, &two.cx, Memory::default()).await.reason(), Some(&NOTHING.into()));
    let mut two = Two::start(json!({"ignore": {"dashboards": ["d1", "d2"]}})).await;
    assert_eq!(told(&two.parts().await, "dashboards").0, "nothing_to_compare");
}

#[tokio::test]
async fn one_server_under_two_names_is_not_compared_with_itself() {
    let mut two = Two::start(json!({})).await;
    let same = two.cx.targets["old"].clone();
    std::sync::Arc::make_mut(&mut two.cx.targets).insert("new".to_owned(), same);
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), PARTS);
    let (reason, evidence) = told(&parts, "users");
    assert!(reason == "same_server" && evidence.starts_with("both are at http://"), "{reason} {evidence}");
}

#[tokio::test]
async fn no_secret_of_grafana_is_ever_told() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| {
        let text = serde_json::to_string(&state.dashboards).unwrap().replace("hunter2", "hunter2 and another");
        state.dashboards = serde_json::from_str(&text).unwrap();
        for list in [&mut state.datasources, &mut state.rules, &mut state.points, &mut state.users, &mut state.annotations] {
            let text = serde_json::to_string(list).unwrap().replace("hunter2", "hunter2-and-another");
            *list = serde_json::from_str(&text).unwrap();
        }
        *state.at("d2", "/dashboard/title") = json!("see http://me:hunter2@host/?hunter2");
        state.policies = json!({"receiver": "hook", "routes": [{"receiver": "hook", "matchers": ["hunter2"]}]});
        state.datasources[1]["url"] = json!("postgres://me:hunter2@db/x?hunter2");
        state.rules[0]["data"][0]["datasourceUid"] = json!("hunter2");
    });
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), ["alertRules", "contactPoints", "dashboards"]);
    for status in [401, 403, 404, 500, 502] {
        two.new.answers("/api/org/users", status, r#"{"message":"Get \"http://x:hunter2@y/?hunter2\"","key":"hunter2"}"#, 1);
        two.cx.now += TimeDelta::hours(1);
        drop(two.slice().await);
    }
    two.new.answers("/api/org/users", 200, r#"[{"login":"hunter2","role":7}]"#, 1);
    drop(two.parts().await);
    let control = Check::control(&two.check, &two.cx, Memory::default()).await;
    assert!(two.said.contains("now see http://host/?…"), "{}", two.said);
    let all = format!("{}{control:?}", two.said);
    let at = all.find("hunter2").map(|at| all[at.saturating_sub(300)..at + 20].to_owned());
    assert_eq!(at, None);
}

#[tokio::test]
async fn the_control_misses_what_is_taken_away() {
    let two = Two::start(json!({})).await;
    let control = Check::control(&two.check, &two.cx, Memory::default()).await;
    assert_eq!(control.reason(), Some(&MISSING.into()), "{control:?}");
    assert!(control.evidence().as_str().contains("missing 1: \"Logs\" (d1)"), "{control:?}");
    two.new.edit(|state| state.permissions = viewer());
    let control = Check::control(&two.check, &two.cx, Memory::default()).await;
    assert_eq!(control.reason(), Some(&super::super::api::PERMISSION_MISSING.into()));
}

#[test]
fn wrong_fields_are_named() {
    for (more, field) in [
        (json!({"new": "a"}), "new"),
        (json!({"perSecond": 4}), "perSecond"),
        (json!({"perSecond": 1001}), "perSecond"),
        (json!({"rest": "8d"}), "rest"),
        (json!({"sections": []}), "sections"),
        (json!({"sections": ["users"], "ignore": {"teams": ["x"]}}), "ignore"),
        (json!({"ignore": {"annotations": ["x"]}}), "ignore"),
    ] {
        let mut block = json!({"old": "a", "new": "b"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fields: Vec<_> = Check::validate(&check::<GrafanaParity>(block)).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, [field], "{more}");
    }
    assert_eq!(Check::validate(&check::<GrafanaParity>(json!({"old": "a", "new": "b"}))), []);
}
