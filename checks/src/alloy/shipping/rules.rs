//! What its fields can not say by their types.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::FieldError;
use crate::counter::words;

use super::AlloyShipping;
use crate::loki::names::Address;

/// The longest times that may be asked for.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// The longest time for which refused lines may be explained by a start.
const LONGEST_GRACE: Duration = Duration::from_hours(1);
/// Most Lokis that one Alloy ships to, and further names of each.
const MAX_LOKIS: usize = 8;
const MAX_HOSTS: usize = 8;

pub(super) fn broken(check: &AlloyShipping) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
    let listed = || check.lokis.iter().chain(&check.may_ship_to);
    let once: BTreeSet<&String> = listed().collect();
    if check.lokis.is_empty() {
        wrong("lokis", "no Loki is listed".to_owned(), "list the Loki that Alloy should ship to, or both while it ships to two");
    }
    if once.len() < listed().count() {
        wrong("lokis", "a Loki is listed twice".to_owned(), "list each Loki once");
    }
    if listed().count() > MAX_LOKIS {
        wrong("lokis", format!("{} Lokis are listed", listed().count()), "list 8 at most");
    }
    let mut known: Vec<Address> = Vec::new();
    for (loki, hosts) in &check.hosts {
        if !once.contains(loki) {
            wrong(
                "hosts",
                format!("`{loki}` is neither in `lokis` nor in `mayShipTo`"),
                "give further hosts of a Loki that is listed, by its name",
            );
        }
        if hosts.is_empty() || hosts.len() > MAX_HOSTS {
            wrong("hosts", format!("{} hosts are listed for `{loki}`", hosts.len()), "list 1 to 8, or leave it out");
        }
        for host in hosts {
            match Address::parse(host) {
                Some(address) if known.contains(&address) => {
                    wrong("hosts", format!("`{host}` is listed twice"), "list each host once, for one Loki");
                }
                Some(address) => known.push(address),
                None => {
                    wrong("hosts", format!("`{host}` is no host"), "write `host:port` as in Alloy's URL, like `loki:3100`");
                }
            }
        }
    }
    for (field, time, bounds, hint) in [
        ("within", check.within, Duration::from_secs(1)..=LONGEST, "write 1s to 7d"),
        ("holdFor", check.hold_for, Duration::ZERO..=LONGEST, "write 0s to 7d"),
        ("restartGrace", check.restart_grace, Duration::ZERO..=LONGEST_GRACE, "write 0s to 1h"),
    ] {
        if !bounds.contains(&time) {
            wrong(field, format!("{} is out of bounds", words(time)), hint);
        }
    }
    errors
}
