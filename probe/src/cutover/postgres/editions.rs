//! Editions of a fact in the verifier's ledger: one that is recorded never changes, so that what is measured anew is another one.

use checks::{edition, newest};
use serde::de::DeserializeOwned;

use super::super::client::Client;
use super::super::trouble::Trouble;
use crate::api::types::{FactBody, FactsBody};
use crate::exit::Exit;

/// The newest edition, and its name.
pub(super) async fn newest_of<T: DeserializeOwned>(
    client: &Client,
    name: &str,
    what: &str,
) -> Result<Option<(String, T)>, Trouble> {
    let facts: FactsBody = client.get(&["facts"]).await?;
    let Some(fact) = newest(name, facts.facts.iter().map(|fact| fact.name.as_str())) else { return Ok(None) };
    let body: FactBody = client.get(&["facts", fact]).await?;
    let value = T::deserialize(&body.value).map_err(|error| {
        Trouble::new(Exit::USAGE, format!("fact {fact} is no {what}: {error}"))
            .hint("name another fact; one that is recorded never changes")
    })?;
    Ok(Some((fact.to_owned(), value)))
}

/// What the edition after this one is called.
pub(super) fn next(name: &str, known: Option<&str>) -> String {
    let number = known.and_then(|known| edition(name, known));
    number.map_or_else(|| name.to_owned(), |number| format!("{name}.{}", number.saturating_add(1)))
}
