//! The files that dashboards are provisioned from, as the verifier sees them.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use crate::clients::MAX_BODY;
use crate::outcome::Outcome;

use super::FILES_UNREADABLE;

/// Most files that are read.
const MAX_FILES: usize = 1000;
/// Most folders that are looked into.
const MAX_FOLDERS: usize = 200;

/// All files, and what is wrong with them by themselves.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By the uid of their dashboard.
    pub(super) dashboards: BTreeMap<String, File>,
    /// Those that are no dashboard, and why.
    pub(super) broken: Vec<String>,
    /// Uids that stand in two of them.
    pub(super) twice: Vec<String>,
    /// Those without a uid.
    pub(super) nameless: Vec<String>,
}

/// A file that is a dashboard.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: PathBuf,
    /// When it was written last.
    pub(super) modified: Option<SystemTime>,
}

/// What is read of each file each time.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    uid: Option<String>,
}

impl Files {
    /// Reads these files and folders. An error says why they can not be looked at.
    pub(super) async fn read(places: &[PathBuf]) -> Result<Self, Outcome> {
        let places = places.to_vec();
        let read = tokio::task::spawn_blocking(move || Self::read_now(&places));
        read.await.unwrap_or_else(|error| Err(FILES_UNREADABLE.because(error.to_string())))
    }

    fn read_now(places: &[PathBuf]) -> Result<Self, Outcome> {
        let mut files = Self::default();
        for path in find(places)? {
            let named = path.display();
            let bytes = bytes(&path).map_err(|error| FILES_UNREADABLE.because(format!("{named}: {error}")))?;
            let uid = match serde_json::from_slice::<Head>(&bytes) {
                Ok(Head { uid }) => uid.filter(|uid| !uid.is_empty()),
                Err(error) => {
                    files.broken.push(format!("{named}:{}:{}: {}", error.line(), error.column(), kind_of(&error)));
                    continue;
                }
            };
            let Some(uid) = uid else {
                files.nameless.push(named.to_string());
                continue;
            };
            let modified = fs::metadata(&path).and_then(|about| about.modified()).ok();
            if let Some(other) = files.dashboards.insert(uid.clone(), File { path: path.clone(), modified }) {
                files.twice.push(format!("{uid} in {} and in {named}", other.path.display()));
            }
        }
        Ok(files)
    }
}

impl File {
    /// Its name in evidence.
    pub(super) fn named(&self) -> String {
        self.path.display().to_string()
    }

    /// All of it; none if it is gone or has changed into something else meanwhile.
    pub(super) async fn model(&self) -> Option<Value> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || bytes(&path)).await.ok()?.ok()?;
        serde_json::from_slice(&read).ok()
    }
}

/// What kind of damage it is. The words of the parser would quote the file.
fn kind_of(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "no dashboard",
    }
}

/// The JSON files in these places and below them. What begins with two dots is what Kubernetes swaps a `ConfigMap` by.
fn find(places: &[PathBuf]) -> Result<Vec<PathBuf>, Outcome> {
    let unreadable = |path: &Path, error: &io::Error| FILES_UNREADABLE.because(format!("{}: {error}", path.display()));
    let (mut found, mut folders) = (Vec::new(), 0);
    let mut todo: VecDeque<PathBuf> = places.iter().cloned().collect();
    while let Some(path) = todo.pop_front() {
        if !fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.is_dir() {
            found.push(path);
            continue;
        }
        folders += 1;
        if folders > MAX_FOLDERS {
            return Err(FILES_UNREADABLE.because(format!("more than {MAX_FOLDERS} folders")));
        }
        for entry in fs::read_dir(&path).map_err(|error| unreadable(&path, &error))? {
            let inner = entry.map_err(|error| unreadable(&path, &error))?.path();
            let name = inner.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("..") && (inner.is_dir() || name.to_ascii_lowercase().ends_with(".json")) {
                todo.push_back(inner);
            }
        }
    }
    if found.len() > MAX_FILES {
        return Err(FILES_UNREADABLE.because(format!("{} files; at most {MAX_FILES} are read", found.len())));
    }
    found.sort();
    Ok(found)
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
    fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BODY { Err(io::Error::other("larger than 4 MiB")) } else { Ok(bytes) }
}
