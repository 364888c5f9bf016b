//! `dns`: a name resolves, or does not any more.

use std::net::SocketAddr;
use std::str::FromStr;

use futures::future::{BoxFuture, join};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};

use super::{Budget, names, reasons};

/// The opposite of what is expected.
const CONTRADICTED: ReasonSpec = ReasonSpec::fail(
    "contradicted",
    "create or remove the DNS record: DNS answers the opposite of `expect`, as the evidence says",
);
/// The server refuses to look the name up, or fails at it.
const DNS_ERROR: ReasonSpec =
    ReasonSpec::unknown("dns_error", "mend the DNS server: it answers with the error code in the evidence");
/// The witness does not resolve.
const WITNESS_MISSING: ReasonSpec =
    ReasonSpec::unknown("witness_missing", "mend DNS, or name a witness that certainly resolves through the same server");
/// An answer that says neither.
const BAD_REPLY: ReasonSpec =
    ReasonSpec::unknown("bad_reply", "look at the DNS server: its answer says neither that the name is there nor that it is not");
/// What a control asks for, as a child of the probe's own name, and where that zone has a wildcard, as a name of its own.
const NEVER: &str = "phasegate-negative-control";

/// The name has an address (`expect: present`, the default), or has none while the witness name has one (`expect: absent`). Names
/// are absolute: neither a search list nor a hosts file is used, and nothing is cached.
///
/// Fail: DNS answers the opposite. Unknown: the DNS server is silent, fails or refuses (it is our own resolver, or asked in its
/// place), its answer says neither, or the witness does not resolve. Absent means NXDOMAIN or no data, for IPv4 and IPv6 both,
/// while the witness proves that the same server does answer: a broken resolver never passes as `absent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The name to look up, like `kubernetes.default.svc.cluster.local`.
    pub name: String,
    /// What it must be.
    #[serde(default)]
    pub expect: Presence,
    /// A name that certainly resolves through the same server. Required for `expect: absent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// The DNS server to ask, as `ip:port`, instead of the verifier's own resolver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub server: Option<SocketAddr>,
}

/// What a name can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// It has an address.
    #[default]
    Present,
    /// It has none.
    Absent,
}

enum Sight {
    There(String),
    Gone(String),
}

impl Dns {
    /// A resolver of this Run's own: fresh sockets, no cache, no hosts file.
    fn resolver(&self, cx: &Context) -> Result<TokioResolver, Outcome> {
        let (config, mut options) = match self.server {
            None => cx.clients.names.system()?,
            Some(server) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                let server = NameServerConfig::new(server.ip(), true, connections);
                (ResolverConfig::from_parts(None, Vec::new(), vec![server]), ResolverOpts::default())
            }
        };
        names::fresh(&mut options);
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = cx.timeout / 3;
        names::build(config, options).map_err(|error| reasons::RESOLVER.because(error.to_string()))
    }

    async fn look(&self, resolver: &TokioResolver, budget: Budget) -> Outcome {
        match self.expect {
            Presence::Present => match sight(resolver, &self.name, budget).await {
                Ok(Sight::There(text)) => Outcome::pass(text),
                Ok(Sight::Gone(text)) => CONTRADICTED.because(format!("{text}, expected present")),
                Err(outcome) => outcome,
            },
            Presence::Absent => {
                let Some(witness) = &self.witness else {
                    return WITNESS_MISSING.because("no witness is named");
                };
                let both = join(sight(resolver, &self.name, budget), sight(resolver, witness, budget));
                match both.await {
                    (Ok(Sight::There(text)), _) => CONTRADICTED.because(format!("{text}, expected absent")),
                    (Err(outcome), _) => outcome,
                    (Ok(Sight::Gone(gone)), Ok(Sight::There(there))) => Outcome::pass(format!("{gone}, while {there}")),
                    (Ok(Sight::Gone(_)), Ok(Sight::Gone(text))) => WITNESS_MISSING.because(format!("witness: {text}")),
                    (Ok(Sight::Gone(_)), Err(outcome)) => WITNESS_MISSING.because(format!("witness: {}", outcome.evidence())),
                }
            }
        }
    }
}

/// Looks a name up for IPv4 and IPv6. Gone needs both answers; one address is enough to be there.
async fn sight(resolver: &TokioResolver, text: &str, budget: Budget) -> Result<Sight, Outcome> {
    let name = absolute(text).map_err(|error| BAD_REPLY.because(format!("{text}: {error}")))?;
    let looked =
        async { tokio::join!(resolver.lookup(name.clone(), RecordType::A), resolver.lookup(name.clone(), RecordType::AAAA)) };
    let Ok((four, six)) = timeout_at(budget.end, looked).await else {
        return Err(reasons::RESOLVER.because(names::silent(text, budget.timeout())));
    };
    let (four, six) = (answer(text, four), answer(text, six));
    match (four, six) {
        (Ok(Sight::There(four)), Ok(Sight::There(six))) => Ok(Sight::There(format!("{text} is {four}, {six}"))),
        (Ok(Sight::There(one)), _) | (_, Ok(Sight::There(one))) => Ok(Sight::There(format!("{text} is {one}"))),
        (Ok(Sight::Gone(code)), Ok(Sight::Gone(_))) => Ok(Sight::Gone(format!("{text} has no address ({code})"))),
        (Err(outcome), _) | (_, Err(outcome)) => Err(outcome),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other records and errors say neither")]
fn answer(name: &str, looked: Result<Lookup, NetError>) -> Result<Sight, Outcome> {
    match looked {
        Ok(found) => {
            let addresses: Vec<String> = found
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::A(ip) => Some(ip.to_string()),
                    RData::AAAA(ip) => Some(ip.to_string()),
                    _ => None,
                })
                .collect();
            if addresses.is_empty() {
                return Err(BAD_REPLY.because(format!("{name}: an answer without an address")));
            }
            Ok(Sight::There(addresses.join(", ")))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NXDomain => Ok(Sight::Gone("NXDOMAIN".into())),
            ResponseCode::NoError if none.soa.is_some() || none.ns.is_none() => Ok(Sight::Gone("no data".into())),
            code => Err(BAD_REPLY.because(format!("{name}: no records, {code}"))),
        },
        Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(DNS_ERROR.because(format!("{name}: {code}"))),
        Err(error) => Err(reasons::RESOLVER.because(format!("{name}: {error}"))),
    }
}

fn absolute(text: &str) -> Result<Name, String> {
    let mut name = Name::from_str(text).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}

/// Names that no resolver may ask a server for, so that their absence proves nothing.
fn special(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    matches!(last.as_str(), "invalid" | "localhost" | "onion" | "")
}

impl Check for Dns {
    const META: Meta = Meta {
        kind: "dns",
        nature: Nature::Continuous,
        reasons: &[&[CONTRADICTED, DNS_ERROR, WITNESS_MISSING, BAD_REPLY, reasons::RESOLVER]],
        control: CONTRADICTED,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        for (field, name) in [("name", Some(&self.name)), ("witness", self.witness.as_ref())] {
            let Some(name) = name else { continue };
            if let Err(error) = absolute(name) {
                wrong(field, format!("{name:?} is not a host name: {error}"), "write a full name like db.example.org");
            } else if special(name) || name.parse::<std::net::IpAddr>().is_ok() {
                wrong(field, format!("{name:?} is never asked for"), "write a name that a DNS server is asked for");
            }
        }
        let same = |witness: &String| witness.trim_end_matches('.').eq_ignore_ascii_case(self.name.trim_end_matches('.'));
        if self.expect == Presence::Absent && self.witness.is_none() {
            wrong("witness", "absent needs a witness".into(), "name one that certainly resolves through the same server");
        }
        if self.witness.as_ref().is_some_and(same) {
            wrong("witness", "the witness is the name itself".into(), "name another one that certainly resolves");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let outcome = match self.resolver(cx) {
                Ok(resolver) => self.look(&resolver, budget).await,
                Err(outcome) => outcome,
            };
            let answered = !matches!(outcome, Outcome::Unknown { .. });
            let mut report = Report::new(Step::whole(outcome), ());
            if answered {
                let (part, value) = (PartId::new(PartId::WHOLE), budget.start.elapsed().as_secs_f64());
                report.measures.push(Measure { part, name: "latency_seconds", value });
            }
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let resolver = match self.resolver(cx) {
                Ok(resolver) => resolver,
                Err(outcome) => return outcome,
            };
            let instead = |name: String| Self { name, ..self.clone() };
            match (self.expect, &self.witness) {
                (Presence::Absent, Some(witness)) => instead(witness.clone()).look(&resolver, budget).await,
                (Presence::Absent, None) => WITNESS_MISSING.because("no witness is named"),
                (Presence::Present, _) => {
                    let child = instead(format!("{NEVER}.{}", self.name)).look(&resolver, budget).await;
                    if !matches!(child, Outcome::Pass { .. }) {
                        return child;
                    }
                    instead(format!("{NEVER}.test")).look(&resolver, budget).await
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
