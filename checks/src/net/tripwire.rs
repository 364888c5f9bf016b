//! `tripwire`: a decommissioned target stays gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use futures::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixStream};
use tokio_postgres::config::Host;

use crate::check::{Check, Context, Meta, Nature, Report};
use crate::outcome::{Outcome, Reason, ReasonSpec, Step};
use crate::postgres::login::Login;
use crate::target::{Target, TargetUse};

use super::dial::connect;
use super::{Budget, reasons};

/// Somebody answers where nobody should.
const ANSWERS: ReasonSpec =
    ReasonSpec::fail("answers", "stop it again: it was decommissioned, and whoever still uses it would be on the wrong side");
/// Whether it is gone can not be seen.
const UNSEEN: ReasonSpec = ReasonSpec::unknown(
    "unseen",
    "mend the way to its host, or say `hostGone: true` in the document once the host itself is gone",
);

/// Nothing listens any more where `target` was: a connection to each of its addresses is actively refused. It counts for its gate
/// from `cutover decommission` on, is red when the target comes back, and no override can name it.
///
/// Fail: a connection was accepted, or cut. Unknown: silence, or a name without an address, unless `hostGone` says that the host
/// itself is gone, so that nobody is left to refuse; our own resolver or network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tripwire {
    /// The target that was, or will be, decommissioned.
    pub target: String,
    /// Whether its host is gone as well: then silence counts as gone.
    #[serde(default)]
    pub host_gone: bool,
}

/// Where something could listen.
enum Place {
    Port(String, u16),
    Socket(PathBuf),
}

impl Tripwire {
    async fn places(&self, cx: &Context) -> Result<Vec<Place>, Outcome> {
        let target = cx.targets.get(&self.target);
        let target = target.ok_or_else(|| reasons::TARGET_MISSING.because(format!("no target {}", self.target)))?;
        if let Target::Postgres(_) = target {
            let login = Login::of(cx, &self.target).await?;
            return Ok(vec![match login.address() {
                (Host::Tcp(host), port) => Place::Port(host.clone(), port),
                (Host::Unix(path), port) => Place::Socket(path.join(format!(".s.PGSQL.{port}"))),
            }]);
        }
        let port = |url: &url::Url| Some(Place::Port(url.host_str()?.to_owned(), url.port_or_known_default()?));
        Ok(target.urls().into_iter().filter_map(|(_, url)| port(url)).collect())
    }

    /// Pass: nobody is there.
    async fn look(&self, cx: &Context, place: &Place, budget: Budget) -> Outcome {
        match place {
            Place::Port(host, port) => match cx.clients.names.addresses(host, *port, budget).await {
                Ok(addresses) => self.refused(&addresses, budget).await,
                Err(outcome) if outcome.reason() == Some(&reasons::UNRESOLVED.into()) => self.silent(&outcome),
                Err(outcome) => outcome,
            },
            Place::Socket(path) => match UnixStream::connect(path).await {
                Ok(_) => ANSWERS.because(format!("{} answers", path.display())),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
                    Outcome::pass(format!("{}: {error}", path.display()))
                }
                Err(error) => reasons::LOCAL.because(format!("{}: {error}", path.display())),
            },
        }
    }

    async fn refused(&self, addresses: &[SocketAddr], budget: Budget) -> Outcome {
        let sights = join_all(addresses.iter().map(|address| self.knock(*address, budget))).await;
        worst(sights)
    }

    async fn knock(&self, address: SocketAddr, budget: Budget) -> Outcome {
        let Err(outcome) = connect(address, budget).await else { return ANSWERS.because(format!("{address} is open")) };
        let is = |reason: ReasonSpec| outcome.reason() == Some(&Reason::from(reason));
        if is(reasons::REFUSED) {
            Outcome::pass(outcome.evidence().as_str())
        } else if is(reasons::RESET) {
            ANSWERS.because(outcome.evidence().as_str())
        } else if is(reasons::TIMEOUT) || is(reasons::UNREACHABLE) {
            self.silent(&outcome)
        } else {
            outcome
        }
    }

    fn silent(&self, outcome: &Outcome) -> Outcome {
        let evidence = outcome.evidence().as_str();
        if self.host_gone { Outcome::pass(format!("{evidence}; its host is gone")) } else { UNSEEN.because(evidence) }
    }
}

/// The worst of several places; what was seen of all of them when nobody is at any.
fn worst(sights: Vec<Outcome>) -> Outcome {
    let all: Vec<&str> = sights.iter().map(|sight| sight.evidence().as_str()).collect();
    match sights.iter().max_by_key(|sight| sight.rank()) {
        None => UNSEEN.because("it has no address"),
        Some(Outcome::Pass { .. }) => Outcome::pass(all.join("; ")),
        Some(other) => other.clone(),
    }
}

impl Check for Tripwire {
    const META: Meta = Meta {
        kind: "tripwire",
        nature: Nature::Continuous,
        reasons: &[&[
            ANSWERS,
            UNSEEN,
            reasons::RESOLVER,
            reasons::LOCAL,
            reasons::TARGET_MISSING,
            reasons::SECRET_MISSING,
            crate::postgres::DSN_UNUSABLE,
        ]],
        control: ANSWERS,
        measures: &[],
        waivable: false,
        rules: &[],
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "target", kind: None, name: self.target.clone() }]
    }

    fn is_tripwire(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let outcome = match self.places(cx).await {
                Ok(places) => worst(join_all(places.iter().map(|place| self.look(cx, place, budget))).await),
                Err(outcome) => outcome,
            };
            Report::new(Step::whole(outcome), ())
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let open = async {
                let open = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let address = open.local_addr()?;
                Ok::<_, std::io::Error>(self.refused(&[address], budget).await)
            };
            open.await.unwrap_or_else(|error| reasons::LOCAL.because(format!("the control's own port: {error}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PartId;
    use crate::net::tcp::closed_port;
    use crate::target::LokiTarget;
    use crate::testing::{context, context_with, hasty, part, report_of, silent_address};

    fn tripwire(host_gone: bool) -> Tripwire {
        Tripwire { target: "target".into(), host_gone }
    }

    fn at(address: impl std::fmt::Display) -> Context {
        let url = format!("http://{address}/").parse().unwrap();
        context_with(Target::Loki(LokiTarget { url, gateway: None, tenant: None }))
    }

    async fn seen(check: &Tripwire, cx: &Context) -> Outcome {
        part(&report_of(check, cx).await, PartId::WHOLE)
    }

    #[tokio::test]
    async fn what_answers_fails_and_what_refuses_passes() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cx = at(open.local_addr().unwrap());
        assert_eq!(seen(&tripwire(true), &cx).await.reason(), Some(&ANSWERS.into()));
        let closed = closed_port().unwrap();
        let cx = at(closed.local_addr().unwrap());
        assert_eq!(seen(&tripwire(false), &cx).await.label(), "pass");
    }

    #[tokio::test]
    async fn silence_is_gone_only_if_the_host_is_said_to_be() {
        let (_held, silent) = silent_address().await;
        let cx = hasty(at(silent));
        assert_eq!(seen(&tripwire(false), &cx).await.reason(), Some(&UNSEEN.into()));
        assert_eq!(seen(&tripwire(true), &cx).await.label(), "pass");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_no_more_than_silence() {
        let cx = at("no-such-host.invalid:1");
        assert_eq!(seen(&tripwire(false), &cx).await.label(), "unknown");
    }

    #[tokio::test]
    async fn a_target_that_is_not_there_is_unknown() {
        assert_eq!(seen(&tripwire(true), &context()).await.reason(), Some(&reasons::TARGET_MISSING.into()));
    }

    #[tokio::test]
    async fn a_postgres_is_looked_for_where_its_connection_string_leads() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dsn = dir.path().join("dsn");
        let looked = |port: u16| {
            std::fs::write(&dsn, format!("postgres://u:secret@127.0.0.1:{port}/db")).unwrap();
            let target = serde_json::from_value(serde_json::json!({"postgres": {"dsn": {"file": dsn}}})).unwrap();
            context_with(target)
        };
        let cx = looked(open.local_addr().unwrap().port());
        let outcome = seen(&tripwire(false), &cx).await;
        assert_eq!(outcome.reason(), Some(&ANSWERS.into()));
        assert!(!outcome.evidence().as_str().contains("secret"));
        let closed = closed_port().unwrap();
        let cx = looked(closed.local_addr().unwrap().port());
        assert_eq!(seen(&tripwire(false), &cx).await.label(), "pass");
    }

    #[tokio::test]
    async fn the_control_fails_with_its_own_reason() {
        let cx = at("127.0.0.1:1");
        assert_eq!(Check::control(&tripwire(true), &cx, ()).await.reason(), Some(&ANSWERS.into()));
    }
}
