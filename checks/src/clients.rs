//! Shared clients: TLS provider, names, bounded reads. No retries: the next tick is the retry.

use std::sync::Arc;
use std::time::Duration;

use crate::kubernetes::Cluster;
use crate::net::names::Names;
use crate::postgres::own::Own;

/// Largest HTTP body that a check reads, in bytes. A target that answers more is Unknown, not out of memory.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// What checks share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    /// HTTP client without retries, redirects or proxies. A probe wants a fresh look: idle connections are not kept.
    pub http: reqwest::Client,
    /// TLS settings for `PostgreSQL`.
    pub tls: Arc<rustls::ClientConfig>,
    /// The cluster, asked by watches that all probes share.
    pub cluster: Cluster,
    /// The verifier's own resolver.
    pub(crate) names: Names,
    /// What the verifier itself leaves in the counters of `PostgreSQL` servers.
    pub(crate) own: Own,
}

/// The clients could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The HTTP client.
    #[error("the HTTP client can not be built")]
    Http(#[source] reqwest::Error),
}

impl Clients {
    /// Builds the clients from the system's CA store and resolver configuration. Installs the process's TLS provider if none
    /// is there yet. A missing CA store or resolver is no error here: it is the Unknown of the probes that need it.
    pub fn new() -> Result<Self, ClientsError> {
        // An error here only says that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let tls = tls_config();
        let names = Names::from_system();
        let http = reqwest::Client::builder()
            .user_agent(concat!("phasegate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(30))
            .dns_resolver(names.pinned())
            .tls_backend_preconfigured(tls.clone())
            .build()
            .map_err(ClientsError::Http)?;
        Ok(Self { http, tls: Arc::new(tls), cluster: Cluster::default(), names, own: Own::default() })
    }
}

fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}
