//! Looking into indexes and tables themselves, with the server's own extension `amcheck`.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::net::Budget;
use crate::outcome::ReasonSpec;
use crate::postgres::Refusal;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;
use crate::postgres::slices::{Blocks, Trouble, took_too_long};

/// Nothing can be looked into.
pub(super) const AMCHECK_MISSING: ReasonSpec = ReasonSpec::unknown(
    "amcheck_missing",
    "run what the evidence says on the new server as superuser, so that indexes and tables can be looked into; or say `amcheck: whereGranted`",
);

/// Relations of one page.
const PAGE: usize = 200;

/// The two functions that are called, as SQL names them.
const FUNCTIONS: &str = "SELECT quote_ident(n.nspname) AS schema, e.extversion AS version, \
     (SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck') AS available, \
     has_schema_privilege(n.oid, 'USAGE') AS usage, \
     coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'bt_index_check' \
     AND oidvectortypes(p.proargtypes) = 'regclass, boolean'), false) AS btree, \
     coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'verify_heapam' \
     AND oidvectortypes(p.proargtypes) = 'regclass, boolean, boolean, text, bigint, bigint'), false) AS heap \
     FROM (SELECT) AS one LEFT JOIN pg_extension e ON e.extname = 'amcheck' LEFT JOIN pg_namespace n ON n.oid = e.extnamespace";

/// What of it the role may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Amcheck {
    schema: String,
    /// Whether indexes can be looked into.
    pub(super) btree: bool,
    /// Whether tables can.
    pub(super) heap: bool,
    /// What would let all be looked into.
    pub(super) lacks: Option<String>,
}

impl Amcheck {
    /// Asks what is there.
    pub(super) async fn of(reader: &mut Reader, budget: Budget) -> Result<Self, Trouble> {
        let rows = reader.session.ask(FUNCTIONS, budget).await?;
        let read = || {
            let row = Row::only(&rows)?;
            let Some(schema) = row.maybe("schema")? else {
                return Ok(Self::missing(row.number::<u32>("available")? > 0, &reader.role));
            };
            let usage = row.truth("usage")?;
            Ok(Self::there(schema, usage, usage && row.truth("btree")?, usage && row.truth("heap")?, &reader.role))
        };
        Ok(read().map_err(|field: &'static str| reader.unreadable(field))?)
    }

    fn missing(available: bool, role: &str) -> Self {
        let lacks = if available {
            format!("amcheck is not installed; run CREATE EXTENSION amcheck; {}", Self::grants("", true, true, role))
        } else {
            "the server's installation has no amcheck: install PostgreSQL's contrib package, then CREATE EXTENSION amcheck;"
                .to_owned()
        };
        Self { schema: String::new(), btree: false, heap: false, lacks: Some(lacks) }
    }

    fn there(schema: &str, usage: bool, btree: bool, heap: bool, role: &str) -> Self {
        let open = if usage { String::new() } else { format!("GRANT USAGE ON SCHEMA {schema} TO {role}; ") };
        let grants = || format!("amcheck is not granted; run {open}{}", Self::grants(&format!("{schema}."), !btree, !heap, role));
        Self { schema: schema.to_owned(), btree, heap, lacks: (!btree || !heap).then(grants) }
    }

    fn grants(prefix: &str, btree: bool, heap: bool, role: &str) -> String {
        let of = |function: &str| format!("GRANT EXECUTE ON FUNCTION {prefix}{function} TO {role};");
        let index = btree.then(|| of("bt_index_check(regclass, boolean)"));
        let table = heap.then(|| of("verify_heapam(regclass, boolean, boolean, text, bigint, bigint)"));
        [index, table].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// An index or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) name: String,
    pub(super) bytes: u64,
    blocks: u64,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Btree,
    Heap,
}

impl Kind {
    fn condition(self) -> &'static str {
        match self {
            Self::Btree => {
                "c.relkind = 'i' AND w.amname = 'btree' AND EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid AND i.indisvalid \
                 AND i.indisready AND i.indislive)"
            }
            Self::Heap => "c.relkind IN ('r', 'm', 't') AND w.amname = 'heap'",
        }
    }

    fn from(self) -> String {
        let condition = self.condition();
        format!("pg_class c JOIN pg_am w ON w.oid = c.relam WHERE c.relpersistence <> 't' AND {condition}")
    }
}

impl Relation {
    /// Those after this one, in the order of their numbers.
    pub(super) async fn page(reader: &mut Reader, kind: Kind, after: u32, budget: Budget) -> Result<Vec<Self>, Trouble> {
        let sql = format!(
            "SELECT c.oid AS oid, c.oid::regclass AS name, coalesce(pg_relation_size(c.oid), 0) AS bytes, \
             coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint AS blocks \
             FROM {} AND c.oid > {after}::oid ORDER BY c.oid LIMIT {PAGE}",
            kind.from()
        );
        let rows = reader.session.ask(&sql, budget).await?;
        let mut relations = Vec::new();
        let mut last = after;
        for row in &rows {
            let row = Row(row);
            let read = || {
                let (oid, bytes, blocks) = (row.number("oid")?, row.number("bytes")?, row.number("blocks")?);
                Ok(Self { oid, name: row.text("name")?.to_owned(), bytes, blocks })
            };
            let relation = read().map_err(|field: &'static str| reader.unreadable(field))?;
            if relation.oid <= last {
                return Err(reader.unreadable("order").into());
            }
            last = relation.oid;
            relations.push(relation);
        }
        Ok(relations)
    }

    /// How many there are.
    pub(super) async fn count(reader: &mut Reader, kind: Kind, budget: Budget) -> Result<u64, Trouble> {
        let rows = reader.session.ask(&format!("SELECT count(*) AS relations FROM {}", kind.from()), budget).await?;
        Ok(Row::only(&rows).and_then(|row| row.number("relations")).map_err(|field| reader.unreadable(field))?)
    }

    /// That there is none after this one. None at all is believed to a server only if it counts none.
    pub(super) async fn is_past(reader: &mut Reader, kind: Kind, after: u32, budget: Budget) -> Result<(), Trouble> {
        if after == 0 && Self::count(reader, kind, budget).await? > 0 {
            return Err(reader.unreadable("list of relations").into());
        }
        Ok(())
    }
}

/// How closely an index is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Depth {
    /// Its structure, and that each row of the table is in it.
    #[default]
    Exact,
    /// Its structure alone.
    Structure,
}

/// What looking into one of them came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Sound,
    /// It is damaged, in the server's words.
    Corrupt(String),
    /// A part of it is sound.
    Part,
    /// It takes longer than may be asked for.
    TooSlow,
}

impl Amcheck {
    /// Looks into an index, as a whole.
    pub(super) async fn index(
        &self,
        reader: &mut Reader,
        index: &Relation,
        depth: Depth,
        budget: Budget,
    ) -> Result<Seen, Trouble> {
        let exact = depth == Depth::Exact;
        let sql = format!(
            "SELECT i.indexrelid AS oid, {}.bt_index_check(i.indexrelid, {exact}) FROM pg_index i WHERE i.indexrelid = {}::oid AND i.indisvalid",
            self.schema, index.oid
        );
        match reader.session.ask(&sql, budget).await {
            Ok(rows) => is_about(reader, index, &rows).map(|_| Seen::Sound),
            Err(refusal) => refused(refusal),
        }
    }

    /// Looks into the blocks of a table from this one on, and says which is next.
    pub(super) async fn table(
        &self,
        reader: &mut Reader,
        table: &Relation,
        block: &mut u64,
        blocks: &mut Blocks,
        budget: Budget,
    ) -> Result<Seen, Trouble> {
        if *block >= table.blocks {
            return Ok(Seen::Sound);
        }
        let last = (*block + blocks.count()).min(table.blocks) - 1;
        let sql = format!(
            "SELECT t.oid, v.blkno, v.offnum, v.msg FROM (SELECT c.oid FROM pg_class c WHERE c.oid = {}::oid AND c.relkind IN ('r', 'm', 't')) \
             AS t LEFT JOIN LATERAL {}.verify_heapam(t.oid, true, false, 'none', {block}, {last}) AS v ON true LIMIT 1",
            table.oid, self.schema
        );
        let asked = Instant::now();
        let rows = match reader.session.ask(&sql, budget).await {
            Ok(rows) => rows,
            Err(refusal) if took_too_long(&refusal) => return Ok(if blocks.shrink() { Seen::Part } else { Seen::TooSlow }),
            Err(refusal) => return refused(refusal),
        };
        blocks.took(asked.elapsed(), budget.timeout());
        let row = is_about(reader, table, &rows)?;
        let found = ["blkno", "offnum", "msg"].map(|name| row.maybe(name).map(|text| text.is_some()));
        if found != [Ok(false); 3] {
            let text =
                |name| row.maybe(name).map(|text| text.unwrap_or("?").to_owned()).map_err(|field| reader.unreadable(field));
            return Ok(Seen::Corrupt(format!("block {}, row {}: {}", text("blkno")?, text("offnum")?, text("msg")?)));
        }
        *block = last + 1;
        Ok(if *block >= table.blocks { Seen::Sound } else { Seen::Part })
    }
}

/// The row that says of which relation it is. Without one nothing was looked into: the relation is gone, or no longer in use.
fn is_about<'a>(reader: &Reader, relation: &Relation, rows: &'a [tokio_postgres::SimpleQueryRow]) -> Result<Row<'a>, Trouble> {
    if rows.is_empty() {
        return Err(Trouble { passing: true, outcome: reader.unreadable("row") });
    }
    let row = Row::only(rows).map_err(|field| reader.unreadable(field))?;
    let is: u32 = row.number("oid").map_err(|field| reader.unreadable(field))?;
    if is == relation.oid { Ok(row) } else { Err(reader.unreadable("relation").into()) }
}

fn refused(refusal: Refusal) -> Result<Seen, Trouble> {
    if took_too_long(&refusal) {
        return Ok(Seen::TooSlow);
    }
    match &refusal.code {
        Some(code) if *code == SqlState::INDEX_CORRUPTED || *code == SqlState::DATA_CORRUPTED => Ok(Seen::Corrupt(refusal.words)),
        // The table has fewer blocks than a moment ago.
        Some(code) if *code == SqlState::INVALID_PARAMETER_VALUE => Err(Trouble { passing: true, ..Trouble::from(refusal) }),
        _ => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::QUERY_FAILED;

    #[test]
    fn what_is_lacking_is_said_with_the_statement_that_gives_it() {
        let lacks = |amcheck: Amcheck| amcheck.lacks.unwrap_or_default();
        assert!(lacks(Amcheck::missing(false, "\"me\"")).contains("contrib"));
        let words = lacks(Amcheck::missing(true, "\"me\""));
        assert!(
            words.contains("CREATE EXTENSION amcheck; GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO \"me\";"),
            "{words}"
        );
        assert_eq!(lacks(Amcheck::there("public", true, true, true, "me")), "");
        let words = lacks(Amcheck::there("ext", false, true, false, "me"));
        let expected = "amcheck is not granted; run GRANT USAGE ON SCHEMA ext TO me; \
             GRANT EXECUTE ON FUNCTION ext.verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO me;";
        assert_eq!(words, expected);
    }

    #[test]
    fn only_the_servers_own_words_about_damage_are_damage() {
        let of = |code: SqlState| refused(Refusal { reason: QUERY_FAILED, code: Some(code), words: "words".to_owned() });
        assert_eq!(of(SqlState::INDEX_CORRUPTED).unwrap(), Seen::Corrupt("words".to_owned()));
        assert_eq!(of(SqlState::DATA_CORRUPTED).unwrap(), Seen::Corrupt("words".to_owned()));
        assert_eq!(of(SqlState::QUERY_CANCELED).unwrap(), Seen::TooSlow);
        assert!(of(SqlState::UNDEFINED_TABLE).unwrap_err().passing);
        assert!(!of(SqlState::UNDEFINED_FUNCTION).unwrap_err().passing);
    }
}
