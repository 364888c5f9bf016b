//! Opening TCP connections, and what their errors mean.

use std::io;
use std::net::SocketAddr;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::outcome::{Outcome, ReasonSpec};

use super::{Budget, reasons};

/// Splits `host:port`; the host of an IPv6 address stands in brackets.
pub(crate) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plausible = bracketed || (!host.contains(':') && !host.contains('/') && !host.contains(char::is_whitespace));
    (plausible && !host.is_empty()).then_some(())?;
    port.parse().ok().filter(|port| *port != 0).map(|port| (host, port))
}

/// What an error of a connection says, and whose it is.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds are our own")]
pub(crate) fn reason_of(error: &io::Error) -> ReasonSpec {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => reasons::REFUSED,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => reasons::RESET,
        io::ErrorKind::TimedOut => reasons::TIMEOUT,
        io::ErrorKind::HostUnreachable => reasons::UNREACHABLE,
        _ => reasons::LOCAL,
    }
}

/// Connects to one address.
pub(crate) async fn connect(address: SocketAddr, budget: Budget) -> Result<TcpStream, Outcome> {
    match timeout_at(budget.end, TcpStream::connect(address)).await {
        Ok(Ok(stream)) if met_itself(&stream) => Err(reasons::REFUSED.because(format!("{address}: nobody listens there"))),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(reason_of(&error).because(format!("{address}: {error}"))),
        Err(_) => Err(reasons::TIMEOUT.because(format!("{address}: no answer within {:?}", budget.timeout()))),
    }
}

/// Connects to whichever of these addresses answers first. If none does, the first address has the word.
pub(crate) async fn connect_any(addresses: &[SocketAddr], budget: Budget) -> Result<TcpStream, Outcome> {
    let mut attempts: FuturesUnordered<_> =
        addresses.iter().enumerate().map(|(index, address)| async move { (index, connect(*address, budget).await) }).collect();
    let mut first: Option<(usize, Outcome)> = None;
    while let Some((index, attempt)) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(outcome) if first.as_ref().is_none_or(|(other, _)| index < *other) => first = Some((index, outcome)),
            Err(_) => {}
        }
    }
    Err(first.map_or_else(|| reasons::UNRESOLVED.because("no address"), |(_, outcome)| outcome))
}

/// A connection to a free local port can meet itself (simultaneous open): nobody listens there at all.
fn met_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(host_and_port("db.example:5432"), Some(("db.example", 5432)));
        assert_eq!(host_and_port("[::1]:80"), Some(("[::1]", 80)));
        for wrong in ["db.example", "::1", "host:", ":80", "host:0", "host:70000", "http://host:80", "a b:1"] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn our_own_errors_are_not_the_targets() {
        for kind in [io::ErrorKind::NetworkUnreachable, io::ErrorKind::AddrNotAvailable, io::ErrorKind::PermissionDenied] {
            assert_eq!(reason_of(&io::Error::from(kind)), reasons::LOCAL);
        }
    }
}
