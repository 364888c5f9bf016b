//! From names to addresses, in time of our own: a silent resolver must not look like a silent target.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::time::Duration;

use crate::outcome::Outcome;

use super::{Budget, reasons};

/// Most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;
/// Most names that are kept for the HTTP client.
const MAX_PINNED: usize = 4096;

/// The verifier's own resolver, read from the system's configuration once. Asks afresh each time; nothing is cached.
#[derive(Clone)]
pub(crate) struct Names {
    system: Result<Arc<System>, Arc<str>>,
    pinned: Arc<Pinned>,
}

struct System {
    resolver: TokioResolver,
    config: ResolverConfig,
    options: ResolverOpts,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("error", &self.system.as_ref().err()).finish_non_exhaustive()
    }
}

impl Names {
    /// Reads the system's resolver configuration. A broken one does not prevent the start: numeric addresses need none.
    pub(crate) fn from_system() -> Self {
        let system = read_system_conf().map_err(|error| error.to_string()).and_then(|(config, mut options)| {
            fresh(&mut options);
            let resolver = build(config.clone(), options.clone()).map_err(|error| error.to_string())?;
            Ok(Arc::new(System { resolver, config, options }))
        });
        Self { system: system.map_err(Arc::from), pinned: Arc::new(Pinned::default()) }
    }

    /// What the HTTP client asks: it is told only addresses that [`Self::pin`] has found just before.
    pub(crate) fn pinned(&self) -> Arc<Pinned> {
        Arc::clone(&self.pinned)
    }

    /// The system's configuration, for a resolver of one's own.
    pub(crate) fn system(&self) -> Result<(ResolverConfig, ResolverOpts), Outcome> {
        match &self.system {
            Ok(system) => Ok((system.config.clone(), system.options.clone())),
            Err(error) => Err(unusable(error)),
        }
    }

    /// The addresses of a host, at least one.
    pub(crate) async fn addresses(&self, host: &str, port: u16, budget: Budget) -> Result<Vec<SocketAddr>, Outcome> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let system = self.system.as_ref().map_err(|error| unusable(error))?;
        let found = match tokio::time::timeout_at(budget.own, system.resolver.lookup_ip(bare)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(failed(bare, &error)),
            Err(_) => return Err(reasons::RESOLVER.because(silent(bare, budget.timeout() / 2))),
        };
        let addresses: Vec<_> = found.iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect();
        if addresses.is_empty() {
            return Err(reasons::UNRESOLVED.because(format!("{bare} has no address")));
        }
        Ok(addresses)
    }

    /// Finds the addresses of a host and hands them to the HTTP client.
    pub(crate) async fn pin(&self, host: &str, budget: Budget) -> Result<(), Outcome> {
        let addresses = self.addresses(host, 0, budget).await?;
        let mut pinned = self.pinned.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= MAX_PINNED {
            pinned.clear();
        }
        pinned.insert(host.to_ascii_lowercase(), addresses);
        Ok(())
    }
}

/// The newest known addresses of each host, for the HTTP client.
#[derive(Debug, Default)]
pub(crate) struct Pinned(Mutex<HashMap<String, Vec<SocketAddr>>>);

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name.as_str().to_ascii_lowercase()).cloned();
        Box::pin(async move {
            let addresses = found.ok_or("the name was not resolved beforehand")?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// Makes a resolver ask afresh each time, for all addresses.
pub(crate) fn fresh(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
}

/// A resolver with this configuration.
pub(crate) fn build(config: ResolverConfig, options: ResolverOpts) -> Result<TokioResolver, NetError> {
    let mut builder = Resolver::builder_with_config(config, hickory_resolver::net::runtime::TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

/// The evidence of a resolver that did not answer in its time.
pub(crate) fn silent(name: &str, time: Duration) -> String {
    format!("the resolver did not answer for {name} within {time:?}")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other errors mean that the resolver did not do its work")]
fn failed(host: &str, error: &NetError) -> Outcome {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            reasons::UNRESOLVED.because(format!("{host} has no address: {}", none.response_code))
        }
        other => reasons::RESOLVER.because(format!("resolving {host}: {other}")),
    }
}

fn unusable(error: &str) -> Outcome {
    reasons::RESOLVER.because(format!("the system's resolver configuration can not be used: {error}"))
}
