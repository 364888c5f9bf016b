use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;
use crate::testing::{check, context, hasty_outcome_of, outcome_of};

/// A DNS server: `there.example` and `six.example` have one address each, `wild.example` has one for every child, `down.example`
/// is SERVFAIL, `half.example` fails for IPv6 only, `mute.example` meets silence, `empty.example` has no data, all else is
/// NXDOMAIN.
struct Zone {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Zone {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                if let Some(reply) = reply(&Message::from_vec(&buffer[..length]).unwrap()) {
                    socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        Self { address, _task: task }
    }

    fn dns(&self, name: &str, expect: &str, witness: Option<&str>) -> Dns {
        check(serde_json::json!({"name": name, "expect": expect, "witness": witness, "server": self.address}))
    }

    async fn outcome(&self, name: &str, expect: &str) -> Outcome {
        outcome_of(&self.dns(name, expect, Some("there.example"))).await
    }
}

fn reply(request: &Message) -> Option<Message> {
    let query = request.queries.first()?.clone();
    let name = query.name().to_lowercase().to_ascii();
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_available = true;
    let (four, six) = (query.query_type() == RecordType::A, query.query_type() == RecordType::AAAA);
    let record = |data| Record::from_rdata(query.name().clone(), 60, data);
    match name.trim_end_matches('.') {
        "mute.example" => return None,
        "down.example" => reply.metadata.response_code = ResponseCode::ServFail,
        "half.example" if six => reply.metadata.response_code = ResponseCode::ServFail,
        "half.example" | "empty.example" => {}
        "refused.example" => reply.metadata.response_code = ResponseCode::Refused,
        name if name == "there.example" || name.ends_with("wild.example") => {
            if four {
                reply.answers.push(record(RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
            }
        }
        "six.example" => {
            if six {
                reply.answers.push(record(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))));
            }
        }
        _ => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.queries.push(query);
    Some(reply)
}

#[tokio::test]
async fn a_name_with_an_address_is_present_and_not_absent() {
    let zone = Zone::start().await;
    for name in ["there.example", "six.example."] {
        let outcome = outcome_of(&zone.dns(name, "present", None)).await;
        assert_eq!(outcome.label(), "pass", "{outcome:?}");
    }
    assert_eq!(zone.outcome("six.example", "absent").await.reason(), Some(&CONTRADICTED.into()));
}

#[tokio::test]
async fn a_name_without_an_address_is_absent_and_not_present() {
    let zone = Zone::start().await;
    for name in ["gone.example", "empty.example"] {
        let outcome = zone.outcome(name, "absent").await;
        assert_eq!(outcome.label(), "pass", "{outcome:?}");
        assert_eq!(zone.outcome(name, "present").await.reason(), Some(&CONTRADICTED.into()));
    }
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_is_unknown_either_way() {
    let zone = Zone::start().await;
    for expect in ["present", "absent"] {
        for (name, reason) in [("down.example", DNS_ERROR), ("half.example", DNS_ERROR), ("refused.example", DNS_ERROR)] {
            let outcome = zone.outcome(name, expect).await;
            assert_eq!(outcome.reason(), Some(&reason.into()), "{name} {expect}: {outcome:?}");
        }
        let outcome = hasty_outcome_of(&zone.dns("mute.example", expect, Some("there.example"))).await;
        assert_eq!(outcome.reason(), Some(&reasons::RESOLVER.into()), "{expect}: {outcome:?}");
    }
}

#[tokio::test]
async fn absent_needs_a_witness_that_resolves() {
    let zone = Zone::start().await;
    for witness in [Some("gone-too.example"), Some("down.example"), None] {
        let outcome = outcome_of(&zone.dns("gone.example", "absent", witness)).await;
        assert_eq!(outcome.reason(), Some(&WITNESS_MISSING.into()), "{witness:?}: {outcome:?}");
    }
    let outcome = hasty_outcome_of(&zone.dns("gone.example", "absent", Some("mute.example"))).await;
    assert_eq!(outcome.label(), "unknown", "{outcome:?}");
}

#[tokio::test]
async fn no_server_at_all_is_unknown() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    drop(socket);
    for expect in ["present", "absent"] {
        let dns: Dns =
            check(serde_json::json!({"name": "a.example", "expect": expect, "witness": "b.example", "server": server}));
        assert_eq!(hasty_outcome_of(&dns).await.label(), "unknown");
    }
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason() {
    let zone = Zone::start().await;
    for dns in [
        zone.dns("there.example", "present", None),
        zone.dns("app.wild.example", "present", None),
        zone.dns("gone.example", "absent", Some("there.example")),
    ] {
        assert_eq!(Check::control(&dns, &context(), ()).await.reason(), Some(&CONTRADICTED.into()), "{dns:?}");
    }
    let dns = zone.dns("gone.example", "absent", Some("down.example"));
    assert_eq!(Check::control(&dns, &context(), ()).await.label(), "unknown");
}

#[test]
fn rules_of_the_fields_are_told() {
    let fields = |block| -> Vec<_> { Check::validate(&check::<Dns>(block)).into_iter().map(|error| error.field).collect() };
    assert_eq!(fields(serde_json::json!({"name": "a.example", "expect": "absent"})), ["witness"]);
    assert_eq!(fields(serde_json::json!({"name": "a.example", "expect": "absent", "witness": "A.example."})), ["witness"]);
    assert_eq!(fields(serde_json::json!({"name": "old.invalid", "expect": "absent", "witness": "a.example"})), ["name"]);
    assert_eq!(fields(serde_json::json!({"name": "10.0.0.1"})), ["name"]);
    assert!(fields(serde_json::json!({"name": "a.example"})).is_empty());
}
