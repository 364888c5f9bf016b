//! Who may do what, and what is outside of a database. Roles are on the whole server: what is done to them is taken back.

use super::Of::{Catalog, Old};
use super::{Kind, kind};

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("privilege revoked", Catalog, "SELECT format('REVOKE %s ON %s%s FROM %s', x.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, c.t, \
        CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END), c.t, '' FROM {rel}, LATERAL aclexplode(c.relacl) x \
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND x.privilege_type <> 'MAINTAIN'"),
    kind("privilege granted", Catalog, "SELECT format('GRANT TRUNCATE ON %s TO %I', c.t, r.rolname), c.t, '' FROM {rel}, pg_roles r WHERE r.rolname IN ('readers', 'grafana', \
        'Odd \"Role\"') AND c.relkind IN ('r', 'p', 'v') AND NOT has_table_privilege(r.oid, c.oid, 'TRUNCATE')"),
    kind("privilege granted on a column", Catalog, "SELECT format('GRANT REFERENCES (%I) ON %s TO grafana', a.attname, c.t), c.t || '.' || quote_ident(a.attname), '' FROM {rel} \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relkind IN ('r', 'p') AND c.relowner <> 'grafana'::regrole"),
    kind("privilege revoked on a column", Catalog, "SELECT format('REVOKE %s (%I) ON %s FROM %s', x.privilege_type, a.attname, c.t, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE \
        quote_ident(pg_get_userbyid(x.grantee)) END), c.t || '.' || quote_ident(a.attname), '' FROM {rel} JOIN pg_attribute a ON a.attrelid = c.oid, LATERAL aclexplode(a.attacl) x"),
    kind("may grant it", Catalog, "SELECT format('GRANT SELECT ON %s TO readers WITH GRANT OPTION', c.t), c.t, '' FROM {rel} WHERE c.relkind IN ('r', 'p', 'v') \
        AND NOT has_table_privilege('readers', c.oid, 'SELECT WITH GRANT OPTION')"),
    kind("privilege on a function", Catalog, "SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure), p.oid::regprocedure::text, '' FROM pg_proc p \
        JOIN pg_namespace n ON n.oid = p.pronamespace AND {mine} WHERE p.prokind = 'f' AND p.proacl IS NULL \
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))"),
    kind("privilege on a schema", Catalog, "SELECT 'GRANT CREATE ON SCHEMA app TO grafana', 'schema app', ''"),
    kind("default privileges", Catalog, "SELECT 'ALTER DEFAULT PRIVILEGES FOR ROLE server IN SCHEMA app GRANT INSERT ON TABLES TO readers', 'default privileges of server', ''"),
    kind("the database", Catalog, "SELECT * FROM (VALUES ('GRANT CREATE ON DATABASE changed TO readers', 'the database', ''), \
        ('REVOKE TEMPORARY ON DATABASE changed FROM PUBLIC', 'the database', ''), ('ALTER DATABASE changed SET work_mem = ''9MB''', 'work_mem of the database', ''), \
        ('ALTER DATABASE changed CONNECTION LIMIT 77', 'connection limit', ''), ('ALTER DATABASE changed OWNER TO server', 'database owner', ''), \
        ('ALTER DATABASE changed SET timezone = ''Asia/Kolkata''', 'TimeZone', '')) v"),
    kind("role", Catalog, "SELECT * FROM (VALUES ('ALTER ROLE readers CREATEDB', 'role readers', 'ALTER ROLE readers NOCREATEDB'), \
        ('ALTER ROLE readers LOGIN', 'role readers', 'ALTER ROLE readers NOLOGIN'), ('ALTER ROLE server SUPERUSER', 'role server', 'ALTER ROLE server NOSUPERUSER'), \
        ('ALTER ROLE grafana BYPASSRLS', 'role grafana', 'ALTER ROLE grafana NOBYPASSRLS'), \
        ('ALTER ROLE grafana CONNECTION LIMIT 3', 'role grafana', 'ALTER ROLE grafana CONNECTION LIMIT -1'), \
        ('ALTER ROLE \"Odd \"\"Role\"\"\" VALID UNTIL ''2031-01-01''', 'role \"Odd \"\"Role\"\"\"', 'ALTER ROLE \"Odd \"\"Role\"\"\" VALID UNTIL ''infinity'''), \
        ('ALTER ROLE app_owner NOINHERIT', 'role app_owner', 'ALTER ROLE app_owner INHERIT')) v"),
    kind("membership", Catalog, "SELECT * FROM (VALUES ('REVOKE readers FROM grafana', 'membership of grafana in readers', 'GRANT readers TO grafana'), \
        ('GRANT app_owner TO readers', 'membership of readers in app_owner', 'REVOKE app_owner FROM readers'), \
        ('REVOKE ADMIN OPTION FOR app_owner FROM server', 'membership of server in app_owner', 'GRANT app_owner TO server WITH ADMIN OPTION')) v"),
    kind("setting of a role", Catalog, "SELECT * FROM (VALUES ('ALTER ROLE readers RESET work_mem', 'role readers', 'ALTER ROLE readers SET work_mem = ''8MB'''), \
        ('ALTER ROLE readers SET work_mem = ''9MB''', 'role readers', 'ALTER ROLE readers SET work_mem = ''8MB'''), \
        ('ALTER ROLE server SET statement_timeout = ''9s''', 'role server', 'ALTER ROLE server RESET statement_timeout'), \
        ('ALTER ROLE grafana IN DATABASE changed SET datestyle = ''SQL''', 'role grafana in the database', '')) v"),
    kind("comment of a role", Catalog, "SELECT 'COMMENT ON ROLE readers IS ''other''', 'role readers', 'COMMENT ON ROLE readers IS ''who reads'''"),
    kind("privilege granted after the dump", Old, "SELECT format('GRANT TRUNCATE ON %s TO %I', c.t, r.rolname), c.t, '' FROM {rel}, pg_roles r WHERE r.rolname IN ('readers', 'grafana') \
        AND c.relkind IN ('r', 'p', 'v') AND NOT has_table_privilege(r.oid, c.oid, 'TRUNCATE')"),
];
