//! Small files that are replaced as a whole: JSON with the schema and a checksum, of which only one exact form is valid.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::StoreError;
use crate::audit::{from_json, sha256};

/// What this version reads and writes. It covers the whole of a store, the events' text included.
pub(super) const SCHEMA: u64 = 1;
/// That of a ledger whose beginning is no longer kept: what knows only the other one must not take it for damaged.
pub(super) const SHORTENED: u64 = 2;

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    schema: u64,
    sha256: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Schema {
    schema: u64,
}

/// The file's text.
pub(super) fn seal<T: Serialize>(body: &T) -> Result<String, StoreError> {
    seal_as(SCHEMA, body)
}

/// The same, for those who know this schema.
pub(super) fn seal_as<T: Serialize>(schema: u64, body: &T) -> Result<String, StoreError> {
    let body = serde_json::value::to_raw_value(body).map_err(StoreError::Encode)?;
    render(&Sealed { schema, sha256: sha256(body.get().as_bytes()), body: &body })
}

fn render(sealed: &Sealed<'_>) -> Result<String, StoreError> {
    serde_json::to_string(sealed).map(|text| text + "\n").map_err(StoreError::Encode)
}

/// What a file holds; none if there is no such file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    read_file(path)?.map(|bytes| open(path, &bytes)).transpose()
}

/// What a text that was sealed holds. `path` is its place, for what is said of it.
///
/// The schema is looked at first and alone, because a newer one may change anything else. This is where an older one would
/// be migrated, after a copy of the whole state was made; there is none yet.
pub(super) fn open<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    open_as(SCHEMA, path, bytes)
}

/// The same, of a text that may have any schema up to this one.
pub(super) fn open_as<T: DeserializeOwned>(known: u64, path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    let unreadable = |error: serde_json::Error| StoreError::damaged(path, format!("it is not readable: {error}"));
    let Schema { schema } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if schema > known {
        return Err(StoreError::Newer { path: path.to_owned(), schema, known });
    }
    if schema < SCHEMA {
        return Err(StoreError::damaged(path, format!("there never was a schema {schema}")));
    }
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    if sha256(sealed.body.get().as_bytes()) != sealed.sha256 {
        return Err(StoreError::damaged(path, "it was changed after it was written: its checksum does not match"));
    }
    if render(&sealed)?.as_bytes() != bytes {
        return Err(StoreError::damaged(path, "it was changed after it was written: it holds more than was written"));
    }
    from_json(sealed.body.get()).map_err(unreadable)
}

/// The content of a regular file; none if there is nothing of that name.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => fs::read(path).map(Some).map_err(StoreError::io("read", path)),
        Ok(_) => Err(StoreError::damaged(path, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// Name under which a new content waits.
pub(super) fn waiting(path: &Path) -> PathBuf {
    path.with_extension("json.tmp")
}

/// Makes a new content durable beside the old one. After an error the old one is what counts.
pub(super) fn stage(path: &Path, text: &str) -> Result<(), StoreError> {
    let path = waiting(path);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        // What is left of it would keep a full disk full.
        let removed = fs::remove_file(&path);
        tracing::debug!(path = %path.display(), removed = removed.is_ok(), "a new content could not be written");
        StoreError::io("write", &path)(error)
    })
}

/// Puts the new content in the place of the old one. After an error either of them may be there.
pub(super) fn publish(path: &Path, dir: &File) -> Result<(), StoreError> {
    fs::rename(waiting(path), path).and_then(|()| dir.sync_all()).map_err(StoreError::io("replace", path))
}
