//! What is asked of a catalog: for each part one question, whose rows are `(name, harm, def)`. `def` is an object of aspects, each a text;
//! an aspect that is as usual is left out. One that begins with `#` is the digest of what may hold a secret or is too long to be shown.

mod code;
mod kinds;
mod others;
mod relations;
mod rights;
mod server;

use super::part::Part;

/// Roles that phasegate brings along (`deploy/postgres`): what they may do is no part of the application.
const OUR_ROLES: [&str; 4] = ["phasegate", "phasegate_canary", "phasegate_operator", "phasegate_owner"];

/// Objects that are not made by people: the server's own, and chunks of hypertables; and the canary's schema.
const PEOPLES: &str = "n.nspname !~ '^(pg_|_timescaledb)' AND n.nspname <> ALL ('{information_schema,phasegate}')";

/// The side that is asked, and what both sides have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    /// Its own major version.
    pub(super) major: u32,
    /// Whether a privilege, constraint or option of a later version can be compared: the older of the two.
    pub(super) least: u32,
    /// Whether views read alike: version 16 no longer writes the table's name before each column of a view that reads one table.
    pub(super) views_alike: bool,
    /// Whether partitions are alike: from version 17 on they have the identity of their parent.
    pub(super) partitions_alike: bool,
    /// Logins of the verifier that are not among [`OUR_ROLES`].
    pub(super) logins: Vec<String>,
}

impl Side {
    /// One of two sides.
    pub(super) fn of(major: u32, other: u32, logins: Vec<String>) -> Self {
        let alike = |since: u32| (major < since) == (other < since);
        Self { major, least: major.min(other), views_alike: alike(16), partitions_alike: alike(17), logins }
    }

    /// That a role's name is none of ours.
    fn not_ours(&self, name: &str) -> String {
        let ours = OUR_ROLES.iter().copied().chain(self.logins.iter().map(String::as_str)).map(text);
        format!("coalesce({name}::text COLLATE \"C\" NOT IN ({}), true)", ours.collect::<Vec<_>>().join(", "))
    }

    /// That both versions know a privilege.
    fn known_to_both(&self, privilege: &str) -> String {
        if self.least < 17 { format!("{privilege} <> 'MAINTAIN'") } else { "true".to_owned() }
    }

    /// The question of a part.
    pub(super) fn question(&self, part: Part) -> String {
        match part {
            Part::Schemas => relations::schemas(),
            Part::Relations => relations::relations(),
            Part::Columns => relations::columns(self),
            Part::Constraints => relations::constraints(self),
            Part::Indexes => relations::indexes(),
            Part::Sequences => relations::sequences(),
            Part::Views => code::views(self),
            Part::Triggers => code::triggers(),
            Part::Rules => code::rules(),
            Part::Policies => code::policies(),
            Part::Functions => code::functions(),
            Part::Types => kinds::types(),
            Part::Comments => kinds::comments(self),
            Part::Extensions => kinds::extensions(),
            Part::Privileges => rights::privileges(self),
            Part::DefaultPrivileges => rights::default_privileges(self),
            Part::Operators => others::operators(),
            Part::Collations => kinds::collations(self),
            Part::TextSearch => others::text_search(),
            Part::Statistics => others::statistics(),
            Part::Foreign => others::foreign(self),
            Part::Publications => others::publications(self),
            Part::LargeObjects => others::large_objects(self),
            Part::Roles => server::roles(self),
            Part::Settings => server::settings(self),
            Part::Database => server::database(self),
            Part::ServerSettings => server::server_settings(),
        }
    }
}

/// Settings of the server whose value this session hides, since its own role or connection string sets them.
pub(super) fn hidden_settings() -> String {
    server::hidden_settings()
}

/// What is said before and after a question: a server's settings are read as a session finds them that has set none.
pub(super) fn around(part: Part) -> (&'static str, &'static str) {
    if part == Part::ServerSettings { server::UNSET } else { ("", "") }
}

/// A text, as SQL writes it.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// That no extension brought it: its script does so on the other side.
fn no_extensions(class: &str, oid: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid} AND e.objsubid = 0 AND e.deptype = 'e')"
    )
}

/// What may hold a secret, or is long: whether it is the same, and no more.
fn hidden(text: &str) -> String {
    format!("'#' || md5({text})")
}

/// A list of settings or options, in whatever order.
fn sorted(list: &str) -> String {
    format!("nullif(array_to_string(ARRAY(SELECT o FROM unnest({list}) o ORDER BY o COLLATE \"C\"), ', '), '')")
}

/// `name=value`, but of a setting that an application makes up, which may hold a secret, only a digest.
fn setting(line: &str) -> String {
    format!(
        "CASE WHEN split_part({line}, '=', 1) LIKE '%.%' THEN '#' || md5({line}) ELSE substr({line}, strpos({line}, '=') + 1) END"
    )
}

/// Aspects that are there.
fn aspects(aspects: &str) -> String {
    format!("json_strip_nulls(json_build_object({aspects}))::text")
}
