//! Secrets by reference. A document holds the name of an environment variable or a file, never the value.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

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
                let file = tokio::fs::File::open(path).await.map_err(|e| fail(e.to_string()))?;
                let mut bytes = Vec::new();
                // A file's own word of its size is not to be relied on: some say 0 and have no end.
                file.take(MAX_SECRET + 1).read_to_end(&mut bytes).await.map_err(|e| fail(e.to_string()))?;
                if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_SECRET) {
                    return Err(fail(format!("is longer than {MAX_SECRET} bytes, more than a secret can be")));
                }
                String::from_utf8(bytes).map_err(|_| fail("is not valid UTF-8".into()))?
            }
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(fail("is empty".into()));
        }
        Ok(SecretString::from(trimmed.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn a_file_without_an_end_is_no_secret() {
        let error = SecretRef::File("/dev/zero".into()).resolve().await.unwrap_err();
        assert!(error.to_string().contains("more than a secret can be"), "{error}");
    }

    #[tokio::test]
    async fn a_file_is_read_without_the_white_space_around_it() {
        let secret = SecretRef::File("/proc/self/comm".into()).resolve().await.unwrap();
        assert!(!secret.expose_secret().is_empty() && !secret.expose_secret().ends_with('\n'));
    }
}
