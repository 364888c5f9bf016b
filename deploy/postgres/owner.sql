-- The role that carries rows back: `phasegate_owner`, on the OLD side. With it `cutover postgres carry-back` adds the rows that the new
-- server took to the old one's tables, and raises its sequences, without being superuser. As a member of the application's role it can do
-- all that the application can: give its login to nobody but the operator, and only for as long as the way back is open.
--
--   psql -v ON_ERROR_STOP=1 -v password=… -f owner.sql postgres://postgres@HOST:PORT/homelab
--
-- Run it as superuser in the database that moves, once for each role that owns tables there, and before `cutover postgres baseline`: later
-- it is a write on the old side like any other. Behind a fence it goes through with PGOPTIONS='-c default_transaction_read_only=off'. No
-- dump carries it. When the phase is over: DROP ROLE phasegate_owner.
--
--   password   of the role. Left out, it stays as it is: set it with `\password phasegate_owner` in psql, which no log and no list of
--              processes shows
--   app        the application's role, that owns its tables           server
--   triggers   set to anything: the role may also leave out triggers while it copies, where rows came with what they made already.
--              PostgreSQL 15 or newer
--
\set ON_ERROR_STOP on
\if :{?app} \else \set app server \endif

SELECT 'CREATE ROLE phasegate_owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'phasegate_owner') \gexec
-- One session copies, and another takes the mark.
ALTER ROLE phasegate_owner LOGIN INHERIT CONNECTION LIMIT 4;
\if :{?password}
ALTER ROLE phasegate_owner PASSWORD :'password';
\endif
SELECT format('GRANT CONNECT ON DATABASE %I TO phasegate_owner', current_database())
WHERE NOT has_database_privilege('phasegate_owner', current_database(), 'CONNECT') \gexec

-- To add rows, and to raise sequences, as their owner.
GRANT :"app" TO phasegate_owner;
-- What other roles' sessions do: nothing may be open while it copies.
GRANT pg_monitor TO phasegate_owner;
\if :{?triggers}
GRANT SET ON PARAMETER session_replication_role TO phasegate_owner;
\endif
