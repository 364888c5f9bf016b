//! A stand-in for the nginx in front of a Loki.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::front::{Front, Mood};
use super::reply::{Reply, reply, text};

const HTML: &str = "text/html";
/// Larger pushes never reach Loki.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct Inner {
    loki: String,
    http: reqwest::Client,
    broken: AtomicBool,
}

/// A stand-in for the gateway of a Loki: it passes on what is below `/loki/api/`, answers `/` by itself, and has neither `/ready` nor
/// `/metrics`.
#[derive(Debug)]
pub struct StandinGateway {
    inner: Arc<Inner>,
    front: Front,
}

impl StandinGateway {
    /// Starts it in front of the Loki at this base URL.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(loki: impl Into<String>) -> Result<Self> {
        let http = client()?;
        let inner = Arc::new(Inner { loki: loki.into(), http, broken: AtomicBool::new(false) });
        let app = Router::new().fallback(handle).with_state(Arc::clone(&inner));
        Ok(Self { inner, front: Front::start(app)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.front.url()
    }

    /// Changes how it treats whoever connects; open connections are closed.
    ///
    /// # Errors
    /// Its port can not be opened again.
    pub async fn set_mood(&self, mood: Mood) -> Result<()> {
        self.front.set_mood(mood).await
    }

    /// True: it can not reach Loki (its name no longer resolves, say), however well Loki is.
    pub fn set_broken(&self, broken: bool) {
        self.inner.broken.store(broken, Ordering::SeqCst);
    }
}

/// A client that asks a server the way another server does: no proxy, no redirects.
pub(crate) fn client() -> Result<reqwest::Client> {
    // An error here only says that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?)
}

async fn handle(State(inner): State<Arc<Inner>>, request: Request) -> Reply {
    let path = request.uri().path();
    if path == "/" {
        return text(StatusCode::OK, "OK");
    }
    if !path.starts_with("/loki/api/") {
        return page(StatusCode::NOT_FOUND);
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else { return page(StatusCode::PAYLOAD_TOO_LARGE) };
    if inner.broken.load(Ordering::SeqCst) {
        return page(StatusCode::BAD_GATEWAY);
    }
    let url = format!("{}{}", inner.loki, head.uri);
    let mut headers = head.headers;
    headers.remove("host");
    headers.remove("content-length");
    let passed_on = async {
        let answer = inner.http.request(head.method, url).headers(headers).body(body).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
    };
    let Ok((status, headers, body)) = passed_on.await else { return page(StatusCode::BAD_GATEWAY) };
    let mut passed = Reply::new(body.into());
    *passed.status_mut() = status;
    if let Some(kind) = headers.get("content-type") {
        passed.headers_mut().insert("content-type", kind.clone());
    }
    passed
}

/// One of nginx's own.
fn page(status: StatusCode) -> Reply {
    let reason = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    let title = format!("{} {reason}", status.as_u16());
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    reply(status, HTML, body)
}
