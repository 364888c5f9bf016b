//! Who wrote: rows do not say it, but `pg_stat_statements` counts the statements of each role.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::Session;
use crate::postgres::observer::Row;

use crate::postgres::name::{Name, literal};

/// Roles that are kept for each table.
const ROLES: usize = 6;

/// Where the extension is, and whether its library is loaded.
const QUESTION: &str = "SELECT (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
     WHERE extname = 'pg_stat_statements') AS schema, current_setting('pg_stat_statements.max', true) IS NOT NULL AS loaded";

/// Statements that bring rows into a table; brackets instead of backslashes, which a server may read in two ways.
const BRINGS_ROWS: &str = "(query ~* '^[[:space:]]*(insert|update|merge)[[:>:]]' \
     OR query ~* '^[[:space:]]*copy[[:>:]].*[[:<:]]from[[:space:]]+(stdin|program|''|[$])' \
     OR query ~* '^[[:space:]]*with[[:>:]].*[[:<:]](insert|update|merge)[[:>:]]')";

/// How many statements that bring rows into a table each role called.
pub(super) type Calls = BTreeMap<String, u64>;

/// Who wrote the newest rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Author {
    /// No statement was counted that could have.
    Unseen,
    /// The role that should.
    Declared,
    /// Another one.
    Other(String),
}

impl Author {
    /// Whose calls grew since `before`; without it, who ever called anything.
    pub(super) fn of(role: &str, before: Option<&Calls>, now: &Calls) -> Self {
        // A count that went back began anew, so all of it is new.
        let grew = |name: &str, calls: u64| {
            let known = before.and_then(|before| before.get(name)).copied().unwrap_or_default();
            calls.checked_sub(known).unwrap_or(calls)
        };
        if now.get(role).is_some_and(|calls| grew(role, *calls) > 0) {
            return Self::Declared;
        }
        let most = now.iter().map(|(name, calls)| (grew(name, *calls), name)).max();
        most.filter(|(grown, _)| *grown > 0).map_or(Self::Unseen, |(_, name)| Self::Other(name.clone()))
    }
}

/// What the server tells of who called what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Witness {
    /// The schema of the extension.
    In(String),
    /// Why there is none.
    None(&'static str),
}

impl Witness {
    pub(super) async fn find(session: &mut Session, budget: Budget) -> Result<Self, Outcome> {
        let rows = session.ask(QUESTION, budget).await?;
        let row = rows.first().map(Row);
        let schema = row.as_ref().and_then(|row| row.maybe("schema").unwrap_or_default()).map(str::to_owned);
        let loaded = row.is_some_and(|row| row.truth("loaded") == Ok(true));
        Ok(match schema {
            None => Self::None("pg_stat_statements is not installed"),
            Some(_) if !loaded => Self::None("pg_stat_statements is not loaded"),
            Some(schema) => Self::In(schema),
        })
    }

    /// Who called what for a table; none if nobody can tell.
    pub(super) async fn calls(&self, session: &mut Session, table: &Name, role: &str, budget: Budget) -> Option<Calls> {
        let Self::In(schema) = self else { return None };
        let word: String = table.as_str().chars().flat_map(spelled).collect();
        let (word, role) = (literal(&format!("[[:<:]]{word}[[:>:]]")), literal(role));
        let sql = format!(
            "SELECT pg_get_userbyid(userid) AS role, sum(calls)::bigint AS calls FROM {schema}.pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ~* {word} AND {BRINGS_ROWS} \
             GROUP BY 1 ORDER BY pg_get_userbyid(min(userid)) = {role} DESC, 2 DESC LIMIT {ROLES}"
        );
        // What a witness does not say is no flaw of what it would speak about.
        let rows = session.ask(&sql, budget).await.unwrap_or_default();
        let read = |row| {
            let row = Row(row);
            Ok::<_, &'static str>((row.text("role")?.to_owned(), row.number("calls")?))
        };
        rows.iter().map(read).collect::<Result<Calls, _>>().ok()
    }

    /// Why a row has no author.
    pub(super) fn unseen(&self) -> &'static str {
        match self {
            Self::None(why) => why,
            Self::In(_) => "pg_stat_statements has no statement that brings rows into the table",
        }
    }
}

/// A letter of a name in a regular expression, where some mean something else.
fn spelled(c: char) -> Vec<char> {
    if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['.'] }
}
