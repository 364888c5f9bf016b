-- The role that fences: `phasegate_operator`, on the OLD side. With it `cutover postgres fence` and `unfence` set the whole server
-- read-only, or writable again, and end the application's sessions, without being superuser. It reads and writes no table.
--
--   psql -v ON_ERROR_STOP=1 -v password=… -f operator.sql postgres://postgres@HOST:PORT/homelab
--
-- Run it as superuser in the very database that the role logs in to: the right to reload holds in one database. PostgreSQL 15 or newer;
-- before that only a superuser can do this. Run it again at any time. When the old side is gone: nothing is left to take back.
--
-- The dump carries the grant on pg_reload_conf(), and a restore ends with an error where the role is missing. So run this on the new
-- side, before the restore, with `-v new=yes`: it makes the role there, and nobody can log in with it.
--
--   password   of the role. Left out, it stays as it is: set it with `\password phasegate_operator` in psql, which no log and no list
--              of processes shows
--   new        set to anything: the role only, without login or rights
--
\set ON_ERROR_STOP on

SELECT 'CREATE ROLE phasegate_operator' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'phasegate_operator') \gexec
\if :{?new}
\else
ALTER ROLE phasegate_operator LOGIN CONNECTION LIMIT 4;
\if :{?password}
ALTER ROLE phasegate_operator PASSWORD :'password';
\endif
SELECT format('GRANT CONNECT ON DATABASE %I TO phasegate_operator', current_database())
WHERE NOT has_database_privilege('phasegate_operator', current_database(), 'CONNECT') \gexec

-- The fence: for everybody, in all databases, and kept over a restart.
GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO phasegate_operator;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO phasegate_operator;
-- To end sessions that are open, but those of superusers; and to see whose they are.
GRANT pg_signal_backend TO phasegate_operator;
GRANT pg_monitor TO phasegate_operator;
\endif
