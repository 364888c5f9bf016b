//! Secrets by reference. A document holds the name of an environment variable or a file, never the value.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Largest secret file that is read, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// Where a secret is found. Resolved at each Run, so a rotated file is picked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretRef {
    /// Name of an environment variable of the verifier.
    Env(String),
    /// Path of a file; surrounding white space is trimmed.
    File(PathBuf),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Why a secret could not be had. Never contains the secret.
#[derive(Debug, thiserror::Error)]
#[error("{reference}: {what}")]
pub struct SecretError {
    reference: SecretRef,
    what: String,
}

impl SecretRef {
    /// Reads the secret now.
    pub async fn resolve(&self) -> Result<SecretString, SecretError> {
        let fail = |what: String| SecretError { reference: self.clone(), what };
        let text = match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(value) => value,
                Err(std::env::VarError::NotPresent) => return Err(fail("is not set".into())),
                Err(std::env::VarError::NotUnicode(_)) => return Err(fail("is not valid UTF-8".into())),
            },
            Self::File(path) => {
                let size = tokio::fs::metadata(path).await.map_err(|e| fail(e.to_string()))?.len();
                if size > MAX_SECRET {
                    return Err(fail(format!("is {size} bytes, more than a secret can be")));
                }
                tokio::fs::read_to_string(path).await.map_err(|e| fail(e.to_string()))?
            }
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(fail("is empty".into()));
        }
        Ok(SecretString::from(trimmed.to_owned()))
    }
}
