//! Hashes of meaning, never of bytes: equal documents, however they are written, have equal hashes.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 (hex) of bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// SHA-256 (hex) of the canonical form of a JSON value.
pub(super) fn of(value: &Value) -> String {
    of_bytes(sorted(value).as_bytes())
}

/// JSON without white space, keys sorted by their bytes whatever order the map type keeps.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: BTreeMap<&String, String> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            let entries: Vec<String> =
                entries.into_iter().map(|(key, value)| format!("{}:{value}", Value::String(key.clone()))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_has_sorted_keys_and_escapes_strings() {
        let value: Value = serde_json::from_str(r#"{"b": [1, {"z": null, "a": "q\"\n"}], "a": true}"#).unwrap();
        assert_eq!(sorted(&value), r#"{"a":true,"b":[1,{"a":"q\"\n","z":null}]}"#);
    }

    #[test]
    fn a_hash_is_the_well_known_one() {
        assert_eq!(of_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
