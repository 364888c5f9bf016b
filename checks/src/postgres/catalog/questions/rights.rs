//! Who may do what. Who granted it is left out: a dump does not keep it.

use super::relations::{WORD, mine};
use super::{PEOPLES, Side, no_extensions};

/// Whose privilege it is.
const GRANTEE: &str = "CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END";

/// That it was given: the first superuser is written into a parameter's list with the first grant to anybody, and has it anyway.
const EXPRESS: &str = "NOT (x.grantee = 10 AND l.what LIKE 'parameter %')";

pub(super) fn privileges(side: &Side) -> String {
    let lists = [
        format!(
            "SELECT {WORD} AS what, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner)) AS acl \
             FROM {} WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
            mine()
        ),
        format!(
            "SELECT 'column ' || c.oid::regclass || '.' || quote_ident(a.attname), a.attacl FROM {} JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND a.attnum > 0",
            mine()
        ),
        format!(
            "SELECT 'schema ' || quote_ident(n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n WHERE {PEOPLES} AND {}",
            no_extensions("pg_namespace", "n.oid")
        ),
        format!(
            "SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END || p.oid::regprocedure, \
             coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {PEOPLES} WHERE {} \
             AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')",
            no_extensions("pg_proc", "p.oid")
        ),
        format!(
            "SELECT CASE t.typtype WHEN 'd' THEN 'domain ' ELSE 'type ' END || format_type(t.oid, NULL), coalesce(t.typacl, acldefault('T', t.typowner)) \
             FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {PEOPLES} LEFT JOIN pg_class c ON c.oid = t.typrelid \
             WHERE t.typtype <> 'm' AND (c.oid IS NULL OR c.relkind = 'c') AND NOT EXISTS (SELECT FROM pg_type s WHERE s.typarray = t.oid) AND {}",
            no_extensions("pg_type", "t.oid")
        ),
        "SELECT 'the database', coalesce(d.datacl, acldefault('d', d.datdba)) FROM pg_database d WHERE d.datname = current_database()".to_owned(),
        "SELECT 'language ' || quote_ident(l.lanname), coalesce(l.lanacl, acldefault('l', l.lanowner)) FROM pg_language l \
         WHERE l.lanname NOT IN ('internal', 'c')"
            .to_owned(),
        format!(
            "SELECT 'foreign data wrapper ' || quote_ident(w.fdwname), coalesce(w.fdwacl, acldefault('F', w.fdwowner)) FROM pg_foreign_data_wrapper w WHERE {}",
            no_extensions("pg_foreign_data_wrapper", "w.oid")
        ),
        "SELECT 'server ' || quote_ident(s.srvname), coalesce(s.srvacl, acldefault('S', s.srvowner)) FROM pg_foreign_server s".to_owned(),
        "SELECT 'parameter ' || p.parname, p.paracl FROM pg_parameter_acl p".to_owned(),
    ];
    format!(
        "SELECT 'privileges of ' || g.grantee || ' on ' || g.what, true, json_object_agg(g.privilege, g.how ORDER BY g.privilege)::text \
         FROM (SELECT l.what, {GRANTEE} AS grantee, x.privilege_type AS privilege, \
           CASE WHEN bool_or(x.is_grantable) THEN 'yes, and may grant it' ELSE 'yes' END AS how \
           FROM ({}) l, LATERAL aclexplode(l.acl) x WHERE (x.grantee = 0 OR {}) AND {} AND {EXPRESS} GROUP BY 1, 2, 3) g GROUP BY g.what, g.grantee",
        lists.join(" UNION ALL "),
        side.not_ours("pg_get_userbyid(x.grantee)"),
        side.known_to_both("x.privilege_type")
    )
}

/// What of a list of privileges counts, as one text.
fn counted(side: &Side, acl: &str) -> String {
    format!(
        "(SELECT coalesce(string_agg({GRANTEE} || ': ' || x.privilege_type || CASE WHEN x.is_grantable THEN ' (may grant it)' ELSE '' END, ', ' \
         ORDER BY {GRANTEE} COLLATE \"C\", x.privilege_type COLLATE \"C\"), '') FROM aclexplode({acl}) x WHERE (x.grantee = 0 OR {}) AND {})",
        side.not_ours("pg_get_userbyid(x.grantee)"),
        side.known_to_both("x.privilege_type")
    )
}

pub(super) fn default_privileges(side: &Side) -> String {
    // Where nothing is said, or nothing but for our own roles, what the server gives by itself holds.
    let code = "CASE d.defaclobjtype WHEN 'S' THEN 's'::\"char\" ELSE d.defaclobjtype END";
    let usual = format!("CASE WHEN d.defaclnamespace = 0 THEN acldefault({code}, d.defaclrole) END");
    format!(
        "SELECT 'default privileges of ' || quote_ident(g.owner) || coalesce(' in schema ' || g.place, '') || ' on ' || g.what, true, \
         json_build_object('granted', g.given)::text \
         FROM (SELECT pg_get_userbyid(d.defaclrole) AS owner, (SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE n.oid = d.defaclnamespace) AS place, \
           CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' \
             WHEN 'n' THEN 'schemas' ELSE 'large objects' END AS what, {} AS given, {} AS usual FROM pg_default_acl d) g \
         WHERE g.given <> g.usual AND coalesce(g.place, '') <> 'phasegate' AND {}",
        counted(side, "d.defaclacl"),
        counted(side, &usual),
        side.not_ours("g.owner")
    )
}
