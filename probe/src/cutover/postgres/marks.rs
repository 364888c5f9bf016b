//! Where marks are: recorded as facts in the verifier's ledger, and kept on this machine for when there is no verifier.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use checks::postgres::mark::Mark;
use serde::{Deserialize, Serialize};

use super::super::Context;
use super::super::client::Client;
use super::super::journal::{JournalError, keep as keep_file, root};
use super::super::run::journal_trouble;
use super::super::trouble::Trouble;
use super::editions;
use crate::exit::Exit;

/// A mark, and the name of the fact that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) fact: String,
    pub(super) mark: Mark,
}

/// The cluster's part of an identity: the same for all databases of a server.
pub(super) fn system(identity: &str) -> &str {
    identity.split('/').next().unwrap_or(identity)
}

/// The newest edition in the ledger.
pub(super) async fn recorded(client: &Client, name: &str) -> Result<Option<Known>, Trouble> {
    let newest = editions::newest_of(client, name, "mark of two servers").await?;
    Ok(newest.map(|(fact, mark)| Known { fact, mark }))
}

fn path(system: &str, name: &str) -> Result<PathBuf, JournalError> {
    let runs = root(|variable| std::env::var_os(variable))?;
    Ok(runs.with_file_name("marks").join(super::super::client::printable(system)).join(format!("{name}.json")))
}

/// Keeps a mark on this machine.
pub(super) fn keep(name: &str, known: &Known) -> Result<(), Trouble> {
    let path = path(system(&known.mark.old.identity), name).map_err(|error| journal_trouble(&error))?;
    let text = serde_json::to_string_pretty(known).map_err(|error| Trouble::new(Exit::UNKNOWN, error.to_string()))?;
    keep_file(&path, text.as_bytes()).map_err(|error| journal_trouble(&error))
}

/// The mark that this machine has kept of this old server.
pub(super) fn kept(system: &str, name: &str) -> Result<Option<Known>, Trouble> {
    let path = path(system, name).map_err(|error| journal_trouble(&error))?;
    let wrong = |why: String| {
        Trouble::new(Exit::UNKNOWN, format!("{}: {why}", path.display()))
            .hint("move the file away; then the verifier alone has the mark")
    };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The newest mark of this old server: the ledger's, or without a verifier the one that this machine has kept.
pub(super) async fn known(cx: &mut Context<'_, '_>, name: &str, system: &str) -> Result<Option<Known>, Trouble> {
    match recorded(cx.client, name).await {
        Ok(Some(known)) => return Ok(Some(known)),
        Ok(None) => {}
        Err(trouble) if trouble.exit == Exit::USAGE => return Err(trouble),
        Err(trouble) => cx.io.say(format!("{}; going by what this machine has kept", trouble.message)),
    }
    kept(system, name)
}
