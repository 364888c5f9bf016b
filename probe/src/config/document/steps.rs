//! The steps of a phase, as types.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::super::duration::Lapse;
use super::super::steps::EnvValue;
use super::NAME_PATTERN;

/// One step of a phase: exactly one of `do`, `manual` and `wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["do"]}, {"required": ["manual"]}, {"required": ["wait"]}]))]
pub(in super::super) struct Step {
    /// Unique in its phase.
    #[schemars(extend("pattern" = NAME_PATTERN, "maxLength" = 63))]
    pub(in super::super) name: String,
    /// What is done: a command that runs on the operator's machine.
    #[serde(rename = "do")]
    pub(in super::super) work: Option<Words>,
    /// What a person does, who confirms it.
    pub(in super::super) manual: Option<String>,
    /// What is waited for; nobody does anything.
    #[serde(default, deserialize_with = "by_fields")]
    pub(in super::super) wait: Option<Wait>,
    /// A command that exits with 0 when the step is done already. Only with `do`.
    pub(in super::super) check: Option<Words>,
    /// Probes of this or an earlier phase that must be green before the step is done.
    #[schemars(extend("uniqueItems" = true))]
    pub(in super::super) verify: Option<Vec<String>>,
    /// What leads back: a command, or what a person does.
    pub(in super::super) undo: Option<Back>,
    /// How long it may take, its verification included, at most `24h`; `10m` unless given.
    pub(in super::super) timeout: Option<Lapse>,
    /// Environment variables for `do`, `check` and `undo`. Only with `do`.
    pub(in super::super) env: Option<BTreeMap<String, EnvValue>>,
    /// Where `do`, `check` and `undo` run, relative to the folder of the document; that folder unless given. Only with `do`.
    #[schemars(length(min = 1))]
    pub(in super::super) dir: Option<String>,
    /// Whether it changes the authoritative side. Exactly one step of a phase does.
    pub(in super::super) switch: Option<bool>,
    /// Whether nothing leads back once it has started: the point of no return. At most one step of a phase is.
    pub(in super::super) ponr: Option<bool>,
    /// Probes of this or an earlier phase that may turn red while the step runs.
    #[schemars(extend("uniqueItems" = true))]
    pub(in super::super) disturbs: Option<Vec<String>>,
}

impl Step {
    /// Whether it changes the authoritative side.
    pub(in super::super) fn is_switch(&self) -> bool {
        self.switch == Some(true)
    }

    /// Whether nothing leads back from it.
    pub(in super::super) fn is_ponr(&self) -> bool {
        self.ponr == Some(true)
    }
}

/// What is waited for: probes, or a gate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["probes"]}, {"required": ["gate"]}]))]
pub(in super::super) struct Wait {
    /// Probes of this or an earlier phase that must be green.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub(in super::super) probes: Option<Vec<String>>,
    /// An earlier phase, whose gate must be open.
    pub(in super::super) gate: Option<String>,
}

/// Of a map only: a type's fields would be taken from a list too, one after the other.
fn by_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Wait>, D::Error> {
    struct Fields;
    impl<'de> de::Visitor<'de> for Fields {
        type Value = Wait;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Wait, A::Error> {
            Wait::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Fields).map(Some)
}

/// What leads back: a command, or what a person does.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Undo", untagged)]
pub(in super::super) enum Back {
    /// A command that runs on the operator's machine.
    Command(Words),
    /// What a person does, who confirms it.
    Manual(Instructions),
}

/// What a person does, who confirms it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in super::super) struct Instructions {
    /// In words.
    #[schemars(required)]
    pub(in super::super) manual: Option<String>,
}

/// A command: a program and its arguments.
#[derive(Debug)]
pub(in super::super) struct Words(pub(in super::super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> de::Visitor<'de> for List {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, words: A) -> Result<Words, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(words)).map(Words)
            }
        }
        deserializer.deserialize_any(List)
    }
}

impl JsonSchema for Words {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "description": "A command: a program and its arguments, word by word. No shell reads it.",
            "items": { "type": "string", "minLength": 1 },
            "minItems": 1,
            "examples": [["kubectl", "apply", "-k", "k3s/alloy"]],
        })
    }
}

impl<'de> Deserialize<'de> for Back {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Back;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command or `{manual: …}`")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, words: A) -> Result<Back, A::Error> {
                Words::deserialize(de::value::SeqAccessDeserializer::new(words)).map(Back::Command)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Back, A::Error> {
                Instructions::deserialize(de::value::MapAccessDeserializer::new(map)).map(Back::Manual)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
