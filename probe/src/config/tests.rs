//! The corpus (`testdata/config`), and what a reader of any bytes must hold to.

mod corpus;
mod hashes;
mod kinds;
mod sound;
mod steps;

use self::kinds::registry;
use super::{Config, ConfigErrors};

/// A sound document with all the fields there are, but for steps and annotations.
const FULL: &str = include_str!("../../testdata/config/valid-full.yaml");
/// A sound document with as few fields as can be.
const SMALL: &str = include_str!("../../testdata/config/valid-small.yaml");
/// A sound document with all that can be said of steps.
const STEPS: &str = include_str!("../../testdata/config/valid-steps.yaml");

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    super::parse("migration.yaml", text.as_bytes(), &registry())
}
