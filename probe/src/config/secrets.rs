//! Keeps secrets out of the document, and what was written there by mistake out of every message.

use serde_json::Value;

use super::mask::{HIDDEN, clean, userinfo};
use super::problem::Problems;
use super::tree::{Key, Kind, Node, Span};

/// How a secret is referred to.
const HINT: &str = "refer to it: `{env: NAME}` or `{file: PATH}`";
/// The reference that stands in for a wrong one while the rest is read. The document is refused anyway.
const STAND_IN: &str = "REMOVED";

/// Finds the places that hold a reference to a secret (a type of `env` or `file`, like [`checks::SecretRef`]) by the block's
/// schema, and hides and replaces what is no reference.
pub(super) fn guard(problems: &mut Problems<'_>, schema: &Value, block: &mut Node) {
    walk(problems, schema, schema, block, 0);
}

fn walk(problems: &mut Problems<'_>, root: &Value, schema: &Value, node: &mut Node, depth: usize) {
    // A schema may refer to itself; no document is nested deeper than this.
    if depth > 64 {
        return;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|it| root.pointer(it.strip_prefix('#')?)) {
        walk(problems, root, target, node, depth + 1);
    }
    let ways = ways(schema);
    if ways.contains(&"env") && ways.contains(&"file") {
        return guard_reference(problems, node, &ways);
    }
    for branches in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(*word)?.as_array()) {
        for branch in branches {
            walk(problems, root, branch, node, depth + 1);
        }
    }
    match &mut node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                let property = schema.get("properties").and_then(|properties| properties.get(&key.name));
                if let Some(inner) = property.or_else(|| schema.get("additionalProperties")) {
                    walk(problems, root, inner, value, depth + 1);
                }
            }
        }
        Kind::List(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    walk(problems, root, inner, item, depth + 1);
                }
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// The keys of a type that is exactly one of several, like [`checks::SecretRef`].
fn ways(schema: &Value) -> Vec<&str> {
    let arms = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    arms.filter_map(|arm| arm.get("properties")?.as_object()?.keys().next().map(String::as_str)).collect()
}

fn guard_reference(problems: &mut Problems<'_>, node: &mut Node, ways: &[&str]) {
    let at = node.at;
    let wrong = match &node.kind {
        Kind::Map(entries) => match entries.as_slice() {
            [(key, value)] => match (key.name.as_str(), &value.kind) {
                ("env", Kind::Text(name)) if is_variable(name) => return,
                ("file", Kind::Text(path)) if !path.is_empty() && !path.contains("://") => return,
                ("env", _) => Some((value.at, "not the name of an environment variable")),
                ("file", _) => Some((value.at, "not the path of a file")),
                (other, _) if ways.contains(&other) => return,
                _ => Some((key.at, "a secret is given by `env` or `file`")),
            },
            _ => Some((entries.first().map_or(at, |(key, _)| key.at), "a secret is given by exactly one of `env` and `file`")),
        },
        Kind::Null => None,
        Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => Some((at, "a secret may not stand in the document")),
    };
    let Some((place, message)) = wrong else { return };
    hide(problems, node);
    let place = Span { len: place.len.max(1), ..place };
    problems.error(place, message, HINT);
    let key = Key { at, name: "env".into() };
    let value = Node { at, written: at, kind: Kind::Text(STAND_IN.into()) };
    node.kind = Kind::Map(vec![(key, value)]);
}

/// Hides and replaces what is no reference in the environment of a command: what is given by a map, and what its name says is a
/// secret. Any other value may be a text.
pub(super) fn guard_env(problems: &mut Problems<'_>, env: &mut Node) {
    let Kind::Map(entries) = &mut env.kind else { return };
    for (key, value) in entries {
        if sounds_secret(&key.name) || matches!(value.kind, Kind::Map(_)) {
            guard_reference(problems, value, &["env", "file"]);
        }
    }
}

/// Whether it can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Hides the values in a node that are no references.
pub(super) fn hide_literals(problems: &mut Problems<'_>, node: &Node) {
    match &node.kind {
        Kind::Map(entries) => {
            let literals = entries.iter().filter(|(key, _)| !matches!(key.name.as_str(), "env" | "file"));
            literals.for_each(|(_, value)| hide_literals(problems, value));
        }
        Kind::List(_) | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => hide(problems, node),
    }
}

/// Hides all that stands in a node but the words `env` and `file`.
fn hide(problems: &mut Problems<'_>, node: &Node) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| hide(problems, item)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                if !matches!(key.name.as_str(), "env" | "file") {
                    problems.hide(key.at);
                }
                hide(problems, value);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
            problems.hide(node.at);
            problems.hide(node.written);
        }
    }
}

/// Everywhere in the document: no password in a URL, and nothing shown of a value whose key, flag or own text says that it is a
/// secret.
pub(super) fn sweep(problems: &mut Problems<'_>, root: &Node) {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        match &node.kind {
            Kind::List(items) => {
                let flagged = items.iter().zip(items.iter().skip(1)).filter(|(word, _)| is_secret_flag(word));
                flagged.for_each(|(_, value)| hide(problems, value));
                open.extend(items);
            }
            Kind::Map(entries) => {
                for (key, value) in entries {
                    if sounds_secret(&key.name) {
                        hide_literals(problems, value);
                    }
                    open.push(value);
                }
            }
            Kind::Text(text) if has_password(text) => {
                problems.hide(node.at);
                problems.hide(node.written);
                problems.error(
                    node.at,
                    "a password in a URL",
                    "a secret may not stand in the document: take `user:password@` out",
                );
            }
            Kind::Text(text) if assigns_secret(text) => hide(problems, node),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        }
    }
}

/// Whether the next word of a command is a secret, as after `--password`.
fn is_secret_flag(word: &Node) -> bool {
    matches!(&word.kind, Kind::Text(text) if text.starts_with('-') && !text.contains('=') && sounds_secret(text))
}

/// The words of a command as they may be shown.
pub(crate) fn without_secrets(words: &[String]) -> Vec<String> {
    let flag = |word: &str| word.starts_with('-') && !word.contains('=') && sounds_secret(word);
    let shown = |(nth, word): (usize, &String)| {
        if nth.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|before| flag(before)) {
            return HIDDEN.to_owned();
        }
        match secret_part(word) {
            Some(at) => format!("{}{HIDDEN}", word.get(..at).unwrap_or_default()),
            None => clean(word),
        }
    };
    words.iter().enumerate().map(shown).collect()
}

/// Whether a text says that a part of it is a secret, as `--password=…`, `PGPASSWORD=…` and `Authorization: …` do.
fn assigns_secret(text: &str) -> bool {
    secret_part(text).is_some()
}

/// Where the part of a text begins that it says is a secret.
fn secret_part(text: &str) -> Option<usize> {
    text.match_indices(['=', ':']).map(|(at, sign)| (at, at + sign.len())).find_map(|(at, end)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(end..).unwrap_or_default());
        let before = before.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let word = before.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).next().unwrap_or_default();
        (sounds_secret(word) && !after.trim().is_empty()).then_some(end)
    })
}

fn has_password(text: &str) -> bool {
    userinfo(text).into_iter().any(|range| text.get(range).is_some_and(|part| part.contains(':')))
}

/// Whether a key says that its value is a secret.
pub(super) fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace(['-', '_'], "");
    ["password", "passwd", "secret", "token", "dsn", "credential", "authorization", "apikey", "cookie"]
        .iter()
        .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_command_is_shown_without_the_secrets_in_it() {
        let shown = |line: &str| without_secrets(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(shown("kubectl apply -k k3s/alloy"), "kubectl apply -k k3s/alloy");
        assert_eq!(shown("curl -H Authorization:hunter2 --token hunter3 x"), "curl -H Authorization:*** --token *** x");
        assert_eq!(shown("env PGPASSWORD=hunter2 psql --password=hunter3"), "env PGPASSWORD=*** psql --password=***");
        assert_eq!(shown("psql postgres://me:hunter2@host/db"), "psql postgres://***@host/db");
        assert_eq!(shown("tool --secret-file /run/x"), "tool --secret-file ***", "rather too much than too little");
    }
}
