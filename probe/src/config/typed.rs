//! From a part of the tree to its type, with every error of the part: what does not fit is reported, left out, and the rest is
//! tried again.

use checks::{PathStep, SpecError, spec_error};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{API_VERSION, KIND};
use super::problem::Problems;
use super::secrets::{hide_literals, sounds_secret};
use super::tree::{Node, Path};

/// Most errors that are looked for in one part.
const MOST: usize = 32;
/// What is said of a value that may not be shown.
const UNSHOWN: &str = "another value";

/// A part that fits its type, perhaps without some fields.
#[derive(Debug)]
pub(super) struct Fit<T> {
    pub(super) value: T,
    /// Whether nothing had to be left out, so that its numbers may be compared with each other.
    pub(super) whole: bool,
}

/// Types a fixed part of the document. A missing field of it is an error, and has a stand-in while the rest is read.
pub(super) fn fit<T: DeserializeOwned>(problems: &mut Problems<'_>, root: &Node, path: &Path, value: Value) -> Option<Fit<T>> {
    let parse = |value| serde_path_to_error::deserialize(value).map_err(spec_error);
    fit_or_stand_in(problems, root, path, value, parse, |field| match field {
        "apiVersion" => Some(API_VERSION.into()),
        "kind" => Some(KIND.into()),
        "name" => Some("".into()),
        "metadata" | "spec" | "check" => Some(Value::Null),
        "phases" | "probes" => Some(Value::Array(Vec::new())),
        _ => None,
    })
}

/// Types a part with its own parser.
pub(super) fn fit_with<T>(
    problems: &mut Problems<'_>,
    root: &Node,
    path: &Path,
    value: Value,
    parse: impl Fn(Value) -> Result<T, SpecError>,
) -> Option<Fit<T>> {
    fit_or_stand_in(problems, root, path, value, parse, |_| None)
}

fn fit_or_stand_in<T>(
    problems: &mut Problems<'_>,
    root: &Node,
    path: &Path,
    mut value: Value,
    parse: impl Fn(Value) -> Result<T, SpecError>,
    stand_in: impl Fn(&str) -> Option<Value>,
) -> Option<Fit<T>> {
    if value.is_null() {
        // A stand-in for what is missing is not in the document, and has been told.
        if root.find(path).is_some() {
            problems.value(root, path, "nothing stands here", "fill it in, or remove the line");
        }
        return None;
    }
    let mut left_out: Vec<Vec<PathStep>> = Vec::new();
    for key in leave_out_nulls(&mut value) {
        let message = format!("`{key}` has no value");
        problems.key(root, &path.key(&key), message, "give it one, or remove the line");
        left_out.push(vec![PathStep::Key(key)]);
    }
    for _ in 0..MOST {
        let error = match parse(value.clone()) {
            Ok(fit) => return Some(Fit { value: fit, whole: left_out.is_empty() }),
            Err(error) => error,
        };
        if let Some(field) = error.message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            let missing: Vec<_> = error.path.iter().cloned().chain([PathStep::Key(field.to_owned())]).collect();
            if !left_out.contains(&missing) {
                let message = format!("missing field `{field}`");
                problems.key(root, &path.join(error.path), message, format!("add `{field}` here"));
                left_out.push(missing);
            }
            value.as_object_mut()?.insert(field.to_owned(), stand_in(field)?);
            continue;
        }
        report(problems, root, path, &error);
        let place = leave_out(&mut value, error.path)?;
        left_out.push(place);
    }
    None
}

/// A key without a value is more likely forgotten than meant: it never counts as left to its default.
fn leave_out_nulls(value: &mut Value) -> Vec<String> {
    let Some(entries) = value.as_object_mut() else { return Vec::new() };
    let nulls: Vec<String> = entries.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key.clone()).collect();
    entries.retain(|_, value| !value.is_null());
    nulls
}

/// Removes the innermost entry of a map that holds the place, and says which it was.
fn leave_out(value: &mut Value, mut place: Vec<PathStep>) -> Option<Vec<PathStep>> {
    while !matches!(place.last()?, PathStep::Key(_)) {
        place.pop();
    }
    let (last, parents) = place.split_last()?;
    let mut holder = value;
    for step in parents {
        holder = match step {
            PathStep::Key(key) => holder.get_mut(key)?,
            PathStep::Index(index) => holder.get_mut(index)?,
        };
    }
    let PathStep::Key(key) = last else { return None };
    holder.as_object_mut()?.remove(key)?;
    Some(place)
}

fn report(problems: &mut Problems<'_>, root: &Node, part: &Path, error: &SpecError) {
    let path = part.join(error.path.clone());
    let text = &error.message;
    if let Some((name, known)) = unknown(text, "unknown field ") {
        // What an unknown field holds may be a secret, unless it is a slip of one that is none.
        if nearest(name, &known).is_none_or(sounds_secret)
            && let Some(node) = root.find(&path)
        {
            hide_literals(problems, node);
        }
        let hint =
            if known.is_empty() { "remove it: there are no fields here".to_owned() } else { instead(name, &known, "fields") };
        return problems.key(root, &path, format!("unknown field `{name}`"), hint);
    }
    if let Some((name, known)) = unknown(text, "unknown variant ") {
        return problems.value(root, &path, format!("unknown value `{name}`"), instead(name, &known, "values"));
    }
    if let Some(key) = path.last_key().filter(|key| sounds_secret(key)) {
        let hint = format!("`probe config schema` says what `{key}` can be");
        return problems.value(root, &path, format!("`{key}` is not what it should be"), hint);
    }
    let text = if root.find(&path).is_some_and(|node| problems.hides(node.at)) { &unquoted(text) } else { text };
    let (message, hint) = reword(text, &path);
    problems.value(root, &path, message, hint);
}

/// The name and the known ones of serde's "unknown … `x`, expected one of `a`, `b`".
fn unknown<'a>(text: &'a str, what: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = text.strip_prefix(what)?.strip_prefix('`')?;
    let (name, rest) = rest.split_once("`, ")?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// Serde's words without the value that they are about.
fn unquoted(text: &str) -> String {
    let found = if text.starts_with("invalid type: string ") { "text" } else { UNSHOWN };
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| format!("invalid type: {found}, expected {expected}"));
    expected.unwrap_or_else(|| "not what it should be".to_owned())
}

/// Serde's words for a value of the wrong type, without Rust's words in them.
fn reword(text: &str, path: &Path) -> (String, String) {
    let key = path.last_key().unwrap_or("it");
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| text.strip_prefix(prefix));
    let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) else {
        let hint = match text {
            text if text.ends_with("longer than a year") => "write `1y` or less".to_owned(),
            text if text.contains("URL") => format!("write all of it, such as `{key}: http://192.0.2.10:3100`"),
            _ => format!("correct `{key}`; `probe config schema` says what it can be"),
        };
        return (text.to_owned(), hint);
    };
    let bare = found.split('`').nth(1).unwrap_or(found);
    let words = found.strip_prefix("string ").map(|text| text.trim_matches('"'));
    if expected.contains("duration") {
        return match (words, found.starts_with("integer ") || found.starts_with("floating point ")) {
            (Some(text), _) => (format!("`{text}` is not a duration"), "write `10s`, `5m` or `1h30m`".into()),
            (None, true) => (format!("`{bare}` is a number, not a duration"), format!("write `{bare}s`")),
            (None, false) => (format!("expected a duration, found {}", found_word(found)), "write `10s`".into()),
        };
    }
    let hint = match (expected_word(expected), words) {
        (word, Some(text)) if word.starts_with("a command") => {
            format!("write it word by word: `{key}: [{}]`", text.split_whitespace().collect::<Vec<_>>().join(", "))
        }
        (word, None) if word.starts_with("a command") => format!("write it word by word: `{key}: [program, argument]`"),
        ("a list", Some(text)) => format!("write `{key}: [{text}]`"),
        ("a list", None) => format!("write `{key}: […]`"),
        ("a map", _) => format!("give `{key}` its fields, one to a line"),
        ("text", _) if path.is_item() && bare != found => format!("write `\"{bare}\"`, in quotes"),
        ("text", _) if !found.starts_with("null") && !matches!(found, "sequence" | "map" | UNSHOWN) => {
            format!("write `{key}: \"{bare}\"`")
        }
        ("a whole number", Some(text)) if text.parse::<u32>().is_ok() => format!("write `{key}: {text}`, without quotes"),
        (word, _) if found.starts_with("null") => format!("give `{key}` a value ({word}), or remove it"),
        (word, _) => format!("give `{key}` {word}"),
    };
    (format!("expected {}, found {}", expected_word(expected), found_word(found)), hint)
}

fn expected_word(expected: &str) -> &str {
    match expected {
        "a string" | "path string" | "string" => "text",
        "a sequence" => "a list",
        "a boolean" => "`true` or `false`",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "string or map" => "one of its words",
        other if other.starts_with("struct ") || other.contains("map") => "a map",
        other => other,
    }
}

fn found_word(found: &str) -> &str {
    match found {
        "sequence" => "a list",
        "map" => "a map",
        "null" | "unit value" => "nothing",
        other => other,
    }
}

/// What to write instead of a name that is not known: the nearest one, or all.
pub(crate) fn instead(name: &str, known: &[&str], what: &str) -> String {
    if let Some(near) = nearest(name, known) {
        return format!("did you mean `{near}`?");
    }
    let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("known {what}: {}", list.join(", "))
}

/// The known name that was most likely meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(80).collect::<String>();
    let name = plain(name);
    let distance = |known: &str| strsim::damerau_levenshtein(&name, &plain(known));
    let (far, near) = known.iter().map(|known| (distance(known), *known)).min()?;
    (far <= name.chars().count().div_ceil(3).min(3) && far < name.chars().count()).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let known = ["every", "timeout", "failAfter"];
        for slip in ["evry", "Every", "evrey", "fail_after", "failafter", "time-out"] {
            assert!(instead(slip, &known, "fields").starts_with("did you mean"), "{slip}");
        }
        for other in ["steps", "x", "", "interval"] {
            assert_eq!(instead(other, &known, "fields"), "known fields: `every`, `timeout`, `failAfter`", "{other}");
        }
    }
}
