//! Dashboards: which there are, and what is in one.

mod list;
mod model;

pub(crate) use list::{Dashboard, list, read};
pub(crate) use model::{normalised, panels, references, variable};
