//! A stand-in for the API server that lists and watches, in the test's own time, and can be told to misbehave.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use futures::future::pending;
use futures::stream::{self, BoxStream, Stream as _, StreamExt};
use hyper::body::{Body, Bytes, Frame};
use hyper::{Request, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};

use crate::kubernetes::Cluster;
use crate::{Clients, Context};

/// How the stand-in behaves, from now on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manner {
    Well,
    /// It accepts everything and says nothing, as when it is stopped.
    Frozen,
    /// It says this to every new request: code, content type, body.
    Says(u16, &'static str, String),
    /// Every reply is cut in its middle.
    Cuts,
    /// It denies this resource.
    Denies(&'static str),
    /// The watch of every version is too old, until the next list.
    Forgets,
    /// It ends every watch at once.
    Ends,
}

type Piece = Result<Bytes, std::io::Error>;

/// The stand-in.
#[derive(Clone)]
pub(crate) struct Api(pub(in crate::kubernetes) Arc<Inner>);

pub(in crate::kubernetes) struct Inner {
    manner: Mutex<Manner>,
    /// By resource and name.
    pub(in crate::kubernetes) objects: Mutex<BTreeMap<(String, String), Value>>,
    version: Mutex<u64>,
    events: broadcast::Sender<(String, String)>,
    /// What was asked, path and query.
    asked: Mutex<Vec<String>>,
}

struct Streamed(BoxStream<'static, Piece>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.0).poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Api {
    pub(crate) fn start() -> Self {
        let (events, _) = broadcast::channel(1000);
        Self(Arc::new(Inner {
            manner: Mutex::new(Manner::Well),
            objects: Mutex::default(),
            version: Mutex::new(100),
            events,
            asked: Mutex::default(),
        }))
    }

    /// A context whose cluster this is.
    pub(crate) fn context(&self) -> Context {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(&request.uri().to_string()).await) }
        });
        let cx = crate::testing::context();
        Context { clients: Clients { cluster: Cluster::of(Client::new(service, "default")), ..cx.clients.clone() }, ..cx }
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        *self.0.manner.lock().unwrap() = manner;
    }

    fn manner(&self) -> Manner {
        self.0.manner.lock().unwrap().clone()
    }

    /// Requests so far, by verb.
    pub(crate) fn asked(&self, part: &str) -> usize {
        self.0.asked.lock().unwrap().iter().filter(|asked| asked.contains(part)).count()
    }

    /// Creates or changes an object.
    pub(crate) fn put(&self, resource: &str, mut object: Value) {
        let mut version = self.0.version.lock().unwrap();
        *version += 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut objects = self.0.objects.lock().unwrap();
        let known = objects.insert((resource.to_owned(), name), object.clone()).is_some();
        let kind = if known { "MODIFIED" } else { "ADDED" };
        let _heard = self.0.events.send((resource.to_owned(), format!("{}\n", json!({"type": kind, "object": object}))));
    }

    pub(crate) fn delete(&self, resource: &str, name: &str) {
        let mut version = self.0.version.lock().unwrap();
        *version += 1;
        let mut object = self.0.objects.lock().unwrap().remove(&(resource.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let _heard = self.0.events.send((resource.to_owned(), format!("{}\n", json!({"type": "DELETED", "object": object}))));
    }

    fn version(&self) -> String {
        self.0.version.lock().unwrap().to_string()
    }

    async fn answer(&self, uri: &str) -> Response<Streamed> {
        self.0.asked.lock().unwrap().push(uri.to_owned());
        let (path, query) = uri.split_once('?').unwrap();
        let resource = path.rsplit('/').next().unwrap().to_owned();
        let watches = query.contains("watch=true");
        let status = |code: u16, message: &str| {
            let body = json!({"kind": "Status", "status": "Failure", "code": code, "message": message}).to_string();
            (code, "application/json", once(body))
        };
        let (code, kind, body) = match self.manner() {
            Manner::Frozen => pending().await,
            Manner::Says(code, kind, body) => (code, kind, once(body)),
            Manner::Denies(denied) if denied == resource => status(403, "nobody may"),
            Manner::Forgets if watches => status(410, "too old resource version"),
            Manner::Ends if watches => (200, "application/json", stream::empty().boxed()),
            Manner::Cuts => {
                let cut = || Err(std::io::Error::other("unexpected end of file"));
                (200, "application/json", stream::iter([Ok("{\"metadata\": {\"resour".into()), cut()]).boxed())
            }
            Manner::Well | Manner::Denies(_) | Manner::Forgets | Manner::Ends if watches => {
                (200, "application/json", self.watch(resource))
            }
            Manner::Well | Manner::Denies(_) | Manner::Forgets | Manner::Ends => {
                (200, "application/json", once(self.list(&resource, query)))
            }
        };
        Response::builder().status(code).header("content-type", kind).body(Streamed(body)).unwrap()
    }

    fn list(&self, resource: &str, query: &str) -> String {
        let named = query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
        let objects = self.0.objects.lock().unwrap();
        let items: Vec<&Value> = objects
            .iter()
            .filter(|((of, name), _)| of == resource && named.is_none_or(|named| named == name))
            .map(|(_, object)| object)
            .collect();
        json!({"metadata": {"resourceVersion": self.version()}, "items": items}).to_string()
    }

    /// As an API server does it: a bookmark two seconds before the end, which comes after fifteen.
    fn watch(&self, resource: String) -> BoxStream<'static, Piece> {
        let (start, events, api) = (Instant::now(), self.0.events.subscribe(), self.clone());
        let (mark, end) = (start + Duration::from_secs(13), start + Duration::from_secs(15));
        stream::unfold((events, false), move |(mut events, mut marked)| {
            let (api, resource) = (api.clone(), resource.clone());
            async move {
                loop {
                    let next = if marked { end } else { mark };
                    let line = tokio::select! {
                        event = events.recv() => event.ok().filter(|(of, _)| *of == resource).map(|(_, line)| line),
                        () = sleep_until(next) => {
                            if marked {
                                if api.manner() == Manner::Frozen { pending::<()>().await }
                                return None;
                            }
                            marked = true;
                            let meta = json!({"resourceVersion": api.version()});
                            let kind = json!({"apiVersion": "v1", "kind": "Any", "metadata": meta});
                            Some(format!("{}\n", json!({"type": "BOOKMARK", "object": kind})))
                        }
                    };
                    if api.manner() == Manner::Frozen {
                        pending::<()>().await;
                    }
                    if let Some(line) = line {
                        return Some((Ok(Bytes::from(line)), (events, marked)));
                    }
                }
            }
        })
        .boxed()
    }
}

fn once(body: String) -> BoxStream<'static, Piece> {
    stream::iter([Ok(Bytes::from(body))]).boxed()
}

/// A node's Lease.
pub(crate) fn lease(node: &str, renewed: &str) -> Value {
    json!({"metadata": {"name": node}, "spec": {"renewTime": format!("2026-01-01T{renewed}.000000Z")}})
}
