//! Names, many of which have to be quoted.

use crate::model::rng::Rng;

/// How names begin.
const STEMS: &[&str] = &[
    "plain",
    "plain",
    "people",
    "Mixed",
    "Odd \"one\"",
    "select",
    "ümlaut ↯",
    "dot.ted",
    "it's",
    "two words",
    "100%",
    "a,b",
    "(x)",
    "$d$",
    "back\\slash",
    "semi;colon",
    "user",
    "-- no",
];
const SCHEMAS: &[&str] = &["public", "app", "app", "\"Odd Schema\""];

/// Each name is given out once.
#[derive(Default)]
pub(super) struct Names(u32);

impl Names {
    /// A name, as SQL writes it.
    pub(super) fn next(&mut self, rng: &mut Rng) -> String {
        self.0 += 1;
        let stem = rng.pick(STEMS);
        if stem.chars().all(|c| c.is_ascii_lowercase()) {
            return format!("{stem}_{}", self.0);
        }
        format!("\"{} {}\"", stem.replace('"', "\"\""), self.0)
    }

    /// The same in one of the schemas.
    pub(super) fn in_schema(&mut self, rng: &mut Rng) -> String {
        format!("{}.{}", rng.pick(SCHEMAS), self.next(rng))
    }
}
