//! What a Lease says, and what follows from watching it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde_json::{Value, json};

use super::DURATION;
use crate::clock::wall;
use crate::now::millis;

/// A Lease's record. Two that are equal were not written to in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Of the object.
    version: String,
    /// Empty: nobody.
    pub(super) holder: String,
    /// Which holder this is, counted by the API's `leaseTransitions`.
    pub(super) number: u64,
    duration: Duration,
}

impl Record {
    /// What is to be written where there is no Lease yet.
    pub(super) fn first(holder: &str) -> Self {
        Self { version: String::new(), holder: holder.to_owned(), number: 1, duration: DURATION }
    }

    /// What a Lease says. Whatever is missing or absurd is read so that nobody takes it too early.
    pub(super) fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        Self {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            holder: spec.holder_identity.unwrap_or_default(),
            number: spec.lease_transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
            duration: said.unwrap_or(DURATION).max(DURATION),
        }
    }

    /// Whether it was given back.
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_empty()
    }

    /// What another holder writes.
    pub(super) fn taken_by(&self, holder: &str) -> Self {
        Self { holder: holder.to_owned(), number: self.number.saturating_add(1), duration: DURATION, ..self.clone() }
    }

    /// What its holder writes to give it back.
    pub(super) fn released(&self) -> Self {
        Self { holder: String::new(), ..self.clone() }
    }

    /// It was written, as this Lease.
    pub(super) fn written(self, lease: &Lease) -> Self {
        Self { version: lease.metadata.resource_version.clone().unwrap_or_default(), ..self }
    }

    pub(super) fn lease(&self, name: &str) -> Lease {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let now = now();
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            lease_transitions: i32::try_from(self.number).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// A merge that is refused unless the Lease is still what this record was made from.
    pub(super) fn patch(&self) -> Value {
        json!({
            "metadata": {"resourceVersion": self.version},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": self.duration.as_secs(),
                "leaseTransitions": self.number,
                "renewTime": now(),
            },
        })
    }
}

fn now() -> MicroTime {
    let wall = wall();
    let time = k8s_openapi::jiff::Timestamp::new(wall.timestamp(), i32::try_from(wall.timestamp_subsec_nanos()).unwrap_or(0));
    MicroTime(time.unwrap_or_default())
}

/// Since when a record has not moved, by the observer's own clock.
#[derive(Debug)]
pub(super) struct Sighting {
    record: Record,
    since_ms: u64,
    now_ms: u64,
}

impl Sighting {
    /// Looks once more.
    pub(super) fn observe(before: Option<Self>, record: &Record, now_ms: u64) -> Self {
        let since_ms = before.filter(|before| before.record == *record).map_or(now_ms, |before| before.since_ms);
        Self { record: record.clone(), since_ms, now_ms }
    }

    /// Whether the holder's right has run out.
    pub(super) fn has_expired(&self) -> bool {
        self.now_ms.saturating_sub(self.since_ms) > millis(self.record.duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str) -> Record {
        Record { version: version.to_owned(), ..Record::first("a") }
    }

    #[test]
    fn a_record_expires_once_it_has_not_moved_for_its_whole_duration() {
        let mut seen = None;
        for (at, version, expired) in [
            (0, "1", false),
            (15_000, "1", false),
            (15_001, "1", true),
            (15_002, "2", false),
            (30_002, "2", false),
            (30_003, "2", true),
        ] {
            let sighting = Sighting::observe(seen, &record(version), at);
            assert_eq!(sighting.has_expired(), expired, "at {at}");
            seen = Some(sighting);
        }
    }

    #[test]
    fn a_holder_that_comes_back_is_another_one() {
        let first = record("1");
        let second = first.taken_by("b");
        assert_eq!((second.number, second.holder.as_str()), (2, "b"));
        assert!(second.released().is_free() && second.released().number == 2);
        assert_eq!(second.released().taken_by("a").number, 3);
    }

    #[test]
    fn what_a_lease_does_not_say_makes_nobody_early() {
        let nothing = Record::of(&Lease::default());
        assert_eq!((nothing.duration, nothing.number), (DURATION, 0));
        for seconds in [-1, 0, 1] {
            let spec = LeaseSpec { lease_duration_seconds: Some(seconds), ..LeaseSpec::default() };
            assert_eq!(Record::of(&Lease { spec: Some(spec), ..Lease::default() }).duration, DURATION);
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let record = Record::first("a").taken_by("b");
        let read = Record::of(&record.lease("it"));
        assert_eq!(read, record);
    }
}
