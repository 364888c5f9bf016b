//! Agents that do not answer, replies that lie, and lines that claim to be what they are not.

use super::*;
use crate::log_path::hops::Counts;
use crate::log_path::hops::counters::AlloyCounts;
use crate::net::tcp::closed_port;

const ALL: fn(u64) -> bool = |_| true;

fn closed() -> (tokio::net::TcpSocket, String) {
    let socket = closed_port().unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

#[tokio::test]
async fn an_agent_that_can_not_be_reached_is_unknown_under_the_name_it_had() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    world.agent.reset().await;
    let report = world.report().await;
    assert_eq!(word(&part(&report, NODE)), "agent_unreachable");
    assert_eq!(part(&report, NODE).label(), "unknown");
    // Its lines are still where they were once it is back.
    Mock::given(path("/v1/head")).respond_with(HeadOf(world.head.clone())).mount(&world.agent).await;
    world.writes(1000, ALL);
    assert_eq!(world.says().await, "pass");
    let (_closed, url) = closed();
    let report = Check::run(&canary(), &target(&[url], "http://127.0.0.1:1"), Memory::new()).await;
    assert_eq!(word(&part(&report, PartId::WHOLE)), "agent_unreachable");
}

#[tokio::test]
async fn whatever_an_agent_answers_else_is_unknown() {
    let html = Server::http("200 OK", "text/html", "<html>Log in</html>").await;
    let error = Server::http("500 Internal Server Error", "text/plain", "no").await;
    let null = Server::http("200 OK", "application/json", "null").await;
    let other = Server::http("200 OK", "application/json", r#"{"status":"ok"}"#).await;
    let half = Server::http("200 OK", "application/json", r#"{"node":"#).await;
    let reset = Server::start(Manner::Reset).await;
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    for server in [html, error, null, other, half, reset, mute] {
        let cx = hasty(target(&[server.url()], "http://127.0.0.1:1"));
        let report = Check::run(&canary(), &cx, Memory::new()).await;
        assert_eq!(word(&part(&report, PartId::WHOLE)), "agent_unreachable");
        assert_eq!(Check::control(&canary(), &cx, Memory::new()).await.label(), "unknown");
    }
}

#[tokio::test]
async fn a_head_from_a_cache_is_not_believed() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    assert_eq!(world.says().await, "pass");
    let cached = world.head.lock().unwrap().clone();
    world.now -= 7;
    assert_eq!(world.says().await, "head_stale");
    world.writes(3000, ALL);
    assert_eq!(world.says().await, "pass");
    // An older one, with a clock that runs.
    world.head.lock().unwrap().last = cached.last;
    assert_eq!(world.says().await, "head_stale");
}

#[tokio::test]
async fn what_loki_answers_is_told_apart() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    for (status, content_type, body, expected) in [
        ("200 OK", "application/json", r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#, "stalled"),
        ("200 OK", "application/json", r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, "not_loki"),
        ("200 OK", "application/json", r#"{"status":"success","data":{"resultType":"streams","result":[{}]}}"#, "unparsable"),
        ("200 OK", "application/json", r#"{"status":"succ"#, "unparsable"),
        ("200 OK", "application/json", "", "unparsable"),
        ("200 OK", "text/html", "<html>Log in</html>", "html"),
        ("302 Found", "text/plain", "", "redirect"),
        ("400 Bad Request", "text/plain", "parse error at line 1, col 9", "query_refused"),
        ("401 Unauthorized", "text/plain", "no org id", "denied"),
        ("404 Not Found", "text/plain", "404 page not found", "not_loki"),
        ("429 Too Many Requests", "text/plain", "too many outstanding requests", "query_failed"),
        ("500 Internal Server Error", "text/plain", "no", "query_failed"),
        ("504 Gateway Timeout", "text/plain", "request timed out", "query_failed"),
    ] {
        let loki = Server::http(status, content_type, body).await;
        world.cx = target(&[world.agent.uri()], &loki.url());
        assert_eq!(world.says().await, expected, "{status} {body}");
        assert_ne!(world.control().await, "pass", "{status} {body}");
    }
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
        (Manner::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec()), "truncated"),
        (Manner::Hold(Vec::new()), "timeout"),
    ] {
        let loki = Server::start(manner).await;
        world.cx = hasty(target(&[world.agent.uri()], &loki.url()));
        assert_eq!(world.says().await, expected);
    }
    let (_closed, url) = closed();
    world.cx = target(&[world.agent.uri()], &url);
    assert_eq!(world.says().await, "refused");
}

#[tokio::test]
async fn lines_that_claim_too_much_do_not_make_it_green() {
    type Claim = fn(&World) -> CanaryLine;
    let claims: [(&str, Claim); 5] = [
        ("another start", |world| CanaryLine::new(NODE, Boot(8), world.head_seq(), moment(world.now))),
        ("another node", |world| CanaryLine::new("node-2", world.boot, world.head_seq(), moment(world.now))),
        ("a number to come", |world| CanaryLine::new(NODE, world.boot, world.head_seq() + 1, moment(world.now))),
        ("the greatest number", |world| CanaryLine::new(NODE, world.boot, u64::MAX, moment(world.now))),
        ("a time to come", |world| CanaryLine::new(NODE, world.boot, 30, moment(world.now + 86_400_000))),
    ];
    for (claim, line) in claims {
        let mut world = World::new().await;
        world.writes(60_000, |seq| seq < 30);
        world.store.lock().unwrap().clear();
        let mut line = line(&world);
        // It carries the words that are looked for.
        line.msg = world.boot.to_string();
        world.store.lock().unwrap().push((world.now * 1_000_000, line.text()));
        assert_eq!(world.says().await, "stalled", "{claim}");
    }
}

#[tokio::test]
async fn other_lines_in_the_stream_are_passed_over() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    for text in ["", "null", "7 0000000000000007", "{\"boot\":\"0000000000000007\"}"] {
        world.store.lock().unwrap().push((world.now * 1_000_000, text.to_owned()));
    }
    assert_eq!(world.says().await, "pass");
}

#[tokio::test]
async fn more_lines_than_can_be_read_are_unknown() {
    let mut world = World::new().await;
    world.writes(60_000, ALL);
    let flood = (0..2100).map(|_| (world.now * 1_000_000, "0000000000000007".to_owned()));
    world.store.lock().unwrap().extend(flood);
    assert_eq!(world.says().await, "cut");
}

#[tokio::test]
async fn two_agents_of_one_name_are_unknown_and_two_of_their_own_are_two_parts() {
    let mut one = World::new().await;
    let mut two = World::new().await;
    for world in [&mut one, &mut two] {
        world.writes(60_000, ALL);
        world.head.lock().unwrap().now = moment(world.now);
    }
    one.cx = target(&[one.agent.uri(), two.agent.uri()], one.cx.target::<LokiTarget>("loki").unwrap().url.as_ref());
    assert_eq!(one.says().await, "same_node");
    two.head.lock().unwrap().node = "node-2".into();
    let report = one.report().await;
    assert_eq!(word(&part(&report, NODE)), "pass");
    assert_eq!(word(&part(&report, "node-2")), "stalled", "its lines are not in that Loki");
}

#[tokio::test]
async fn too_many_agents_and_none_at_all_are_unknown() {
    let many: Vec<_> = (0..=MAX_AGENTS).map(|n| format!("http://127.0.0.1:{}", 1 + n)).collect();
    let report = Check::run(&canary(), &target(&many, "http://127.0.0.1:1"), Memory::new()).await;
    assert_eq!(word(&part(&report, PartId::WHOLE)), "too_many_agents");
    let cx = target(&[], "http://127.0.0.1:1");
    let report = Check::run(&canary(), &cx, Memory::new()).await;
    assert_eq!(report.step, Step::Done(BTreeMap::new()));
    assert_eq!(Check::control(&canary(), &cx, Memory::new()).await.label(), "unknown");
    let report = Check::run(&canary(), &context(), Memory::new()).await;
    assert_eq!(word(&part(&report, PartId::WHOLE)), "target_missing");
}

/// As many agents as there may be in the worst of states: half of their lines lost, and as many starts behind them as are remembered.
#[test]
fn the_memory_of_the_worst_case_fits() {
    let mut shrunk = Vec::new();
    for agents in [1, 2, 7, 12, 30, MAX_AGENTS] {
        let mut memory = worst_memory(agents);
        let weight = |memory: &Memory| memory.values().map(|book| book.recount.weight()).sum::<usize>();
        let before = weight(&memory);
        fit(&mut memory);
        let size = serde_json::to_vec(&memory).unwrap().len();
        assert!(size <= MAX_MEMORY, "{agents} agents: {size}");
        let counts = memory.values().filter(|book| book.recount.reach().is_some()).count();
        assert!(counts == agents || agents > 30, "{agents} agents: only {counts} are counted again");
        shrunk.extend((weight(&memory) < before).then_some(agents));
    }
    assert!(!shrunk.contains(&1), "there is room enough for one");
    assert!(shrunk.contains(&MAX_AGENTS));
}

fn worst_memory(agents: usize) -> Memory {
    use crate::log_path::account::{Account, Found, Sweep};
    let pace = canary().pace(agents);
    let mut account = Account::new(NEVER, START, true);
    account.last = 100_000_000;
    for step in 0..40 {
        let first = 90_000_000 + step * 1000;
        let lines: Vec<_> = (0..500).map(|n| Found { seq: first + n * 2, at: START, stamp: START, end: false }).collect();
        account.sweep = account.sweep.or(Some(Sweep::new(START, START)));
        account.observe(&lines, START + i64::try_from(step).unwrap() * 300_000, 300_000, pace.intervals);
    }
    let account = serde_json::to_value(&account).unwrap();
    let pairs = |most: usize| (0..most).map(|n| (100_000_000 + 2 * n, 100_000_000 + 2 * n)).collect::<Vec<_>>();
    let room = pace.room;
    let marks: Vec<_> = (0..=room.marks).map(|_| (100_000_000, START)).collect();
    let row = |n: usize| {
        let delivered = if n == 0 { pairs(room.intervals) } else { pairs(1) };
        json!({"b": NEVER, "e": 1000, "i": delivered, "k": marks})
    };
    let rows: Vec<_> = (0..room.rows).map(row).collect();
    let around = json!({"f": 100_000_000, "l": 100_000_000, "b": [100_000_000, START], "a": [100_000_000, START]});
    let pass = json!({"b": NEVER, "a": START, "s": START, "c": START, "u": START, "l": pairs(room.intervals * 2), "d": around});
    let recount = json!({"v": 1, "r": rows, "p": pass, "n": START, "o": NEVER});
    let ruin = json!({"f": 100_000_000, "c": 100_000_000, "s": START, "t": START, "at": START});
    let former: Vec<_> = (0..pace.formers).map(|_| json!({"a": account, "r": START, "e": 1000})).collect();
    let memory: BTreeMap<String, serde_json::Value> = (0..agents)
        .map(|n| {
            let mut book = json!({"node": format!("a-node-with-a-rather-long-name-{n}"), "h": START, "c": account, "o": former,
                              "lost": 100_000_000, "u": 100_000_000, "x": {"first": 100_000_000, "count": 100_000_000, "at": START}, "q": START});
            book["d"].clone_from(&recount);
            (book["g"], book["k"], book["w"]) = (json!(100_000_000), json!(START), ruin.clone());
            (format!("http://agent-with-a-rather-long-name-{n}.example.org:9471/"), book)
        })
        .collect();
    let memory: Memory = serde_json::from_value(json!(memory)).unwrap();
    assert!(memory.values().all(|book| serde_json::to_value(&book.recount).unwrap() == recount), "it was not read back");
    memory
}

/// Names that an Alloy gives must not push the account out of the Memory.
#[test]
fn the_counters_of_fifty_stopped_ways_give_way_to_the_accounts() {
    let names = |kind: &str| (0..8).map(|n| (format!("{kind}{n}{}", "x".repeat(60)), 1.5)).collect::<BTreeMap<_, _>>();
    let alloy = AlloyCounts { read: 1.5, dropped: names("d"), sent: names("s"), lost: names("g"), failed: names("f") };
    let mark = Counts { last: 7, alloy: Some(alloy), loki: None };
    let mut memory: Memory = (0..50).map(|n| (format!("http://agent-{n}:9471/"), Book::new(NODE))).collect();
    for book in memory.values_mut() {
        book.mark = Some(mark.clone());
    }
    assert!(serde_json::to_vec(&memory).unwrap().len() > MAX_MEMORY);
    fit(&mut memory);
    assert_eq!(memory.len(), 50);
    assert!(serde_json::to_vec(&memory).unwrap().len() <= MAX_MEMORY);
}
