//! Later versions of Grafana, as their documentation describes what they answer.

use super::*;

fn documented(name: &str) -> Value {
    let file = format!("{}/testdata/grafana/{name}-documented.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[tokio::test]
async fn a_grafana_12_that_saved_nothing_yet_has_the_same() {
    let mut two = Two::start(json!({})).await;
    let answers = documented("parity-12");
    two.new.edit(|state| {
        let list = |key: &str| answers[key].as_array().unwrap().clone();
        state.permissions = answers["permissions"].clone();
        state.folders = list("folders");
        state.folder_permissions.insert("f1".to_owned(), answers["folderPermissions"].clone());
        state.teams = list("teams");
        state.members = [("9".to_owned(), answers["members"].clone())].into();
        state.users = list("users");
        state.accounts = list("serviceAccounts");
        state.plugins = list("plugins");
        state.datasources = list("datasources");
        state.rules = list("alertRules");
        state.points = list("contactPoints");
        state.policies = answers["policies"].clone();
        for uid in ["d1", "d2"] {
            *state.at(uid, "/meta") = answers["meta"].clone();
            *state.at(uid, "/dashboard/schemaVersion") = json!(41);
            state.at(uid, "/dashboard").as_object_mut().unwrap().insert("apiVersion".to_owned(), json!(null));
            *state.at(uid, "/dashboard/templating/list/0/datasource") = json!({"type": "loki", "uid": "l1"});
        }
    });
    let parts = two.parts().await;
    assert!(wrong(&parts).is_empty(), "{parts:?}");
    assert!(told(&parts, "plugins").1.starts_with("1 installed plugins are the same"), "{parts:?}");
}

#[tokio::test]
async fn dashboards_of_the_second_schema_are_compared_by_their_elements() {
    let mut two = Two::start(json!({"sections": ["dashboards"]})).await;
    let second = documented("dashboard-second-schema-13");
    for fake in [&two.old, &two.new] {
        fake.edit(|state| state.put(second.clone()));
    }
    let parts = two.parts().await;
    assert!(wrong(&parts).is_empty(), "{parts:?}");
    assert!(told(&parts, "dashboards").1.starts_with("3 dashboards with 5 panels"), "{parts:?}");
    two.memory = Memory::default();
    let cases: &[(&str, &str, &str)] = &[
        ("/spec/elements/panel-1/spec/data/spec/queries/0/spec/query/spec/expr", "dashboards", "panel \"Errors\": query"),
        ("/spec/variables/0/spec/query/spec/label", "dashboards", "variable node: query"),
        ("/spec/layout/kind", "dashboards", "(s1): layout"),
        ("/spec/title", "dashboards", "title: Second schema, now other"),
        ("/metadata/annotations/grafana.app~1folder", "dashboards", "folder: f1, now other"),
    ];
    for (pointer, part, words) in cases {
        two.new.edit(|state| {
            state.put(second.clone());
            *state.at("s1", pointer) = json!("other");
        });
        let parts = two.parts().await;
        assert_eq!(wrong(&parts), [*part], "{pointer}");
        assert!(told(&parts, part).1.contains(words), "{pointer}: {parts:?}");
    }
    two.new.edit(|state| {
        state.put(second.clone());
        state.datasources[0]["uid"] = json!("l9");
        state.datasources[0]["name"] = json!("Another");
    });
    assert!(told(&two.parts().await, "references").1.contains("no datasource"), "the second schema's as well");
}
