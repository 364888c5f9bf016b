-- The role that phasegate looks with: `phasegate`, on BOTH sides. It reads the application's tables and what the server says of itself,
-- and can change nothing.
--
--   psql -v ON_ERROR_STOP=1 -v password=… -f observer.sql postgres://postgres@HOST:PORT/homelab
--
-- Run it as superuser in the database that moves, on the old side before the dump, and on the new side before the restore: the dump
-- carries its grants, and a restore ends with an error where the role is missing. A copy of the volume brings the role along. Run it
-- again at any time, and once for each further schema; but not between `cutover postgres baseline` and the end of the phase: a GRANT
-- changes tables' definitions, and on the old side that is drift.
--
--   password   of the role. Left out, it stays as it is: set it with `\password phasegate` in psql, which no log and no list of
--              processes shows
--   app        the application's role, that owns its tables           server
--   schema     the schema with the application's tables               public
--
\set ON_ERROR_STOP on
\if :{?app} \else \set app server \endif
\if :{?schema} \else \set schema public \endif

SELECT 'CREATE ROLE phasegate' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'phasegate') \gexec
-- One session per probe that is looking, and some for looks by hand. A leak of ours must not take the application's connections.
ALTER ROLE phasegate LOGIN CONNECTION LIMIT 16;
\if :{?password}
ALTER ROLE phasegate PASSWORD :'password';
\endif
SELECT format('GRANT CONNECT ON DATABASE %I TO phasegate', current_database())
WHERE NOT has_database_privilege('phasegate', current_database(), 'CONNECT') \gexec

-- What other roles' sessions do, and settings that not everybody may see.
GRANT pg_monitor TO phasegate;

-- Not pg_read_all_data instead: that role also reads the passwords' hashes of all roles (pg_authid).
GRANT USAGE ON SCHEMA :"schema" TO phasegate;
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO phasegate;
-- Without it a sequence's last value is not refused, but silently NULL.
GRANT SELECT ON ALL SEQUENCES IN SCHEMA :"schema" TO phasegate;
-- Tables that the application makes later, as a job does at its start.
ALTER DEFAULT PRIVILEGES FOR ROLE :"app" IN SCHEMA :"schema" GRANT SELECT ON TABLES TO phasegate;
ALTER DEFAULT PRIVILEGES FOR ROLE :"app" IN SCHEMA :"schema" GRANT SELECT ON SEQUENCES TO phasegate;

-- No question of ours may run for long on a server that others need.
ALTER ROLE phasegate SET statement_timeout = '30s';
-- And not default_transaction_read_only: the role would see its own setting where it asks whether the server is fenced, and take an
-- open server for a fenced one. That it was granted nothing but SELECT is what protects the data.

-- Optional, on the NEW side, for `postgresIndexes`: with the extension amcheck it looks into each index and table, and not into the catalog
-- alone. The functions read pages and change nothing, but what they say of a damaged row may show parts of it, so that they are granted
-- one by one. The extension is dropped again with DROP EXTENSION amcheck.
--
--   CREATE EXTENSION IF NOT EXISTS amcheck;
--   GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO phasegate;
--   GRANT EXECUTE ON FUNCTION verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO phasegate;
