//! What the unit tests of the checks of PostgreSQL share: connection strings in files, and the protocol's messages in the server's place.

mod hostile;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::context;
use crate::Context;

pub(crate) use hostile::{Harm, Script, none_passes};

/// What the observer's look at a server shows.
pub(crate) const SIGHT: [(&str, &str); 19] = [
    ("system", "7300000000000000001"),
    ("database", "16384"),
    ("boot", "1793800000.123456"),
    ("wal_reset", "2026-11-04 12:00:00+00"),
    ("database_reset", "NULL"),
    ("in_recovery", "f"),
    ("counts", "t"),
    ("read_only", "on"),
    ("version", "17.1"),
    ("read_only_by", "configuration file"),
    ("next_xid", "800"),
    ("sessions", "5"),
    ("rollbacks", "1"),
    ("open_writers", "0"),
    ("prepared", "0"),
    ("clock", "1793800060.5"),
    ("sees_all", "t"),
    ("superuser", "f"),
    ("writable", "NULL"),
];

/// A connection string in a file of its own, removed with it.
pub(crate) struct Dsn(PathBuf);

impl Dsn {
    pub(crate) fn new(text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("phasegate-dsn-{}-{number}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// A context in which `target` is the name of this one.
    pub(crate) fn context(&self) -> Context {
        context_of([("target", self)])
    }
}

impl Drop for Dsn {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.0);
    }
}

/// A context with these targets.
pub(crate) fn context_of<const N: usize>(targets: [(&str, &Dsn); N]) -> Context {
    let target = |dsn: &Dsn| serde_json::from_value(json!({"postgres": {"dsn": {"file": dsn.0}}})).unwrap();
    let targets = targets.map(|(name, dsn)| (name.to_owned(), target(dsn)));
    Context { targets: Arc::new(targets.into()), ..context() }
}

/// A login to this address, with a password that nothing may show.
pub(crate) fn dsn(address: impl ToString, mode: &str) -> String {
    format!("postgres://me:hunter2@{}/app?sslmode={mode}", address.to_string())
}

/// One message of the protocol.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], length.as_slice(), body].concat()
}

/// A refusal.
pub(crate) fn error(code: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0Mno, \"me\"\0\0").as_bytes())
}

/// A login that succeeds.
pub(crate) fn welcome() -> Vec<u8> {
    [message(b'R', &[0; 4]), ready()].concat()
}

/// The end of an answer.
pub(crate) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// A statement that shows nothing.
pub(crate) fn done() -> Vec<u8> {
    [message(b'C', b"SET\0"), ready()].concat()
}

/// An answer of one row.
pub(crate) fn answer(columns: &[(&str, &str)]) -> Vec<u8> {
    rows(columns, 1)
}

/// An answer of so many rows, all the same. A value of `NULL` is none.
pub(crate) fn rows(columns: &[(&str, &str)], count: usize) -> Vec<u8> {
    let width = u16::try_from(columns.len()).unwrap().to_be_bytes();
    let (mut description, mut row) = (width.to_vec(), width.to_vec());
    for (name, value) in columns {
        description.extend([name.as_bytes(), &[0], &[0; 6], &25_u32.to_be_bytes(), &[0; 8]].concat());
        if *value == "NULL" {
            row.extend(u32::MAX.to_be_bytes());
        } else {
            row.extend([u32::try_from(value.len()).unwrap().to_be_bytes().as_slice(), value.as_bytes()].concat());
        }
    }
    [message(b'T', &description), message(b'D', &row).repeat(count), message(b'C', b"SELECT 1\0"), ready()].concat()
}
