//! Who may change something: whoever has a token of `--web.token.file`, or whom Kubernetes knows and allows to
//! (`--web.kubernetes.auth`). Reading needs no token.

mod answers;
mod cluster;
mod file;
mod missing;

use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

pub use cluster::Reviews;
pub use file::{AuthError, LineError};
pub use missing::Missing;

use crate::api::types::TOKEN_HEADER;
use file::TokenFile;

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

    /// The role by the name of whoever has it, as `deploy/` calls it.
    pub const fn bearer(self) -> &'static str {
        match self {
            Self::Read => "reader",
            Self::Heartbeat => "heartbeat",
            Self::Operate => "operator",
            Self::Approve => "approver",
        }
    }

    /// The roles that include this one and that Kubernetes can give, itself first.
    fn granting(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |role| *role != Self::Read && role.covers(self))
    }
}

/// Who has a token, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name in the audit trail.
    pub name: String,
    /// Its roles; the first is the one to be called by.
    pub roles: Vec<Role>,
}

impl Holder {
    /// The roles that these include, themselves among them.
    pub fn covered(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| self.roles.iter().any(|has| has.covers(*role)))
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The verifier runs without a token file, and does not ask Kubernetes.
    Disabled,
    /// No bearer token was sent.
    Missing,
    /// Two tokens were sent, and they are not the same.
    Contradiction,
    /// The token is not known.
    Invalid,
    /// Neither the token file nor Kubernetes knows the token.
    Unvouched {
        /// Where the verifier lives.
        namespace: String,
    },
    /// Kubernetes vouches for somebody who can not be named.
    Unusable(String),
    /// The token's role is not enough.
    Role {
        /// Name of the token.
        name: String,
        /// Its role.
        has: Role,
        /// The role it takes.
        needs: Role,
    },
    /// Kubernetes knows them, and does not allow it.
    Forbidden(Box<Missing>),
    /// Kubernetes was asked, and nobody knows the answer.
    Unanswered {
        /// Why not, in one line.
        why: String,
        /// What to do about it.
        next: String,
    },
}

/// Knows who may. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Auth {
    file: Option<Arc<TokenFile>>,
    cluster: Option<Arc<Reviews>>,
}

impl Auth {
    /// Nobody may change anything.
    pub const fn disabled() -> Self {
        Self { file: None, cluster: None }
    }

    /// Reads the token file.
    ///
    /// # Errors
    /// When it can not be read, or with all lines that can not be used.
    pub fn load(path: &Path) -> Result<Self, AuthError> {
        Ok(Self { file: Some(Arc::new(TokenFile::load(path)?)), cluster: None })
    }

    /// Asks Kubernetes about tokens that are not in the file.
    #[must_use]
    pub fn with_cluster(self, reviews: Reviews) -> Self {
        Self { cluster: Some(Arc::new(reviews)), ..self }
    }

    /// The name of whoever sends a request, if they may do what takes this role.
    ///
    /// # Errors
    /// Why the request is denied.
    pub async fn actor(&self, headers: &HeaderMap, needs: Role) -> Result<String, Denied> {
        let sent = self.sent(headers)?;
        if let Some((name, has)) = self.in_file(sent).await {
            return if has.covers(needs) { Ok(name) } else { Err(Denied::Role { name, has, needs }) };
        }
        self.cluster.as_ref().ok_or(Denied::Invalid)?.actor(sent, needs).await
    }

    /// Whoever sends a request, and what their token allows.
    ///
    /// # Errors
    /// Why it carries none that is known.
    pub async fn holder(&self, headers: &HeaderMap) -> Result<Holder, Denied> {
        let sent = self.sent(headers)?;
        if let Some((name, role)) = self.in_file(sent).await {
            return Ok(Holder { name, roles: vec![role] });
        }
        self.cluster.as_ref().ok_or(Denied::Invalid)?.holder(sent).await
    }

    fn sent<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Denied> {
        if self.file.is_none() && self.cluster.is_none() {
            return Err(Denied::Disabled);
        }
        match (bearer(headers)?, named(headers)?) {
            (Some(one), Some(other)) if one != other => Err(Denied::Contradiction),
            (one, other) => one.or(other).ok_or(Denied::Missing),
        }
    }

    async fn in_file(&self, sent: &str) -> Option<(String, Role)> {
        self.file.as_ref()?.holder(sent).await
    }
}

/// The bearer token, if one is sent.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let sent = only(headers, AUTHORIZATION.as_str())?.and_then(|value| value.split_once(' '));
    let token = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    Ok(token.filter(|token| !token.is_empty()))
}

/// The token in a header of its own, if one is sent.
fn named(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    Ok(only(headers, TOKEN_HEADER)?.map(str::trim).filter(|token| !token.is_empty()))
}

/// A header that must not come twice: nobody knows which of them whoever stands in between has looked at.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Denied> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(Denied::Missing);
    }
    Ok(first.and_then(|value| value.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderName;

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
        let both = |other: &str| {
            let mut both = headers(&format!("Bearer {ANN}"));
            both.append(TOKEN_HEADER, other.parse().unwrap());
            both
        };
        assert_eq!(actor(both(ANN)).await, Ok("ann".into()));
        assert_eq!(actor(both("an-operators-long-tokem")).await, Err(Denied::Contradiction));
        assert_eq!(
            actor(HeaderMap::from_iter([(HeaderName::from_static(TOKEN_HEADER), ANN.parse().unwrap())])).await,
            Ok("ann".into())
        );
        let mut thrice = HeaderMap::new();
        thrice.append(TOKEN_HEADER, ANN.parse().unwrap());
        thrice.append(TOKEN_HEADER, ANN.parse().unwrap());
        assert_eq!(actor(thrice).await, Err(Denied::Missing), "twice is once too often");
        let mut one_of_three = both(ANN);
        one_of_three.append(AUTHORIZATION, "Bearer other".parse().unwrap());
        assert_eq!(actor(one_of_three).await, Err(Denied::Missing));
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
