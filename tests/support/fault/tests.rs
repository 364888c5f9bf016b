//! Each fault does what it says, between real clients and real servers.

mod web;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

/// How long any level may take to be reached, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What has not come after this long is held back.
const SILENCE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_hours(1);

/// A server that sends back what it is sent.
struct Echo {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                serving.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    // An error here is the client's.
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn dial(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// So many bytes.
async fn take(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("it is silent").unwrap();
    bytes
}

/// All that comes until it is closed in good order.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is open").unwrap();
    bytes
}

async fn silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read(&mut [0])).await.is_err()
}

async fn says(stream: &mut TcpStream, words: &str) {
    stream.write_all(words.as_bytes()).await.unwrap();
}

/// It was reset, and not closed in good order.
async fn is_reset(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is open");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// An address where nobody listens: the port of a door that stays shut.
fn nobody() -> (Door, SocketAddr) {
    let door = Door::reserve().unwrap();
    let address = door.address();
    (door, address)
}

async fn settles(proxy: &FaultProxy, open: usize) {
    crate::wait_until(PATIENCE, &format!("{open} open connections"), async || {
        ensure!(proxy.open() == open, "{} are", proxy.open());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let echo = Echo::start().await;
    let wire = FaultProxy::start(echo.address).unwrap();
    for fault in [Fault::LoginPage, Fault::Status(500, String::new()), Fault::DropWrites(1)] {
        assert!(wire.set(fault).await.unwrap_err().to_string().contains("start_http"));
    }
    let web = FaultProxy::start_http(echo.address).unwrap();
    for fault in [Fault::Throttle(0), Fault::Corrupt(0), Fault::DropWrites(0)] {
        assert!(web.set(fault).await.unwrap_err().to_string().contains("0 is no number"));
    }
    for code in [0, 100, 1000] {
        assert!(web.set(Fault::Status(code, String::new())).await.is_err(), "{code}");
    }
    let mut stream = dial(&wire).await;
    says(&mut stream, "ok").await;
    assert_eq!(take(&mut stream, 2).await, b"ok");
}
