//! What the checks look at is hostile: endless, silent, torn, somebody else. No gate opens on it, the evidence names it, and
//! the verifier stays small.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tests::hostile::Habit;
use tests::{Hostile, Verifier, World, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{AT_ONCE, PATIENCE, check, migration, probe, switch};

/// Long enough for a debug build to read what it may read of an endless answer.
const DEFAULTS: &str = "{every: 2s, timeout: 2s, maxAge: 20s, failAfter: 1}";
const MAX_RSS_KIB: u64 = 200 * 1024;

/// The state and reason that one probe must come to.
struct Expected {
    name: String,
    reason: &'static str,
    red: bool,
    place: SocketAddr,
}

async fn end_up_as(verifier: &Verifier, expected: &[Expected]) {
    for Expected { name, reason, red, place } in expected {
        let body = wait_until(PATIENCE, &format!("{name} is {reason}"), async || {
            let body = probe(verifier, name).await?;
            ensure!(body["reason"] == *reason, "{body}");
            Ok(body)
        })
        .await
        .unwrap();
        assert_eq!(body["state"], if *red { "red" } else { "unknown" }, "{body}");
        assert!(body["evidence"].as_str().unwrap().contains(&place.to_string()), "the evidence does not name {place}: {body}");
        assert!(body["next"].as_str().is_some_and(|next| !next.is_empty()), "{body}");
    }
    assert_ne!(check(verifier).await, 200);
}

fn rss_kib(verifier: &Verifier) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", verifier.process().pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn hostile_web_servers_open_nothing_and_cost_no_memory() {
    let world = World::new().unwrap();
    let habits = [
        ("silent", Habit::Silent, ("timeout", true), ("timeout", true)),
        ("reset", Habit::Reset, ("reset", true), ("reset", true)),
        ("close", Habit::Close, ("reset", true), ("reset", true)),
        ("endless", Habit::Endless, ("too_large", false), ("too_large", false)),
        ("truncated", Habit::Truncated, ("truncated", false), ("truncated", false)),
        ("html", Habit::Html, ("html", true), ("html", true)),
        ("denied", Habit::Status(401), ("denied", true), ("denied", true)),
        ("broken", Habit::Status(500), ("server_error", true), ("wrong_status", true)),
        ("drip", Habit::Drip(Duration::from_millis(100)), ("timeout", true), ("timeout", true)),
    ];
    let (mut servers, mut targets, mut probes, mut expected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, habit, loki, http) in habits {
        let server = Hostile::start(habit).await.unwrap();
        targets.push(format!("{name}: {{loki: {{url: \"{}\"}}}}", server.url()));
        probes.push(format!("{{name: loki-{name}, check: {{lokiReady: {{loki: {name}}}}}}}"));
        let json = "json: {pointer: /status, equals: success}";
        probes.push(format!("{{name: http-{name}, check: {{http: {{url: \"{}/\", {json}}}}}}}", server.url()));
        for (kind, (reason, red)) in [("loki", loki), ("http", http)] {
            expected.push(Expected { name: format!("{kind}-{name}"), reason, red, place: server.address() });
        }
        servers.push((name, server));
    }
    let probes: Vec<_> = probes.iter().map(String::as_str).collect();
    let document = migration(DEFAULTS, &format!("{{{}}}", targets.join(", ")), AT_ONCE, &probes);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    let small = rss_kib(&verifier);
    switch(&verifier).await;
    end_up_as(&verifier, &expected).await;

    let endless = servers.iter().find(|(name, _)| *name == "endless").map(|(_, server)| server).unwrap();
    wait_until(PATIENCE, "the endless server was asked ten times", async || {
        ensure!(endless.connections() >= 10, "{}", endless.connections());
        Ok(())
    })
    .await
    .unwrap();
    let large = rss_kib(&verifier);
    println!("VmRSS: {small} KiB at the start, {large} KiB after endless answers");
    assert!(large < MAX_RSS_KIB, "{large} KiB");
    end_up_as(&verifier, &expected).await;
}

/// Plays PostgreSQL: takes the connection and does this with it.
async fn plays<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    tasks: &mut JoinSet<()>,
    play: fn(TcpStream) -> F,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // An error here is the client's: it has left.
            serving.spawn(async move { drop(play(stream).await) });
            while serving.try_join_next().is_some() {}
        }
    });
    address
}

/// No TLS, everybody is let in, and then settings are told without end.
async fn settings(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = [0; 1024];
    while stream.read(&mut asked).await? > 0 {
        if asked.starts_with(&[0, 0, 0, 8]) {
            stream.write_all(b"N").await?;
            continue;
        }
        stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]).await?;
        let setting = [b"S".as_slice(), &8200_u32.to_be_bytes(), b"ab\0", &[b'x'; 8192], b"\0"].concat();
        loop {
            stream.write_all(&setting).await?;
        }
    }
    Ok(())
}

/// Something else, without end, before it was asked anything.
async fn chatter(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[b'x'; 16 * 1024]).await?;
    }
}

#[tokio::test]
async fn hostile_postgres_servers_open_nothing_and_cost_no_memory() {
    let world = World::new().unwrap();
    let mut tasks = JoinSet::new();
    let (silent, reset) = (Hostile::start(Habit::Silent).await.unwrap(), Hostile::start(Habit::Reset).await.unwrap());
    let servers = [
        ("silent", silent.address(), "timeout", true),
        ("reset", reset.address(), "reset", true),
        ("chatter", plays(&mut tasks, chatter).await, "not_postgres", true),
        ("settings", plays(&mut tasks, settings).await, "too_large", false),
    ];
    let dsns = servers
        .each_ref()
        .map(|(name, address, ..)| (format!("DSN_{}", name.to_uppercase()), format!("postgres://me:hunter2@{address}/homelab")));
    let targets =
        servers.each_ref().map(|(name, ..)| format!("{name}: {{postgres: {{dsn: {{env: DSN_{}}}}}}}", name.to_uppercase()));
    let probes = servers.each_ref().map(|(name, ..)| format!("{{name: {name}, check: {{postgresReady: {{postgres: {name}}}}}}}"));
    let document = migration(DEFAULTS, &format!("{{{}}}", targets.join(", ")), AT_ONCE, &probes.each_ref().map(String::as_str));
    let env = dsns.each_ref().map(|(name, dsn)| (name.as_str(), dsn.as_str()));
    let verifier = Verifier::start_with(&world, &document, &env).await.unwrap();
    switch(&verifier).await;
    let expected = servers.map(|(name, place, reason, red)| Expected { name: name.to_owned(), reason, red, place });
    end_up_as(&verifier, &expected).await;
    let large = rss_kib(&verifier);
    assert!(large < MAX_RSS_KIB, "{large} KiB");
    let status = verifier.get("/v1/status").await.unwrap().body;
    assert!(!status.contains("hunter2") && !verifier.process().stderr().contains("hunter2"), "a password is shown");
}
