//! `tcp`: a port is open, or actively refused.

use std::net::{Ipv4Addr, SocketAddr};

use futures::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::outcome::{Measure, Outcome, PartId, Reason, ReasonSpec, Step};

use super::dial::{connect, connect_any, host_and_port};
use super::{Budget, reasons};

/// The host answered the opposite of what is expected.
const CONTRADICTED: ReasonSpec = ReasonSpec::fail(
    "contradicted",
    "start or stop the service: its host answers the opposite of `expect`, as the evidence says",
);
/// No address to look at.
const UNREADABLE: ReasonSpec = ReasonSpec::unknown("bad_address", "write `address` as host:port");

/// A TCP connection to `address` is accepted (`expect: open`, the default), or actively refused by every address of the host
/// (`expect: refused`, which proves that an old port is dead).
///
/// Fail: the host answered the opposite, was silent, or nobody answers for its address. A filtered port, a broken route or a
/// host that is down never passes as `refused`: only an answer does. (A firewall that rejects on the host's behalf answers like
/// the host.) Unknown: our own resolver, or our own network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tcp {
    /// `host:port`; an IPv6 address stands in brackets.
    pub address: String,
    /// What the port must be.
    #[serde(default)]
    pub expect: Port,
}

/// What a port can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Port {
    /// A connection is accepted.
    #[default]
    Open,
    /// A connection is refused by an answer, not by silence.
    Refused,
}

impl Tcp {
    async fn look(&self, addresses: &[SocketAddr], budget: Budget) -> Outcome {
        let refused = Reason::from(reasons::REFUSED);
        match self.expect {
            Port::Open => match connect_any(addresses, budget).await {
                Ok(stream) => {
                    let place = stream.peer_addr().map_or_else(|_| self.address.clone(), |address| address.to_string());
                    Outcome::pass(format!("{place} is open"))
                }
                Err(outcome) if outcome.reason() == Some(&refused) => {
                    CONTRADICTED.because(format!("refused, expected open: {}", outcome.evidence()))
                }
                Err(outcome) => outcome,
            },
            Port::Refused => {
                let sights = join_all(addresses.iter().map(|address| async move {
                    match connect(*address, budget).await {
                        Ok(_) => CONTRADICTED.because(format!("{address} is open, expected refused")),
                        Err(outcome) => outcome,
                    }
                }))
                .await;
                let other = sights.iter().filter(|sight| sight.reason() != Some(&refused)).max_by_key(|sight| sight.rank());
                match other {
                    Some(other) => other.clone(),
                    None if sights.is_empty() => reasons::UNRESOLVED.because(format!("{} has no address", self.address)),
                    None => {
                        let all: Vec<_> = sights.iter().map(|sight| sight.evidence().as_str()).collect();
                        Outcome::pass(all.join("; "))
                    }
                }
            }
        }
    }
}

impl Check for Tcp {
    const META: Meta = Meta {
        kind: "tcp",
        nature: Nature::Continuous,
        reasons: &[&[
            CONTRADICTED,
            reasons::RESET,
            reasons::TIMEOUT,
            reasons::UNREACHABLE,
            reasons::UNRESOLVED,
            reasons::RESOLVER,
            reasons::LOCAL,
            UNREADABLE,
        ]],
        control: CONTRADICTED,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn validate(&self) -> Vec<FieldError> {
        let message = format!("{:?} is not host:port", self.address);
        let hint = "write it like db.example:5432 or [2001:db8::1]:5432".into();
        host_and_port(&self.address).map_or_else(|| vec![FieldError { field: "address", message, hint }], |_| Vec::new())
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let Some((host, port)) = host_and_port(&self.address) else {
                return Report::new(Step::whole(UNREADABLE.because(&self.address)), ());
            };
            let addresses = match cx.clients.names.addresses(host, port, budget).await {
                Ok(addresses) => addresses,
                Err(outcome) => return Report::new(Step::whole(outcome), ()),
            };
            let outcome = self.look(&addresses, budget).await;
            let passed = matches!(outcome, Outcome::Pass { .. });
            let mut report = Report::new(Step::whole(outcome), ());
            if passed {
                let (part, value) = (PartId::new(PartId::WHOLE), budget.start.elapsed().as_secs_f64());
                report.measures.push(Measure { part, name: "latency_seconds", value });
            }
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let opposite = async {
                match self.expect {
                    Port::Open => {
                        let closed = closed_port()?;
                        let address = closed.local_addr()?;
                        Ok::<_, std::io::Error>(self.look(&[address], budget).await)
                    }
                    Port::Refused => {
                        let open = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                        let address = open.local_addr()?;
                        Ok(self.look(&[address], budget).await)
                    }
                }
            };
            opposite.await.unwrap_or_else(|error| reasons::LOCAL.because(format!("the control's own port: {error}")))
        })
    }
}

/// A local port that is taken, so that nobody else gets it, but on which nobody listens.
pub(crate) fn closed_port() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, hasty_outcome_of, outcome_of, silent_address};

    fn tcp(address: impl ToString, expect: Port) -> Tcp {
        Tcp { address: address.to_string(), expect }
    }

    #[tokio::test]
    async fn an_open_port_is_open_and_not_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(outcome_of(&tcp(address, Port::Open)).await.label(), "pass");
        assert_eq!(outcome_of(&tcp(address, Port::Refused)).await.reason(), Some(&CONTRADICTED.into()));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_not_open() {
        let closed = closed_port().unwrap();
        let address = closed.local_addr().unwrap();
        assert_eq!(outcome_of(&tcp(address, Port::Refused)).await.label(), "pass");
        assert_eq!(outcome_of(&tcp(address, Port::Open)).await.reason(), Some(&CONTRADICTED.into()));
    }

    #[tokio::test]
    async fn a_black_hole_never_passes() {
        let (_held, address) = silent_address().await;
        for expect in [Port::Open, Port::Refused] {
            assert_eq!(hasty_outcome_of(&tcp(address, expect)).await.reason(), Some(&reasons::TIMEOUT.into()));
        }
    }

    #[tokio::test]
    async fn one_address_that_does_not_refuse_is_enough() {
        let closed = closed_port().unwrap();
        let (_held, silent) = silent_address().await;
        let addresses = [closed.local_addr().unwrap(), silent];
        let budget = Budget::start(std::time::Duration::from_millis(300));
        let outcome = tcp("x:1", Port::Refused).look(&addresses, budget).await;
        assert_eq!(outcome.reason(), Some(&reasons::TIMEOUT.into()));
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let budget = Budget::start(std::time::Duration::from_secs(5));
        let outcome = tcp("x:1", Port::Open).look(&[silent, open.local_addr().unwrap()], budget).await;
        assert_eq!(outcome.label(), "pass");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_unknown_either_way() {
        for expect in [Port::Open, Port::Refused] {
            let outcome = outcome_of(&tcp("no-such-host.invalid:1", expect)).await;
            assert_eq!(outcome.label(), "unknown", "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn the_control_fails_with_its_own_reason() {
        for expect in [Port::Open, Port::Refused] {
            let check = tcp("127.0.0.1:1", expect);
            assert_eq!(Check::control(&check, &context(), ()).await.reason(), Some(&Tcp::META.control.into()));
        }
    }
}
