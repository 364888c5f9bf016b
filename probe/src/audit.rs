//! PURE. The audit trail: chained [`Frame`]s, and how anybody can verify them without trusting whoever serves them.
//!
//! A frame's `hash` is the SHA-256 of its own compact JSON without the `hash` field, in the order of the fields of [`Frame`].
//! The event's text is part of it byte by byte: it is never parsed and written again on its way.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::event::Event;
use crate::now::{Millis, Now};

/// One event of the audit trail, chained to the one before it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// Position in the chain; the first is 1.
    pub seq: u64,
    /// When, in milliseconds of the ledger's own timeline.
    #[schema(value_type = u64)]
    pub t: Millis,
    /// When, by the wall clock.
    pub utc: DateTime<Utc>,
    /// How many frames follow that became durable together with this one.
    pub rest: u32,
    /// Hash of the frame before it; 64 zeros before the first.
    pub prev: String,
    /// What happened, as it was written.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
    /// SHA-256 (hex) over all of the above.
    pub hash: String,
}

/// What a frame's hash covers: the frame without it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hashed<'a> {
    seq: u64,
    t: Millis,
    utc: DateTime<Utc>,
    rest: u32,
    prev: &'a str,
    event: &'a RawValue,
}

/// The newest frame of a chain, or of the part of it that is verified so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its position; 0 before the first frame.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// A part of the audit trail, in order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The frames; possibly fewer than asked for.
    pub frames: Vec<Frame>,
    /// Where the next page starts; none: this was the last one.
    pub next: Option<u64>,
    /// The newest acknowledged frame of the whole chain.
    pub head: Head,
    /// The newest frame that is no longer kept: what is kept begins after it. Absent while the whole chain is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Head>,
}

/// The first frame that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frame {seq}: {why}")]
pub struct BrokenChain {
    /// Its position, or the one that was expected there.
    pub seq: u64,
    /// What is wrong with it, a sentence fragment.
    pub why: String,
}

/// Verifies frames that follow `start`, which is [`Head::genesis`] or what an earlier call returned, and says where they end.
pub fn verify(start: &Head, frames: &[Frame]) -> Result<Head, BrokenChain> {
    frames.iter().try_fold(start.clone(), |head, frame| head.follow(frame))
}

impl Head {
    /// Before the first frame.
    pub fn genesis() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// The head after one more frame.
    pub fn follow(&self, frame: &Frame) -> Result<Self, BrokenChain> {
        let seq = self.seq.saturating_add(1);
        let broken = |why: String| Err(BrokenChain { seq, why });
        if frame.seq != seq {
            return broken(format!("frame {} stands in its place", frame.seq));
        }
        if frame.prev != self.hash {
            return broken("it does not belong to the frame before it: `prev` is not that one's hash".to_owned());
        }
        match frame.digest() {
            Ok(digest) if digest == frame.hash => Ok(Self { seq, hash: digest }),
            Ok(_) => broken("it was changed after it was written: its hash does not match its content".to_owned()),
            Err(error) => broken(format!("it can not be hashed: {error}")),
        }
    }
}

impl Frame {
    /// The frame of an event that follows `head`.
    pub fn new(head: &Head, at: Now, rest: u32, event: &Event) -> Result<Self, serde_json::Error> {
        let mut frame = Self {
            seq: head.seq.saturating_add(1),
            t: at.t,
            utc: at.utc,
            rest,
            prev: head.hash.clone(),
            event: serde_json::value::to_raw_value(event)?,
            hash: String::new(),
        };
        frame.hash = frame.digest()?;
        Ok(frame)
    }

    /// What happened. Only for frames of our own store: there is no limit to the nesting.
    pub(crate) fn event(&self) -> Result<Event, serde_json::Error> {
        from_json(self.event.get())
    }

    fn digest(&self) -> Result<String, serde_json::Error> {
        let Self { seq, t, utc, rest, prev, event, hash: _ } = self;
        let hashed = Hashed { seq: *seq, t: *t, utc: *utc, rest: *rest, prev, event };
        Ok(sha256(serde_json::to_string(&hashed)?.as_bytes()))
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let nibbles = Sha256::digest(bytes).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

/// Parses text whose hash was verified before: what was once accepted can be nested as deep as it likes.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{fact, now};

    fn chain(values: &[serde_json::Value]) -> Vec<Frame> {
        let mut head = Head::genesis();
        let frame = |value: &serde_json::Value| {
            let frame = Frame::new(&head, now(head.seq), 0, &fact("f", value.clone())).unwrap();
            head = head.follow(&frame).unwrap();
            frame
        };
        values.iter().map(frame).collect()
    }

    fn three() -> Vec<Frame> {
        chain(&[
            serde_json::json!(1.1e-7),
            serde_json::json!({"z": 0.1, "a": [5e-324, 9_007_199_254_740_993_u64]}),
            "ü\n\u{2028}".into(),
        ])
    }

    #[test]
    fn a_whole_chain_verifies_in_one_piece_and_in_pages() {
        let frames = three();
        let head = verify(&Head::genesis(), &frames).unwrap();
        assert_eq!((head.seq, &head.hash), (3, &frames[2].hash));
        let first = verify(&Head::genesis(), &frames[..1]).unwrap();
        assert_eq!(verify(&first, &frames[1..]), Ok(head));
        assert_eq!(verify(&first, &[]), Ok(first));
    }

    #[test]
    fn it_verifies_after_a_journey_as_json() {
        let page = AuditPage { frames: three(), next: None, head: Head::genesis(), anchor: None };
        let text = serde_json::to_string_pretty(&page).unwrap();
        let page: AuditPage = serde_json::from_str(&text).unwrap();
        assert_eq!(verify(&Head::genesis(), &page.frames).unwrap().seq, 3);
    }

    #[test]
    fn the_hash_is_that_of_the_line_without_it() {
        let frame = &three()[0];
        let line = serde_json::to_string(frame).unwrap();
        let body = line.replace(&format!(",\"hash\":\"{}\"", frame.hash), "");
        assert_eq!(sha256(body.as_bytes()), frame.hash);
    }

    #[test]
    fn every_change_is_found_where_it_is() {
        let broken = |change: fn(&mut Vec<Frame>)| {
            let mut frames = three();
            change(&mut frames);
            verify(&Head::genesis(), &frames).unwrap_err().seq
        };
        assert_eq!(broken(|f| f[1].t = Millis(7)), 2);
        assert_eq!(broken(|f| f[1].utc += chrono::TimeDelta::nanoseconds(1)), 2);
        assert_eq!(broken(|f| f[1].rest = 1), 2);
        assert_eq!(broken(|f| f[0].seq = 2), 1);
        assert_eq!(broken(|f| f[2].prev = f[0].hash.clone()), 3);
        assert_eq!(broken(|f| f[2].hash = f[2].hash.to_uppercase()), 3);
        assert_eq!(broken(|f| f[0].event = RawValue::from_string(f[0].event.get().replace("anna", "otto")).unwrap()), 1);
        assert_eq!(broken(|f| f[1] = chain(&[1.into(), 2.into()]).remove(1)), 2);
        assert_eq!(broken(|f| drop(f.remove(1))), 2);
        assert_eq!(broken(|f| f.swap(0, 1)), 1);
        assert_eq!(broken(|f| f.insert(1, f[0].clone())), 2);
    }
}
