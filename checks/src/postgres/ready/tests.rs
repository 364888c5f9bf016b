use std::time::Duration;

use serde_json::json;

use super::*;
use crate::net::tcp::closed_port;
use crate::testing::postgres::{Dsn, answer, dsn, error, message, welcome};
use crate::testing::{Manner, Server, check, context, hasty, part, report_of, silent_address};

fn ready() -> PostgresReady {
    check(json!({"postgres": "target"}))
}

async fn outcome(dsn: &str) -> Outcome {
    part(&report_of(&ready(), &Dsn::new(dsn).context()).await, PartId::WHOLE)
}

async fn reason(dsn: &str) -> String {
    outcome(dsn).await.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

/// A server that lets everyone in and gives this answer.
async fn answering(columns: &[(&str, &str)]) -> Server {
    Server::start(Manner::Turns(vec![welcome(), answer(columns)])).await
}

const GOOD: [(&str, &str); 12] = [
    ("version", "17.1"),
    ("in_recovery", "f"),
    ("transaction_read_only", "off"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("zero_damaged_pages", "off"),
    ("ignore_checksum_failure", "off"),
    ("data_checksums", "on"),
    ("boot", "1793800000.123456"),
    ("database", "16384"),
    ("system_identifier", "7300000000000000001"),
];

/// The good answer, but for one column.
async fn reason_with(name: &str, value: &str) -> String {
    let columns = GOOD.map(|column| if column.0 == name { (column.0, value) } else { column });
    let server = answering(&columns).await;
    reason(&dsn(server.address, "disable")).await
}

#[tokio::test]
async fn a_good_answer_passes_and_names_the_server() {
    let server = answering(&GOOD).await;
    let file = Dsn::new(&dsn(server.address, "disable"));
    let report = report_of(&ready(), &file.context()).await;
    assert_eq!(part(&report, PartId::WHOLE).label(), "pass", "{report:?}");
    assert_eq!(report.identities.get("target").map(String::as_str), Some("7300000000000000001/16384"));
    assert_eq!(report.measures.len(), 1);
}

#[tokio::test]
async fn every_value_of_the_answer_is_judged() {
    for (name, value, expected) in [
        ("in_recovery", "t", "in_recovery"),
        ("in_recovery", "maybe", "unreadable"),
        ("transaction_read_only", "on", "read_only"),
        ("transaction_read_only", "", "unreadable"),
        ("fsync", "off", "unsafe_setting"),
        ("full_page_writes", "off", "unsafe_setting"),
        ("synchronous_commit", "off", "unsafe_setting"),
        ("synchronous_commit", "remote_apply", "pass"),
        ("synchronous_commit", "remote_write", "pass"),
        ("synchronous_commit", "local", "pass"),
        ("zero_damaged_pages", "on", "unsafe_setting"),
        ("ignore_checksum_failure", "on", "unsafe_setting"),
        ("system_identifier", "x", "unreadable"),
        ("database", "", "unreadable"),
        ("database", "x", "unreadable"),
        ("boot", "", "unreadable"),
        ("data_checksums", "off", "pass"),
    ] {
        assert_eq!(reason_with(name, value).await, expected, "{name} = {value}");
    }
}

#[tokio::test]
async fn an_answer_without_a_column_is_unreadable() {
    for (missing, left_out) in GOOD.iter().enumerate() {
        let columns: Vec<_> = GOOD.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, column)| *column).collect();
        let server = answering(&columns).await;
        assert_eq!(reason(&dsn(server.address, "disable")).await, "unreadable", "without {left_out:?}");
    }
}

#[tokio::test]
async fn what_the_server_says_has_reasons_of_its_own() {
    for (code, expected) in [
        ("3D000", "no_such_database"),
        ("28P01", "login_denied"),
        ("28000", "login_denied"),
        ("57P03", "not_accepting"),
        ("57P01", "not_accepting"),
        ("53300", "too_many_connections"),
        ("42501", "no_permission"),
        ("57014", "timeout"),
        ("XX001", "query_failed"),
    ] {
        let server = Server::start(Manner::Say(error(code))).await;
        assert_eq!(reason(&dsn(server.address, "disable")).await, expected, "{code}");
    }
}

#[tokio::test]
async fn a_login_that_can_not_be_read_is_no_refusal() {
    let offer = || message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    for words in ["r=\u{fffd}", "r=x,s=*,i=1", "r=another,s=QSXCR+Q6sek8bf92,i=4096", "", "e=other-error"] {
        let turns = vec![offer(), message(b'R', &[b"\0\0\0\x0b", words.as_bytes()].concat())];
        let server = Server::start(Manner::Turns(turns)).await;
        assert_eq!(reason(&dsn(server.address, "disable")).await, "unreadable", "{words}");
    }
    // What the server demands is a refusal: neither Kerberos nor an unknown mechanism is for us.
    for demand in [message(b'R', &[0, 0, 0, 7]), message(b'R', b"\0\0\0\x0aOTHER\0\0")] {
        let server = Server::start(Manner::Turns(vec![demand])).await;
        assert_eq!(reason(&dsn(server.address, "disable")).await, "login_denied");
    }
}

#[tokio::test]
async fn another_kind_of_server_is_not_postgres() {
    for words in [
        "HTTP/1.1 400 Bad Request\r\n\r\n<html>",
        "<html>",
        "220 mail.example ESMTP\r\n",
        "-ERR unknown command\r\n",
        "SSH-2.0-x\r\n",
    ] {
        for mode in ["disable", "prefer", "require"] {
            let server = Server::start(Manner::Say(words.as_bytes().to_vec())).await;
            assert_eq!(reason(&dsn(server.address, mode)).await, "not_postgres", "{words} {mode}");
        }
    }
    let held = Server::start(Manner::Hold(b"HTTP/1.1 400 Bad Request\r\n".to_vec())).await;
    let file = Dsn::new(&dsn(held.address, "disable"));
    let report = report_of(&ready(), &Context { timeout: Duration::from_secs(2), ..file.context() }).await;
    assert_eq!(part(&report, PartId::WHOLE).reason(), Some(&super::super::NOT_POSTGRES.into()));
}

#[tokio::test]
async fn silence_is_the_servers_fault() {
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    let login_only = Server::start(Manner::Hold(message(b'R', &[0; 4]))).await;
    let (_held, hole) = silent_address().await;
    for (address, mode) in [(mute.address, "prefer"), (login_only.address, "disable"), (hole, "disable")] {
        let file = Dsn::new(&dsn(address, mode));
        let report = report_of(&ready(), &hasty(file.context())).await;
        assert_eq!(part(&report, PartId::WHOLE).reason(), Some(&reasons::TIMEOUT.into()));
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_cut_fails() {
    let closed = closed_port().unwrap();
    assert_eq!(reason(&dsn(closed.local_addr().unwrap(), "disable")).await, "refused");
    assert_eq!(reason("host=/nonexistent user=me").await, "refused");
    for mode in ["disable", "prefer"] {
        let cut = Server::start(Manner::Reset).await;
        assert_eq!(reason(&dsn(cut.address, mode)).await, "reset");
        let closing = Server::start(Manner::Say(Vec::new())).await;
        assert_eq!(reason(&dsn(closing.address, mode)).await, "reset");
    }
    let half = Server::start(Manner::Say(welcome())).await;
    assert_eq!(reason(&dsn(half.address, "disable")).await, "reset");
    let truncated = Server::start(Manner::Say([welcome(), b"T\0\0".to_vec()].concat())).await;
    assert_eq!(reason(&dsn(truncated.address, "disable")).await, "unreadable");
}

#[tokio::test]
async fn a_flood_is_not_read_to_the_end() {
    let row = [welcome(), b"D\x7f\xff\xff\xff".to_vec()].concat();
    for head in [b"R\x7f\xff\xff\xff".to_vec(), row] {
        let server = Server::start(Manner::Repeat(head, vec![b'x'; 1 << 16])).await;
        assert_eq!(reason(&dsn(server.address, "disable")).await, "too_large");
    }
    let stranger = Server::start(Manner::Repeat(b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 1 << 16])).await;
    assert_eq!(reason(&dsn(stranger.address, "disable")).await, "not_postgres");
}

#[tokio::test]
async fn what_we_lack_ourselves_is_unknown() {
    assert_eq!(reason("not a connection string").await, "dsn_unusable");
    assert_eq!(reason("").await, "secret_missing");
    assert_eq!(outcome("postgres://me@no-such-host.invalid/app").await.label(), "unknown");
    let plain = Server::start(Manner::Hold(b"N".to_vec())).await;
    assert_eq!(reason(&dsn(plain.address, "require")).await, "tls_setup");
    let asks_for_password = Server::start(Manner::Hold(message(b'R', &[0, 0, 0, 3]))).await;
    assert_eq!(reason(&format!("postgres://me@{}/app?sslmode=disable", asks_for_password.address)).await, "dsn_unusable");
    let report = report_of(&ready(), &context()).await;
    assert_eq!(part(&report, PartId::WHOLE).reason(), Some(&reasons::TARGET_MISSING.into()));
}

#[tokio::test]
async fn no_evidence_shows_the_password() {
    for manner in [Manner::Say(error("28P01")), Manner::Say(b"HTTP/1.1 400\r\n".to_vec()), Manner::Reset] {
        let server = Server::start(manner).await;
        let outcome = outcome(&dsn(server.address, "disable")).await;
        assert!(!outcome.evidence().as_str().contains("hunter2"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_yes_to_everything_is_not_trusted() {
    let parrot = answering(&GOOD).await;
    let file = Dsn::new(&dsn(parrot.address, "disable"));
    assert_eq!(Check::control(&ready(), &file.context(), ()).await.label(), "pass");
}
