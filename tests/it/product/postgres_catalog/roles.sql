-- What `pg_dumpall --globals-only` and `pg_dump --create` carry beside a dump: the same on both sides.
CREATE ROLE app_owner NOLOGIN CREATEROLE;
CREATE ROLE "Odd ""Role""" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2031-01-01 00:00:00+00';
CREATE ROLE readers NOLOGIN NOINHERIT;
GRANT readers TO grafana;
GRANT app_owner TO server WITH ADMIN OPTION;
GRANT pg_read_all_settings TO readers;
ALTER ROLE server SET work_mem = '8MB';
ALTER ROLE grafana IN DATABASE homelab SET statement_timeout = '10s';
ALTER ROLE server SET app.secret_key = 'hunter2';
ALTER DATABASE homelab SET timezone = 'Europe/Berlin';
ALTER DATABASE homelab CONNECTION LIMIT 90;
GRANT CREATE ON DATABASE homelab TO app_owner;
COMMENT ON ROLE readers IS 'who reads';
COMMENT ON DATABASE homelab IS 'the database that moves';
