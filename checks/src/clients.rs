//! Shared clients: TLS provider, connection limits, bounded reads. No retries: the next tick is the retry.

use std::sync::Arc;
use std::time::Duration;

/// Largest HTTP body that a check reads, in bytes. A target that answers more is Unknown, not out of memory.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// What checks share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    /// HTTP client without retries, redirects or proxies. A probe wants a fresh look: idle connections are not kept.
    pub http: reqwest::Client,
    /// TLS settings for PostgreSQL.
    pub tls: Arc<rustls::ClientConfig>,
}

/// The clients could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The HTTP client.
    #[error("the HTTP client can not be built")]
    Http(#[source] reqwest::Error),
    /// The TLS settings.
    #[error("the TLS client can not be built")]
    Tls(#[source] rustls::Error),
}

impl Clients {
    /// Builds the clients. Installs the process's TLS provider if none is there yet.
    pub fn new() -> Result<Self, ClientsError> {
        // An error here only says that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("phasegate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(30))
            .build()
            .map_err(ClientsError::Http)?;
        Ok(Self { http, tls: Arc::new(tls_config()?) })
    }
}

fn tls_config() -> Result<rustls::ClientConfig, ClientsError> {
    let builder = rustls::ClientConfig::builder();
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}
