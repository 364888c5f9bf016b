//! What can be wrong with a database that came over, one thing at a time.

/// A table of everything, and of each kind something that can be lost.
pub(super) const SCHEMA: &[&str] = &[
    "CREATE TYPE mood AS ENUM ('calm', 'tense')",
    "CREATE TABLE readings (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), sensor int NOT NULL, value numeric DEFAULT 0, \
     note text COLLATE \"C\", CONSTRAINT at_least CHECK (value >= 0), CONSTRAINT once UNIQUE (sensor, at))",
    "CREATE INDEX readings_at ON readings (at)",
    "INSERT INTO readings (at, sensor, value, note) SELECT '2026-01-01'::timestamptz + n * interval '1 s', n % 10, n * 0.1, 'NOTE ' || n \
     FROM generate_series(1, 5000) AS n",
    "CREATE TABLE metrics (time timestamptz(0) NOT NULL, kind text, feels mood)",
    "INSERT INTO metrics SELECT '2026-01-01'::timestamptz + n % 2500 * interval '1 s', 'cpu', 'calm' FROM generate_series(1, 5000) AS n",
    "CREATE VIEW newest AS SELECT max(at) AS at FROM readings",
    "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$",
    "CREATE TRIGGER shouted BEFORE UPDATE ON readings FOR EACH ROW EXECUTE FUNCTION shout()",
    "GRANT SELECT ON readings TO grafana",
];

/// Words for it, and the statement that does it, as superuser.
pub(super) const PLANTS: &[(&str, &str)] = &[
    ("row deleted", "DELETE FROM readings WHERE id = 3141"),
    ("row changed", "UPDATE readings SET sensor = 77 WHERE id = 3141"),
    ("NULL became ''", "UPDATE metrics SET kind = '' WHERE ctid = (SELECT min(ctid) FROM metrics)"),
    ("row twice, in a table without a key", "INSERT INTO metrics SELECT * FROM metrics LIMIT 1"),
    ("one of two equal rows lost", "DELETE FROM metrics WHERE ctid = (SELECT min(ctid) FROM metrics)"),
    ("scale: 1.0 became 1.00", "UPDATE readings SET value = value::numeric(12, 2) WHERE id = 10"),
    ("sequence behind its table", "SELECT setval('readings_id_seq', 10)"),
    ("unique constraint dropped", "ALTER TABLE readings DROP CONSTRAINT once"),
    ("index dropped", "DROP INDEX readings_at"),
    ("index invalid", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'readings_at'::regclass"),
    ("check constraint dropped", "ALTER TABLE readings DROP CONSTRAINT at_least"),
    ("NOT NULL dropped", "ALTER TABLE readings ALTER sensor DROP NOT NULL"),
    ("default lost", "ALTER TABLE readings ALTER value DROP DEFAULT"),
    ("type: timestamptz(0) became timestamptz", "ALTER TABLE metrics ALTER time TYPE timestamptz"),
    ("collation of a column", "ALTER TABLE readings ALTER note TYPE text COLLATE \"default\""),
    ("grant revoked", "REVOKE SELECT ON readings FROM grafana"),
    ("owner changed", "ALTER TABLE readings OWNER TO postgres"),
    ("trigger disabled", "ALTER TABLE readings DISABLE TRIGGER shouted"),
    ("body of a function", "CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"),
    ("view says something else", "CREATE OR REPLACE VIEW newest AS SELECT min(at) AS at FROM readings"),
    ("label of an enum", "ALTER TYPE mood ADD VALUE 'angry'"),
    ("table missing", "DROP TABLE metrics"),
    ("table unlogged", "ALTER TABLE metrics SET UNLOGGED"),
];
