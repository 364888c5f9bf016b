//! The way that something takes from where it is made to where it is needed, and how far it comes.

use serde::{Deserialize, Serialize};

use crate::outcome::Evidence;

/// What one Run saw of one hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HopState {
    /// It lets pass what comes.
    Moves,
    /// It is the first that stands still.
    Stands,
    /// It comes after the one that stands still, so nothing can be said of it.
    Behind,
    /// It could not be seen.
    Unknown,
}

/// One hop on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// What it is called.
    pub name: String,
    /// What was seen of it.
    pub state: HopState,
    /// In its own words.
    pub words: Evidence,
}
