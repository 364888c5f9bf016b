//! The Migration document: from bytes to a [`Config`], or to all that is wrong with it at once.
//!
//! The bytes become a tree that knows places (`tree`), its parts are typed one by one so that one error does not hide the next
//! (`typed`, `read`), the rules between them are checked (`rules`, `settings`), and what is left is compiled to a [`Plan`]
//! (`compile`). No message shows a secret that was written into the document by mistake (`secrets`, `mask`).

pub mod cli;
mod compile;
pub mod crd;
mod document;
mod duration;
mod hash;
mod mask;
mod problem;
mod read;
mod rules;
mod schema;
mod secrets;
mod settings;
mod steps;
#[cfg(test)]
mod tests;
mod tree;
mod typed;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use checks::grafana::annotations::Desk;
use checks::{DynCheck, Registry, Target};

use self::problem::Problems;
pub use self::problem::{ConfigErrors, Place, Problem};
pub(crate) use self::rules::{NAME_HINT, bad_name};
pub use self::schema::schema;
pub(crate) use self::secrets::without_secrets;
pub use self::steps::{EnvValue, StepSpec, Undo, Work};
use self::tree::{Kind, Node, Span};
pub(crate) use self::typed::instead;
use crate::plan::{PhaseName, Plan, ProbeName};

/// Largest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// A sound document.
#[derive(Clone)]
pub struct Config {
    /// What the verdict needs to know of it.
    pub plan: Arc<Plan>,
    /// What is looked at, by name.
    pub targets: Arc<BTreeMap<String, Target>>,
    /// How each probe of the plan looks.
    pub probes: BTreeMap<ProbeName, Arc<dyn DynCheck>>,
    /// What the steps of a phase do, in the order of the plan's. A phase without steps is not in it.
    pub steps: BTreeMap<PhaseName, Vec<StepSpec>>,
    /// What a phase breaks for a while, in words.
    pub breaks: BTreeMap<PhaseName, String>,
    /// Where the migration is marked.
    pub annotations: Vec<AnnotationSpec>,
    /// Where it came from.
    pub source: Source,
    /// Remarks that stop nothing, by position.
    pub warnings: Vec<Problem>,
}

/// A Grafana in which the migration is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationSpec {
    /// Name of the target.
    pub grafana: String,
    /// Where it is, and by whose leave.
    pub desk: Desk,
    /// Tags that each mark carries besides its own.
    pub tags: Vec<String>,
}

/// Where a document came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Display name of the file.
    pub file: String,
    /// SHA-256 (hex) of its bytes: tells a file that was touched from one that was changed.
    pub digest: String,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("plan", &self.plan).field("source", &self.source).finish_non_exhaustive()
    }
}

/// SHA-256 (hex) of a file's bytes, as in [`Source::digest`].
pub fn digest(bytes: &[u8]) -> String {
    hash::of_bytes(bytes)
}

/// A document as an operator would write it, with comments: three phases with all the kinds of check there are.
pub const fn example() -> &'static str {
    include_str!("../../deploy/overlays/homelab/migration.yaml")
}

/// Reads a document from a file.
///
/// # Errors
/// A file that can not be read, or that is larger than [`MAX_DOCUMENT`], and all that [`parse`] finds.
pub fn load(path: &Path, registry: &Registry) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let failed = |error: std::io::Error| {
        let hint = "`probe config example` prints a document to start from";
        ConfigErrors::of_file(&file, format!("the file can not be read: {error}"), hint)
    };
    let mut bytes = Vec::new();
    // One byte more than may be tells a document that is too large, however large the file says it is.
    let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    parse(&file, &bytes, registry)
}

/// Reads a document. `file` is its display name.
///
/// # Errors
/// Everything that is wrong with it, by position. A document that is not YAML at all has one error.
pub fn parse(file: &str, bytes: &[u8], registry: &Registry) -> Result<Config, ConfigErrors> {
    if bytes.len() > MAX_DOCUMENT {
        let message = format!("the document is larger than {} KiB", MAX_DOCUMENT / 1024);
        return Err(ConfigErrors::of_file(file, message, "is it the right file? A Migration of 10,000 probes fits"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        ConfigErrors::of_file(file, format!("line {line} is not valid UTF-8"), "save the file as UTF-8")
    })?;
    let mut problems = Problems::new(file, text);
    let parts = read_text(&mut problems, text, registry);
    let warnings = problems.finish()?;
    let parts = parts.filter(read::Parts::complete).ok_or_else(|| {
        ConfigErrors::of_file(
            file,
            "a part of the document got lost".into(),
            "report this as a bug of phasegate, with the document",
        )
    })?;
    let compiled = compile::compile(parts);
    Ok(Config {
        plan: Arc::new(compiled.plan),
        targets: Arc::new(compiled.targets),
        probes: compiled.probes,
        steps: compiled.steps,
        breaks: compiled.breaks,
        annotations: compiled.annotations,
        source: Source { file: file.to_owned(), digest: hash::of_bytes(bytes) },
        warnings,
    })
}

fn read_text(problems: &mut Problems<'_>, text: &str, registry: &Registry) -> Option<read::Parts> {
    let mut root = match Node::parse(text) {
        Ok(root) => root,
        Err(error) => {
            problems.outline();
            let hint = error.hint.unwrap_or_else(|| "check the indentation".into());
            problems.error(error.at.unwrap_or(Span { start: 0, len: 1 }), error.message, hint);
            return None;
        }
    };
    if matches!(root.kind, Kind::Null) {
        problems.error(Span { start: 0, len: 1 }, "the document is empty", "`probe config example` prints one to start from");
        return None;
    }
    if !matches!(root.kind, Kind::Map(_)) {
        let hint = "a Migration starts with `apiVersion:`; `probe config example` prints one";
        problems.error(Span { start: root.at.start, len: 1 }, "the document is not a map", hint);
        problems.outline();
        return None;
    }
    let parts = read::parts(problems, &mut root, registry)?;
    rules::check(problems, &root, &parts);
    Some(parts)
}
