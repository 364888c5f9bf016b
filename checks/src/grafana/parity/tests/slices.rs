use super::*;

/// A world of many dashboards.
async fn many(count: usize, more: Value) -> Two {
    let two = Two::start(more).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| {
            for n in 0..count {
                state.put(dashboard(&format!("x{n:04}"), &format!("Number {n}"), json!([panel(1, "A"), panel(2, "B")])));
            }
        });
    }
    two
}

#[tokio::test]
async fn a_proof_goes_on_where_it_was_asks_no_more_than_it_may_and_shows_how_far_it_is() {
    let mut two = many(60, json!({"perSecond": 30})).await;
    two.cx.timeout = Duration::from_secs(1);
    let (mut done, mut runs) = (0, 0);
    let parts = loop {
        let before = two.old.edit(|state| state.asked.len());
        let step = two.slice().await;
        runs += 1;
        let asked = two.old.edit(|state| state.asked.len()) - before;
        assert!(asked <= 26, "{asked} questions within 0.75 s and the last one");
        match step {
            Step::More(progress) => {
                assert!(progress.done >= done && progress.done < progress.total, "{progress:?}");
                assert_eq!(progress.total, 62 + 9);
                let note = progress.note.as_str();
                if done < 62 && progress.done < 62 {
                    assert_eq!(note, format!("dashboards: {} of 62 compared", progress.done));
                }
                done = progress.done;
            }
            Step::Done(parts) => break parts,
        }
    };
    assert!(runs > 3, "{runs}");
    assert!(parts.values().all(|outcome| outcome.reason().is_none()), "{parts:?}");
    assert!(parts[&PartId::new("dashboards")].evidence().as_str().starts_with("62 dashboards with 123 panels"), "{parts:?}");
    let twice = two.old.edit(|state| state.asked.iter().filter(|path| path.ends_with("/x0007")).count());
    assert_eq!(twice, 1, "what was compared is not read again");
}

#[tokio::test]
async fn two_thousand_dashboards_that_all_differ_fit_into_memory_and_evidence() {
    let mut two = many(2000, json!({})).await;
    two.new.edit(|state| {
        for (uid, dashboard) in &mut state.dashboards {
            dashboard["dashboard"]["panels"][0]["targets"][0]["expr"] = json!("other");
            dashboard["dashboard"]["title"] = json!(format!("{uid}{}", "\"é".repeat(300)));
            dashboard["dashboard"]["panels"][0]["targets"][0]["datasource"] = json!(format!("gone{}", "\\".repeat(300)));
        }
    });
    let parts = two.parts().await;
    let (reason, evidence) = told(&parts, "dashboards");
    assert!(reason == "changed" && evidence.starts_with("missing 0, changed 2002, extra 0 of 2002"), "{evidence}");
    assert!(evidence.contains(" more") && evidence.len() <= MAX_EVIDENCE, "{evidence}");
    assert!(told(&parts, "references").1.contains("no datasource 2002: "), "{parts:?}");
}

#[test]
fn the_worst_case_fits_into_memory() {
    let mut scan = Scan::begin(world::moment());
    let long = "\"\\".repeat(500);
    for n in 0..100 {
        let key = format!("{n:0>200}").replace('0', "\"");
        scan.walk.changed.add(&key, &long);
        scan.walk.unresolved.add(&key, &long);
    }
    for part in PARTS {
        scan.done.insert((*part).to_owned(), scan::Finished { outcome: MISSING.because(&long), counts: Counts::default() });
    }
    let memory = Memory { scan: Some(scan), rests_until: Rest::default() };
    let bytes = serde_json::to_vec(&memory).unwrap().len();
    assert!(bytes < MAX_MEMORY, "{bytes} bytes");
}

#[tokio::test]
async fn what_appears_or_vanishes_meanwhile_is_seen() {
    let mut two = many(40, json!({"perSecond": 30})).await;
    two.cx.timeout = Duration::from_secs(1);
    let Step::More(_) = two.slice().await else { panic!("too fast") };
    // Before what was compared, so that nobody comes by it any more.
    for fake in [&two.old, &two.new] {
        fake.edit(|state| state.put(dashboard("a", "Early", json!([panel(1, "A")]))));
    }
    two.new.edit(|state| *state.at("a", "/dashboard/panels/0/type") = json!("stat"));
    two.cx.timeout = Duration::from_secs(20);
    let parts = two.parts().await;
    assert!(told(&parts, "dashboards").1.contains("changed 1: \"Early\" (a): panel \"A\": type"), "{parts:?}");

    let mut two = many(40, json!({"perSecond": 30})).await;
    two.cx.timeout = Duration::from_secs(1);
    let Step::More(_) = two.slice().await else { panic!("too fast") };
    two.new.edit(|state| drop(state.dashboards.remove("d1")));
    two.cx.timeout = Duration::from_secs(20);
    let parts = two.parts().await;
    assert_eq!(told(&parts, "dashboards").0, "missing");
}

#[tokio::test]
async fn what_was_saved_between_two_looks_is_looked_at_again() {
    let mut two = Two::start(json!({})).await;
    let saved = two.new.edit(|state| {
        let mut saved = state.dashboards["d1"].clone();
        saved["dashboard"]["title"] = json!("Half-way");
        saved.to_string()
    });
    two.new.answers("/api/dashboards/uid/d1", 200, &saved, 1);
    assert!(wrong(&two.parts().await).is_empty());
    two.memory = Memory::default();
    two.new.answers("/api/dashboards/uid/d1", 200, &saved, 2);
    assert_eq!(wrong(&two.parts().await), ["dashboards"]);
}

#[tokio::test]
async fn a_restart_is_waited_out_and_a_grafana_that_stays_away_is_not() {
    let mut two = Two::start(json!({})).await;
    two.new.answers("/api/org/users", 503, r#"{"message":"starting"}"#, 3);
    for _ in 0..3 {
        let Step::More(progress) = two.slice().await else { panic!("decided") };
        let note = progress.note.as_str();
        assert!(note.starts_with("no answer, asked again with the next run: new: ") && note.contains("starting"), "{note}");
        two.cx.now += TimeDelta::seconds(30);
    }
    assert!(wrong(&two.parts().await).is_empty());

    let mut two = Two::start(json!({})).await;
    two.new.edit(|state| drop(state.dashboards.remove("d1")));
    two.new.answers("/api/org/users", 503, r#"{"message":"starting"}"#, usize::MAX);
    let Step::More(progress) = two.slice().await else { panic!("decided") };
    assert!(progress.note.as_str().ends_with("not the same: dashboards"), "{}", progress.note);
    two.cx.now += TimeDelta::minutes(2);
    let parts = two.parts().await;
    assert_eq!(parts.keys().collect::<Vec<_>>(), PARTS);
    assert_eq!((told(&parts, "dashboards").0, told(&parts, "users").0), ("missing", "server_error"));
    assert_eq!(told(&parts, "folders").0, "", "what was seen before counts");
    two.new.edit(|state| state.instead.clear());
    assert_eq!(wrong(&two.parts().await), ["dashboards"]);
}

#[tokio::test]
async fn what_one_question_meets_is_said_of_its_part_alone() {
    for (below, body, part, reason) in [
        ("/api/org/users", "[", "users", "unparsable"),
        ("/api/org/users", r#"[{"login":7}]"#, "users", "unparsable"),
        ("/api/org/users", r#"[{"login":"","role":"Admin"}]"#, "users", "unparsable"),
        ("/api/org/users", r#"[{"login":"a","role":"x"},{"login":"a","role":"y"}]"#, "users", "unparsable"),
        ("/api/org/users", "[]", "users", "missing"),
        ("/api/teams/search", "{}", "teams", "unparsable"),
        ("/api/teams/search", r#"{"totalCount":5,"teams":[]}"#, "teams", "unparsable"),
        ("/api/teams/search", r#"{"totalCount":1,"teams":[{"name":"a"}]}"#, "teams", "unparsable"),
        ("/api/serviceaccounts/search", r#"{"totalCount":-1}"#, "serviceAccounts", "unparsable"),
        ("/api/folders/f1", r#"{"a":1}"#, "folders", "unparsable"),
        ("/api/annotations", r#"[{"time":"soon"}]"#, "annotations", "unparsable"),
        ("/api/v1/provisioning/policies", "null", "contactPoints", "changed"),
        ("/api/plugins", r#"[{"id":"loki","signature":"internal"}]"#, "plugins", "missing"),
    ] {
        let mut two = Two::start(json!({})).await;
        two.new.answers(below, 200, body, usize::MAX);
        let parts = two.parts().await;
        assert_eq!((wrong(&parts), told(&parts, part).0), (vec![part], reason), "{below} {body}: {parts:?}");
    }
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        fake.answers("/api/v1/provisioning/alert-rules", 404, r#"{"message":"not found"}"#, usize::MAX);
        fake.answers("/api/dashboards/uid/d2", 406, r#"{"message":"use another API"}"#, usize::MAX);
    }
    let parts = two.parts().await;
    assert_eq!(wrong(&parts), ["alertRules", "dashboards", "references"]);
    assert!(told(&parts, "dashboards").1.ends_with("/api/dashboards/uid/d2: 406 Not Acceptable: use another API"), "{parts:?}");
}

#[tokio::test]
async fn damaged_dashboards_are_compared_as_they_are_and_break_nothing() {
    for model in [
        json!(null),
        json!([]),
        json!("x"),
        json!({"panels": {"a": 1}, "rows": 7, "templating": [], "annotations": {"list": {"a": 1}}, "elements": []}),
        json!({"panels": [null, 1, "x", {"id": "a", "title": 7, "type": [], "targets": {"a": 1}}], "tags": {"a": 1}}),
    ] {
        let mut two = Two::start(json!({})).await;
        two.new.edit(|state| *state.at("d1", "/dashboard") = model.clone());
        let parts = two.parts().await;
        assert_eq!(wrong(&parts), ["dashboards"], "{model}: {parts:?}");
        two.old.edit(|state| *state.at("d1", "/dashboard") = model.clone());
        assert_eq!(told(&two.parts().await, "dashboards").0, "", "{model}");
    }
}

#[tokio::test]
async fn annotations_are_counted_however_many_there_are_and_once_each() {
    let mut two = Two::start(json!({"sections": ["annotations"]})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(|state| {
            let of = |n: i64| json!({"time": 1_700_000_000_000_i64 + n * 1000, "timeEnd": 1_700_000_100_000_i64 + n * 1000});
            state.annotations.extend((0..3000).map(of));
            state.annotations.push(json!({"time": two.cx.now.timestamp_millis() + 1}));
        });
    }
    two.new.edit(|state| drop(state.annotations.remove(1500)));
    let parts = two.parts().await;
    assert!(told(&parts, "annotations").1.contains("missing 1: 3002 on the old side, 3001 on the new one"), "{parts:?}");
    two.new.edit(|state| state.annotations.extend((0..600).map(|_| json!({"time": 77}))));
    assert_eq!(told(&two.parts().await, "annotations").0, "too_large");
}
