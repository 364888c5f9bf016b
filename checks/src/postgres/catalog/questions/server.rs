//! What is outside of a dump: roles, their settings, the database itself, and the server's settings. Passwords are never read.

use super::{Side, aspects, setting};

/// Settings of a server that change what an application sees. That it is read-only is not among them: so is an old server in its fence.
const SEEN: &[&str] = &[
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "default_table_access_method",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "escape_string_warning",
    "extra_float_digits",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lo_compat_privileges",
    "quote_all_identifiers",
    "row_security",
    "search_path",
    "server_encoding",
    "session_replication_role",
    "standard_conforming_strings",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
];

/// As a session finds it that has set nothing; functions are the server's own nevertheless.
pub(super) const UNSET: (&str, &str) = ("BEGIN; RESET ALL; SET LOCAL search_path = pg_catalog; ", "; ROLLBACK");

fn list() -> String {
    SEEN.iter().map(|name| super::text(name)).collect::<Vec<_>>().join(", ")
}

pub(super) fn server_settings() -> String {
    let def = aspects("'value', s.reset_val");
    format!("SELECT 'server setting ' || s.name, false, {def} FROM pg_settings s WHERE s.name IN ({})", list())
}

/// Names of these settings that our own role or connection string sets.
pub(super) fn hidden_settings() -> String {
    let sources = "('user', 'database user', 'client')";
    let (before, after) = UNSET;
    format!("{before}SELECT s.name FROM pg_settings s WHERE s.name IN ({}) AND s.source IN {sources} ORDER BY 1{after}", list())
}

pub(super) fn roles(side: &Side) -> String {
    let flags = [
        ("superuser", "rolsuper"),
        ("inherits", "rolinherit"),
        ("may create roles", "rolcreaterole"),
        ("may create databases", "rolcreatedb"),
        ("login", "rolcanlogin"),
        ("replication", "rolreplication"),
        ("bypasses row security", "rolbypassrls"),
    ];
    let flags = flags.map(|(word, column)| format!("'{word}', CASE WHEN r.{column} THEN 'yes' ELSE 'no' END")).join(", ");
    let def = aspects(&format!(
        "{flags}, 'connection limit', nullif(r.rolconnlimit, -1)::text, 'valid until', nullif(r.rolvaliduntil, 'infinity')::text"
    ));
    let options = if side.least < 16 {
        String::new()
    } else {
        ", 'inherits', CASE WHEN bool_or(a.inherit_option) THEN 'yes' ELSE 'no' END, 'may become it', CASE WHEN bool_or(a.set_option) THEN 'yes' \
         ELSE 'no' END"
            .to_owned()
    };
    let member = aspects(&format!("'may grant it', CASE WHEN bool_or(a.admin_option) THEN 'yes' ELSE 'no' END{options}"));
    format!(
        "SELECT 'role ' || quote_ident(r.rolname), r.rolsuper, {def} FROM pg_roles r WHERE r.rolname !~ '^pg_' AND {} \
         UNION ALL SELECT 'membership of ' || quote_ident(m.rolname) || ' in ' || quote_ident(r.rolname), true, {member} \
         FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid \
         WHERE m.rolname !~ '^pg_' AND {} AND {} GROUP BY m.rolname, r.rolname",
        side.not_ours("r.rolname"),
        side.not_ours("m.rolname"),
        side.not_ours("r.rolname")
    )
}

pub(super) fn settings(side: &Side) -> String {
    format!(
        "SELECT 'setting ' || split_part(o.line, '=', 1) || CASE WHEN s.setrole = 0 THEN CASE WHEN s.setdatabase = 0 THEN ' of all roles' ELSE \
           ' of the database' END ELSE ' of role ' || quote_ident(pg_get_userbyid(s.setrole)) || CASE WHEN s.setdatabase = 0 THEN '' ELSE \
           ' in the database' END END, true, {} \
         FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, LATERAL unnest(s.setconfig) o(line) \
         WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND (s.setrole = 0 OR {})",
        aspects(&format!("'value', {}", setting("o.line"))),
        side.not_ours("pg_get_userbyid(s.setrole)")
    )
}

pub(super) fn database(side: &Side) -> String {
    let locale = if side.major < 17 { "d.daticulocale" } else { "d.datlocale" };
    let rules = if side.least < 16 { "NULL" } else { "d.daticurules" };
    let version = "CASE WHEN v.aspect = 'collation' AND d.datcollversion <> pg_database_collation_actual_version(d.oid) THEN \
                   d.datcollversion || ' recorded, ' || pg_database_collation_actual_version(d.oid) || ' in use' END";
    // One system's `en_US.utf8` is another one's `en_US.UTF-8`.
    let spelt = |name: &str| format!("replace(regexp_replace({name}, '\\.utf-?8$', '.UTF8', 'i'), 'POSIX', 'C')");
    format!(
        "SELECT 'database ' || v.aspect, false, {} FROM pg_database d, LATERAL (VALUES ('encoding', pg_encoding_to_char(d.encoding)::text), \
           ('collation', {}), ('character types', {}), ('locale', {locale}), ('locale rules', {rules}), \
           ('locale provider', CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' ELSE 'builtin' END), \
           ('owner', pg_get_userbyid(d.datdba)::text), ('connection limit', d.datconnlimit::text), \
           ('template', CASE WHEN d.datistemplate THEN 'yes' ELSE 'no' END), \
           ('takes connections', CASE WHEN d.datallowconn THEN 'yes' ELSE 'no' END)) v(aspect, value) \
         WHERE d.datname = current_database() AND v.value IS NOT NULL",
        aspects(&format!("'value', v.value, 'noted version', {version}")),
        spelt("d.datcollate"),
        spelt("d.datctype")
    )
}
