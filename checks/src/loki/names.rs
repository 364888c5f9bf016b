//! Under which names others know a Loki: Alloy by the host and port that it pushes to, Grafana by the URL of a datasource.

use std::net::IpAddr;

use url::{Host, Url};

use crate::target::LokiTarget;

/// A host and its port, so that two ways to write one of them are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    name: String,
    /// None: not said, so that it is the one of http or of https.
    port: Option<u16>,
}

impl Address {
    /// Reads `host:port`, or a host alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            // The colons of an address of IPv6 stand in brackets.
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (text, ""),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        let name = Host::parse(name).ok()?.to_string();
        Some(Self { name: plain(&name), port })
    }

    /// Where a URL leads to.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        Some(Self { name: plain(url.host_str()?), port: url.port_or_known_default() })
    }

    /// Whether both lead to the same place. Without a port it is http's or https's, and which of the two is not said.
    fn is(&self, other: &Self) -> bool {
        let web = |port: Option<u16>| matches!(port, None | Some(80 | 443));
        let unsaid = self.port.is_none() || other.port.is_none();
        self.name == other.name && (self.port == other.port || (unsaid && web(self.port) && web(other.port)))
    }

    /// Whether it means the machine that says it.
    fn is_loopback(&self) -> bool {
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A name without the dot at its end, and a service of the cluster without the cluster's own domain.
fn plain(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix(".svc.cluster.local").map_or_else(|| name.to_owned(), |service| format!("{service}.svc"))
}

/// A Loki, under all its names.
#[derive(Debug, Clone)]
pub(crate) struct Loki {
    /// What the document calls it.
    pub(crate) name: String,
    /// Whether lines have to go to it; otherwise they may.
    pub(crate) required: bool,
    pub(crate) tenant: Option<String>,
    /// As the verifier addresses it.
    own: Vec<Address>,
    /// As others address it, too.
    further: Vec<Address>,
}

impl Loki {
    /// A target, and by which further names others may address it.
    pub(crate) fn new(name: &str, target: &LokiTarget, further: &[String]) -> Self {
        let own = std::iter::once(&target.url).chain(&target.gateway).filter_map(Address::of).collect();
        let further = further.iter().filter_map(|text| Address::parse(text)).collect();
        Self { name: name.to_owned(), required: true, tenant: target.tenant.clone(), own, further }
    }

    /// One that lines may go to as well.
    pub(crate) fn allowed(self) -> Self {
        Self { required: false, ..self }
    }

    /// One that nobody ships to.
    pub(crate) fn nobody() -> Self {
        let further = Address::parse("phasegate-negative-control.invalid:3100").into_iter().collect();
        Self { name: "another Loki".to_owned(), required: true, tenant: None, own: Vec::new(), further }
    }

    /// Whether what runs at `base` means this Loki by that address. The verifier's own machine is its machine as well only if it
    /// is there.
    pub(crate) fn is_at(&self, address: &Address, base: &Url) -> bool {
        let beside = Address::of(base).is_some_and(|asker| asker.is_loopback());
        let own = self.own.iter().filter(|own| beside || !own.is_loopback());
        own.chain(&self.further).any(|known| known.is(address))
    }

    fn all(&self) -> impl Iterator<Item = &Address> {
        self.own.iter().chain(&self.further)
    }
}

/// That no two of them have an address in common: names could not tell them apart. The error is evidence.
pub(crate) fn told_apart(lokis: &[Loki]) -> Result<(), String> {
    for (n, one) in lokis.iter().enumerate() {
        for other in lokis.iter().skip(n + 1) {
            if let Some(both) = one.all().find(|address| other.all().any(|theirs| theirs.is(address))) {
                let port = both.port.map(|port| format!(":{port}")).unwrap_or_default();
                return Err(format!("{} and {} are both at {}{port}", one.name, other.name, both.name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let (one, other) = (Address::parse(one).unwrap(), Address::parse(other).unwrap());
        assert_eq!(one.is(&other), other.is(&one));
        one.is(&other)
    }

    fn loki(name: &str, block: serde_json::Value, further: &[&str]) -> Loki {
        let further: Vec<String> = further.iter().map(|&text| text.to_owned()).collect();
        Loki::new(name, &serde_json::from_value(block).unwrap(), &further)
    }

    fn at(loki: &Loki, label: &str, alloy: &str) -> bool {
        loki.is_at(&Address::parse(label).unwrap(), &alloy.parse().unwrap())
    }

    #[test]
    fn one_address_can_be_written_in_several_ways() {
        for (one, other, expected) in [
            ("192.0.2.10:3100", "192.0.2.10:3100", true),
            ("192.0.2.10:3100", "192.0.2.10:3101", false),
            ("192.0.2.10:3100", "192.0.2.1:3100", false),
            ("Loki.Observability.svc:3100", "loki.observability.svc:3100", true),
            ("loki.observability.svc.cluster.local:3100", "loki.observability.svc:3100", true),
            ("loki.observability.svc.cluster.local.:3100", "loki.observability.svc:3100", true),
            ("loki.cluster.local:3100", "loki:3100", false),
            ("loki.observability:3100", "loki.observability.svc:3100", false),
            ("loki", "loki:80", true),
            ("loki", "loki:443", true),
            ("loki:", "loki:80", true),
            ("loki:80", "loki:443", false),
            ("loki", "loki:3100", false),
            ("loki", "loki", true),
            ("[2001:DB8::0:1]:3100", "[2001:db8::1]:3100", true),
            ("[2001:db8::1]", "[2001:db8::1]:80", true),
            ("[2001:db8::1]", "[2001:db8::2]", false),
        ] {
            assert_eq!(same(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            ":3100",
            "http://loki:3100",
            "loki:3100/loki",
            "loki:port",
            "loki:99999",
            "a:b:1",
            "lo ki:1",
            "[::1",
            "me@loki:1",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_loki_is_known_by_its_url_its_gateway_and_what_the_document_adds() {
        let loki =
            loki("l", json!({"url": "http://loki.a.svc:3100/path", "gateway": "http://gateway.a.svc"}), &["10.0.0.7:3100"]);
        for (label, expected) in [
            ("loki.a.svc.cluster.local:3100", true),
            ("gateway.a.svc", true),
            ("gateway.a.svc:80", true),
            ("gateway.a.svc:3100", false),
            ("loki.a.svc", false),
            ("10.0.0.7:3100", true),
            ("10.0.0.8:3100", false),
        ] {
            assert_eq!(at(&loki, label, "http://192.0.2.10:12345"), expected, "{label}");
        }
    }

    #[test]
    fn one_machines_loopback_is_not_anothers() {
        let own = loki("l", json!({"url": "http://127.0.0.1:3100"}), &[]);
        let local = loki("l", json!({"url": "http://localhost:3100"}), &[]);
        let six = loki("l", json!({"url": "http://[::1]:3100"}), &[]);
        for (loki, label) in [(&own, "127.0.0.1:3100"), (&local, "localhost:3100"), (&six, "[::1]:3100")] {
            assert!(at(loki, label, "http://127.0.0.1:12345"), "{label}");
            assert!(at(loki, label, "http://localhost:12345"), "{label}");
            assert!(!at(loki, label, "http://192.0.2.10:12345"), "{label}");
        }
        let meant = loki("l", json!({"url": "http://127.0.0.1:3100"}), &["127.0.0.1:3100"]);
        assert!(at(&meant, "127.0.0.1:3100", "http://192.0.2.10:12345"), "it was written by somebody who knows");
    }

    #[test]
    fn two_lokis_at_one_address_can_not_be_told_apart() {
        let one = loki("one", json!({"url": "http://loki:3100"}), &["10.0.0.7:3100"]);
        let two = loki("two", json!({"url": "http://other:3100", "gateway": "http://10.0.0.7:3100"}), &[]);
        let three = loki("three", json!({"url": "http://third:3100"}), &[]);
        let evidence = told_apart(&[three.clone(), one.clone(), two]).unwrap_err();
        assert_eq!(evidence, "one and two are both at 10.0.0.7:3100");
        assert_eq!(told_apart(&[one, three]), Ok(()));
    }
}
