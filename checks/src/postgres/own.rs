//! What the verifier itself leaves in a server's counters: each of its logins is a session there, and each of its refused statements
//! a transaction that was rolled back.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;

/// How long a server may take to count what a session left behind that has ended.
const COUNTED_WITHIN: Duration = Duration::from_millis(250);
/// A session that is older has been counted as one: a server may hold back what it counts for a second.
const YOUNG: Duration = Duration::from_secs(1);
/// How long a session of ours may still be seen after we left it.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// How long it is not known what a server counted of a session that broke off: it counts idle ones every ten seconds.
const IN_DOUBT: Duration = Duration::from_secs(12);

/// What this process did at one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    /// Logins that were begun.
    pub(crate) sessions: u64,
    /// Statements and logins that may have ended in a rollback.
    pub(crate) rollbacks: u64,
    /// Another number is another process, which knows nothing of the deeds of the one before.
    pub(crate) process: u64,
}

/// How a login or a statement ended that did not succeed.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    /// The server said no.
    Told(&'a SqlState),
    /// Nobody said anything, or what was said is not known.
    BrokenOff,
}

/// One session, from before its login on.
#[derive(Debug, Clone)]
struct Stay {
    role: String,
    since: Instant,
    inside: bool,
    failed: bool,
    /// From when on the server has surely counted all of it, once it has ended.
    settles: Option<Instant>,
}

impl Stay {
    fn is_settled(&self, now: Instant) -> bool {
        match self.settles {
            Some(settles) => settles <= now,
            None => self.inside && !self.failed && now.duration_since(self.since) > YOUNG,
        }
    }
}

#[derive(Debug, Default)]
struct Address {
    deeds: Deeds,
    stays: BTreeMap<u64, Stay>,
}

impl Address {
    /// What has ended, and was counted, says nothing any more.
    fn forget(&mut self, now: Instant) {
        self.stays.retain(|_, stay| stay.settles.is_none_or(|settles| settles + SEEN_WITHIN > now));
    }
}

/// The deeds of this process, by `host:port/database`.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    process: u64,
    all: Arc<Mutex<BTreeMap<String, Address>>>,
}

impl Default for Own {
    fn default() -> Self {
        Self { process: RandomState::new().hash_one(()), all: Arc::default() }
    }
}

impl Own {
    /// What was done at this address so far.
    pub(crate) fn at(&self, address: &str) -> Deeds {
        let deeds = self.change(address, |address| address.deeds);
        Deeds { process: self.process, ..deeds }
    }

    /// A login begins.
    pub(super) fn logs_in(&self, address: &str, role: &str) -> Visit {
        let stay = Stay { role: role.to_owned(), since: Instant::now(), inside: false, failed: false, settles: None };
        let number = self.change(address, |address| {
            address.forget(stay.since);
            address.deeds.sessions = address.deeds.sessions.saturating_add(1);
            let number = address.stays.keys().next_back().map_or(0, |last| last.saturating_add(1));
            address.stays.insert(number, stay);
            number
        });
        Visit { own: self.clone(), address: address.to_owned(), number }
    }

    fn change<T>(&self, address: &str, change: impl FnOnce(&mut Address) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(address.to_owned()).or_default())
    }
}

/// One session of ours, as long as it lasts.
#[derive(Debug)]
pub(super) struct Visit {
    own: Own,
    address: String,
    number: u64,
}

impl Visit {
    /// The server let us in.
    pub(super) fn inside(&self) {
        self.change(|_, stay| stay.inside = true);
    }

    /// The login did not come about: one that the server itself refuses is no session to it, and a transaction only where the
    /// database was chosen already.
    pub(super) fn turned_away(&self, end: End<'_>) {
        self.change(|deeds, stay| {
            let (session, rollback) = match end {
                End::Told(code) => (0, rolls_back(code).into()),
                End::BrokenOff => (1, 1),
            };
            deeds.sessions = deeds.sessions.saturating_add(session).saturating_sub(1);
            deeds.rollbacks = deeds.rollbacks.saturating_add(rollback);
            stay.ends(end);
        });
    }

    /// A statement was refused, or given up.
    pub(super) fn failed(&self, end: End<'_>) {
        self.change(|deeds, stay| {
            deeds.rollbacks = deeds.rollbacks.saturating_add(1);
            stay.ends(end);
        });
    }

    /// What was done at the same address so far.
    pub(super) fn deeds(&self) -> Deeds {
        self.own.at(&self.address)
    }

    /// How many sessions of ours the server may show for this role.
    pub(super) fn sessions_of(&self, role: &str) -> u64 {
        self.own.change(&self.address, |address| {
            address.forget(Instant::now());
            let ours = address.stays.values().filter(|stay| stay.role == role).count();
            u64::try_from(ours).unwrap_or(u64::MAX)
        })
    }

    /// Whether no other session of ours is such that the server may not have counted all of it yet.
    pub(super) fn is_alone(&self) -> bool {
        let now = Instant::now();
        self.own.change(&self.address, |address| {
            address.stays.iter().all(|(number, stay)| *number == self.number || stay.is_settled(now))
        })
    }

    fn change(&self, change: impl FnOnce(&mut Deeds, &mut Stay)) {
        self.own.change(&self.address, |address| {
            if let Some(stay) = address.stays.get_mut(&self.number) {
                change(&mut address.deeds, stay);
            }
        });
    }
}

impl Stay {
    fn ends(&mut self, end: End<'_>) {
        self.failed = true;
        if let End::BrokenOff = end {
            self.settles = Some(Instant::now() + IN_DOUBT);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let settles = Instant::now() + COUNTED_WITHIN;
        self.change(|_, stay| stay.settles = Some(stay.settles.unwrap_or(settles).max(settles)));
    }
}

/// Whether a login that is refused like this is a transaction of the database that was rolled back. A role's own limit is none, but
/// has the same code as the database's.
fn rolls_back(code: &SqlState) -> bool {
    let codes = [SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::INSUFFICIENT_PRIVILEGE, SqlState::TOO_MANY_CONNECTIONS];
    codes.contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_done_is_counted_and_is_in_doubt_until_the_server_has_counted_it() {
        let own = Own::default();
        let (ours, other) = (own.logs_in("a", "me"), own.logs_in("a", "me"));
        ours.inside();
        assert!(!ours.is_alone(), "a login is on its way");
        other.inside();
        tokio::time::advance(YOUNG * 2).await;
        assert!(ours.is_alone(), "a session that lasts was counted as one");
        other.failed(End::Told(&SqlState::READ_ONLY_SQL_TRANSACTION));
        assert!(!ours.is_alone());
        drop(other);
        assert!(!ours.is_alone());
        tokio::time::advance(COUNTED_WITHIN).await;
        assert!(ours.is_alone());
        assert_eq!((ours.sessions_of("me"), ours.sessions_of("you")), (2, 0));
        tokio::time::advance(SEEN_WITHIN).await;
        assert_eq!(ours.sessions_of("me"), 1);
        let Deeds { sessions, rollbacks, .. } = own.at("a");
        assert_eq!((sessions, rollbacks), (2, 1));
        assert_eq!(own.at("b").sessions, 0);
        assert_ne!(Own::default().at("a").process, own.at("a").process);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_refused_is_no_session_and_one_that_broke_off_may_be_one() {
        for (end, sessions, rollbacks, doubt) in [
            (End::Told(&SqlState::INVALID_PASSWORD), 1, 0, COUNTED_WITHIN),
            (End::Told(&SqlState::INSUFFICIENT_PRIVILEGE), 1, 1, COUNTED_WITHIN),
            (End::BrokenOff, 2, 1, IN_DOUBT),
        ] {
            let own = Own::default();
            let (ours, other) = (own.logs_in("a", "me"), own.logs_in("a", "me"));
            other.turned_away(end);
            drop(other);
            assert_eq!((own.at("a").sessions, own.at("a").rollbacks), (sessions, rollbacks), "{end:?}");
            tokio::time::advance(doubt.saturating_sub(Duration::from_millis(1))).await;
            assert!(!ours.is_alone(), "{end:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(ours.is_alone(), "{end:?}");
        }
    }
}
