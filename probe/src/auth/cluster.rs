//! Asks Kubernetes whose token it is (`TokenReview`) and what they may do (`SubjectAccessReview`). Bounded in every way: in time, in size,
//! in how many are asked about at once, and in how long an answer counts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use k8s_openapi::Resource;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Client;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::answers::{self, User, Vouched};
use super::file::sha256;
use super::{Denied, Holder, Missing, Role};
use crate::api::types::AUDIENCE;
use crate::kubernetes::{Unanswered, ask};

/// How long an answer counts: as long as somebody whose right was taken away can still act. The API server itself vouches ten seconds
/// longer for a token whose account was deleted.
const TTL: Duration = Duration::from_secs(5);
/// More tokens are not remembered.
const MAX_KNOWN: usize = 512;
/// How many requests may be asking at once. A queue of guesses must not become a queue at the API server.
const AT_ONCE: usize = 4;
/// How long whoever sent a token that nobody knows keeps their place in that queue: guessing is slow.
const WRONG: Duration = Duration::from_millis(250);
/// How long one question may take with all that it takes to answer it.
const LIMIT: Duration = Duration::from_secs(5);
/// Longer tokens are nobody's.
const MAX_TOKEN: usize = 16 * 1024;
/// Longer answers are not read.
const MAX_ANSWER: usize = 256 * 1024;

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Asks Kubernetes who may.
pub struct Reviews {
    client: Client,
    namespace: String,
    migration: String,
    known: Mutex<BTreeMap<[u8; 32], Known>>,
    asking: Semaphore,
}

/// What is known of a token, by its digest.
struct Known {
    until: Instant,
    whose: Result<User, Denied>,
    may: BTreeMap<&'static str, bool>,
}

impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").field("namespace", &self.namespace).field("migration", &self.migration).finish_non_exhaustive()
    }
}

impl Reviews {
    /// Asks this cluster about rights on this Migration of this namespace.
    pub fn new(client: Client, namespace: String, migration: String) -> Self {
        let (known, asking) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Self { client, namespace, migration, known, asking }
    }

    /// The name of the token's user in the audit trail, if they may do what takes this role.
    pub(super) async fn actor(&self, token: &str, needs: Role) -> Result<String, Denied> {
        let roles: Vec<Role> = needs.granting().collect();
        let (user, may) = self.look(token, &roles, true).await?;
        if needs == Role::Read || !may.is_empty() {
            return Ok(user.actor());
        }
        let (namespace, migration) = (self.namespace.clone(), self.migration.clone());
        Err(Denied::Forbidden(Box::new(Missing { user: user.name().to_owned(), needs, namespace, migration })))
    }

    /// The token's user, and all that they may do.
    pub(super) async fn holder(&self, token: &str) -> Result<Holder, Denied> {
        let (user, mut roles) = self.look(token, &[Role::Operate, Role::Approve, Role::Heartbeat], false).await?;
        if roles.is_empty() {
            roles.push(Role::Read);
        }
        Ok(Holder { name: user.actor(), roles })
    }

    /// Whose token it is, and which of these roles they have; `one`: one that they have is enough.
    async fn look(&self, token: &str, roles: &[Role], one: bool) -> Result<(User, Vec<Role>), Denied> {
        if token.len() > MAX_TOKEN {
            return Err(self.nobody());
        }
        let digest = sha256(token.as_bytes());
        if let Some(answer) = self.remembered(&digest, roles, one) {
            return answer;
        }
        let looking = async {
            let _place = self.asking.acquire().await.map_err(|_| silent("nobody asks it any more"))?;
            // Somebody with the same token may have asked meanwhile.
            if let Some(answer) = self.remembered(&digest, roles, one) {
                return answer;
            }
            let whose = self.whose(token, &digest).await;
            let user = match whose {
                Ok(user) => user,
                Err(denied) => {
                    if !matches!(denied, Denied::Unanswered { .. }) {
                        sleep(WRONG).await;
                    }
                    return Err(denied);
                }
            };
            let mut has = Vec::new();
            for role in roles {
                if self.may(&user, &digest, *role).await? {
                    has.push(*role);
                }
                if one && !has.is_empty() {
                    break;
                }
            }
            Ok((user, has))
        };
        let late = || silent(&format!("it has not answered within {}", humantime::format_duration(LIMIT)));
        timeout(LIMIT, looking).await.unwrap_or_else(|_| Err(late()))
    }

    /// The answer, if all that it takes is known.
    fn remembered(&self, digest: &[u8; 32], roles: &[Role], one: bool) -> Option<Result<(User, Vec<Role>), Denied>> {
        let known = self.known.lock();
        let known = known.get(digest).filter(|known| Instant::now() < known.until)?;
        let user = match &known.whose {
            Ok(user) => user.clone(),
            Err(denied) => return Some(Err(denied.clone())),
        };
        let mut has = Vec::new();
        for role in roles {
            if *known.may.get(role.as_str())? {
                has.push(*role);
            }
            if one && !has.is_empty() {
                break;
            }
        }
        Some(Ok((user, has)))
    }

    /// Whose token it is, for the verifier or for the API server itself: who logs in by a token of their company has no other.
    async fn whose(&self, token: &str, digest: &[u8; 32]) -> Result<User, Denied> {
        if let Some(known) = self.known.lock().get(digest).filter(|known| Instant::now() < known.until) {
            return known.whose.clone();
        }
        let mut whose = Err(self.nobody());
        for audience in [Some(AUDIENCE), None] {
            let review: TokenReview = self.create(TOKEN_REVIEWS, &answers::review(token, audience)).await?;
            match answers::vouched(review, audience) {
                Vouched::For(user) => whose = Ok(user),
                Vouched::ForNobody => continue,
                Vouched::Unusable(why) => whose = Err(Denied::Unusable(why)),
            }
            break;
        }
        self.remember(*digest, whose.clone());
        whose
    }

    fn remember(&self, digest: [u8; 32], whose: Result<User, Denied>) {
        let now = Instant::now();
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, one| now < one.until);
        }
        if known.len() >= MAX_KNOWN {
            let oldest = known.iter().min_by_key(|(_, one)| one.until).map(|(digest, _)| *digest);
            oldest.and_then(|digest| known.remove(&digest));
        }
        known.insert(digest, Known { until: now + TTL, whose, may: BTreeMap::new() });
    }

    async fn may(&self, user: &User, digest: &[u8; 32], role: Role) -> Result<bool, Denied> {
        let question = user.ask(role, (&self.namespace, &self.migration));
        let review: SubjectAccessReview = self.create(ACCESS_REVIEWS, &question).await?;
        let allowed = answers::allowed(review.status.as_ref());
        // It counts no longer than whose token it is.
        if let Some(known) = self.known.lock().get_mut(digest) {
            known.may.insert(role.as_str(), allowed);
        }
        Ok(allowed)
    }

    /// One question to the API server.
    async fn create<T: Resource + Serialize + DeserializeOwned>(&self, path: &str, question: &T) -> Result<T, Denied> {
        let unfit = |error: &dyn fmt::Display| silent(&format!("it can not be asked: {error}"));
        let body = serde_json::to_vec(question).map_err(|error| unfit(&error))?;
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(body.into());
        let request = request.map_err(|error| unfit(&error))?;
        let answered = ask(async {
            let response = self.client.send(request).await?;
            let status = response.status();
            let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
            Ok((status, body.map_err(|error| error.to_string())))
        });
        let (status, body) = answered.await.map_err(|error| Self::unheard(&error))?;
        let body = body.map_err(|error| silent(&format!("its answer was cut off or too long: {error}")))?;
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Err(Self::refused(status, &body));
        }
        let none = || silent("its answer is none of Kubernetes'");
        let said: Value = serde_json::from_slice(&body).map_err(|_| none())?;
        if said.get("kind").and_then(Value::as_str) != Some(T::KIND) {
            return Err(none());
        }
        serde_json::from_value(said).map_err(|_| none())
    }

    /// The API server does not answer the question.
    fn refused(status: StatusCode, body: &[u8]) -> Denied {
        let said = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let said = said.get("message").and_then(Value::as_str).unwrap_or("no words");
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        let why = format!("it says {}: {said}", status.as_u16());
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return silent(&why);
        }
        let next = "give the verifier's service account the ClusterRole of deploy/components/kubernetes-auth: {apiGroups: \
                    [authentication.k8s.io], resources: [tokenreviews], verbs: [create]} and {apiGroups: \
                    [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}";
        Denied::Unanswered { why, next: next.to_owned() }
    }

    fn unheard(error: &Unanswered) -> Denied {
        tracing::warn!(%error, "Kubernetes could not be asked who may change something");
        silent(&error.to_string())
    }

    fn nobody(&self) -> Denied {
        Denied::Unvouched { namespace: self.namespace.clone() }
    }
}

/// Nobody knows who asks.
fn silent(why: &str) -> Denied {
    let next = "see whether the API server answers: `kubectl get --raw /readyz`; a token of the token file needs no API server";
    Denied::Unanswered { why: why.to_owned(), next: next.to_owned() }
}
