//! A duration as a document writes it: `10s`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest duration that a document may name: nothing here is planned for longer, and sums of a few can not overflow.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A duration with a unit, at most a year; one meaning has one serialized form (`60s` and `1m` are both `1m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lapse(pub(super) Duration);

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Lapse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Lapse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lapse, E> {
                let parsed = humantime::parse_duration(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                if parsed > LONGEST {
                    return Err(E::custom(format!("`{text}` is longer than a year")));
                }
                Ok(Lapse(parsed))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Lapse {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit, at most a year: `500ms`, `10s`, `1h30m`, `2d`.",
            "pattern": r"^\s*[0-9].*[a-zA-Zµ]\s*$|^0$",
            "examples": ["10s", "1h30m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Lapse, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn one_meaning_has_one_form() {
        for text in ["60s", "1m", "1min", "0h 60s"] {
            assert_eq!(parse(&format!("{text:?}")).unwrap().to_string(), "1m");
        }
    }

    #[test]
    fn a_duration_has_a_unit_and_ends_within_a_year() {
        for bad in ["10", "\"10\"", "\"\"", "\"-1s\"", "\"3 parsecs\"", "\"2y\"", "\"99999999999999999999s\"", "1.5", "null"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("\"1y\"").is_ok());
    }
}
