//! What must not happen on a server that was left.

use serde::{Deserialize, Serialize};

use crate::outcome::ReasonSpec;

use super::{CAME_BACK, REFUSED_ATTEMPTS, SWAPPED, UNEXPLAINED, VISITED, WENT_BACK, WRITTEN};

/// Something that must not happen. The worst comes first: it is told before others of the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Swapped,
    WentBack,
    CameBack,
    Written,
    RefusedAttempts,
    Unexplained,
    Visited,
}

impl Kind {
    /// The reason that it is told by.
    pub(super) fn reason(self) -> ReasonSpec {
        match self {
            Self::Swapped => SWAPPED,
            Self::WentBack => WENT_BACK,
            Self::CameBack => CAME_BACK,
            Self::Written => WRITTEN,
            Self::RefusedAttempts => REFUSED_ATTEMPTS,
            Self::Unexplained => UNEXPLAINED,
            Self::Visited => VISITED,
        }
    }

    /// Whether it is told for a time of its own, and the window begins after that.
    pub(super) fn is_held(self) -> bool {
        matches!(self, Self::Swapped | Self::CameBack)
    }
}
