//! Who may change something: `--web.token.file`, one `NAME ROLE TOKEN` per line. Reading needs no token.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use crate::decide::VERIFIER;

/// Shorter tokens are refused.
const MIN_TOKEN: usize = 16;
/// Longest name of a token.
const MAX_NAME: usize = 63;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reading, which needs no token: a name for dashboards.
    Read,
    /// Sending heartbeats.
    Heartbeat,
    /// Everything that changes state: phases, overrides, facts, runs.
    Operate,
    /// Approving what somebody else does.
    Approve,
}

impl Role {
    /// As in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Heartbeat => "heartbeat",
            Self::Operate => "operate",
            Self::Approve => "approve",
        }
    }

    const ALL: [Self; 4] = [Self::Read, Self::Heartbeat, Self::Operate, Self::Approve];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Heartbeat => 1,
            Self::Operate => 2,
            Self::Approve => 3,
        }
    }

    /// Whether this role includes another: operate includes heartbeat, which includes read. To approve is a role of its own,
    /// so that nobody approves what they do themselves.
    pub const fn covers(self, need: Self) -> bool {
        match self {
            Self::Read | Self::Heartbeat | Self::Operate => need.rank() <= self.rank(),
            Self::Approve => matches!(need, Self::Approve | Self::Read),
        }
    }

    /// The roles that this one includes, itself among them.
    pub fn covered(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |role| self.covers(*role))
    }
}

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

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The verifier runs without a token file.
    Disabled,
    /// No bearer token was sent.
    Missing,
    /// The token is not known.
    Invalid,
    /// The token's role is not enough.
    Role {
        /// Name of the token.
        name: String,
        /// Its role.
        has: Role,
        /// The role it takes.
        needs: Role,
    },
}

/// Knows the tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Auth(Option<Arc<TokenFile>>);

#[derive(Debug)]
struct TokenFile {
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

impl Auth {
    /// Nobody may change anything.
    pub const fn disabled() -> Self {
        Self(None)
    }

    /// Reads the token file.
    ///
    /// # Errors
    /// When it can not be read, or with all lines that can not be used.
    pub fn load(path: &Path) -> Result<Self, AuthError> {
        let bytes = std::fs::read(path).map_err(|error| AuthError::Unreadable(path.to_owned(), error))?;
        let (tokens, errors) = parse(&bytes);
        if !errors.is_empty() {
            return Err(AuthError::Lines(path.to_owned(), errors));
        }
        let seen = Seen { digest: Some(sha256(&bytes)), tokens: tokens.into() };
        Ok(Self(Some(Arc::new(TokenFile { path: path.to_owned(), seen: RwLock::new(seen) }))))
    }

    /// The name of the token that a request carries, if its role is enough.
    ///
    /// # Errors
    /// Why the request is denied.
    pub async fn actor(&self, headers: &HeaderMap, needs: Role) -> Result<String, Denied> {
        let (name, has) = self.holder(headers).await?;
        if has.covers(needs) { Ok(name) } else { Err(Denied::Role { name, has, needs }) }
    }

    /// The name and the role of the token that a request carries.
    ///
    /// # Errors
    /// Why it carries none that is known.
    pub async fn holder(&self, headers: &HeaderMap) -> Result<(String, Role), Denied> {
        let file = self.0.as_ref().ok_or(Denied::Disabled)?;
        let sent = bearer(headers).ok_or(Denied::Missing)?;
        let tokens = file.current().await;
        let digest = sha256(sent.as_bytes());
        // Each token is compared in full, so that the time taken tells nothing about which one is near.
        let found = tokens.iter().fold(None, |found, token| if same(&token.digest, &digest) { Some(token) } else { found });
        found.map(|token| (token.name.clone(), token.role)).ok_or(Denied::Invalid)
    }
}

impl TokenFile {
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

/// The bearer token; none when there is no such header, or more than one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (header, more) = (all.next()?, all.next());
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim()).filter(|token| !token.is_empty())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const ANN: &str = "an-operators-long-token";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn all_errors_come_at_once_with_their_lines_and_without_tokens() {
        let text = "\
# a comment
ann operate an-operators-long-token

bob admin bobs-secret-token-0001
eve operate short
verifier operate verifiers-secret-token
ann read another-secret-token-1
sue heartbeat an-operators-long-token
two words
";
        let Err(AuthError::Lines(_, errors)) = Auth::load(file(text).path()) else { panic!("accepted") };
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
        let shown: String = errors.iter().map(ToString::to_string).collect();
        for secret in ["secret", "short\n", ANN] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[tokio::test]
    async fn roles_include_each_other_as_declared() {
        let file = file(
            "ann operate an-operators-long-token\nhb heartbeat heartbeat-token-00001\nro read read-only-token-0000001\nap approve approver-token-000001\n",
        );
        let auth = Auth::load(file.path()).unwrap();
        let mut allowed = Vec::new();
        for token in [ANN, "heartbeat-token-00001", "read-only-token-0000001", "approver-token-000001"] {
            for role in [Role::Read, Role::Heartbeat, Role::Operate, Role::Approve] {
                if let Ok(name) = auth.actor(&headers(&format!("Bearer {token}")), role).await {
                    allowed.push(format!("{name}:{}", role.as_str()));
                }
            }
        }
        assert_eq!(
            allowed,
            ["ann:read", "ann:heartbeat", "ann:operate", "hb:read", "hb:heartbeat", "ro:read", "ap:read", "ap:approve"]
        );
    }

    #[tokio::test]
    async fn only_one_well_formed_bearer_header_counts() {
        let file = file("ann operate an-operators-long-token\n");
        let auth = Auth::load(file.path()).unwrap();
        let actor = |headers: HeaderMap| {
            let auth = auth.clone();
            async move { auth.actor(&headers, Role::Operate).await }
        };
        assert_eq!(actor(headers(&format!("bearer {ANN}"))).await, Ok("ann".into()));
        assert_eq!(actor(HeaderMap::new()).await, Err(Denied::Missing));
        assert_eq!(actor(headers("Basic YWxhZGRpbg==")).await, Err(Denied::Missing));
        assert_eq!(actor(headers("Bearer ")).await, Err(Denied::Missing));
        assert_eq!(actor(headers("Bearer an-operators-long-tokem")).await, Err(Denied::Invalid));
        let mut twice = headers(&format!("Bearer {ANN}"));
        twice.append(AUTHORIZATION, "Bearer other".parse().unwrap());
        assert_eq!(actor(twice).await, Err(Denied::Missing));
        assert_eq!(Auth::disabled().actor(&headers(&format!("Bearer {ANN}")), Role::Read).await, Err(Denied::Disabled));
    }

    #[tokio::test]
    async fn a_token_that_was_taken_out_is_out_at_once() {
        let file = file("ann operate an-operators-long-token\n");
        let auth = Auth::load(file.path()).unwrap();
        let ann = headers(&format!("Bearer {ANN}"));
        assert!(auth.actor(&ann, Role::Operate).await.is_ok());
        std::fs::write(file.path(), "bob operate bobs-secret-token-0001\nann broken line of a hasty edit\n").unwrap();
        assert_eq!(auth.actor(&ann, Role::Operate).await, Err(Denied::Invalid));
        assert_eq!(auth.actor(&headers("Bearer bobs-secret-token-0001"), Role::Operate).await, Ok("bob".into()));
        std::fs::remove_file(file.path()).unwrap();
        assert_eq!(auth.actor(&headers("Bearer bobs-secret-token-0001"), Role::Operate).await, Err(Denied::Invalid));
    }
}
