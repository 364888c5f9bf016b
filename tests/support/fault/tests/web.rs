//! Over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use futures::stream;
use parking_lot::Mutex;
use reqwest::Client;
use serde_json::{Value, json};

use super::*;

const TEXT: &str = "0123456789abcdefghij";
const ZIPPED: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0, 0x80];

/// A real web server that remembers what was posted.
struct Site {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Bytes>>>,
    tasks: JoinSet<()>,
}

impl Site {
    async fn start() -> Self {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&posted);
        let chunks = || ["0123", "456789", "abcdefghij"].map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
        let app = Router::new()
            .route("/text", get(async || TEXT))
            .route("/chunked", get(async move || Body::from_stream(stream::iter(chunks()))))
            .route("/zipped", get(async || ([(header::CONTENT_ENCODING, "gzip")], ZIPPED)))
            .route("/asked", post(asked))
            .route(
                "/push",
                post(async move |body: Bytes| {
                    log.lock().push(body);
                    StatusCode::NO_CONTENT
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, posted, tasks }
    }
}

/// Repeats what it was asked.
async fn asked(uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> String {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect();
    json!({"uri": uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body)}).to_string()
}

struct Bench {
    site: Site,
    proxy: FaultProxy,
    http: Client,
}

impl Bench {
    async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let site = Site::start().await;
        let proxy = FaultProxy::start_http(format!("http://{}", site.address)).unwrap();
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { site, proxy, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url())
    }

    async fn get(&self, path: &str) -> reqwest::Result<(u16, Bytes)> {
        let answer = self.http.get(self.url(path)).send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?))
    }

    async fn push(&self, body: &str) -> reqwest::Result<u16> {
        Ok(self.http.post(self.url("/push")).body(body.to_owned()).send().await?.status().as_u16())
    }

    /// All bytes of an answer, as they come over a connection of their own.
    async fn raw(&self, path: &str) -> String {
        let mut stream = dial(&self.proxy).await;
        says(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        String::from_utf8_lossy(&rest(&mut stream).await).into_owned()
    }
}

fn ok(body: &'static (impl AsRef<[u8]> + ?Sized)) -> (u16, Bytes) {
    (200, Bytes::from_static(body.as_ref()))
}

#[tokio::test]
async fn requests_and_answers_pass_unchanged_over_one_connection() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        assert_eq!(bench.get("/text").await.unwrap(), ok(TEXT));
        assert_eq!(bench.get("/chunked").await.unwrap(), ok(TEXT));
        assert_eq!(bench.get("/zipped").await.unwrap(), ok(ZIPPED));
        assert_eq!(bench.get("/nowhere").await.unwrap().0, 404);
    }
    let head = bench.http.head(bench.url("/text")).send().await.unwrap();
    assert_eq!(head.headers()[header::CONTENT_LENGTH], "20");
    let (mut stream, host) = (dial(&bench.proxy).await, bench.proxy.address().to_string());
    let head = "POST /asked?x=%20y HTTP/1.1\r\nX-Scope-OrgID: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    says(&mut stream, &format!("{head}Host: {host}\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")).await;
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    let asked: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&asked["uri"], &asked["body"]), (&json!("/asked?x=%20y"), &json!("abc")));
    let headers: Vec<(String, String)> = serde_json::from_value(asked["headers"].clone()).unwrap();
    for (name, value) in [("x-scope-orgid", "t"), ("host", host.as_str()), ("transfer-encoding", "chunked")] {
        assert!(headers.contains(&(name.to_owned(), value.to_owned())), "no {name}: {value} in {headers:?}");
    }
    assert_eq!(bench.proxy.connections(), 2, "the client's kept connection, and this one");
    let raw = bench.raw("/chunked").await;
    assert!(raw.contains("transfer-encoding: chunked") && raw.ends_with("abcdefghij\r\n0\r\n\r\n"), "{raw}");
}

#[tokio::test]
async fn a_black_hole_silences_a_connection_that_is_kept_alive() {
    let bench = Bench::start().await;
    assert_eq!(bench.push("1").await.unwrap(), 204);
    bench.proxy.set(Fault::BlackHole).await.unwrap();
    let mut push = std::pin::pin!(bench.push("2"));
    assert!(timeout(SILENCE, &mut push).await.is_err());
    assert_eq!(bench.site.posted.lock().len(), 1);
    bench.proxy.clear().await.unwrap();
    assert_eq!(push.await.unwrap(), 204);
    assert_eq!(*bench.site.posted.lock(), ["1", "2"]);
    assert_eq!(bench.proxy.connections(), 1);
}

#[tokio::test]
async fn the_faults_of_the_wire_work_over_http_as_well() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("/text").await.unwrap(), ok(TEXT));
    for fault in [Fault::Refuse, Fault::Reset] {
        bench.proxy.set(fault.clone()).await.unwrap();
        assert!(bench.get("/text").await.is_err(), "{fault:?}");
    }
    for fault in [Fault::Delay(LONG), Fault::DelayFirst(LONG), Fault::Throttle(1)] {
        bench.proxy.set(fault.clone()).await.unwrap();
        let mut text = std::pin::pin!(bench.get("/text"));
        assert!(timeout(SILENCE, &mut text).await.is_err(), "{fault:?}");
        bench.proxy.clear().await.unwrap();
        assert_eq!(text.await.unwrap(), ok(TEXT), "{fault:?}");
    }
}

#[tokio::test]
async fn truncate_cuts_a_body_and_closes_in_good_order() {
    let bench = Bench::start().await;
    for limit in [0, 1, 7, 19] {
        bench.proxy.set(Fault::Truncate(limit)).await.unwrap();
        let said = TEXT.get(..usize::try_from(limit).unwrap()).unwrap();
        let raw = bench.raw("/text").await;
        assert!(raw.contains("content-length: 20\r\n") && raw.ends_with(&format!("\r\n\r\n{said}")), "{limit}: {raw}");
        let chunked = bench.raw("/chunked").await;
        assert!(!chunked.ends_with("0\r\n\r\n"), "{limit}: {chunked}");
        for path in ["/text", "/chunked"] {
            assert!(bench.get(path).await.is_err(), "{limit}: {path}");
        }
    }
    bench.proxy.set(Fault::Truncate(20)).await.unwrap();
    assert_eq!(bench.get("/text").await.unwrap(), ok(TEXT));
    assert_eq!(bench.get("/chunked").await.unwrap(), ok(TEXT));
    let long = "x".repeat(500_000);
    bench.proxy.set(Fault::Truncate(400_000)).await.unwrap();
    let mut stream = dial(&bench.proxy).await;
    says(&mut stream, &format!("POST /asked HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{long}", long.len())).await;
    let answer = rest(&mut stream).await;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer.len() - body, 400_000);
}

#[tokio::test]
async fn corrupt_flips_bytes_of_bodies_and_no_others() {
    let bench = Bench::start().await;
    bench.proxy.set(Fault::Corrupt(5)).await.unwrap();
    let mut flipped = TEXT.as_bytes().to_vec();
    for place in [4, 9, 14, 19] {
        flipped[place] = !flipped[place];
    }
    for path in ["/text", "/chunked", "/text"] {
        assert_eq!(bench.get(path).await.unwrap(), (200, flipped.clone().into()), "{path}");
    }
    bench.proxy.clear().await.unwrap();
    assert_eq!(bench.get("/text").await.unwrap(), ok(TEXT));
}

#[tokio::test]
async fn answers_of_its_own_come_over_open_connections_and_nothing_is_passed_on() {
    let bench = Bench::start().await;
    assert_eq!(bench.push("1").await.unwrap(), 204);
    for code in [401, 429, 500] {
        bench.proxy.set(Fault::Status(code, "go away".into())).await.unwrap();
        assert_eq!(bench.get("/text").await.unwrap(), (code, "go away".into()));
        assert_eq!(bench.push("2").await.unwrap(), code);
    }
    bench.proxy.set(Fault::LoginPage).await.unwrap();
    let page = bench.http.get(bench.url("/text")).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()[header::CONTENT_TYPE]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    bench.proxy.clear().await.unwrap();
    assert_eq!(bench.push("3").await.unwrap(), 204);
    assert_eq!(*bench.site.posted.lock(), ["1", "3"]);
    assert_eq!(bench.proxy.connections(), 1);
}

#[tokio::test]
async fn each_so_manieth_write_is_acknowledged_and_dropped() {
    let bench = Bench::start().await;
    bench.proxy.set(Fault::DropWrites(3)).await.unwrap();
    for number in 1..=8 {
        assert_eq!(bench.push(&format!("line {number}")).await.unwrap(), 204);
        assert_eq!(bench.get("/text").await.unwrap(), ok(TEXT), "what is read does not count");
    }
    let dropped = bench.proxy.dropped();
    assert_eq!((dropped.requests, dropped.bytes, dropped.bodies), (2, 12, vec!["line 3".into(), "line 6".into()]));
    assert_eq!(*bench.site.posted.lock(), ["line 1", "line 2", "line 4", "line 5", "line 7", "line 8"]);
    // It is set again: the count begins anew, what was dropped stays told.
    bench.proxy.set(Fault::DropWrites(2)).await.unwrap();
    for number in 9..=10 {
        assert_eq!(bench.push(&format!("line {number}")).await.unwrap(), 204);
    }
    assert_eq!(bench.proxy.dropped().bodies, ["line 3", "line 6", "line 10"]);
    bench.proxy.clear().await.unwrap();
    assert_eq!(bench.push("line 11").await.unwrap(), 204);
    assert_eq!((bench.proxy.dropped().requests, bench.site.posted.lock().len()), (3, 8));
}

#[tokio::test]
async fn nothing_is_acknowledged_for_an_upstream_that_is_down() {
    let mut bench = Bench::start().await;
    assert_eq!(bench.push("1").await.unwrap(), 204);
    bench.site.tasks.shutdown().await;
    let (_door, address) = nobody();
    bench.proxy.retarget(address).await.unwrap();
    for fault in [None, Some(Fault::DropWrites(1)), Some(Fault::Truncate(0)), Some(Fault::Corrupt(1))] {
        match fault.clone() {
            Some(fault) => bench.proxy.set(fault).await.unwrap(),
            None => bench.proxy.clear().await.unwrap(),
        }
        let mut stream = dial(&bench.proxy).await;
        says(&mut stream, "POST /push HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n2").await;
        is_reset(&mut stream).await;
        bench.proxy.set_bad_gateway(true);
        assert_eq!(bench.push("2").await.unwrap(), 502, "{fault:?}");
        bench.proxy.set_bad_gateway(false);
    }
    assert_eq!((bench.proxy.dropped().requests, bench.site.posted.lock().len()), (0, 1));
    let other = Site::start().await;
    bench.proxy.clear().await.unwrap();
    bench.proxy.retarget(other.address).await.unwrap();
    assert_eq!(bench.push("3").await.unwrap(), 204);
    assert_eq!(*other.posted.lock(), ["3"]);
}

#[tokio::test]
async fn an_upstream_that_leaves_in_the_middle_of_an_answer_is_no_whole_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::start().await;
    bench.proxy.retarget(listener.local_addr().unwrap()).await.unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        take(&mut stream, 3).await;
        says(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    };
    let (answer, ()) = tokio::join!(bench.get("/text"), server);
    assert!(answer.is_err(), "{answer:?}");
}
