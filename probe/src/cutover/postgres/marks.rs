//! Where marks are: recorded as facts in the verifier's ledger, and kept on this machine for when there is no verifier.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use checks::postgres::mark::Mark;
use checks::{edition, newest};
use serde::{Deserialize, Serialize};

use super::super::client::Client;
use super::super::journal::{JournalError, keep as keep_file, root};
use super::super::run::journal_trouble;
use super::super::trouble::Trouble;
use crate::api::types::{FactBody, FactsBody};
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
    let facts: FactsBody = client.get(&["facts"]).await?;
    let Some(fact) = newest(name, facts.facts.iter().map(|fact| fact.name.as_str())) else { return Ok(None) };
    let body: FactBody = client.get(&["facts", fact]).await?;
    let mark = Mark::deserialize(&body.value).map_err(|error| {
        Trouble::new(Exit::USAGE, format!("fact {fact} is no mark of two servers: {error}"))
            .hint("name another fact with --fact; one that is recorded never changes")
    })?;
    Ok(Some(Known { fact: fact.to_owned(), mark }))
}

/// What the edition after this one is called.
pub(super) fn next(name: &str, known: Option<&Known>) -> String {
    let number = known.and_then(|known| edition(name, &known.fact));
    number.map_or_else(|| name.to_owned(), |number| format!("{name}.{}", number.saturating_add(1)))
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
