//! Dashboards: which there are, and what is in one.

mod list;
mod model;

pub(crate) use list::{Dashboard, Listed, list, list_folders, read};
pub(crate) use model::{Place, normalised, panels, references, variable};
