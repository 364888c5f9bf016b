//! Replies as the servers word them, and the exposition format.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const JSON: &str = "application/json; charset=UTF-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub(crate) type Reply = Response<Body>;

pub(crate) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

pub(crate) fn text(status: StatusCode, body: impl Into<Body>) -> Reply {
    reply(status, TEXT, body)
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

pub(crate) fn json(status: StatusCode, kind: &'static str, body: &Value) -> Reply {
    reply(status, kind, body.to_string())
}

/// What Go's servers say of a path that they do not have.
pub(crate) fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Metrics, as text.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    name: String,
}

impl Exposition {
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(name, "counter", help)
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(name, "gauge", help)
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        name.clone_into(&mut self.name);
        self.text.push_str(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"].concat());
        self
    }

    /// A sample of the family that was named last.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        let name = self.name.clone();
        self.other(&name, labels, value)
    }

    /// A sample of another name, such as a histogram's count.
    pub(crate) fn other(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.text.push_str(&[name, &labels, " ", &value.to_string(), "\n"].concat());
        self
    }

    pub(crate) fn reply(self) -> Reply {
        reply(StatusCode::OK, EXPOSITION, self.text)
    }
}
