//! What a database does by itself: views, triggers, rules, policies, functions.

use super::relations::{WORD, mine};
use super::{PEOPLES, Side, aspects, hidden, no_extensions, setting};

/// Whether a view reads from one place only, judged by how the server indents: neither a list nor a join follows its `FROM`.
const READS_ONE: &str = r"d.view !~ '\n   FROM .*,\n    [^ ]' AND d.view !~ '\n   FROM \(+[^ \n]'";

/// What a view reads and calls. It stands for the names before columns where those can not be compared.
const READS: &str = "(SELECT string_agg(DISTINCT r.what, ' ') FROM (SELECT CASE e.refclassid WHEN 'pg_class'::regclass THEN \
       e.refobjid::regclass || coalesce('.' || (SELECT b.attname FROM pg_attribute b WHERE b.attrelid = e.refobjid AND b.attnum = e.refobjsubid \
       AND e.refobjsubid > 0), '') WHEN 'pg_proc'::regclass THEN e.refobjid::regprocedure::text \
       WHEN 'pg_type'::regclass THEN e.refobjid::regtype::text ELSE e.refclassid::regclass::text END COLLATE \"C\" AS what \
     FROM pg_rewrite w JOIN pg_depend e ON e.classid = 'pg_rewrite'::regclass AND e.objid = w.oid \
     WHERE w.ev_class = c.oid AND w.rulename = '_RETURN' AND e.refobjid <> c.oid) r)";

pub(super) fn views(side: &Side) -> String {
    let plain = "regexp_replace(d.view, '(\"([^\"]|\"\")+\"|[[:alpha:]_][[:alnum:]_$]*)\\.', '', 'g')";
    let definition = if side.views_alike {
        hidden("d.view")
    } else {
        format!("'#' || md5(CASE WHEN {READS_ONE} THEN {plain} || coalesce({READS}, '') ELSE d.view END)")
    };
    format!(
        "SELECT {WORD}, false, {} FROM {}, LATERAL (SELECT pg_get_viewdef(c.oid) AS view) d WHERE c.relkind IN ('v', 'm')",
        aspects(&format!("'definition', {definition}")),
        mine()
    )
}

/// When a trigger or rule fires.
fn fires(enabled: &str) -> String {
    format!("CASE {enabled} WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'on a replica' ELSE 'always' END")
}

pub(super) fn triggers() -> String {
    let of_table = aspects(&format!("'definition', pg_get_triggerdef(t.oid), 'enabled', {}", fires("t.tgenabled")));
    let of_events = aspects(&format!(
        "'owner', pg_get_userbyid(v.evtowner), 'event', v.evtevent, 'function', v.evtfoid::regprocedure::text, \
         'tags', array_to_string(ARRAY(SELECT o FROM unnest(v.evttags) o ORDER BY o COLLATE \"C\"), ', '), 'enabled', {}",
        fires("v.evtenabled")
    ));
    format!(
        "SELECT 'trigger ' || quote_ident(t.tgname) || ' on ' || c.oid::regclass, true, {of_table} \
         FROM {} JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal \
         UNION ALL SELECT 'event trigger ' || quote_ident(v.evtname), true, {of_events} FROM pg_event_trigger v WHERE {}",
        mine(),
        no_extensions("pg_event_trigger", "v.oid")
    )
}

pub(super) fn rules() -> String {
    let def = aspects(&format!("'definition', pg_get_ruledef(w.oid), 'enabled', {}", fires("w.ev_enabled")));
    format!(
        "SELECT 'rule ' || quote_ident(w.rulename) || ' on ' || c.oid::regclass, true, {def} \
         FROM {} JOIN pg_rewrite w ON w.ev_class = c.oid WHERE w.rulename <> '_RETURN'",
        mine()
    )
}

pub(super) fn policies() -> String {
    let def = aspects(
        "'kind', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, \
         'command', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, \
         'roles', (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' \
           ORDER BY CASE r WHEN 0 THEN '' ELSE pg_get_userbyid(r)::text COLLATE \"C\" END) FROM unnest(p.polroles) r), \
         'using', pg_get_expr(p.polqual, p.polrelid), 'with check', pg_get_expr(p.polwithcheck, p.polrelid)",
    );
    format!(
        "SELECT 'policy ' || quote_ident(p.polname) || ' on ' || c.oid::regclass, true, {def} FROM {} JOIN pg_policy p ON p.polrelid = c.oid",
        mine()
    )
}

pub(super) fn functions() -> String {
    let body = hidden("coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) || coalesce(p.probin, '')");
    let line = format!("split_part(o, '=', 1) || '=' || {}", setting("o"));
    let aggregate = "(SELECT concat_ws(' ', a.aggkind, a.aggnumdirectargs, a.aggtransfn::regproc, a.aggfinalfn::regproc, a.aggcombinefn::regproc, \
         a.aggserialfn::regproc, a.aggdeserialfn::regproc, a.aggmtransfn::regproc, a.aggminvtransfn::regproc, a.aggmfinalfn::regproc, \
         a.aggfinalextra, a.aggfinalmodify, a.aggsortop::regoperator, format_type(a.aggtranstype, NULL), quote_nullable(a.agginitval)) \
         FROM pg_aggregate a WHERE a.aggfnoid = p.oid)";
    let def = aspects(&format!(
        "'owner', pg_get_userbyid(p.proowner), 'language', l.lanname, 'body', {body}, 'arguments', nullif(pg_get_function_arguments(p.oid), ''), \
         'result', pg_get_function_result(p.oid), \
         'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END, \
         'security', CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END, 'strict', CASE WHEN p.proisstrict THEN 'yes' END, \
         'leakproof', CASE WHEN p.proleakproof THEN 'yes' END, \
         'parallel', CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END, \
         'cost', p.procost::text, 'rows', nullif(p.prorows, 0)::text, \
         'support', CASE WHEN p.prosupport <> 0 THEN p.prosupport::regproc::text END, \
         'settings', (SELECT string_agg({line}, ', ' ORDER BY o COLLATE \"C\") FROM unnest(p.proconfig) o), 'aggregate', {aggregate}"
    ));
    format!(
        "SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END || p.oid::regprocedure, false, {def} \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {PEOPLES} JOIN pg_language l ON l.oid = p.prolang WHERE {} \
         AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')",
        no_extensions("pg_proc", "p.oid")
    )
}
