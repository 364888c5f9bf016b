//! Reads a journal. What an interrupted write has left at its end was never acknowledged and does not count; anything else that
//! can not be read is damage.

use std::fs;
use std::io;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Entry, First, JournalError, Opened, Place, Story, VERSION};

/// What a journal holds.
#[derive(Debug)]
pub(super) struct Found {
    /// None if nothing was ever acknowledged.
    pub(super) story: Option<Story>,
    /// Bytes that count.
    pub(super) len: u64,
    /// Whether there are more.
    pub(super) torn: bool,
}

enum Flaw {
    /// As an interrupted write leaves it.
    Torn(String),
    Wrong(String),
    Newer(u64),
}

/// Reads the journal of the newest run.
pub(super) fn read(place: &Place) -> Result<Found, JournalError> {
    let path = place.path();
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(JournalError::io("read", &path))?,
    };
    let mut found = Found { story: None, len: 0, torn: false };
    let mut offset = 0_usize;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        offset = offset.saturating_add(line.len());
        let taken = match &mut found.story {
            None => opened(line, place).map(|opened| found.story = Some(Story::new(opened))),
            Some(story) => parse::<Entry>(line).map(|entry| story.add(entry)),
        };
        match taken {
            Ok(()) => found.len = u64::try_from(offset).unwrap_or(u64::MAX),
            Err(Flaw::Torn(_)) if offset == bytes.len() => found.torn = true,
            Err(Flaw::Torn(why) | Flaw::Wrong(why)) => {
                return Err(JournalError::Damaged { path, line: index.saturating_add(1), why });
            }
            Err(Flaw::Newer(version)) => return Err(JournalError::Newer { path, version }),
        }
    }
    Ok(found)
}

/// The first line.
fn opened(line: &[u8], place: &Place) -> Result<Opened, Flaw> {
    // Of a newer version, nothing else may be readable.
    let version = parse::<Value>(line)?.get("version").and_then(Value::as_u64);
    if let Some(version) = version.filter(|version| *version != VERSION) {
        return Err(Flaw::Newer(version));
    }
    let First::Opened(opened) = parse(line)?;
    if (opened.migration.as_str(), opened.phase.as_str()) != (place.migration(), place.phase()) {
        return Err(Flaw::Wrong(format!("it is the journal of phase {} of {}", opened.phase, opened.migration)));
    }
    Ok(opened)
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Flaw> {
    let Some(line) = line.strip_suffix(b"\n") else { return Err(Flaw::Torn("it has no end".to_owned())) };
    serde_json::from_slice(line).map_err(|error| {
        let why = format!("it is no entry of a journal: {error}");
        if error.is_data() { Flaw::Wrong(why) } else { Flaw::Torn(why) }
    })
}
