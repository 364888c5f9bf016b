//! Who may do what, what a dump leaves behind, and what few databases have.

use super::{Change, change};

pub(in super::super) const OUTSIDE: &[Change] = &[
    // Who may do what.
    change(
        "REVOKE INSERT ON app.visits FROM server",
        "GRANT INSERT ON app.visits TO server WITH GRANT OPTION",
        &[("privileges", "privilege_differs", "privileges of server on table app.visits: INSERT yes, and may grant it → none")],
    ),
    change(
        "REVOKE GRANT OPTION FOR SELECT ON app.visits FROM server",
        "GRANT SELECT ON app.visits TO server WITH GRANT OPTION",
        &[("privileges", "privilege_differs", "privileges of server on table app.visits: SELECT yes, and may grant it → yes")],
    ),
    change(
        "REVOKE UPDATE (name) ON app.people FROM readers",
        "GRANT UPDATE (name) ON app.people TO readers",
        &[("privileges", "privilege_differs", "privileges of readers on column app.people.name: UPDATE yes → none")],
    ),
    change(
        "GRANT DELETE ON app.people TO grafana",
        "REVOKE DELETE ON app.people FROM grafana",
        &[("privileges", "extra", "privileges of grafana on table app.people")],
    ),
    change(
        "REVOKE SELECT ON app.simple FROM PUBLIC",
        "GRANT SELECT ON app.simple TO PUBLIC",
        &[("privileges", "privilege_missing", "privileges of PUBLIC on view app.simple")],
    ),
    change(
        "REVOKE USAGE ON SCHEMA app FROM readers",
        "GRANT USAGE ON SCHEMA app TO readers",
        &[("privileges", "privilege_missing", "privileges of readers on schema app")],
    ),
    change(
        "GRANT EXECUTE ON FUNCTION app.total(integer[]) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION app.total(integer[]) FROM PUBLIC",
        &[("privileges", "extra", "privileges of PUBLIC on function app.total(integer[])")],
    ),
    change(
        "GRANT USAGE ON TYPE app.pair TO PUBLIC",
        "REVOKE USAGE ON TYPE app.pair FROM PUBLIC",
        &[("privileges", "extra", "privileges of PUBLIC on type app.pair")],
    ),
    change(
        "REVOKE USAGE ON SEQUENCE app.visits_id_seq FROM server",
        "GRANT USAGE ON SEQUENCE app.visits_id_seq TO server",
        &[("privileges", "privilege_missing", "privileges of server on sequence app.visits_id_seq")],
    ),
    change(
        "REVOKE TEMPORARY ON DATABASE homelab FROM PUBLIC",
        "GRANT TEMPORARY ON DATABASE homelab TO PUBLIC",
        &[("privileges", "privilege_differs", "privileges of PUBLIC on the database: TEMPORARY yes → none")],
    ),
    change(
        "REVOKE USAGE ON LANGUAGE plpgsql FROM readers",
        "GRANT USAGE ON LANGUAGE plpgsql TO readers",
        &[("privileges", "privilege_missing", "privileges of readers on language plpgsql")],
    ),
    change(
        "GRANT SET ON PARAMETER log_statement TO grafana",
        "REVOKE SET ON PARAMETER log_statement FROM grafana",
        &[("privileges", "extra", "privileges of grafana on parameter log_statement")],
    ),
    change(
        "ALTER DEFAULT PRIVILEGES FOR ROLE server IN SCHEMA app REVOKE SELECT ON TABLES FROM readers",
        "ALTER DEFAULT PRIVILEGES FOR ROLE server IN SCHEMA app GRANT SELECT ON TABLES TO readers",
        &[("defaultPrivileges", "privilege_missing", "default privileges of server in schema app on tables")],
    ),
    change(
        "ALTER DEFAULT PRIVILEGES FOR ROLE server GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE server REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        &[("defaultPrivileges", "privilege_missing", "default privileges of server on functions")],
    ),
    change(
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT DELETE ON TABLES TO grafana",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE DELETE ON TABLES FROM grafana",
        &[("defaultPrivileges", "extra", "default privileges of app_owner on tables")],
    ),
    // What is outside of a dump.
    change(
        "ALTER ROLE grafana SUPERUSER",
        "ALTER ROLE grafana NOSUPERUSER",
        &[("roles", "role_differs", "role grafana: superuser no → yes")],
    ),
    change(
        "ALTER ROLE grafana NOLOGIN",
        "ALTER ROLE grafana LOGIN",
        &[("roles", "role_differs", "role grafana: login yes → no")],
    ),
    change(
        "ALTER ROLE server CONNECTION LIMIT 0",
        "ALTER ROLE server CONNECTION LIMIT -1",
        &[("roles", "role_differs", "role server: connection limit none → 0")],
    ),
    change(
        "ALTER ROLE \"Odd \"\"Role\"\"\" VALID UNTIL 'infinity'",
        "ALTER ROLE \"Odd \"\"Role\"\"\" VALID UNTIL '2031-01-01 00:00:00+00'",
        &[("roles", "role_differs", "role \"Odd \"\"Role\"\"\": valid until 2031-01-01 00:00:00+00 → none")],
    ),
    change(
        "ALTER ROLE readers INHERIT",
        "ALTER ROLE readers NOINHERIT",
        &[("roles", "role_differs", "role readers: inherits no → yes")],
    ),
    change(
        "DROP ROLE \"Odd \"\"Role\"\"\"",
        "CREATE ROLE \"Odd \"\"Role\"\"\" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2031-01-01 00:00:00+00'",
        &[("roles", "role_missing", "role \"Odd \"\"Role\"\"\"")],
    ),
    change("CREATE ROLE intruder SUPERUSER", "DROP ROLE intruder", &[("roles", "extra", "role intruder")]),
    change(
        "REVOKE readers FROM grafana",
        "GRANT readers TO grafana",
        &[("roles", "role_missing", "membership of grafana in readers")],
    ),
    change(
        "REVOKE ADMIN OPTION FOR app_owner FROM server",
        "GRANT app_owner TO server WITH ADMIN OPTION",
        &[("roles", "role_differs", "membership of server in app_owner: may grant it yes → no")],
    ),
    change(
        "GRANT pg_write_all_data TO grafana",
        "REVOKE pg_write_all_data FROM grafana",
        &[("roles", "extra", "membership of grafana in pg_write_all_data")],
    ),
    change(
        "ALTER DATABASE homelab SET work_mem = '9MB'",
        "ALTER DATABASE homelab RESET work_mem",
        &[("settings", "extra", "setting work_mem of the database")],
    ),
    change(
        "ALTER DATABASE homelab RESET timezone",
        "ALTER DATABASE homelab SET timezone = 'Europe/Berlin'",
        &[
            ("settings", "setting_missing", "of the database"),
            ("serverSettings", "setting_differs", "server setting TimeZone: Europe/Berlin → "),
        ],
    ),
    change(
        "ALTER ROLE server SET work_mem = '9MB'",
        "ALTER ROLE server SET work_mem = '8MB'",
        &[("settings", "setting_differs", "setting work_mem of role server: 8MB → 9MB")],
    ),
    change(
        "ALTER ROLE server SET app.secret_key = 'hunter3'",
        "ALTER ROLE server SET app.secret_key = 'hunter2'",
        &[("settings", "setting_differs", "setting app.secret_key of role server: value differs")],
    ),
    change(
        "ALTER ROLE grafana IN DATABASE homelab RESET statement_timeout",
        "ALTER ROLE grafana IN DATABASE homelab SET statement_timeout = '10s'",
        &[("settings", "setting_missing", "setting statement_timeout of role grafana in the database")],
    ),
    change(
        "ALTER DATABASE homelab SET default_transaction_read_only = on",
        "SET TRANSACTION READ WRITE; ALTER DATABASE homelab RESET default_transaction_read_only",
        &[("settings", "extra", "setting default_transaction_read_only of the database")],
    ),
    change(
        "ALTER DATABASE homelab CONNECTION LIMIT 7",
        "ALTER DATABASE homelab CONNECTION LIMIT 90",
        &[("database", "setting_differs", "database connection limit: 90 → 7")],
    ),
    change(
        "ALTER DATABASE homelab OWNER TO postgres",
        "ALTER DATABASE homelab OWNER TO server",
        &[
            ("database", "setting_differs", "database owner: server → postgres"),
            ("privileges", "privilege_missing", "privileges of server on the database"),
        ],
    ),
    change(
        "ALTER SCHEMA app OWNER TO postgres",
        "ALTER SCHEMA app OWNER TO app_owner",
        &[
            ("schemas", "differs", "schema app: owner app_owner → postgres"),
            ("privileges", "privilege_missing", "privileges of app_owner on schema app"),
        ],
    ),
    // What few databases have.
    change(
        "DROP CAST (integer AS app.mood)",
        "CREATE CAST (integer AS app.mood) WITH FUNCTION app.to_mood(integer) AS ASSIGNMENT",
        &[("operators", "missing", "cast (integer AS app.mood)")],
    ),
    change(
        "CREATE CAST (bigint AS app.mood) WITH INOUT AS IMPLICIT",
        "DROP CAST (bigint AS app.mood)",
        &[("operators", "extra", "cast (bigint AS app.mood)")],
    ),
    change(
        "DROP OPERATOR app.=== (text, text)",
        "CREATE OPERATOR app.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = app.same, COMMUTATOR = OPERATOR(app.===))",
        &[("operators", "missing", "operator app.===(pg_catalog.text,pg_catalog.text)")],
    ),
    change(
        "DROP OPERATOR CLASS app.backwards USING btree",
        "CREATE OPERATOR CLASS app.backwards FOR TYPE integer USING btree FAMILY app.backwards AS OPERATOR 1 > , OPERATOR 2 >= , OPERATOR 3 = , OPERATOR 4 <= , OPERATOR 5 < , FUNCTION 1 btint4cmp(integer, integer)",
        &[("operators", "missing", "operator class app.backwards USING btree")],
    ),
    change(
        "ALTER TEXT SEARCH CONFIGURATION app.words DROP MAPPING FOR asciiword",
        "ALTER TEXT SEARCH CONFIGURATION app.words ADD MAPPING FOR asciiword WITH app.stems, simple",
        &[("textSearch", "differs", "text search configuration app.words: mapping differs")],
    ),
    change(
        "DROP STATISTICS app.computed",
        "CREATE STATISTICS app.computed ON (height * 2), id FROM app.people",
        &[("statistics", "missing", "statistics object app.computed")],
    ),
    change(
        "ALTER STATISTICS app.together SET STATISTICS 200",
        "ALTER STATISTICS app.together SET STATISTICS 300",
        &[("statistics", "differs", "statistics object app.together: target 300 → 200")],
    ),
    change(
        "ALTER SERVER elsewhere OPTIONS (SET host 'other.example')",
        "ALTER SERVER elsewhere OPTIONS (SET host 'db.example')",
        &[("foreign", "differs", "server elsewhere: options differs")],
    ),
    change(
        "DROP USER MAPPING FOR server SERVER elsewhere",
        "CREATE USER MAPPING FOR server SERVER elsewhere",
        &[("foreign", "missing", "user mapping of server for server elsewhere")],
    ),
    change(
        "ALTER FOREIGN TABLE app.remote OPTIONS (SET table_name 'x')",
        "ALTER FOREIGN TABLE app.remote OPTIONS (SET table_name 'hidden')",
        &[("foreign", "differs", "foreign table app.remote: options differs")],
    ),
    change(
        "ALTER PUBLICATION told SET (publish = 'insert')",
        "ALTER PUBLICATION told SET (publish = 'insert, update')",
        &[("publications", "differs", "publication told: changes insert, update → insert")],
    ),
    change(
        "ALTER PUBLICATION told DROP TABLE app.visits",
        "ALTER PUBLICATION told ADD TABLE app.visits",
        &[("publications", "differs", "publication told: tables")],
    ),
    change(
        "SELECT lo_unlink(min(oid)) FROM pg_largeobject_metadata",
        "SELECT lo_create(0)",
        &[("largeObjects", "differs", "large objects of postgres: number 2 → 1")],
    ),
    change(
        "COMMENT ON COLUMN app.people.name IS NULL",
        "COMMENT ON COLUMN app.people.name IS 'as they say it'",
        &[("comments", "missing", "comment on table column app.people.name")],
    ),
    change(
        "COMMENT ON DATABASE homelab IS 'another'",
        "COMMENT ON DATABASE homelab IS 'the database that moves'",
        &[("comments", "differs", "comment on the database: text differs")],
    ),
];
