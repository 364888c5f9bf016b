//! What the verifier itself leaves in a server's counters: each of its logins is a session there, and each of its refused statements
//! a transaction that was rolled back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What this process did at one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    /// Logins that were begun.
    pub(crate) sessions: u64,
    /// Statements and logins that may have ended in a rollback.
    pub(crate) rollbacks: u64,
}

/// The deeds of this process, by `host:port/database`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own(Arc<Mutex<BTreeMap<String, Deeds>>>);

impl Own {
    /// What was done at this address so far.
    pub(crate) fn at(&self, address: &str) -> Deeds {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(address).copied().unwrap_or_default()
    }

    /// A login begins.
    pub(super) fn logs_in(&self, address: &str) {
        self.change(address, |deeds| deeds.sessions = deeds.sessions.saturating_add(1));
    }

    /// A login did not come about: one that the server itself refuses is no session to it.
    pub(super) fn turned_away(&self, address: &str, by_the_server: bool) {
        self.change(address, |deeds| {
            deeds.sessions = deeds.sessions.saturating_sub(by_the_server.into());
            deeds.rollbacks = deeds.rollbacks.saturating_add(1);
        });
    }

    /// A statement was refused, or given up.
    pub(super) fn failed(&self, address: &str) {
        self.change(address, |deeds| deeds.rollbacks = deeds.rollbacks.saturating_add(1));
    }

    fn change(&self, address: &str, change: impl FnOnce(&mut Deeds)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(address.to_owned()).or_default());
    }
}
