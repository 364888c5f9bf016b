//! The end of the verifier.

use anyhow::ensure;
use tests::hostile::Habit;
use tests::{Hostile, Role, Verifier, World, wait_until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{AT_ONCE, PATIENCE, QUICK, migration};

#[tokio::test]
async fn sigterm_ends_it_in_good_order_with_every_target_a_black_hole() {
    let world = World::new().unwrap();
    let hole = Hostile::start(Habit::Silent).await.unwrap();
    let targets = format!("{{loki: {{loki: {{url: \"{}\"}}}}, postgres: {{postgres: {{dsn: {{env: DSN}}}}}}}}", hole.url());
    let probes = [
        "{name: loki, check: {lokiReady: {loki: loki}}}".to_owned(),
        "{name: postgres, check: {postgresReady: {postgres: postgres}}}".to_owned(),
        format!("{{name: http, check: {{http: {{url: \"{}\"}}}}}}", hole.url()),
    ];
    let defaults = "{every: 20s, timeout: 20s, maxAge: 1m}";
    let document = migration(defaults, &targets, AT_ONCE, &probes.each_ref().map(String::as_str));
    let dsn = format!("postgres://me@{}/homelab", hole.address());
    let verifier = Verifier::start_with(&world, &document, &[("DSN", &dsn)]).await.unwrap();
    wait_until(PATIENCE, "looks are under way", async || {
        ensure!(hole.connections() >= 3, "{}", hole.connections());
        Ok(())
    })
    .await
    .unwrap();
    let asked = Instant::now();
    // The deadline is 10 s.
    let status = verifier.sigterm().await.unwrap();
    println!("SIGTERM to its end: {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{status}");
    let verified = verifier.cutover(&["audit", "verify", "--dir", &verifier.state_dir().display().to_string()]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let world = World::new().unwrap();
    let document = migration(QUICK, "{}", AT_ONCE, &["{name: beat, check: {heartbeat: {within: 10m}}}"]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    // A request whose body does not come holds the API up.
    let mut slow = TcpStream::connect(verifier.address()).await.unwrap();
    let token = verifier.token(Role::Operate);
    let head = format!(
        "PUT /v1/facts/slow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // An answer to a later question says that the earlier one is being read.
    assert_eq!(verifier.get("/-/healthy").await.unwrap().status, 200);
    verifier.process().signal(rustix::process::Signal::TERM);
    wait_until(PATIENCE, "it takes no more connections", async || {
        ensure!(TcpStream::connect(verifier.address()).await.is_err(), "it does");
        Ok(())
    })
    .await
    .unwrap();
    let status = verifier.sigterm().await.unwrap();
    let log = verifier.process().stderr();
    assert!(log.contains("second signal"), "{status}: {log}");
    drop(slow);
}
