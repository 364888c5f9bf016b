//! The token by which a verifier in a cluster knows who asks. Made for the verifier alone where that is allowed: whoever runs in the
//! verifier's place sees it, and could be the sender everywhere else with the token of their login.

use std::time::Duration;

use axum::body::to_bytes;
use axum::http::{Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use super::Wanted;
use super::words::Place;
use crate::api::types::AUDIENCE;
use crate::cutover::client::{printable, root};
use crate::cutover::trouble::Trouble;
use crate::exit::Exit;

/// The service account of `deploy/components/kubernetes-auth` that operators act as.
const OPERATOR: &str = "phasegate-operator";
/// How long a token is to be valid that is made: the least that Kubernetes makes.
const VALID: Duration = Duration::from_mins(10);
/// When the next one is made.
const RENEW: Duration = Duration::from_mins(6);
/// Longer answers are not read.
const MAX_ANSWER: usize = 256 * 1024;

/// Where tokens come from.
pub(super) struct Tokens {
    client: Client,
    config: Config,
    place: Place,
    given: Option<HeaderValue>,
    account: Option<String>,
    own: bool,
    made: tokio::sync::Mutex<Option<Made>>,
    whose: Mutex<Option<String>>,
}

#[derive(Clone)]
struct Made {
    value: HeaderValue,
    /// In words.
    whose: String,
    /// When it is to be made anew; none: never.
    until: Option<Instant>,
}

/// A service account: namespace and name.
type Account = (String, String);

impl Tokens {
    pub(super) fn new(
        (client, config): (Client, Config),
        place: Place,
        wanted: &Wanted,
        given: Option<&str>,
    ) -> Result<Self, Trouble> {
        let given = given.map(value).transpose()?;
        let (account, own) = (wanted.service_account.clone(), wanted.own_token);
        let (made, whose) = (tokio::sync::Mutex::default(), Mutex::default());
        Ok(Self { client, config, place, given, account, own, made, whose })
    }

    /// Variables for another `cutover` that is to act as the same.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        let account = self.account.iter().map(|account| ("PHASEGATE_SERVICE_ACCOUNT", account.clone()));
        account.chain(self.own.then(|| ("PHASEGATE_OWN_TOKEN", "true".to_owned()))).collect()
    }

    /// Whose token was sent last, in words.
    pub(super) fn whose(&self) -> Option<String> {
        self.whose.lock().clone()
    }

    /// The token, made if need be.
    pub(super) fn token(&self) -> BoxFuture<'_, Result<HeaderValue, Trouble>> {
        self.current().boxed()
    }

    async fn current(&self) -> Result<HeaderValue, Trouble> {
        let mut made = self.made.lock().await;
        let now = Instant::now();
        if let Some(made) = made.as_ref().filter(|made| made.until.is_none_or(|until| now < until)) {
            return Ok(made.value.clone());
        }
        let new = self.make(now).await?;
        *self.whose.lock() = Some(new.whose.clone());
        let value = new.value.clone();
        *made = Some(new);
        Ok(value)
    }

    async fn make(&self, now: Instant) -> Result<Made, Trouble> {
        if let Some(value) = self.given.clone() {
            return Ok(Made { value, whose: "the token that was given".to_owned(), until: None });
        }
        let login = self.login().await?;
        let mut refused = None;
        if !self.own {
            let here = |name: &str| (self.place.namespace.clone(), name.to_owned());
            let named = self.account.as_deref().map(here);
            let account = named.or_else(|| account_of(login.as_deref()?)).unwrap_or_else(|| here(OPERATOR));
            match self.request(&account).await {
                Ok(token) => {
                    let whose = format!(
                        "the service account {}/{}, by a token for {AUDIENCE} alone that is valid for {}",
                        account.0,
                        account.1,
                        humantime::format_duration(VALID)
                    );
                    return Ok(Made { value: value(&token)?, whose, until: Some(now + RENEW) });
                }
                Err(trouble) if self.account.is_some() || trouble.exit != Exit::AUTH => return Err(trouble),
                Err(trouble) => refused = Some(trouble),
            }
        }
        match (login, refused) {
            (Some(token), _) => {
                let whose = format!("yourself, by the token of your own login ({}), which the verifier sees", self.place.by);
                Ok(Made { value: value(&token)?, whose, until: Some(now + Duration::from_mins(1)) })
            }
            (None, Some(trouble)) => Err(trouble),
            (None, None) => {
                Err(Trouble::new(Exit::AUTH, format!("your login ({}) has no token that could be sent", self.place.by))
                    .hint("leave out --own-token: who logs in by a certificate acts as a service account"))
            }
        }
    }

    /// The token of the login itself; none when it is a certificate.
    async fn login(&self) -> Result<Option<String>, Trouble> {
        let unfit = |why: String| {
            Trouble::new(Exit::AUTH, format!("the login of {} gives no token: {}", self.place.by, printable(&why)))
                .hint(format!("`{} auth whoami` shows what is wrong with it", self.place.kubectl()))
        };
        match header(self.config.clone()).await {
            Ok(header) => {
                let sent = header.as_ref().and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
                Ok(sent.map(|token| token.trim().to_owned()))
            }
            Err(why) => Err(unfit(why)),
        }
    }

    /// Asks for a token of a service account that is for the verifier and nobody else.
    async fn request(&self, account: &Account) -> Result<String, Trouble> {
        let (namespace, name) = account;
        let spec = json!({"audiences": [AUDIENCE], "expirationSeconds": VALID.as_secs()});
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let unheard = |why: String| {
            Trouble::new(Exit::UNREACHABLE, format!("no token could be asked for at {}: {}", self.place.api, printable(&why)))
                .hint(format!("see whether the API server answers: `{} get --raw /readyz`", self.place.kubectl()))
        };
        let request = Request::post(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string().into_bytes()))
            .map_err(|error| unheard(error.to_string()))?;
        let response = super::sent(self.client.clone(), request).await.map_err(|error| unheard(root(&error)))?;
        let status = response.status();
        let body = to_bytes(axum::body::Body::new(response.into_body()), MAX_ANSWER).await;
        let body = body.map_err(|error| unheard(root(&error)))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| unheard(format!("{status} without JSON")))?;
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let said = text("/message").to_owned();
        match status {
            StatusCode::CREATED if !text("/status/token").is_empty() => Ok(text("/status/token").to_owned()),
            StatusCode::UNAUTHORIZED => Err(self.place.stranger(&said)),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Err(self.refused(account, status, &said)),
            _ => Err(unheard(format!("{status} {said}"))),
        }
    }

    fn refused(&self, (namespace, name): &Account, status: StatusCode, said: &str) -> Trouble {
        let kubectl = self.place.kubectl();
        let message =
            format!("no token for the verifier can be made of the service account {namespace}/{name}: {}", printable(said));
        let right = if status == StatusCode::FORBIDDEN {
            format!(
                "`{kubectl} create rolebinding YOU-{name}-token -n {namespace} --role={name}-token --user=YOU`; the Role, as \
                 deploy/components/kubernetes-auth has it: {{apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [{name}], \
                 verbs: [create]}}"
            )
        } else {
            "apply deploy/components/kubernetes-auth, or name another one with --service-account".to_owned()
        };
        Trouble::new(Exit::AUTH, message).hint(format!("{right}; or give a token with --token-file or in PHASEGATE_TOKEN"))
    }
}

/// What the client's own layer puts into each request, whatever it comes from: a file, a program, the kubeconfig itself. On a thread
/// of its own, since a program that logs in may take its time.
async fn header(config: Config) -> Result<Option<HeaderValue>, String> {
    let runtime = tokio::runtime::Handle::current();
    let looking = tokio::task::spawn_blocking(move || {
        let Some(layer) = config.auth_layer().map_err(|error| root(&error))? else { return Ok(None) };
        let echo = layer.layer(service_fn(|request: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            response.headers_mut().extend(request.headers().get(AUTHORIZATION).cloned().map(|value| (AUTHORIZATION, value)));
            Ok::<_, BoxError>(response)
        }));
        let echoed = runtime.block_on(echo.oneshot(Request::new(Body::empty())));
        echoed.map(|response| response.headers().get(AUTHORIZATION).cloned()).map_err(|error| error.to_string())
    });
    looking.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// A header's value that is shown nowhere.
fn value(token: &str) -> Result<HeaderValue, Trouble> {
    // The same words that are said of one that goes into the other header.
    crate::cutover::client::bearer(token)?;
    let mut value = HeaderValue::from_str(token).map_err(|_| Trouble::new(Exit::USAGE, "the token can not be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The service account that a token says it is of. It only decides what is asked for: whether that is so, the API server knows.
fn account_of(token: &str) -> Option<Account> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let (namespace, name) = claims.get("sub")?.as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let name = super::object(name).ok()?;
    Some((super::object(namespace).ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_is_known_by_its_own_token() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let known = |claims: &str| account_of(&token(claims));
        assert_eq!(known(r#"{"sub": "system:serviceaccount:ci:runner"}"#), Some(("ci".to_owned(), "runner".to_owned())));
        for other in [
            r#"{"sub": "anna@example"}"#,
            r#"{"sub": "system:serviceaccount:ci"}"#,
            r#"{"sub": "system:serviceaccount:ci:../x"}"#,
            "{}",
            "[",
        ] {
            assert_eq!(known(other), None, "{other}");
        }
        assert_eq!(account_of("token-of-admin"), None);
        assert_eq!(account_of("a.*.b"), None);
    }
}
