//! The sum of rows: how many, and the sum of their hashes. It does not depend on their order, duplicates count, and sums of parts add
//! up to that of the whole, however each side is cut.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Rows of a table, or of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(i64, String)", into = "(i64, String)")]
pub struct Sum {
    /// How many.
    pub rows: i64,
    /// The sum of the 64-bit hashes of their text.
    pub hash: i128,
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), hash: self.hash.wrapping_add(other.hash) }
    }
}

impl Sub for Sum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_sub(other.rows), hash: self.hash.wrapping_sub(other.hash) }
    }
}

impl Sum {
    /// Neither rows nor anything in them.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl From<Sum> for (i64, String) {
    fn from(sum: Sum) -> Self {
        (sum.rows, sum.hash.to_string())
    }
}

impl TryFrom<(i64, String)> for Sum {
    type Error = std::num::ParseIntError;

    fn try_from((rows, hash): (i64, String)) -> Result<Self, Self::Error> {
        Ok(Self { rows, hash: hash.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_parts_add_up_and_survive_being_written_down() {
        let (a, b) = (Sum { rows: 2, hash: i128::from(i64::MAX) * 3 }, Sum { rows: 1, hash: -7 });
        assert_eq!(a + b - a, b);
        assert!((a - a).is_nothing());
        let kept: Sum = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        assert_eq!(kept, a);
        assert!(serde_json::from_str::<Sum>(r#"[1, "x"]"#).is_err());
    }
}
