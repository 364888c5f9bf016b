//! The token file: one `NAME ROLE TOKEN` per line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use super::Role;
use crate::decide::VERIFIER;

/// Shorter tokens are refused.
const MIN_TOKEN: usize = 16;
/// Longest name of a token.
const MAX_NAME: usize = 63;

/// A line of the token file that can not be used. It never shows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The token file can not be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It can not be read.
    #[error("can not read the token file {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Lines of it can not be used; all of them.
    #[error("token file {}:{}", .0.display(), Lines(.1))]
    Lines(PathBuf, Vec<LineError>),
}

struct Lines<'a>(&'a [LineError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Knows the tokens of a file.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    seen: RwLock<Seen>,
}

/// The file's content as it was last read.
#[derive(Debug, Clone, Default)]
struct Seen {
    digest: Option<[u8; 32]>,
    tokens: Arc<[Token]>,
}

/// A token, known by its digest alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    role: Role,
    digest: [u8; 32],
}

impl TokenFile {
    /// Reads it.
    pub(super) fn load(path: &Path) -> Result<Self, AuthError> {
        let bytes = std::fs::read(path).map_err(|error| AuthError::Unreadable(path.to_owned(), error))?;
        let (tokens, errors) = parse(&bytes);
        if !errors.is_empty() {
            return Err(AuthError::Lines(path.to_owned(), errors));
        }
        let seen = Seen { digest: Some(sha256(&bytes)), tokens: tokens.into() };
        Ok(Self { path: path.to_owned(), seen: RwLock::new(seen) })
    }

    /// The name and the role of a token.
    pub(super) async fn holder(&self, sent: &str) -> Option<(String, Role)> {
        let tokens = self.current().await;
        let digest = sha256(sent.as_bytes());
        // Each token is compared in full, so that the time taken tells nothing about which one is near.
        let found = tokens.iter().fold(None, |found, token| if same(&token.digest, &digest) { Some(token) } else { found });
        found.map(|token| (token.name.clone(), token.role))
    }

    /// The tokens that the file names now. It is read for each change that somebody wants: a token that was taken out is out.
    async fn current(&self) -> Arc<[Token]> {
        let read = tokio::fs::read(&self.path).await;
        let digest = read.as_ref().ok().map(|bytes| sha256(bytes));
        let seen = self.seen.read().clone();
        if seen.digest == digest {
            return seen.tokens;
        }
        let file = self.path.display();
        let tokens = match read {
            Ok(bytes) => {
                let (tokens, errors) = parse(&bytes);
                for error in errors {
                    tracing::error!(%file, line = error.line, error = error.message, "line of the token file ignored");
                }
                tracing::info!(%file, tokens = tokens.len(), "token file read again");
                tokens
            }
            Err(error) => {
                tracing::error!(%file, %error, "the token file can not be read: no token is valid");
                Vec::new()
            }
        };
        let seen = Seen { digest, tokens: tokens.into() };
        *self.seen.write() = seen.clone();
        seen.tokens
    }
}

/// What a token is known by.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Compares without an early exit.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn parse(bytes: &[u8]) -> (Vec<Token>, Vec<LineError>) {
    let (mut tokens, mut errors) = (Vec::<Token>::new(), Vec::new());
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match token(line, &tokens) {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) => {}
            Err(message) => errors.push(LineError { line: at.saturating_add(1), message }),
        }
    }
    (tokens, errors)
}

fn token(line: &[u8], known: &[Token]) -> Result<Option<Token>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(name), Some(role), Some(token), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("it takes exactly three words: NAME ROLE TOKEN".into());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(format!("a name is at most {MAX_NAME} letters, digits, `.`, `_`, `@` or `-`"));
    }
    if name == VERIFIER {
        return Err(format!("the name `{VERIFIER}` is the verifier's own in the audit trail"));
    }
    let role = Role::parse(role).ok_or("the role is one of read, heartbeat, operate, approve")?;
    if token.len() < MIN_TOKEN {
        return Err(format!("the token of {name} is shorter than {MIN_TOKEN} characters"));
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(format!("the token of {name} has characters that no HTTP header carries"));
    }
    if known.iter().any(|other| other.name == name) {
        return Err(format!("the name {name} is used twice"));
    }
    let digest = sha256(token.as_bytes());
    if known.iter().any(|other| same(&other.digest, &digest)) {
        return Err(format!("the token of {name} is used twice"));
    }
    Ok(Some(Token { name: name.to_owned(), role, digest }))
}
