//! Looking at Grafana over its HTTP API.

mod access;
pub mod annotations;
mod api;
mod dashboard;
pub mod datasource;
mod datasources;
mod frames;
pub mod health;
pub mod panels;
pub mod parity;
pub mod query;
mod turns;

use crate::outcome::ReasonSpec;

/// 5xx, of Grafana or of what stands before it.
pub(crate) const SERVER_ERROR: ReasonSpec = ReasonSpec::fail(
    "server_error",
    "look at the log of what answers, Grafana or a proxy before it, for the error in the evidence",
);
/// Something else answers, or Grafana something else.
pub(crate) const WRONG_REPLY: ReasonSpec =
    ReasonSpec::fail("wrong_reply", "correct the target's URL, or mend what the reply in the evidence complains of");
