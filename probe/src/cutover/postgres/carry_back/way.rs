//! In which order rows go into the old server's tables, and what there would act on them.

use std::collections::BTreeSet;
use std::time::Duration;

use checks::postgres::by_hand::Hand;

use super::super::super::doctor::Finding;
use super::super::super::trouble::Trouble;
use super::super::judge::list;
use super::tables::{Table, ask, number};
use crate::exit::Exit;

/// The parameter is a superuser's to set, or whom he has granted it; grants on parameters are there from 15 on.
const MAY_GRANT: u32 = 150_000;

/// How the rows go in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// In this order: what a foreign key refers to comes first.
    pub(super) tables: Vec<Table>,
    /// Whether triggers and foreign keys are left out (`session_replication_role`).
    pub(super) replica: bool,
}

/// A foreign key that the server checks at once: from which table to which.
type Key = (String, String);

/// Looks at what there is on the old server.
pub(super) async fn find(hand: &mut Hand, tables: Vec<Table>, limit: Duration) -> Result<(Way, Vec<Finding>), Trouble> {
    let mut findings: Vec<Finding> = tables.iter().filter(|table| !table.writable).map(denied).collect();
    let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    let triggers = triggers(hand, &names, limit).await?;
    let (ordered, circle) = in_order(tables, &keys(hand, &names, limit).await?);
    let mut way = Way { tables: ordered, replica: false };
    if triggers.is_empty() && circle.is_empty() {
        return Ok((way, findings));
    }
    let told: Vec<&str> = triggers.iter().map(|trigger| trigger.words.as_str()).collect();
    let what = if triggers.is_empty() {
        format!("foreign keys in a circle: {}", circle.join(", "))
    } else {
        format!("triggers that act on new rows: {}", told.join(", "))
    };
    if let Some(always) = triggers.iter().find(|trigger| trigger.always) {
        let next = "ALTER TABLE … DISABLE TRIGGER … on the old server for as long as this takes";
        findings.push(Finding::problem("triggers", Exit::CLOSED, format!("{} would fire in any case", always.words), next));
    } else if may_replicate(hand, limit).await? {
        way.replica = true;
        let text = format!("{what}; left out by session_replication_role, and so are checks of foreign keys");
        findings.push(Finding::warning("triggers", text, "the new server has checked the keys of these rows"));
    } else {
        let next = "GRANT SET ON PARAMETER session_replication_role TO that role, log in as a superuser, or disable the triggers";
        findings.push(Finding::problem("triggers", Exit::CLOSED, what, next));
    }
    Ok((way, findings))
}

fn denied(table: &Table) -> Finding {
    let text = format!("{}: the role may not add rows on the old server", table.name);
    let next = format!("log in as a superuser, or GRANT {} TO that role for as long as this takes", table.owner);
    Finding::problem("rights", Exit::AUTH, text, next)
}

/// A trigger on new rows.
struct Trigger {
    words: String,
    /// Whether it fires for replicated rows, too.
    always: bool,
}

async fn triggers(hand: &mut Hand, names: &[String], limit: Duration) -> Result<Vec<Trigger>, Trouble> {
    let sql = format!(
        "SELECT quote_ident(t.tgname) || ' on ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS words, \
         t.tgenabled <> 'O' AS always FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (NOT t.tgisinternal OR t.tgparentid <> 0 AND t.tgconstraint = 0) \
         AND t.tgenabled <> 'D' AND t.tgtype & 4 <> 0 AND quote_ident(n.nspname) || '.' || quote_ident(c.relname) = ANY ({}) \
         ORDER BY 1",
        list(names)
    );
    let rows = ask(hand, &sql, limit).await?;
    Ok(rows
        .iter()
        .map(|row| Trigger { words: row.text("words").unwrap_or_default().to_owned(), always: row.yes("always") })
        .collect())
}

async fn keys(hand: &mut Hand, names: &[String], limit: Duration) -> Result<Vec<Key>, Trouble> {
    let sql = format!(
        "SELECT * FROM (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS referring, \
         quote_ident(tn.nspname) || '.' || quote_ident(t.relname) AS referred \
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE k.contype = 'f' AND NOT k.condeferrable) AS k \
         WHERE referring <> referred AND referring = ANY ({0}) AND referred = ANY ({0})",
        list(names)
    );
    let rows = ask(hand, &sql, limit).await?;
    let told = |row: &checks::postgres::by_hand::Line, name| row.text(name).unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (told(row, "referring"), told(row, "referred"))).collect())
}

async fn may_replicate(hand: &mut Hand, limit: Duration) -> Result<bool, Trouble> {
    let sql =
        "SELECT rolsuper AS super, current_setting('server_version_num') AS version FROM pg_roles WHERE rolname = current_user";
    let rows = ask(hand, sql, limit).await?;
    if rows.first().is_some_and(|row| row.yes("super")) {
        return Ok(true);
    }
    if number::<u32>(hand.place(), rows.first(), "version")? < MAY_GRANT {
        return Ok(false);
    }
    let granted = ask(hand, "SELECT has_parameter_privilege('session_replication_role', 'SET') AS may", limit).await?;
    Ok(granted.first().is_some_and(|row| row.yes("may")))
}

/// The tables, those first that others refer to; and the names of those that refer to each other in a circle, which come last.
fn in_order(tables: Vec<Table>, keys: &[Key]) -> (Vec<Table>, Vec<String>) {
    let (mut ordered, mut left) = (Vec::new(), tables);
    let mut waiting: BTreeSet<String> = left.iter().map(|table| table.name.clone()).collect();
    loop {
        let free = |table: &Table| !keys.iter().any(|(from, to)| *from == table.name && waiting.contains(to));
        let (ready, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(free);
        left = rest;
        if ready.is_empty() {
            break;
        }
        for table in &ready {
            waiting.remove(&table.name);
        }
        ordered.extend(ready);
    }
    let circle = left.iter().map(|table| table.name.clone()).collect();
    ordered.extend(left);
    (ordered, circle)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ordered(names: &[&str], keys: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let tables = names.iter().map(|name| Table::named(name)).collect();
        let keys: Vec<Key> = keys.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let (ordered, circle) = in_order(tables, &keys);
        (ordered.into_iter().map(|table| table.name).collect(), circle)
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let (order, circle) = ordered(&["a", "b", "c", "d"], &[("a", "b"), ("b", "d"), ("c", "d")]);
        let at: BTreeMap<_, _> = order.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        assert!(at["d"] < at["b"] && at["b"] < at["a"] && at["d"] < at["c"] && circle.is_empty(), "{order:?}");
    }

    #[test]
    fn a_circle_is_told() {
        let (order, circle) = ordered(&["a", "b", "c"], &[("a", "b"), ("b", "a")]);
        assert_eq!((order, circle), (vec!["c".to_owned(), "a".into(), "b".into()], vec!["a".to_owned(), "b".into()]));
    }
}
