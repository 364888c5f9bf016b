//! HTTP: requests and answers of one connection, parsed, and what a fault does to them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use anyhow::Result;
use axum::body::{Body, Bytes};
use futures::StreamExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder as Client, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::server::conn::http1::Builder as Server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::body::Answer;
use super::{Fault, Setting, Shared};

/// Most bytes of dropped bodies that are kept.
const KEPT: usize = 16 * 1024 * 1024;
/// Most bytes of a head, and of what is read ahead.
const READ_AHEAD: usize = 64 * 1024;
const TEXT: &str = "text/plain; charset=utf-8";
const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\" method=\"post\">\
     <input name=\"user\"><input name=\"password\" type=\"password\"></form></body></html>\n";

/// What was acknowledged and not passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Their bodies as they came (compressed ones too), in their order; only the first 16 MiB of all of them together.
    pub bodies: Vec<Bytes>,
}

/// The connection can not go on: the upstream is not there, or left in the middle of something.
#[derive(Debug)]
pub(super) struct Broken;

/// Serves one connection until it ends in good order.
pub(super) async fn serve(stream: DuplexStream, shared: &Arc<Shared>, setting: watch::Receiver<Setting>) -> Result<(), Broken> {
    let cut = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Cuttable { inner: stream, cut: Arc::clone(&cut) });
    let site = Site { shared: Arc::clone(shared), setting, upstream: Mutex::default(), cut };
    let site = &site;
    let service = service_fn(|request| async move { site.handle(request).await });
    let mut server = Server::new();
    server.auto_date_header(false).preserve_header_case(true).max_buf_size(READ_AHEAD);
    match server.serve_connection(io, service).await {
        Err(error) if error.is_user() => Err(Broken),
        // Other errors are the client's.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A connection to the upstream, kept for the next request.
#[derive(Debug)]
struct Upstream {
    sender: SendRequest<Incoming>,
    _driving: JoinSet<()>,
}

impl Upstream {
    async fn connect(place: &str) -> Result<Self> {
        let stream = TcpStream::connect(place).await?;
        stream.set_nodelay(true)?;
        let mut client = Client::new();
        client.preserve_header_case(true).max_buf_size(READ_AHEAD);
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await?;
        let mut driving = JoinSet::new();
        // An error here is one of the request that is under way as well.
        driving.spawn(async move { drop(connection.await) });
        Ok(Self { sender, _driving: driving })
    }
}

/// What requests of one connection are answered with.
struct Site {
    shared: Arc<Shared>,
    setting: watch::Receiver<Setting>,
    upstream: Mutex<Option<Upstream>>,
    cut: Arc<AtomicBool>,
}

impl Site {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Answer>> {
        let now = self.setting.borrow().clone();
        match now.fault {
            Some(Fault::Status(code, text)) => {
                read(request, |_| {}).await?;
                Ok(self.own(StatusCode::from_u16(code)?, TEXT, text))
            }
            Some(Fault::LoginPage) => {
                read(request, |_| {}).await?;
                Ok(self.own(StatusCode::OK, "text/html; charset=utf-8", LOGIN_PAGE.to_owned()))
            }
            Some(Fault::DropWrites(every)) if request.method() == Method::POST && self.is_due(now.generation, every) => {
                match self.upstream(|_| {}).await {
                    Ok(()) => self.drop_write(request).await,
                    Err(error) => self.unreachable(error),
                }
            }
            _ => self.forward(request).await,
        }
    }

    /// Whether this write is one of those that are dropped.
    fn is_due(&self, generation: u64, every: u64) -> bool {
        let mut writes = self.shared.writes.lock();
        if writes.0 != generation {
            *writes = (generation, 0);
        }
        writes.1 += 1;
        writes.1.is_multiple_of(every)
    }

    async fn drop_write(&self, request: Request<Incoming>) -> Result<Response<Answer>> {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        read(request, |chunk| {
            bytes += chunk.len();
            kept.extend_from_slice(chunk.get(..KEPT.saturating_sub(kept.len()).min(chunk.len())).unwrap_or_default());
        })
        .await?;
        let mut dropped = self.shared.dropped.lock();
        dropped.requests += 1;
        dropped.bytes += u64::try_from(bytes)?;
        if dropped.bytes <= u64::try_from(KEPT)? {
            dropped.bodies.push(kept.into());
        }
        drop(dropped);
        let mut answer = self.own(StatusCode::NO_CONTENT, TEXT, String::new());
        answer.headers_mut().clear();
        Ok(answer)
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Answer>> {
        let mut request = request;
        *request.version_mut() = Version::HTTP_11;
        strip(request.headers_mut());
        let sent = async {
            let answer = self.upstream(|upstream| upstream.sender.send_request(request)).await?;
            Ok::<_, anyhow::Error>(answer.await?)
        };
        match sent.await {
            Ok(mut answer) => {
                *answer.version_mut() = Version::HTTP_11;
                strip(answer.headers_mut());
                Ok(answer.map(|body| self.answer(Body::new(body))))
            }
            Err(error) => self.unreachable(error),
        }
    }

    /// Uses the connection to the upstream, a new one if there is none or it was closed.
    async fn upstream<T>(&self, and: impl FnOnce(&mut Upstream) -> T) -> Result<T> {
        let mut kept = self.upstream.lock().await;
        if let Some(upstream) = kept.as_mut()
            && upstream.sender.ready().await.is_ok()
        {
            return Ok(and(upstream));
        }
        let place = self.setting.borrow().upstream.clone();
        let mut upstream = Upstream::connect(&place).await?;
        upstream.sender.ready().await?;
        Ok(and(kept.insert(upstream)))
    }

    fn unreachable(&self, error: anyhow::Error) -> Result<Response<Answer>> {
        if !self.shared.bad_gateway.load(Ordering::SeqCst) {
            return Err(error);
        }
        Ok(self.own(StatusCode::BAD_GATEWAY, TEXT, format!("{error:#}\n")))
    }

    fn own(&self, status: StatusCode, kind: &'static str, text: String) -> Response<Answer> {
        let mut answer = Response::new(self.answer(text.into()));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        answer
    }

    fn answer(&self, body: Body) -> Answer {
        Answer::new(body, self.setting.clone(), Arc::clone(&self.cut))
    }
}

/// Reads a request to its end.
async fn read(request: Request<Incoming>, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut chunks = Body::new(request.into_body()).into_data_stream();
    while let Some(chunk) = chunks.next().await {
        each(&chunk?);
    }
    Ok(())
}

/// Takes out what speaks of one connection only.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<_> = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    for name in named.iter().flat_map(|names| names.split(',')) {
        headers.remove(name.trim());
    }
    for name in [CONNECTION.as_str(), "keep-alive", "proxy-connection", TRANSFER_ENCODING.as_str(), UPGRADE.as_str()] {
        headers.remove(name);
    }
}

/// A stream that is closed by the flush after an answer was cut short: then all that was let through is written.
struct Cuttable {
    inner: DuplexStream,
    cut: Arc<AtomicBool>,
}

impl AsyncRead for Cuttable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.load(Ordering::SeqCst) {
            return Pin::new(&mut self.inner).poll_shutdown(cx);
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
