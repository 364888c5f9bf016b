//! What the unit tests of the checks share: a context, and servers that misbehave.

pub(crate) mod postgres;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::{Check, Clients, Context, Outcome, PartId, Report, Step, Target};

/// A context with plenty of time and no targets.
pub(crate) fn context() -> Context {
    Context {
        targets: Arc::new(BTreeMap::new()),
        clients: Clients::new().unwrap(),
        timeout: Duration::from_secs(20),
        now: chrono::DateTime::UNIX_EPOCH,
        uptime: Duration::from_hours(1),
        beat: None,
        facts: Arc::default(),
        by_hand: false,
    }
}

/// The same context with a timeout that a test can wait for, to meet silence.
pub(crate) fn hasty(cx: Context) -> Context {
    Context { timeout: Duration::from_millis(400), ..cx }
}

/// A context in which `target` is the name of this target.
pub(crate) fn context_with(target: Target) -> Context {
    Context { targets: Arc::new(BTreeMap::from([("target".to_owned(), target)])), ..context() }
}

/// A check from its block in the document.
pub(crate) fn check<C: Check>(block: serde_json::Value) -> C {
    serde_json::from_value(block).unwrap()
}

/// One Run without Memory.
pub(crate) async fn report_of<C: Check>(check: &C, cx: &Context) -> Report<C::Memory> {
    Check::run(check, cx, C::Memory::default()).await
}

/// The outcome of one part of a report.
pub(crate) fn part<M>(report: &Report<M>, name: &str) -> Outcome {
    let Step::Done(parts) = &report.step else { panic!("not done") };
    parts.get(&PartId::new(name)).cloned().unwrap_or_else(|| panic!("no part {name}: {parts:?}"))
}

/// One Run of a check that has one part and needs no targets.
pub(crate) async fn outcome_of<C: Check>(check: &C) -> Outcome {
    part(&report_of(check, &context()).await, PartId::WHOLE)
}

/// The same, when nothing but silence is to come.
pub(crate) async fn hasty_outcome_of<C: Check>(check: &C) -> Outcome {
    part(&report_of(check, &hasty(context())).await, PartId::WHOLE)
}

/// One Run of a check that has one part.
pub(crate) async fn outcome_at<C: Check>(check: &C, cx: &Context) -> Outcome {
    part(&report_of(check, cx).await, PartId::WHOLE)
}

/// A recorded reply, as a recording file holds it.
pub(crate) fn replay(recording: &serde_json::Value) -> ResponseTemplate {
    let body = recording["body"].as_str().map_or_else(|| recording["body"].to_string(), str::to_owned);
    let status = recording["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let headers = recording["headers"].as_object().unwrap();
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).unwrap().1;
    ResponseTemplate::new(status).set_body_raw(body, content_type.as_str().unwrap())
}

/// A server that gives recorded replies, each at the path where it was recorded.
pub(crate) async fn recorded(recordings: &[&str]) -> MockServer {
    let server = MockServer::start().await;
    for recording in recordings {
        let recording: serde_json::Value = serde_json::from_str(recording).unwrap();
        let at = path(recording["path"].as_str().unwrap());
        Mock::given(method(recording["method"].as_str().unwrap())).and(at).respond_with(replay(&recording)).mount(&server).await;
    }
    server
}

/// A server that treats each connection the same way, until it is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    task: AbortHandle,
    _tasks: JoinSet<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a [`Server`] does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Reads what comes first, writes this, closes.
    Say(Vec<u8>),
    /// Reads what comes first, writes this, then repeats the second part for ever.
    Repeat(Vec<u8>, Vec<u8>),
    /// Reads what comes first, writes this, and keeps the connection open in silence.
    Hold(Vec<u8>),
    /// Reads and writes in turns, then keeps the connection open in silence.
    Turns(Vec<Vec<u8>>),
    /// Reads and writes in turns, then closes the connection.
    Leave(Vec<Vec<u8>>),
    /// A server of the protocol of PostgreSQL: to each question the first of these whose words are in it.
    Answers(Vec<(&'static str, Reply)>),
    /// Cuts the connection with a reset.
    Reset,
}

/// What is answered to a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// This.
    Say(Vec<u8>),
    /// This, and then the connection closes.
    Last(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let task = tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(treat(stream, manner.clone()));
            }
        });
        Self { address, task, _tasks: tasks }
    }

    /// An HTTP reply with this head and body, then the connection closes.
    pub(crate) async fn http(status: &str, content_type: &str, body: &str) -> Self {
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Self::start(Manner::Say(reply.into_bytes())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn treat(mut stream: TcpStream, manner: Manner) {
    let mut request = vec![0; 4096];
    if matches!(manner, Manner::Reset) {
        stream.set_zero_linger().unwrap();
        return;
    }
    let _read = stream.read(&mut request).await;
    match manner {
        Manner::Say(text) => {
            let _sent = stream.write_all(&text).await;
            let _closed = stream.shutdown().await;
        }
        Manner::Repeat(head, again) => {
            let mut sent = stream.write_all(&head).await;
            while sent.is_ok() {
                sent = stream.write_all(&again).await;
            }
        }
        Manner::Hold(text) => {
            let _sent = stream.write_all(&text).await;
            std::future::pending::<()>().await;
        }
        Manner::Turns(turns) => {
            speak(&mut stream, turns).await;
            std::future::pending::<()>().await;
        }
        Manner::Leave(turns) => {
            speak(&mut stream, turns).await;
            let _closed = stream.shutdown().await;
        }
        Manner::Answers(replies) => answers(&mut stream, &replies).await,
        Manner::Reset => {}
    }
}

/// Lets everybody in, and answers what is asked; what none of these is about is done, without a row.
async fn answers(stream: &mut TcpStream, replies: &[(&'static str, Reply)]) {
    let _sent = stream.write_all(&postgres::welcome()).await;
    let mut head = [0; 5];
    while stream.read_exact(&mut head).await.is_ok() {
        let [_, length @ ..] = head;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let question = String::from_utf8_lossy(&body);
        match replies.iter().find(|(words, _)| question.contains(words)).map(|(_, reply)| reply) {
            Some(Reply::Say(text)) => {
                let _sent = stream.write_all(text).await;
            }
            Some(Reply::Last(text)) => {
                let _sent = stream.write_all(text).await;
                let _closed = stream.shutdown().await;
                return;
            }
            Some(Reply::Silence) => std::future::pending::<()>().await,
            None => {
                let _sent = stream.write_all(&postgres::done()).await;
            }
        }
    }
}

async fn speak(stream: &mut TcpStream, turns: Vec<Vec<u8>>) {
    let mut request = vec![0; 4096];
    for (turn, text) in turns.into_iter().enumerate() {
        if turn > 0 {
            let _read = stream.read(&mut request).await;
        }
        let _sent = stream.write_all(&text).await;
    }
}

/// An address whose backlog is full: the kernel drops further attempts, so that they meet nothing but silence. Keep what comes
/// with it.
pub(crate) async fn silent_address() -> (Vec<Box<dyn Send>>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held: Vec<Box<dyn Send>> = vec![Box::new(listener)];
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        held.push(Box::new(stream));
    }
    (held, address)
}
