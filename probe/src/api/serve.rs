//! The server: HTTP/1 on a listener, with bounds on connections and on the time a client may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections at the same time; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 512;
/// A client that takes longer to send its request's headers is dropped. An idle connection lasts as long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may take once the verifier stops.
const GRACE: Duration = Duration::from_millis(1500);
/// After an accept that failed for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is told to stop, then lets open requests finish for a moment.
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let (connections, tasks) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    loop {
        let accept = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = accept => next,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, _))) => {
                tasks.spawn(connection(stream, app.clone(), stop.clone(), permit));
            }
            (_, Err(error)) if is_the_clients(&error) => {}
            (_, Err(error)) => {
                tracing::error!(%error, "a connection can not be accepted");
                sleep(PAUSE).await;
            }
            (Err(_), Ok(_)) => break,
        }
    }
    drop(listener);
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections are dropped");
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::ConnectionAborted || kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::ConnectionRefused
}

async fn connection(stream: TcpStream, app: Router, stop: CancellationToken, permit: OwnedSemaphorePermit) {
    // Answers are small and wanted at once; without it they are only slower.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = app.map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
    drop(permit);
}
