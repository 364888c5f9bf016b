//! Looking at things over the network: HTTP, TCP, DNS, and what all network checks share.

pub(crate) mod dial;
pub mod dns;
pub(crate) mod exposition;
pub(crate) mod fetch;
pub mod http;
pub(crate) mod names;
pub mod tcp;
pub mod tripwire;

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

/// Reasons that every check gives alike when it talks over a network.
pub(crate) mod reasons {
    use crate::ReasonSpec;

    /// A host answered that nobody listens.
    pub(crate) const REFUSED: ReasonSpec =
        ReasonSpec::fail("refused", "start the target, or correct its address: nobody listens on that port");
    /// The connection was cut before an answer.
    pub(crate) const RESET: ReasonSpec =
        ReasonSpec::fail("reset", "look at the target's log: it cut the connection before it answered");
    /// The target was silent.
    pub(crate) const TIMEOUT: ReasonSpec = ReasonSpec::fail(
        "timeout",
        "see whether the target is overloaded or a firewall drops packets; raise `timeout` if it is just slow",
    );
    /// Nobody answers for the address.
    pub(crate) const UNREACHABLE: ReasonSpec =
        ReasonSpec::fail("unreachable", "bring up the target's host or its network: nobody answers for its address");
    /// TLS failed on the target's side.
    pub(crate) const TLS: ReasonSpec = ReasonSpec::fail("tls", "mend the target's certificate or its TLS settings");
    /// The certificate's issuer is not known to the verifier.
    pub(crate) const UNTRUSTED_CERTIFICATE: ReasonSpec = ReasonSpec::unknown(
        "untrusted_certificate",
        "add the certificate's issuer to the verifier's CA store (`SSL_CERT_FILE`, `SSL_CERT_DIR`) and restart it",
    );
    /// The name has no address.
    pub(crate) const UNRESOLVED: ReasonSpec =
        ReasonSpec::unknown("unresolved", "correct the host name, or create its DNS record: it has no address");
    /// The verifier's resolver did not do its work.
    pub(crate) const RESOLVER: ReasonSpec =
        ReasonSpec::unknown("resolver", "mend the verifier's own DNS (`/etc/resolv.conf`): its resolver is silent or failing");
    /// The verifier could not open a connection for reasons of its own.
    pub(crate) const LOCAL: ReasonSpec =
        ReasonSpec::unknown("local_error", "mend the verifier's own network, limits or permissions, named in the evidence");
    /// What can happen on the way to any target.
    pub(crate) const NETWORK: &[ReasonSpec] = &[REFUSED, RESET, TIMEOUT, UNREACHABLE, UNRESOLVED, RESOLVER, LOCAL];

    /// A secret could not be read.
    pub(crate) const SECRET_MISSING: ReasonSpec =
        ReasonSpec::unknown("secret_missing", "provide the environment variable or file that the evidence names to the verifier");
    /// The named target is not in the document, or of another kind.
    pub(crate) const TARGET_MISSING: ReasonSpec =
        ReasonSpec::unknown("target_missing", "name a target of the right kind that the document has");
}

/// How one Run divides its time: our own resolver gets at most half, so that the target is always given the other half
/// before its silence counts against it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// When the Run began.
    pub(crate) start: Instant,
    /// When our own part must be done.
    pub(crate) own: Instant,
    /// When the Run must be done.
    pub(crate) end: Instant,
}

impl Budget {
    /// Begins now.
    pub(crate) fn start(timeout: Duration) -> Self {
        let start = Instant::now();
        Self { start, own: start + timeout / 2, end: start + timeout }
    }

    /// A part of it for one of several questions in a row: from now on, until `share` fifths of the whole are over.
    pub(crate) fn until(&self, share: u32) -> Self {
        let (start, end) = (Instant::now(), self.start + self.timeout() * share / 5);
        Self { start, own: start + end.saturating_duration_since(start) / 2, end }
    }

    /// The whole, for evidence.
    pub(crate) fn timeout(&self) -> Duration {
        self.end.duration_since(self.start)
    }
}

/// A URL as evidence may show it: without user, password, query and fragment, any of which can hold a secret.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{}://{host}{port}{}{query}", url.scheme(), url.path())
}

/// A path below a base URL, which may have a path of its own.
pub(crate) fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// An error and all that is below it; I/O errors hide theirs from `source`.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let below = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), below)
}

/// What lies at the bottom of an error, in its own words. The layers above it only name the client's own parts.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_never_shows_the_secrets_of_a_url() {
        let url = Url::parse("https://me:hunter2@host:8443/a/b?token=hunter2#hunter2").unwrap();
        assert_eq!(shown(&url), "https://host:8443/a/b?…");
    }
}
