//! What the steps of a phase do, for the operator's tool: the verdict knows of them only what a [`crate::plan::StepPlan`] says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use checks::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::plan::StepName;

/// One step: what carries it out, and where.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// Unique in its phase.
    pub name: StepName,
    /// What is done.
    pub work: Work,
    /// A command that exits with 0 when the step is done already.
    pub check: Option<Vec<String>>,
    /// What leads back.
    pub undo: Option<Undo>,
    /// The environment of its commands, on top of the operator's own.
    pub env: BTreeMap<String, EnvValue>,
    /// Where its commands run, relative to the folder of the document; `None` for that folder.
    pub dir: Option<PathBuf>,
    /// How long it may take, its verification included.
    pub timeout: Duration,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A program and its arguments, without a shell.
    Command(Vec<String>),
    /// What a person does.
    Manual(String),
    /// Nothing: it waits for probes or a gate.
    Wait,
}

/// What leads back from a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// A program and its arguments, without a shell.
    Command(Vec<String>),
    /// What a person does.
    Manual(String),
}

/// The value of an environment variable: a text, or where a secret is found when the command starts.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// The value itself, which is no secret.
    Text(String),
    /// Where the secret is found: on the operator's machine.
    Secret(SecretRef),
}

impl fmt::Debug for EnvValue {
    /// Where a secret is found, but never a value: a text may hold one that the name of its variable does not tell of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(***)"),
            Self::Secret(source) => f.debug_tuple("Secret").field(source).finish(),
        }
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> de::Visitor<'de> for Value {
            type Value = EnvValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<EnvValue, A::Error> {
                SecretRef::deserialize(de::value::MapAccessDeserializer::new(map)).map(EnvValue::Secret)
            }
        }
        deserializer.deserialize_any(Value)
    }
}
