//! The server on a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::world::World;
use crate::api::serve;

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    _world: World,
}

impl Server {
    async fn start() -> Self {
        let world = World::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop, tasks) = (listener.local_addr().unwrap(), CancellationToken::new(), TaskTracker::new());
        tasks.spawn(serve(listener, world.router.clone(), stop.clone()));
        tasks.close();
        Self { address, stop, tasks, _world: world }
    }

    /// Sends this and reads up to the end of the connection.
    async fn say(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has taken everything.
        drop(stream.write_all(request).await);
        let mut answer = Vec::new();
        drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn head_has_the_status_and_no_body() {
    let server = Server::start().await;
    let answer = server.say(b"HEAD /v1/gates/one/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 424 "), "{head}");
    assert!(head.contains("\r\ncontent-length: "), "{head}");
    assert_eq!(body, "");
}

/// Flagger sends a body that nobody reads.
#[tokio::test]
async fn a_question_does_not_wait_for_its_body() {
    let server = Server::start().await;
    let half = b"POST /v1/gates/one/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n{\"name\":";
    let answer = server.say(half).await;
    assert!(answer.starts_with("HTTP/1.1 424 "), "{answer}");
    assert!(answer.contains("\"verdict\":\"unknown\""), "{answer}");
}

#[tokio::test]
async fn stopping_does_not_wait_for_idle_or_half_open_connections() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, idle.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /-/heal").await.unwrap();
    server.stop.cancel();
    timeout(PATIENCE, server.tasks.wait()).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}
