use super::*;

/// What each part needs, and of which call the evidence speaks.
const NEEDS: &[(&str, &str, &[&str])] = &[
    ("dashboards:read", "GET /api/search needs dashboards:read on dashboards:*", &["dashboards", "references"]),
    ("datasources:read", "GET /api/datasources needs datasources:read", &["dashboards", "datasources", "references"]),
    ("folders:read", "GET /api/search needs folders:read", &["folders"]),
    ("folders.permissions:read", "GET /api/folders/…/permissions needs folders.permissions:read", &["folders"]),
    ("teams:read", "GET /api/teams/search needs teams:read", &["teams"]),
    ("teams.permissions:read", "GET /api/teams/…/members needs teams.permissions:read", &["teams"]),
    ("org.users:read", "GET /api/org/users needs org.users:read on users:*, as the role Admin has", &["users"]),
    ("serviceaccounts:read", "GET /api/serviceaccounts/search needs serviceaccounts:read", &["serviceAccounts"]),
    ("plugins:write", "GET /api/plugins needs plugins:write on plugins:*", &["plugins"]),
    ("alert.provisioning:read", "needs alert.provisioning:read", &["alertRules", "contactPoints"]),
    ("annotations:read", "GET /api/annotations needs annotations:read", &["annotations"]),
];

fn denied(parts: &Parts, side: &str, words: &str, named: &[&str]) {
    assert_eq!(wrong(parts), named, "{parts:?}");
    for part in named {
        let (reason, evidence) = told(parts, part);
        assert_eq!((reason, parts[*part].label()), ("permission_missing", "unknown"), "{part}: {evidence}");
        assert!(evidence.starts_with(&format!("{side}: ")) && evidence.contains(words), "{part}: {evidence}");
    }
}

#[tokio::test]
async fn what_a_token_may_not_see_on_either_side_is_unknown_and_never_the_same() {
    let mut two = Two::start(json!({})).await;
    for (action, words, parts) in NEEDS {
        for side in ["old", "new"] {
            for fake in [&two.old, &two.new] {
                fake.edit(|state| state.permissions = world::admin());
            }
            let fake = if side == "old" { &two.old } else { &two.new };
            fake.edit(|state| drop(state.permissions.as_object_mut().unwrap().remove(*action)));
            denied(&two.parts().await, side, words, parts);
        }
    }
}

#[tokio::test]
async fn a_viewer_sees_a_shorter_list_and_that_is_unknown() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| {
        state.permissions = viewer();
        state.dashboards.remove("d2");
    });
    let parts = two.parts().await;
    let passed = ["annotations", "datasources"];
    let others: Vec<&str> = PARTS.iter().copied().filter(|part| !passed.contains(part)).collect();
    assert_eq!(wrong(&parts), others);
    assert!(parts.values().all(|outcome| outcome.label() != "fail"), "{parts:?}");
    assert!(told(&parts, "dashboards").1.contains("the token has it on 2 scopes of single things"), "{parts:?}");
}

#[tokio::test]
async fn a_token_that_is_replaced_on_the_way_does_not_shorten_what_is_compared() {
    let mut two = Two::start(json!({"perSecond": 40})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| (0..200).for_each(|n| state.put(dashboard(&format!("x{n}"), "X", json!([])))));
    }
    two.cx.timeout = Duration::from_secs(1);
    let Step::More(_) = two.slice().await else { panic!("too fast") };
    two.old.edit(|state| {
        state.permissions = viewer();
        state.dashboards.retain(|uid, _| !uid.starts_with('x'));
    });
    two.cx.timeout = Duration::from_secs(20);
    assert_eq!(told(&two.parts().await, "dashboards").0, "permission_missing");
}

#[tokio::test]
async fn a_token_that_is_replaced_between_the_last_dashboard_and_the_last_list_shortens_nothing_either() {
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| {
            state.then = Some(("/uid/d1", |state| {
                state.permissions = viewer();
                state.dashboards.remove("d2");
            }));
        });
    }
    assert_eq!(told(&two.parts().await, "dashboards").0, "permission_missing");
}

#[tokio::test]
async fn later_versions_say_the_permission_for_annotations_in_parts() {
    let mut two = Two::start(json!({"sections": ["annotations"]})).await;
    for (scopes, whole) in [
        (json!(["annotations:type:*"]), true),
        (json!(["annotations:type:organization", "folders:*"]), true),
        (json!(["annotations:type:organization", "folders:uid:a"]), false),
        (json!(["dashboards:*"]), false),
    ] {
        two.new.edit(|state| state.permissions["annotations:read"] = scopes.clone());
        two.memory = Memory::default();
        assert_eq!(wrong(&two.parts().await).is_empty(), whole, "{scopes}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_unknown_in_every_part() {
    let mut two = Two::start(json!({})).await;
    two.old.answers("/api/", 401, r#"{"message":"Invalid API key"}"#, usize::MAX);
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), PARTS);
    let (reason, evidence) = told(&parts, "teams");
    assert!(reason == "token_refused" && evidence.starts_with("old: "), "{evidence}");
    two.old.edit(|state| state.instead.clear());
    assert!(wrong(&two.parts().await).is_empty());
}
