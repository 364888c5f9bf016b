//! Names that a document says, as SQL spells them, and what of a text may stand in a statement.

/// The longest a name may be on the server, with its quotes.
const LONGEST_NAME: usize = 200;

/// A table's or column's own name, as SQL spells it, read to what the catalog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// The catalog's spelling.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As an identifier of SQL.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// Schema and table: `schema.table`, or `table` in schema `public`.
    pub(crate) fn of_table(text: &str) -> Option<(Self, Self)> {
        let mut names = Self::path(text)?.into_iter();
        match (names.next(), names.next(), names.next()) {
            (Some(table), None, None) => Some((Self("public".to_owned()), table)),
            (Some(schema), Some(table), None) => Some((schema, table)),
            _ => None,
        }
    }

    /// A column.
    pub(crate) fn of_column(text: &str) -> Option<Self> {
        let names = Self::path(text)?;
        if let [name] = names.as_slice() { Some(name.clone()) } else { None }
    }

    /// The names that are divided by dots.
    fn path(text: &str) -> Option<Vec<Self>> {
        let (mut names, mut rest) = (Vec::new(), text);
        loop {
            let (name, after) = Self::first(rest)?;
            names.push(name);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None => return after.is_empty().then_some(names),
            }
        }
    }

    fn first(text: &str) -> Option<(Self, &str)> {
        let Some(quoted) = text.strip_prefix('"') else {
            let (name, after) = text.split_at(text.find('.').unwrap_or(text.len()));
            let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let begins = |c: char| c.is_alphabetic() || c == '_';
            let fits = name.starts_with(begins) && name.chars().all(plain);
            return fits.then(|| (Self(name.to_ascii_lowercase()), after));
        };
        let (mut name, mut rest) = (String::new(), quoted);
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return is_harmless(&name).then_some((Self(name), after)),
            }
        }
    }
}

/// What can stand in a literal whatever the server's settings are.
pub(crate) fn is_harmless(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(|c| c.is_control() || c == '\\')
}

/// Text as a literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
