-- The role that writes the canary of `postgresCanary`, and its table: `phasegate_canary`, on the NEW side alone. On the old one, which
-- has to be quiet after the switch, its writes could not be told from a straggler's.
--
--   psql -v ON_ERROR_STOP=1 -v password=… -f canary.sql postgres://postgres@HOST:PORT/homelab
--
-- Run it as superuser in the database that moves, on the new side. After a copy of the volume, or when the dump brought the table
-- along, it says where the table was made: that is for `postgresCanary` to say. When the migration is over: DROP SCHEMA phasegate
-- CASCADE; DROP ROLE phasegate_canary.
--
--   password   of the role. Left out, it stays as it is: set it with `\password phasegate_canary` in psql, which no log and no list
--              of processes shows
--
\set ON_ERROR_STOP on

SELECT 'CREATE ROLE phasegate_canary' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'phasegate_canary') \gexec
-- A look has two sessions, and so has its negative control.
ALTER ROLE phasegate_canary LOGIN CONNECTION LIMIT 8;
\if :{?password}
ALTER ROLE phasegate_canary PASSWORD :'password';
\endif
SELECT format('GRANT CONNECT ON DATABASE %I TO phasegate_canary', current_database())
WHERE NOT has_database_privilege('phasegate_canary', current_database(), 'CONNECT') \gexec

-- Who holds back the vacuum of its table is hidden without it.
GRANT pg_read_all_stats TO phasegate_canary;

-- What the check itself tells to run once, word for word. The row says in which database it was made.
SELECT to_regclass('phasegate.canary') IS NULL AS missing \gset
\if :missing
CREATE SCHEMA phasegate;
CREATE TABLE phasegate.canary (slot text PRIMARY KEY, beat bigint NOT NULL, writer text NOT NULL, at timestamptz NOT NULL,
  home text NOT NULL) WITH (fillfactor = 25, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
INSERT INTO phasegate.canary SELECT slot, 0, '', now(), system_identifier || '/' || (SELECT oid FROM pg_database WHERE
  datname = current_database()) FROM pg_control_system(), (VALUES ('verifier'), ('hand')) AS slots (slot);
\endif
GRANT USAGE ON SCHEMA phasegate TO phasegate_canary;
GRANT SELECT, UPDATE ON phasegate.canary TO phasegate_canary;
