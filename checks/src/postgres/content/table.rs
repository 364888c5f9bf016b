//! A table as it is compared: which of its columns, as what text, and in how many pages it lies.

use serde::{Deserialize, Serialize};

use crate::postgres::observer::Row;

/// Texts from here on are hashed by themselves: that of a whole row must stay below a gigabyte.
const LONG: u32 = 1_000_000;

/// How a value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// As the server writes it.
    Plain,
    /// Text, that may be long.
    Text,
    /// Bytes: as text they would take twice their size.
    Bytes,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "(String, Shape)")]
pub(crate) struct Column {
    /// As SQL names it.
    pub(crate) name: String,
    shape: Shape,
}

impl From<(String, Shape)> for Column {
    fn from((name, shape): (String, Shape)) -> Self {
        Self { name, shape }
    }
}

impl Column {
    fn as_text(&self) -> String {
        let name = &self.name;
        match self.shape {
            Shape::Plain => name.clone(),
            Shape::Text => format!("CASE WHEN octet_length({name}) > {LONG} THEN md5({name}) ELSE {name} END"),
            Shape::Bytes => format!("md5({name})"),
        }
    }
}

/// The hash of the text of these columns of a row, whatever the database's collation is.
pub(crate) fn hash(columns: &[Column]) -> String {
    let columns: Vec<String> = columns.iter().map(Column::as_text).collect();
    format!("hashtextextended(ROW({})::text COLLATE \"C\", 0)", columns.join(", "))
}

/// Tables that belong together: partitions, or tables that inherit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    /// The one that all of them descend from.
    pub(crate) root: String,
    /// Which tables are in it: another text, other tables.
    pub(crate) layout: String,
    /// Whether this table is the first of them, by name.
    pub(crate) first: bool,
}

/// A table that rows lie in, or a family of them taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// As SQL names it, with its schema.
    pub(crate) name: String,
    /// Its schema, as SQL names it.
    pub(crate) schema: String,
    pub(crate) columns: Vec<Column>,
    /// The columns of the primary key; without one the first column. They say which rows are in a sample.
    pub(crate) key: Vec<String>,
    /// Whether `key` is one.
    pub(crate) keyed: bool,
    /// How many pages it has; none if it has no pages that can be read one after the other.
    pub(crate) pages: Option<u64>,
    /// The number of its file: another one, and all its rows lie elsewhere.
    pub(crate) file: u64,
    pub(crate) readable: bool,
    pub(crate) unlogged: bool,
    pub(crate) family: Option<Family>,
    /// Whether rows of tables below it count, too.
    pub(crate) whole: bool,
}

impl Table {
    /// Reads one row of the listing.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, &'static str> {
        let list = |name: &'static str| Ok::<_, &'static str>(row.maybe(name)?.unwrap_or("[]").to_owned());
        let columns = serde_json::from_str(&list("columns")?).map_err(|_| "columns")?;
        let key: Vec<String> = serde_json::from_str(&list("key")?).map_err(|_| "key")?;
        let family = match row.maybe("root")? {
            Some(root) => {
                Some(Family { root: root.to_owned(), layout: row.text("layout")?.to_owned(), first: row.truth("first")? })
            }
            None => None,
        };
        let table = Self {
            name: row.text("name")?.to_owned(),
            schema: row.text("schema")?.to_owned(),
            columns,
            keyed: !key.is_empty(),
            key,
            pages: if row.truth("heap")? { Some(row.number("pages")?) } else { None },
            file: row.maybe("file")?.map_or(Ok(0), str::parse).map_err(|_| "file")?,
            readable: row.truth("readable")?,
            unlogged: row.truth("unlogged")?,
            family,
            whole: row.truth("whole")?,
        };
        Ok(table.with_a_key())
    }

    fn with_a_key(mut self) -> Self {
        if !self.keyed {
            self.key = self.columns.iter().take(1).map(|column| column.name.clone()).collect();
        }
        self
    }

    /// Where its rows are read from.
    pub(crate) fn source(&self) -> String {
        let only = if self.whole { "" } else { "ONLY " };
        format!("{only}{}", self.name)
    }

    /// The hash of a row: of the text of its columns, whatever the database's collation is.
    pub(crate) fn hash(&self) -> String {
        hash(&self.columns)
    }

    /// What tells a person which row it is.
    pub(crate) fn label(&self) -> String {
        if self.keyed {
            format!("'{} = ' || left(ROW({})::text, 60)", self.key.join(", ").replace('\'', "''"), self.key.join(", "))
        } else {
            "'at ' || ctid::text".to_owned()
        }
    }

    /// The condition on a row that it is in a sample of one in so many: by its key alone, so that both sides take the same.
    pub(crate) fn sampled(&self, one_in: u32) -> String {
        format!("hashtextextended(ROW({})::text COLLATE \"C\", 1) % {} = 0", self.key.join(", "), one_in.max(1))
    }

    /// A column that the other side's table does not have.
    pub(crate) fn lacks<'a>(&self, of: &'a Self) -> Option<&'a str> {
        let has = |column: &&Column| !self.columns.iter().any(|own| own.name == column.name);
        of.columns.iter().find(has).map(|column| column.name.as_str())
    }

    /// This table's pages, read as the other side's columns say.
    pub(crate) fn as_of(&self, other: &Self) -> Self {
        let (columns, key, keyed) = (other.columns.clone(), other.key.clone(), other.keyed);
        Self { columns, key, keyed, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, Shape)]) -> Table {
        let columns: Vec<Column> = columns.iter().map(|(name, shape)| Column::from(((*name).to_owned(), *shape))).collect();
        Table {
            name: "public.t".into(),
            schema: "public".into(),
            columns,
            key: vec!["id".into()],
            keyed: true,
            pages: Some(1),
            file: 1,
            readable: true,
            unlogged: false,
            family: None,
            whole: false,
        }
    }

    #[test]
    fn long_values_are_hashed_by_themselves() {
        let table = table(&[("id", Shape::Plain), ("\"a b\"", Shape::Text), ("raw", Shape::Bytes)]);
        let text = "CASE WHEN octet_length(\"a b\") > 1000000 THEN md5(\"a b\") ELSE \"a b\" END";
        assert_eq!(table.hash(), format!("hashtextextended(ROW(id, {text}, md5(raw))::text COLLATE \"C\", 0)"));
    }

    #[test]
    fn columns_are_those_of_the_other_side() {
        let (old, new) = (table(&[("id", Shape::Plain), ("b", Shape::Plain)]), table(&[("b", Shape::Plain)]));
        assert_eq!(new.lacks(&old), Some("id"));
        assert_eq!(old.lacks(&new), None);
        assert_eq!(old.as_of(&new).hash(), new.hash());
    }
}
