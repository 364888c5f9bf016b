//! What few databases have: operators, text search, foreign servers, publications, large objects.

use super::relations::mine;
use super::{PEOPLES, Side, aspects, hidden, no_extensions, sorted};

/// Objects of one catalog, by the name that the server itself gives to them.
fn identified(class: &str, from: &str, def: &str) -> String {
    let free = no_extensions(class, "x.oid");
    format!(
        "SELECT i.type || ' ' || i.identity, false, {} FROM {from}, LATERAL pg_identify_object('{class}'::regclass, x.oid, 0) i \
         WHERE x.oid >= 16384 AND {free}",
        aspects(def)
    )
}

/// The same in a schema that counts.
fn in_schema(class: &str, namespace: &str, def: &str) -> String {
    let from = format!("{class} x JOIN pg_namespace n ON n.oid = x.{namespace} AND {PEOPLES}");
    identified(class, &from, def)
}

pub(super) fn operators() -> String {
    let casts = format!(
        "SELECT i.type || ' ' || i.identity, x.castcontext = 'i', {} FROM pg_cast x, \
         LATERAL pg_identify_object('pg_cast'::regclass, x.oid, 0) i WHERE x.oid >= 16384 AND {}",
        aspects(
            "'function', CASE WHEN x.castfunc <> 0 THEN x.castfunc::regprocedure::text END, 'method', x.castmethod::text, \
             'context', CASE x.castcontext WHEN 'e' THEN 'explicit' WHEN 'a' THEN 'assignment' ELSE 'implicit' END"
        ),
        no_extensions("pg_cast", "x.oid")
    );
    let operators = in_schema(
        "pg_operator",
        "oprnamespace",
        "'owner', pg_get_userbyid(x.oprowner), 'function', x.oprcode::regprocedure::text, 'result', format_type(x.oprresult, NULL), \
         'commutator', CASE WHEN x.oprcom <> 0 THEN x.oprcom::regoperator::text END, \
         'negator', CASE WHEN x.oprnegate <> 0 THEN x.oprnegate::regoperator::text END, 'restriction', nullif(x.oprrest::regproc::text, '-'), \
         'join', nullif(x.oprjoin::regproc::text, '-'), 'hashes', CASE WHEN x.oprcanhash THEN 'yes' END, \
         'merges', CASE WHEN x.oprcanmerge THEN 'yes' END",
    );
    let classes = in_schema(
        "pg_opclass",
        "opcnamespace",
        "'owner', pg_get_userbyid(x.opcowner), 'type', format_type(x.opcintype, NULL), 'default', CASE WHEN x.opcdefault THEN 'yes' END, \
         'stores', CASE WHEN x.opckeytype <> 0 THEN format_type(x.opckeytype, NULL) END, \
         'operators', (SELECT string_agg(o.amopstrategy || ' ' || o.amopopr::regoperator, ', ' ORDER BY o.amopstrategy, o.amopopr::regoperator::text \
           COLLATE \"C\") FROM pg_amop o WHERE o.amopfamily = x.opcfamily), \
         'functions', (SELECT string_agg(o.amprocnum || ' ' || o.amproc::regprocedure, ', ' ORDER BY o.amprocnum, o.amproc::regprocedure::text \
           COLLATE \"C\") FROM pg_amproc o WHERE o.amprocfamily = x.opcfamily)",
    );
    let conversions = in_schema(
        "pg_conversion",
        "connamespace",
        "'owner', pg_get_userbyid(x.conowner), 'function', x.conproc::regprocedure::text, 'from', pg_encoding_to_char(x.conforencoding), \
         'to', pg_encoding_to_char(x.contoencoding), 'default', CASE WHEN x.condefault THEN 'yes' END",
    );
    let methods = identified("pg_am", "pg_am x", "'handler', x.amhandler::regproc::text, 'type', x.amtype::text");
    let languages = identified(
        "pg_language",
        "pg_language x",
        "'owner', pg_get_userbyid(x.lanowner), 'trusted', CASE WHEN x.lanpltrusted THEN 'yes' END, 'handler', x.lanplcallfoid::regproc::text",
    );
    let transforms = identified(
        "pg_transform",
        "pg_transform x",
        "'from', x.trffromsql::regprocedure::text, 'to', x.trftosql::regprocedure::text",
    );
    [casts, operators, classes, conversions, methods, languages, transforms].join(" UNION ALL ")
}

pub(super) fn text_search() -> String {
    let configurations = in_schema(
        "pg_ts_config",
        "cfgnamespace",
        "'owner', pg_get_userbyid(x.cfgowner), 'parser', (SELECT p.prsname FROM pg_ts_parser p WHERE p.oid = x.cfgparser), \
         'mapping', (SELECT '#' || md5(string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ',' \
           ORDER BY m.maptokentype, m.mapseqno)) FROM pg_ts_config_map m WHERE m.mapcfg = x.oid)",
    );
    let dictionaries = in_schema(
        "pg_ts_dict",
        "dictnamespace",
        "'owner', pg_get_userbyid(x.dictowner), 'template', (SELECT t.tmplname FROM pg_ts_template t WHERE t.oid = x.dicttemplate), \
         'options', x.dictinitoption",
    );
    let parsers = in_schema(
        "pg_ts_parser",
        "prsnamespace",
        "'functions', concat_ws(' ', x.prsstart, x.prstoken, x.prsend, x.prsheadline, x.prslextype)",
    );
    let templates = in_schema("pg_ts_template", "tmplnamespace", "'functions', concat_ws(' ', x.tmplinit, x.tmpllexize)");
    [configurations, dictionaries, parsers, templates].join(" UNION ALL ")
}

pub(super) fn statistics() -> String {
    let def = "'owner', pg_get_userbyid(x.stxowner), 'definition', pg_get_statisticsobjdef(x.oid), \
               'target', nullif(coalesce(x.stxstattarget::integer, -1), -1)::text";
    in_schema("pg_statistic_ext", "stxnamespace", def)
}

pub(super) fn foreign(side: &Side) -> String {
    let wrappers = identified(
        "pg_foreign_data_wrapper",
        "pg_foreign_data_wrapper x",
        &format!(
            "'owner', pg_get_userbyid(x.fdwowner), 'handler', x.fdwhandler::regproc::text, 'validator', x.fdwvalidator::regproc::text, 'options', {}",
            hidden(&sorted("x.fdwoptions"))
        ),
    );
    let servers = identified(
        "pg_foreign_server",
        "pg_foreign_server x JOIN pg_foreign_data_wrapper w ON w.oid = x.srvfdw",
        &format!(
            "'owner', pg_get_userbyid(x.srvowner), 'wrapper', w.fdwname, 'type', x.srvtype, 'version', x.srvversion, 'options', {}",
            hidden(&sorted("x.srvoptions"))
        ),
    );
    let tables = format!(
        "SELECT 'foreign table ' || c.oid::regclass, false, {} FROM {} JOIN pg_foreign_table f ON f.ftrelid = c.oid \
         JOIN pg_foreign_server s ON s.oid = f.ftserver",
        aspects(&format!("'server', s.srvname, 'options', {}", hidden(&sorted("f.ftoptions")))),
        mine()
    );
    // Its options hold passwords, and are shown to nobody but its owner.
    let mappings = format!(
        "SELECT 'user mapping of ' || quote_ident(m.usename) || ' for server ' || quote_ident(m.srvname), false, '{{}}' FROM pg_user_mappings m WHERE {}",
        side.not_ours("m.usename")
    );
    [wrappers, servers, tables, mappings].join(" UNION ALL ")
}

pub(super) fn publications(side: &Side) -> String {
    let generated = if side.least < 18 { "NULL" } else { "nullif(x.pubgencols::text, 'n')" };
    let published = identified(
        "pg_publication",
        "pg_publication x",
        &format!(
            "'owner', pg_get_userbyid(x.pubowner), 'of all tables', CASE WHEN x.puballtables THEN 'yes' END, \
             'changes', concat_ws(', ', CASE WHEN x.pubinsert THEN 'insert' END, CASE WHEN x.pubupdate THEN 'update' END, \
               CASE WHEN x.pubdelete THEN 'delete' END, CASE WHEN x.pubtruncate THEN 'truncate' END), \
             'as the root', CASE WHEN x.pubviaroot THEN 'yes' END, 'generated columns', {generated}, \
             'tables', (SELECT string_agg(r.prrelid::regclass || coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname \
               COLLATE \"C\") FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) || ')', '') || \
               coalesce(' WHERE ' || pg_get_expr(r.prqual, r.prrelid), ''), ', ' ORDER BY r.prrelid::regclass::text COLLATE \"C\") \
               FROM pg_publication_rel r WHERE r.prpubid = x.oid), \
             'schemas', (SELECT string_agg(s.pnnspid::regnamespace::text, ', ' ORDER BY s.pnnspid::regnamespace::text COLLATE \"C\") \
               FROM pg_publication_namespace s WHERE s.pnpubid = x.oid)"
        ),
    );
    let subscribed = format!(
        "SELECT 'subscription ' || quote_ident(s.subname), true, {} FROM pg_subscription s JOIN pg_database b ON b.oid = s.subdbid \
         WHERE b.datname = current_database()",
        aspects("'owner', pg_get_userbyid(s.subowner), 'publications', array_to_string(s.subpublications, ', ')")
    );
    format!("{published} UNION ALL {subscribed}")
}

pub(super) fn large_objects(side: &Side) -> String {
    format!(
        "SELECT 'large objects of ' || quote_ident(o.owner), false, {} FROM (SELECT pg_get_userbyid(l.lomowner) AS owner, count(*) AS number \
         FROM pg_largeobject_metadata l GROUP BY 1) o WHERE {}",
        aspects("'number, or more', o.number::text"),
        side.not_ours("o.owner")
    )
}
