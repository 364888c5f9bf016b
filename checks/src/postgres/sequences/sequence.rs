//! A sequence: what it gives out next, and how much it has left.

use crate::net::Budget;
use crate::postgres::name::literal;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;
use crate::postgres::slices::Trouble;

/// Sequences of one page: what is asked of them stays well below what a session reads.
const PAGE: usize = 400;
/// Sequences that are read in one statement.
const AT_ONCE: usize = 100;

/// The longest a name is that is read: the next page begins after it, so it is remembered.
const LONGEST_NAME: usize = 1024;

/// Sequences `c` of schema `n` with their parameters `s` that an application has: those of extensions are the extension's.
pub(super) const OF_APPLICATIONS: &str = "pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n \
     ON n.oid = c.relnamespace WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'phasegate') \
     AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')";

/// A relation's name in SQL. Always with quotes, since servers of several versions differ in which words they quote.
pub(super) fn name_of(schema: &str, relation: &str) -> String {
    let quoted = |name: &str| format!("'\"' || replace({name}, '\"', '\"\"') || '\"'");
    format!("{} || '.' || {}", quoted(schema), quoted(relation))
}

/// The columns of a sequence, of the tables of [`OF_APPLICATIONS`].
pub(super) fn columns() -> String {
    format!(
        "{} AS name, quote_ident(n.nspname) AS schema, s.seqincrement AS increment, s.seqmin AS least, s.seqmax AS most, \
         s.seqcycle AS cycles, has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT') AS readable",
        name_of("n.nspname", "c.relname")
    )
}

/// The same name as people write it, if it needs no quotes.
pub(super) fn plain(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    let words: Vec<&str> = inner.split("\".\"").collect();
    let simple = |word: &&str| word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
    if words.iter().all(simple) { words.join(".") } else { name.to_owned() }
}

/// A sequence, as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    /// `"schema"."name"`.
    pub(super) name: String,
    /// As an identifier of SQL.
    pub(super) schema: String,
    pub(super) readable: bool,
    pub(super) cycles: bool,
    pub(super) increment: i64,
    pub(super) least: i64,
    pub(super) most: i64,
    /// What it gives out next, once it was read.
    pub(super) next: Option<i128>,
}

impl Sequence {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, &'static str> {
        let increment = row.number("increment")?;
        let (least, most) = (row.number("least")?, row.number("most")?);
        if increment == 0 || least >= most {
            return Err("increment");
        }
        if row.text("name")?.len() > LONGEST_NAME {
            return Err("name");
        }
        Ok(Self {
            name: row.text("name")?.to_owned(),
            schema: row.text("schema")?.to_owned(),
            readable: row.truth("readable")?,
            cycles: row.truth("cycles")?,
            increment,
            least,
            most,
            next: None,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.increment > 0
    }

    /// The statement that shows what it gave out last.
    pub(super) fn question(&self) -> String {
        format!("SELECT last_value, is_called FROM {}", self.name)
    }

    /// Takes what it gave out last.
    pub(super) fn saw(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let last = i128::from(row.number::<i64>("last_value")?);
        let step = if row.truth("is_called")? { i128::from(self.increment) } else { 0 };
        self.next = Some(self.after_the_end(last + step));
        Ok(())
    }

    /// One that goes round begins anew where it would end.
    fn after_the_end(&self, next: i128) -> i128 {
        let (least, most) = (i128::from(self.least), i128::from(self.most));
        match (self.cycles, next) {
            (true, next) if next > most => least,
            (true, next) if next < least => most,
            (_, next) => next,
        }
    }

    /// Whether it would give out what the other one has given out already.
    pub(super) fn is_behind(&self, old: &Self) -> Option<bool> {
        let (next, reached) = (self.next?, old.next?);
        let ahead = if self.is_up() { next - reached } else { reached - next };
        if !self.cycles {
            return Some(ahead < 0);
        }
        // Round a circle each is before the other; the shorter way tells.
        let round = i128::from(self.most) - i128::from(self.least) + 1;
        Some(ahead.rem_euclid(round) > round / 2)
    }

    /// What share of what it can give out is gone, in percent; 100 and more when nothing is left.
    pub(super) fn used(&self) -> Option<u8> {
        let next = self.next?;
        let (least, most) = (i128::from(self.least), i128::from(self.most));
        let given = if self.is_up() { next - least } else { most - next };
        Some(share(given, most - least + 1))
    }

    /// Whether nothing is left. One that goes round has always something.
    pub(super) fn is_exhausted(&self) -> bool {
        let out = |next: i128| next > i128::from(self.most) || next < i128::from(self.least);
        !self.cycles && self.next.is_some_and(out)
    }

    /// What opens it.
    pub(super) fn grants(&self, role: &str) -> String {
        let schema = &self.schema;
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};")
    }
}

/// Full percent, 100 at most.
pub(super) fn share(part: i128, whole: i128) -> u8 {
    let percent = part.max(0).saturating_mul(100).checked_div(whole).unwrap_or(100);
    u8::try_from(percent).unwrap_or(100).min(100)
}

/// Sequences in the order of their names, after this one, with what they give out next.
pub(super) async fn page(reader: &mut Reader, after: &str, budget: Budget) -> Result<Page, Trouble> {
    // By the bytes that are compared here; a server's own order may be another.
    let sql = format!(
        "SELECT * FROM (SELECT {} FROM {OF_APPLICATIONS}) AS s WHERE convert_to(name, 'UTF8') > convert_to({}, 'UTF8') \
         ORDER BY convert_to(name, 'UTF8') LIMIT {PAGE}",
        columns(),
        literal(after)
    );
    let rows = reader.session.ask(&sql, budget).await?;
    let read: Result<Vec<Sequence>, _> = rows.iter().map(|row| Sequence::read(&Row(row))).collect();
    let mut sequences = read.map_err(|field| reader.unreadable(field))?;
    let sorted =
        sequences.iter().map(|sequence| sequence.name.as_str()).try_fold(after, |before, name| (before < name).then_some(name));
    if sorted.is_none() {
        return Err(reader.unreadable("order").into());
    }
    values(reader, &mut sequences, budget).await?;
    let is_full = sequences.len() >= PAGE;
    Ok(Page { sequences, is_full })
}

/// What a page of one server holds.
pub(super) struct Page {
    pub(super) sequences: Vec<Sequence>,
    /// Whether there may be more.
    pub(super) is_full: bool,
}

impl Page {
    /// Up to which name it is complete, if there may be more.
    pub(super) fn end(&self) -> Option<&str> {
        self.sequences.last().filter(|_| self.is_full).map(|last| last.name.as_str())
    }
}

/// Reads what those that may be read give out next.
async fn values(reader: &mut Reader, sequences: &mut [Sequence], budget: Budget) -> Result<(), Trouble> {
    let mut readable: Vec<&mut Sequence> = sequences.iter_mut().filter(|sequence| sequence.readable).collect();
    for some in readable.chunks_mut(AT_ONCE) {
        let each = some
            .iter()
            .enumerate()
            .map(|(number, sequence)| format!("SELECT {number} AS n, * FROM ({}) AS s", sequence.question()));
        let sql = each.collect::<Vec<_>>().join(" UNION ALL ");
        let rows = reader.session.ask(&sql, budget).await?;
        if rows.len() != some.len() {
            return Err(reader.unreadable("last_value").into());
        }
        for row in &rows {
            let row = Row(row);
            let number = row.number::<usize>("n").map_err(|field| reader.unreadable(field))?;
            let sequence = some.get_mut(number).ok_or_else(|| reader.unreadable("n"))?;
            sequence.saw(&row).map_err(|field| reader.unreadable(field))?;
        }
        if some.iter().any(|sequence| sequence.next.is_none()) {
            return Err(Trouble::from(reader.unreadable("last_value")));
        }
    }
    Ok(())
}
