//! Dashboards: which there are, and what is in one.

mod list;
mod model;

pub(crate) use list::{list, read};
pub(crate) use model::{normalised, references};
