//! The verifier of a cluster, found by a kubeconfig or by the service account of a pod, and reached through the API server's proxy: nothing
//! of it has to be published, and nobody needs a forwarded port.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use clap::Args;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use reqwest::Url;
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName};

use super::client::{Lost, Question, printable, root, url};
use super::trouble::Trouble;
use crate::api::types::TOKEN_HEADER;
use crate::exit::Exit;

mod token;
mod words;

use token::Tokens;
use words::Place;

/// The verifier's Service, as `deploy/base/verifier` calls it.
const SERVICE: &str = "phasegate-verifier";
/// Its port there.
const PORT: u16 = 9470;
/// Its namespace there.
const NAMESPACE: &str = "phasegate";

/// Where in a cluster, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for a verifier in a cluster, without --server")]
pub(super) struct Wanted {
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, env = "PHASEGATE_CONTEXT", hide_env_values = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Namespace of the verifier
    #[arg(long, short, global = true, env = "PHASEGATE_NAMESPACE", hide_env_values = true, value_name = "NAME")]
    #[arg(default_value = NAMESPACE, value_parser = object)]
    pub(super) namespace: String,
    /// Act as this service account of that namespace, by a token that is made for it [default: your own service account, or
    /// phasegate-operator]
    #[arg(long, global = true, env = "PHASEGATE_SERVICE_ACCOUNT", hide_env_values = true, value_name = "NAME", value_parser = object)]
    pub(super) service_account: Option<String>,
    /// Act as yourself: send the verifier the token that you log in to the cluster with
    #[arg(long, global = true, env = "PHASEGATE_OWN_TOKEN", hide_env_values = true)]
    pub(super) own_token: bool,
}

/// The name of an object, as one segment of a path.
fn object(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !text.is_empty() && text.len() <= 253 && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("names of Kubernetes objects consist of lower-case letters, digits, `-` and `.`".to_owned())
}

/// What on this machine may lead to a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    /// `$KUBECONFIG`.
    pub(super) kubeconfig: Option<OsString>,
    /// `~/.kube/config`.
    pub(super) default: Option<PathBuf>,
    /// Whether this is a pod of a cluster.
    pub(super) pod: bool,
}

impl Machine {
    /// As this process finds it.
    pub(super) fn look() -> Self {
        Self {
            kubeconfig: std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()),
            default: std::env::home_dir().map(|home| home.join(".kube").join("config")),
            pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty()),
        }
    }

    /// The files that make up the kubeconfig; none where there is none.
    fn files(&self) -> Result<Vec<PathBuf>, Trouble> {
        let Some(named) = &self.kubeconfig else {
            return Ok(self.default.iter().filter(|file| file.exists()).cloned().collect());
        };
        let files: Vec<PathBuf> = std::env::split_paths(named).filter(|file| file.exists()).collect();
        if files.is_empty() {
            let named = printable(&named.to_string_lossy());
            return Err(wrong(format!("KUBECONFIG names no file that exists: {named}")));
        }
        Ok(files)
    }
}

/// A verifier behind an API server.
pub(crate) struct Cluster {
    client: Client,
    place: Place,
    base: Url,
    tokens: Tokens,
}

fn wrong(message: String) -> Trouble {
    Trouble::new(Exit::USAGE, message).hint("name a kubeconfig with KUBECONFIG, or the verifier's address with --server")
}

/// The cluster that this machine leads to; none if nothing does. Nothing is sent yet.
pub(super) async fn find(
    wanted: &Wanted,
    machine: &Machine,
    given: Option<&str>,
    timeout: Duration,
) -> Result<Option<Cluster>, Trouble> {
    if wanted.own_token && wanted.service_account.is_some() {
        return Err(Trouble::new(Exit::USAGE, "--own-token and --service-account contradict each other")
            .hint("give one of them; PHASEGATE_OWN_TOKEN and PHASEGATE_SERVICE_ACCOUNT count as well"));
    }
    let files = machine.files()?;
    let (config, by, context) = if !files.is_empty() {
        read(&files, wanted.context.as_deref()).await?
    } else if let Some(context) = &wanted.context {
        return Err(wrong(format!("there is no kubeconfig that could have a context `{}`", printable(context))));
    } else if machine.pod {
        let config =
            Config::incluster_env().map_err(|error| wrong(format!("this pod has no service account: {}", root(&error))))?;
        (config, "the service account of this pod".to_owned(), None)
    } else {
        return Ok(None);
    };
    let (api, namespace) = (config.cluster_url.to_string().trim_end_matches('/').to_owned(), wanted.namespace.clone());
    Cluster::new(config, Place { api, by, namespace, context }, wanted, given, timeout).map(Some)
}

async fn read(files: &[PathBuf], context: Option<&str>) -> Result<(Config, String, Option<String>), Trouble> {
    let shown = files.iter().map(|file| printable(&file.display().to_string())).collect::<Vec<_>>().join(", ");
    let unfit = |error: &dyn std::error::Error| wrong(format!("kubeconfig {shown}: {}", root(error)));
    let mut whole = Kubeconfig::default();
    for file in files {
        let one = Kubeconfig::read_from(file).map_err(|error| unfit(&error))?;
        whole = whole.merge(one).map_err(|error| unfit(&error))?;
    }
    let known: Vec<&str> = whole.contexts.iter().map(|one| one.name.as_str()).collect();
    let there_is = if known.is_empty() { "it has none".to_owned() } else { format!("there is {}", printable(&known.join(", "))) };
    let context = context.map(str::to_owned).or_else(|| whole.current_context.clone()).unwrap_or_default();
    if context.is_empty() {
        return Err(wrong(format!("kubeconfig {shown} has no current context; choose one with --context: {there_is}")));
    }
    if !known.contains(&context.as_str()) {
        return Err(wrong(format!("kubeconfig {shown} has no context `{}`; {there_is}", printable(&context))));
    }
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(whole, &options).await.map_err(|error| unfit(&error))?;
    Ok((config, format!("context {} of {shown}", printable(&context)), Some(context)))
}

/// Owns all that it works with: the compiler does not see otherwise that it may go from thread to thread.
fn sent(client: Client, request: Request<Body>) -> BoxFuture<'static, kube::Result<Response<Body>>> {
    async move { client.send(request).await }.boxed()
}

impl Cluster {
    fn new(mut config: Config, place: Place, wanted: &Wanted, given: Option<&str>, timeout: Duration) -> Result<Self, Trouble> {
        // An error here only says that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        // Nothing is retried, and the limit of time is that of the whole answer.
        config.default_retry = false;
        config.connect_timeout = Some(timeout);
        config.read_timeout = None;
        config.write_timeout = None;
        let namespace = &place.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/services/http:{SERVICE}:{PORT}/proxy");
        // Only its path is sent: the client knows the rest.
        let base = Url::parse(&format!("http://api{path}")).map_err(|error| wrong(format!("namespace {namespace}: {error}")))?;
        let client = Client::try_from(config.clone()).map_err(|error| wrong(format!("{}: {}", place.by, root(&error))))?;
        let tokens = Tokens::new((client.clone(), config), place.clone(), wanted, given)?;
        Ok(Self { client, place, base, tokens })
    }

    /// For people: which one it is.
    pub(super) fn server(&self) -> String {
        format!("{}/{SERVICE} at {}", self.place.namespace, self.place.api)
    }

    /// How it was found.
    pub(super) fn found(&self) -> String {
        format!(
            "{} is asked through the API server, by {}: no --server and no PHASEGATE_SERVER was given",
            self.server(),
            self.place.by
        )
    }

    /// As whom it was asked, once that had to be said.
    pub(super) fn whose(&self) -> Option<String> {
        self.tokens.whose()
    }

    /// Variables by which another `cutover` finds the same verifier, as the same.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let mut env = vec![("PHASEGATE_NAMESPACE", self.place.namespace.clone())];
        // The current one may be another by then.
        env.extend(self.place.context.iter().map(|context| ("PHASEGATE_CONTEXT", context.clone())));
        env.extend(self.tokens.env());
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The request that takes a question through the API server.
    pub(super) fn request(&self, question: &Question<'_>) -> Result<Request<Body>, Lost> {
        let url = url(&self.base, question);
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let request = Request::builder()
            .method(question.method.clone())
            .uri(format!("{}{query}", url.path()))
            .header(ACCEPT, "application/json")
            .header(CACHE_CONTROL, "no-cache, no-store");
        let request = match &question.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body.clone())),
            None => request.body(Body::empty()),
        };
        request.map_err(|error| Lost::Unsent(wrong(format!("the request can not be made: {error}"))))
    }

    /// Sends it; `named`: with a token for the verifier.
    pub(super) async fn send(&self, mut request: Request<Body>, named: bool) -> Result<Response<Body>, Lost> {
        if named {
            // The API server takes `Authorization` for itself and passes everything else on.
            let token = self.tokens.token().await.map_err(Lost::Unsent)?;
            request.headers_mut().insert(HeaderName::from_static(TOKEN_HEADER), token);
        }
        sent(self.client.clone(), request).await.map_err(|error| Lost::from(&error))
    }

    /// What the API server itself says, in place of the verifier.
    pub(super) fn said(&self, status: StatusCode, body: &[u8]) -> Option<Trouble> {
        words::said(status.as_u16(), body, &self.place)
    }

    /// What to look at when the verifier does not answer as one.
    pub(super) fn how_to_look(&self) -> String {
        self.place.how_to_look()
    }

    /// What to do when it does not know who asks.
    pub(super) fn how_to_be_known(&self) -> String {
        format!("does it ask Kubernetes who may? see deploy/components/kubernetes-auth; {}", self.place.how_to_look())
    }
}
