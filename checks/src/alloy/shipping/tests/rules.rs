//! What is believed, how much is kept, and what a document may say.

use super::*;

/// The reason of one Run against these Alloys.
async fn look_at(cx: &Context) -> String {
    let report = Check::run(&to_old(), cx, BTreeMap::new()).await;
    let Step::Done(parts) = report.step else { panic!("not done") };
    reason(&parts.into_values().next().unwrap())
}

fn alloy(url: &str) -> Context {
    context_of(targets(), &[url], 0)
}

#[tokio::test]
async fn only_an_alloy_that_can_be_read_is_believed() {
    let page = old(1).0;
    for (status, content_type, body, expected) in [
        ("200 OK", "text/plain", "up 1\n".to_owned(), "wrong_reply"),
        ("200 OK", "text/plain", String::new(), "wrong_reply"),
        ("404 Not Found", "text/plain", "404 page not found\n".to_owned(), "wrong_reply"),
        ("500 Internal Server Error", "text/plain", "oops".to_owned(), "server_error"),
        ("302 Found", "text/plain", String::new(), "redirect"),
        ("401 Unauthorized", "text/plain", String::new(), "denied"),
        ("200 OK", "text/html", page.clone(), "html"),
        ("200 OK", "text/plain", page.replace("} 1\n", "} NaN\n"), "unparsable"),
        ("200 OK", "text/plain", page.replace("} 1\n", "} -1\n"), "unparsable"),
        ("200 OK", "text/plain", page.clone() + SENT + "{tenant=\"\"} 5\n", "unparsable"),
        ("200 OK", "text/plain", page.clone() + GIVEN_UP + "{reason=\"x\"} 5\n", "unparsable"),
        ("200 OK", "text/plain", page.clone() + GIVEN_UP + "{host=\"a\",reason=\"x\"} NaN\n", "unparsable"),
        ("200 OK", "text/plain", page.clone() + ANSWERS + "{host=\"a\",status_code=\"204\"} -1\n", "unparsable"),
        ("200 OK", "text/plain", page.clone() + "loki_write_sent_entries_total 1", "unparsable"),
        ("200 OK", "text/plain", page.clone(), "awaited"),
    ] {
        let server = Server::http(status, content_type, &body).await;
        assert_eq!(look_at(&alloy(&server.url())).await, expected, "{status} {content_type} {body}");
    }
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n".into();
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}alloy_build").into_bytes()), "truncated"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
        (Manner::Repeat(endless, vec![b'#'; 64 * 1024]), "too_large"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(look_at(&alloy(&server.url())).await, expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(look_at(&hasty(alloy(&mute.url()))).await, "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(look_at(&alloy(&format!("http://{}", closed.local_addr().unwrap()))).await, "refused");
}

#[tokio::test]
async fn without_its_targets_nothing_is_known() {
    assert_eq!(look_at(&context()).await, "target_missing");
    assert_eq!(look_at(&context_of(json!({}), &["http://127.0.0.1:1"], 0)).await, "target_missing");
    let no_loki = json!({"old": {"alloy": {"urls": []}}});
    assert_eq!(look_at(&context_of(no_loki, &["http://127.0.0.1:1"], 0)).await, "target_missing");
}

#[tokio::test]
async fn two_lokis_at_one_address_are_not_told_apart() {
    let runs = Runs::of(to_both()).await;
    let mut targets = targets();
    targets["new"]["loki"]["gateway"] = json!(format!("http://{OLD}"));
    let cx = context_of(targets, &[&runs.server.uri()], 0);
    let report = Check::run(&runs.check, &cx, BTreeMap::new()).await;
    let outcome = part_of(&report, crate::PartId::WHOLE);
    assert_eq!((reason(&outcome).as_str(), outcome.label()), ("same_address", "unknown"));
    assert_eq!(reason(&Check::control(&runs.check, &cx, BTreeMap::new()).await), "same_address");
}

#[tokio::test]
async fn each_alloy_is_a_part_of_its_own() {
    let (mut one, two) = (Runs::of(to_old()).await, Runs::of(to_old()).await);
    let urls = [one.server.uri(), two.server.uri()];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    for (second, lines) in [(0, 1), (5, 2)] {
        one.says(200, &old(lines).0).await;
        two.says(200, &old(1).0).await;
        let report = Check::run(&one.check, &context_of(targets(), &urls, second), one.memory).await;
        let outcome = |runs: &MockServer| reason(&part_of(&report, &runs.address().to_string()));
        let expected = if lines == 2 { "pass" } else { "awaited" };
        assert_eq!((outcome(&one.server).as_str(), outcome(&two.server).as_str()), (expected, "awaited"));
        one.memory = report.memory;
    }
    assert_eq!(one.memory.len(), 2);
}

/// A page with so many hosts that get lines and give some up, with long names.
fn hostile(hosts: u64, count: u64) -> Metrics {
    (0..hosts).fold(old(count), |page, n| {
        let host = format!("{n}{}:3100", "é\u{1}x".repeat(200));
        page.sent(&host, count).dropped(&host, &"r".repeat(500), count)
    })
}

#[tokio::test]
async fn a_thousand_hosts_are_bounded_and_still_seen() {
    for (alloys, hosts) in [(1, 1000), (8, 50), (32, 20)] {
        let runs = Runs::of(to_both()).await;
        // Each of them by a path of its own.
        let urls: Vec<String> = (0..alloys).map(|n| format!("{}/{n}", runs.server.uri())).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let mut memory = BTreeMap::new();
        for (second, hosts, count) in [(0, hosts / 2, 1), (5, hosts, 2), (10, hosts, 3)] {
            runs.server.reset().await;
            let reply = ResponseTemplate::new(200).set_body_raw(hostile(hosts, count).0, "text/plain; version=0.0.4");
            Mock::given(method("GET")).respond_with(reply).mount(&runs.server).await;
            let report = Check::run(&runs.check, &context_of(targets(), &urls, second), memory).await;
            let bytes = serde_json::to_vec(&report.memory).unwrap();
            assert!(bytes.len() <= MAX_MEMORY, "{alloys} Alloys: {} bytes", bytes.len());
            let Step::Done(parts) = &report.step else { panic!("not done") };
            let expected = if second == 0 { "awaited" } else { "wrong_loki" };
            assert!(parts.values().all(|outcome| reason(outcome) == expected), "{parts:?}");
            memory = serde_json::from_slice(&bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn more_hosts_than_are_told_apart_are_no_fault_while_they_stand_still_and_one_when_they_move() {
    let mut runs = Runs::of(to_old()).await;
    let page =
        |sent: u64, last: u64| (0..30).fold(old(sent), |page, n| page.sent(&format!("h{n}"), if n == 29 { last } else { 5 }));
    runs.run(0, &page(1, 5)).await;
    for second in [5, 10, 15] {
        assert_eq!(runs.reason(second, &page(u64::try_from(second).unwrap(), 5)).await, "pass");
    }
    let outcome = runs.run(20, &page(20, 6)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, "1 lines to (more than are told apart) since");
    // A new one is not told by its name, and does not make others move.
    let outcome = runs.run(25, &page(25, 6).sent("a", 7)).await;
    tells(&outcome, "8 lines to (more than are told apart) since");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_wherever_lines_are_sent() {
    let busy = old(7).sent(NEW, 3).dropped(OLD, "rate_limited", 5).dropped(NEW, "ingester_error", 2).answered(NEW, "400", 3);
    for check in [to_old(), to_both()] {
        let runs = Runs::of(check).await;
        for page in [old(1), Metrics::of(moment(0)).sent(NEW, 1), busy.clone(), hostile(40, 9)] {
            let control = runs.control(&page).await;
            assert_eq!(control.reason(), Some(&WRONG_LOKI.into()), "{control:?}");
        }
        // One that sends nothing can not be told from one that sends to the wrong one, and is green in neither case.
        assert_eq!(reason(&runs.control(&Metrics::of(moment(0))).await), "not_shipping");
        runs.says(500, "oops").await;
        assert_eq!(reason(&Check::control(&runs.check, &runs.context(0), BTreeMap::new()).await), "server_error");
    }
    assert_eq!(reason(&Check::control(&to_old(), &context(), BTreeMap::new()).await), "target_missing");
}

#[test]
fn what_a_document_may_say_has_bounds() {
    let many: Vec<String> = (0..9).map(|n| format!("loki-{n}")).collect();
    let hosts: Vec<String> = (0..9).map(|n| format!("loki-{n}:3100")).collect();
    for (block, fields) in [
        (json!({"lokis": ["a"]}), vec![]),
        (json!({"lokis": ["a", "b"], "hosts": {"a": ["x:1", "y"], "b": ["[::1]:1"]}}), vec![]),
        (json!({"lokis": []}), vec!["lokis"]),
        (json!({"lokis": ["a", "a"]}), vec!["lokis"]),
        (json!({"lokis": many}), vec!["lokis"]),
        (json!({"lokis": ["a"], "hosts": {"b": ["x:1"]}}), vec!["hosts"]),
        (json!({"lokis": ["a"], "hosts": {"a": []}}), vec!["hosts"]),
        (json!({"lokis": ["a"], "hosts": {"a": hosts}}), vec!["hosts"]),
        (json!({"lokis": ["a"], "hosts": {"a": ["http://x:1", "x:y"]}}), vec!["hosts", "hosts"]),
        (json!({"lokis": ["a", "b"], "hosts": {"a": ["x:1"], "b": ["X:1"]}}), vec!["hosts"]),
        (json!({"lokis": ["a"], "within": "0s"}), vec!["within"]),
        (
            json!({"lokis": ["a"], "within": "8d", "holdFor": "8d", "restartGrace": "61m"}),
            vec!["within", "holdFor", "restartGrace"],
        ),
        (json!({"lokis": ["a"], "holdFor": "0s", "restartGrace": "0s"}), vec![]),
    ] {
        let mut block = block;
        block["alloy"] = json!("alloy");
        let errors = Check::validate(&check::<AlloyShipping>(block.clone()));
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), fields, "{block}");
        assert!(errors.iter().all(|error| !error.hint.is_empty()));
    }
}

#[test]
fn the_documents_rules_know_what_it_looks_at_and_within_which_time_lines_have_to_go() {
    let both = to_both();
    assert_eq!(Check::moves_within(&both), Some(("within", Duration::from_mins(1))));
    let targets: Vec<_> = Check::targets(&both).into_iter().map(|target| (target.field, target.name)).collect();
    let named = |field, name: &str| (field, name.to_owned());
    assert_eq!(targets, [named("alloy", "alloy"), named("lokis", "old"), named("lokis", "new")]);
}
