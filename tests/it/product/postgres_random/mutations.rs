//! Single changes of a random database. Each kind is a question to the database for all changes of this kind that it could have, with
//! the name that has to be told; one is picked and made. A change that the server refuses, or that changes nothing, is no change.

mod objects;
mod outside;
mod rows;
mod tables;

use tests::Session;

use crate::model::rng::Rng;

/// Which side is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// Where it is made, and by what it is found at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Rows of the new side: it counts if rows were changed.
    Rows,
    /// Of the new side.
    Catalog,
    /// How far a sequence has counted.
    Sequence,
    /// Rows of the old side, after the dump.
    OldRows,
    /// Of the old side, after the dump.
    Old,
    /// How far a sequence of the old side has counted, after the dump.
    OldSequence,
}

/// A kind of changes.
struct Kind {
    name: &'static str,
    of: Of,
    /// Rows of what is done, the name that is told, and what takes it back if it is outside of the database. `{n}` is any number;
    /// see [`asked`] for more.
    question: &'static str,
}

const fn kind(name: &'static str, of: Of, question: &'static str) -> Kind {
    Kind { name, of, question }
}

/// A change that was made.
pub(super) struct Mutation {
    pub(super) kind: &'static str,
    pub(super) side: Side,
    of: Of,
    pub(super) plant: String,
    /// What has to be told.
    pub(super) names: String,
    pub(super) back: String,
}

impl Mutation {
    /// All three proofs, the most promising first.
    pub(super) fn proofs(&self) -> [&'static str; 3] {
        match self.of {
            Of::Rows | Of::OldRows => ["postgresRows", "postgresCatalog", "postgresSequences"],
            Of::Catalog | Of::Old => ["postgresCatalog", "postgresRows", "postgresSequences"],
            Of::Sequence | Of::OldSequence => ["postgresSequences", "postgresCatalog", "postgresRows"],
        }
    }
}

/// Tables, views and so on that people have made, and among them tables with rows.
const RELATIONS: &str = "(SELECT c.*, c.oid::regclass::text AS t FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))";
const PEOPLES: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

fn asked(question: &str, n: u64) -> String {
    question
        .replace("{rel}", &format!("{RELATIONS} c"))
        .replace("{tab}", &format!("(SELECT * FROM {RELATIONS} c WHERE c.relkind = 'r' AND pg_relation_size(c.oid) > 0) c"))
        .replace(
            "{row}",
            "ctid = (SELECT ctid FROM ONLY %1$s ORDER BY ctid OFFSET {n} %% (SELECT count(*) FROM ONLY %1$s) LIMIT 1)",
        )
        .replace(
            "{list}",
            "(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid \
             AND attnum > 0 AND NOT attisdropped AND attgenerated = '')",
        )
        .replace("{mine}", PEOPLES)
        .replace("{n}", &n.to_string())
}

/// Makes one change of the kinds of this side; none if nothing can be changed.
pub(super) async fn mutations(session: &Session, side: Side, rng: &mut Rng) -> Option<Mutation> {
    let kinds: Vec<&Kind> = [rows::KINDS, tables::KINDS, objects::KINDS, outside::KINDS].into_iter().flatten().collect();
    let of_old = |kind: &Kind| matches!(kind.of, Of::OldRows | Of::Old | Of::OldSequence);
    let mut kinds: Vec<&Kind> = kinds.into_iter().filter(|kind| of_old(kind) == (side == Side::Old)).collect();
    while !kinds.is_empty() {
        let kind = kinds.swap_remove(any(rng, kinds.len()));
        let question = format!(
            "SELECT plant, names, back FROM ({}) q(plant, names, back) ORDER BY 1, 2",
            asked(kind.question, rng.below(100_000))
        );
        let rows = session.query(&question, &[]).await.unwrap_or_else(|error| panic!("{}: {error:?}: {question}", kind.name));
        let mut found: Vec<[String; 3]> = rows.iter().map(|row| [0, 1, 2].map(|column| row.get(column))).collect();
        for _ in 0..4 {
            if found.is_empty() {
                break;
            }
            let [plant, names, back] = found.swap_remove(any(rng, found.len()));
            if makes(session, kind, &plant).await {
                return Some(Mutation { kind: kind.name, side, of: kind.of, plant, names, back });
            }
        }
    }
    None
}

fn any(rng: &mut Rng, of: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(of).unwrap())).unwrap()
}

/// Whether it could be made, and was a change.
async fn makes(session: &Session, kind: &Kind, plant: &str) -> bool {
    match kind.of {
        Of::Rows | Of::OldRows => {
            session.batch_execute("BEGIN").await.unwrap();
            let changed = session.execute(plant, &[]).await.is_ok_and(|rows| rows > 0);
            session.batch_execute(if changed { "COMMIT" } else { "ROLLBACK" }).await.is_ok() && changed
        }
        Of::Catalog | Of::Sequence | Of::Old | Of::OldSequence => session.batch_execute(plant).await.is_ok(),
    }
}
