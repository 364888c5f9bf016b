//! The HTTP API: `/v1`, `/metrics` and the operational endpoints.

pub mod types;
