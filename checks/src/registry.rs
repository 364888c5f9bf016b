//! The [`Registry`]: which kinds of check a document may name.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::check::{Check, DynCheck, Meta, meta_of};

/// Why a check's block in the document does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Keys and indices from the check's block down to the offending value.
    pub path: Vec<PathStep>,
    /// What is wrong, a lowercase fragment.
    pub message: String,
}

/// One step of a [`SpecError::path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// A key of a mapping.
    Key(String),
    /// An index of a sequence.
    Index(usize),
}

/// One kind of check: its declaration, how to parse it, its schema.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it declares about itself.
    pub meta: &'static Meta,
    /// From the document's block to a check that can run.
    pub parse: fn(Value) -> Result<Arc<dyn DynCheck>, SpecError>,
    /// Its JSON schema; the description is the type's doc comment.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Entry {
    /// The entry of a check type.
    pub fn of<C: Check>() -> Self {
        Self { meta: meta_of::<C>(), parse: parse::<C>, schema: |generator| generator.root_schema_for::<C>() }
    }

    /// The first paragraph of the doc comment: what it looks at, for people.
    pub fn summary(&self) -> String {
        let schema = (self.schema)(&mut SchemaGenerator::default());
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        text.split("\n\n").next().unwrap_or_default().replace('\n', " ")
    }
}

fn parse<C: Check>(value: Value) -> Result<Arc<dyn DynCheck>, SpecError> {
    match serde_path_to_error::deserialize::<_, C>(value) {
        Ok(check) => Ok(Arc::new(check)),
        Err(error) => Err(spec_error(error)),
    }
}

/// Turns a located serde error into a [`SpecError`]. Shared with the parts of a document that are not checks.
pub fn spec_error(error: serde_path_to_error::Error<serde_json::Error>) -> SpecError {
    let path = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(PathStep::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(PathStep::Key(key.clone())),
            serde_path_to_error::Segment::Enum { variant } => Some(PathStep::Key(variant.clone())),
            serde_path_to_error::Segment::Unknown => None,
        })
        .collect();
    SpecError { path, message: error.into_inner().to_string() }
}

/// The kinds of check that a document may name, by kind.
#[derive(Debug, Clone)]
pub struct Registry(BTreeMap<&'static str, Entry>);

impl Registry {
    /// A registry of these entries; a later one of the same kind wins.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self(entries.into_iter().map(|entry| (entry.meta.kind, entry)).collect())
    }

    /// This registry and one more entry. For tests' own scripted checks.
    #[must_use]
    pub fn with(mut self, entry: Entry) -> Self {
        self.0.insert(entry.meta.kind, entry);
        self
    }

    /// The entry of a kind.
    pub fn get(&self, kind: &str) -> Option<&Entry> {
        self.0.get(kind)
    }

    /// All entries, by kind.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}
