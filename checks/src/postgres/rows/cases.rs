//! What is to be done with a table of the old side: which of the new one's it is compared with, if with any.

use std::collections::BTreeMap;

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::content::Table;
use crate::postgres::pair::{Pair, Reader};

/// Tables of both sides, some at a time.
pub(super) struct Batch {
    pub(super) old: Vec<Table>,
    new: BTreeMap<String, Table>,
}

/// A table of the old side.
pub(super) enum Case {
    /// Both are there.
    Compare { old: Box<Table>, new: Box<Table> },
    /// The document leaves it out.
    Excepted,
    /// Its family is compared as a whole, with the first of it.
    OfAFamily,
    /// The new side does not have it.
    Missing,
    /// The new side does not have this column.
    Lacks(String),
    /// It can not be read: where, and what would help.
    Hidden(String),
}

impl Batch {
    /// The next tables after this name.
    pub(super) async fn after(pair: &mut Pair, after: &str, budget: Budget) -> Result<Self, Outcome> {
        let old = pair.old.tables(after, None, budget).await?;
        let mut new = BTreeMap::new();
        if let Some(last) = old.last() {
            let mut from = after.to_owned();
            // The new side may have others in between.
            loop {
                let some = pair.new.tables(&from, Some(&last.name), budget).await?;
                let Some(end) = some.last().map(|table| table.name.clone()) else { break };
                let names: Vec<&str> = old.iter().map(|table| table.name.as_str()).collect();
                new.extend(
                    some.into_iter()
                        .filter(|table| names.contains(&table.name.as_str()))
                        .map(|table| (table.name.clone(), table)),
                );
                from = end;
            }
        }
        Ok(Self { old, new })
    }

    /// What is to be done with one of them.
    pub(super) async fn case(&self, pair: &mut Pair, old: &Table, except: &[String], budget: Budget) -> Result<Case, Outcome> {
        if is_excepted(old, except) {
            return Ok(Case::Excepted);
        }
        let new = self.new.get(&old.name);
        let alike = new.filter(|new| match (&old.family, &new.family) {
            (Some(one), Some(other)) => one.root == other.root && one.layout == other.layout,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        });
        if let Some(new) = alike {
            return Ok(both(pair, old.clone(), new.clone()));
        }
        // Cut otherwise than on the old side: then all of a family is compared at once.
        let root = match &old.family {
            Some(family) if !family.first => return Ok(Case::OfAFamily),
            Some(family) => family.root.as_str(),
            None => old.name.as_str(),
        };
        let Some(new) = pair.new.whole(root, budget).await? else { return Ok(Case::Missing) };
        let whole = if old.family.is_some() { pair.old.whole(root, budget).await? } else { Some(old.clone()) };
        let Some(whole) = whole else { return Ok(Case::Missing) };
        Ok(both(pair, whole, new))
    }
}

fn both(pair: &Pair, old: Table, new: Table) -> Case {
    let hidden = |reader: &Reader, table: &Table| {
        let Table { name, schema, .. } = table;
        let role = &reader.role;
        format!(
            "{}: {role} can not read {name}; run GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};",
            reader.place
        )
    };
    if !old.readable {
        return Case::Hidden(hidden(&pair.old, &old));
    }
    if !new.readable {
        return Case::Hidden(hidden(&pair.new, &new));
    }
    if old.columns.is_empty() && !new.columns.is_empty() {
        return Case::Hidden(format!("{}: no column of {} is shown, and {} has some", pair.old.place, old.name, pair.new.place));
    }
    if let Some(column) = new.lacks(&old) {
        return Case::Lacks(column.to_owned());
    }
    let new = new.as_of(&old);
    Case::Compare { old: Box::new(old), new: Box::new(new) }
}

/// Whether the document leaves a table out: by its name, or with all of its schema.
fn is_excepted(table: &Table, except: &[String]) -> bool {
    let whole = format!("{}.*", table.schema);
    except.iter().any(|name| *name == table.name || *name == whole)
}
