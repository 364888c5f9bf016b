//! The document as a tree in which every key and value knows where it stands, so that a rule found broken much later can still
//! point at the very characters.

use std::collections::BTreeMap;
use std::fmt;

use checks::PathStep;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Spanned};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 24;
/// Most nodes once aliases are expanded; the size of the file bounds them otherwise.
const MAX_NODES: usize = 600_000;
/// Most nodes that aliases may add.
const MAX_REPLAYED: usize = 50_000;

/// Where something stands: byte offset and length in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
}

/// One value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is used; an alias (`*name`) stands for its value here.
    pub(super) at: Span,
    /// Where its text is written: elsewhere than `at` for what came by alias.
    pub(super) written: Span,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of a map's entry.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) at: Span,
    pub(super) name: String,
}

/// A place by keys and indices from the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<PathStep>);

impl Path {
    /// This place and one key down.
    pub(super) fn key(&self, key: &str) -> Self {
        self.join([PathStep::Key(key.to_owned())])
    }

    /// This place and one index down.
    pub(super) fn index(&self, index: usize) -> Self {
        self.join([PathStep::Index(index)])
    }

    /// This place and some steps down.
    pub(super) fn join(&self, steps: impl IntoIterator<Item = PathStep>) -> Self {
        Self(self.0.iter().cloned().chain(steps).collect())
    }

    /// Whether it is an item of a list.
    pub(super) fn is_item(&self) -> bool {
        matches!(self.0.last(), Some(PathStep::Index(_)))
    }

    /// The last key in it, for texts.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            PathStep::Key(key) => Some(key.as_str()),
            PathStep::Index(_) => None,
        })
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct TreeError {
    pub(super) at: Option<Span>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Node {
    /// Reads a document.
    pub(super) fn parse(text: &str) -> Result<Self, TreeError> {
        let budget = serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 2,
        };
        let options = serde_saphyr::options! {
            budget: budget,
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            reject_unsupported_tags: true,
            with_snippet: false,
        };
        let root: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error, text))?;
        Ok(root.into())
    }

    /// The value without places, for typing. Of two equal keys the first counts.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(value) => Value::String(value.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().rev().map(|(key, value)| (key.name.clone(), value.to_value())).collect())
            }
        }
    }

    /// The entries, if it is a map.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// One step down.
    pub(super) fn child(&self, step: &PathStep) -> Option<(Option<&Key>, &Self)> {
        match (&self.kind, step) {
            (Kind::Map(entries), PathStep::Key(name)) => {
                entries.iter().find(|(key, _)| key.name == *name).map(|(key, value)| (Some(key), value))
            }
            (Kind::List(items), PathStep::Index(index)) => items.get(*index).map(|item| (None, item)),
            _ => None,
        }
    }

    /// What stands at a place.
    pub(super) fn find(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| Some(node.child(step)?.1))
    }

    /// The value at a key, to be changed.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::Map(entries) => entries.iter_mut().find(|(key, _)| key.name == name).map(|(_, value)| value),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// What to underline for a value: the value itself where it is one word, else the key that holds it. A place that is not in
    /// the document gives the nearest one above it.
    pub(super) fn value_span(&self, path: &Path) -> Span {
        let (key, node) = self.nearest(path);
        if node.is_scalar() && node.at.len > 0 { node.at } else { key.map_or_else(|| node.start_span(), |key| key.at) }
    }

    /// What to underline for a key.
    pub(super) fn key_span(&self, path: &Path) -> Span {
        let (key, node) = self.nearest(path);
        key.map_or_else(|| node.start_span(), |key| key.at)
    }

    fn nearest(&self, path: &Path) -> (Option<&Key>, &Self) {
        let (mut key, mut node) = (None, self);
        for step in &path.0 {
            let Some(next) = node.child(step) else { break };
            (key, node) = next;
        }
        (key, node)
    }

    /// For what has no key: its first key, or its first character.
    fn start_span(&self) -> Span {
        self.entries().first().map_or(Span { len: self.at.len.max(1), ..self.at }, |(key, _)| key.at)
    }

    /// Whether it is neither list nor map.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::List(_) | Kind::Map(_))
    }

    /// Keys that stand twice in one map, each with its first place.
    pub(super) fn duplicates(&self) -> Vec<(Key, Span)> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(node) = open.pop() {
            match &node.kind {
                Kind::List(items) => open.extend(items),
                Kind::Map(entries) => {
                    let mut first = BTreeMap::new();
                    for (key, value) in entries {
                        match first.get(key.name.as_str()) {
                            Some(span) => found.push((key.clone(), *span)),
                            None => drop(first.insert(key.name.as_str(), key.at)),
                        }
                        open.push(value);
                    }
                }
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
            }
        }
        found
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only the errors that need other words than the parser's own are listed")]
fn explain(error: &serde_saphyr::Error, text: &str) -> TreeError {
    use serde_saphyr::Error;
    if let Error::AliasError { error, .. } = error {
        return explain(error, text);
    }
    let at = error.location().and_then(|location| offset_of(location, text));
    let says = |message: &str, hint: &str| TreeError { at, message: message.to_owned(), hint: Some(hint.to_owned()) };
    let aliases = "write the repeated parts out, or use fewer aliases";
    match error {
        Error::MultipleDocuments { .. } => {
            says("more than one document", "a file holds one Migration: remove the part from `---` on")
        }
        Error::Budget { breach: serde_saphyr::budget::BudgetBreach::Depth { .. }, .. } => too_deep(at),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => says("the document is too large once its aliases are expanded", aliases),
        Error::UnknownAnchor { .. } => says("unknown anchor", "an alias `*name` needs an `&name` above it"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => says("an anchor contains itself", aliases),
        Error::NonFiniteFloat { .. } => says("not a finite number", "write a number, or quote the text"),
        Error::NullIntoString { .. } => says("a key is missing or null", "every key is text"),
        error => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            if message.contains("recursion limit") {
                return too_deep(at);
            }
            says(&format!("not valid YAML: {message}"), "check the indentation, and quote texts that hold `: `, `#` or brackets")
        }
    }
}

fn too_deep(at: Option<Span>) -> TreeError {
    TreeError { at, message: "nested too deeply".into(), hint: Some(format!("no more than {MAX_DEPTH} levels are read")) }
}

fn offset_of(location: Location, text: &str) -> Option<Span> {
    let span = location.span();
    if let (Some(start), Some(len)) = (span.byte_offset(), span.byte_len()) {
        return Some(Span { start: usize::try_from(start).ok()?, len: usize::try_from(len).ok()? });
    }
    let line = usize::try_from(location.line()).ok()?.checked_sub(1)?;
    let column = usize::try_from(location.column()).ok()?.checked_sub(1)?;
    let content = text.split('\n').nth(line)?;
    let before: usize = text.split('\n').take(line).map(|line| line.len() + 1).sum();
    let within = content.char_indices().nth(column).map_or(content.len(), |(at, _)| at);
    Some(Span { start: before + within, len: 1 })
}

enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn span_of(location: Location) -> Span {
    let span = location.span();
    let number = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
    Span { start: number(span.byte_offset()), len: number(span.byte_len()) }
}

impl From<Spanned<Raw>> for Node {
    fn from(raw: Spanned<Raw>) -> Self {
        let kind = match raw.value {
            Raw::Null => Kind::Null,
            Raw::Bool(value) => Kind::Bool(value),
            Raw::Number(value) => Kind::Number(value),
            Raw::Text(value) => Kind::Text(value),
            Raw::List(items) => Kind::List(items.into_iter().map(Self::from).collect()),
            Raw::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (Key { at: span_of(key.referenced), name: key.value }, Self::from(value)))
                    .collect(),
            ),
        };
        Self { at: span_of(raw.referenced), written: span_of(raw.defined), kind }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> de::Visitor<'de> for AnyValue {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Number::from_f64(value).map_or(Raw::Null, Raw::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
