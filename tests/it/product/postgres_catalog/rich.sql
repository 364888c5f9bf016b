-- A database with something of everything that moves with a dump.
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SCHEMA app AUTHORIZATION app_owner;
CREATE SCHEMA "Odd Schema";
GRANT USAGE ON SCHEMA app TO readers;
COMMENT ON SCHEMA app IS 'the application''s own';

CREATE TYPE app.mood AS ENUM ('sad', 'so so', 'it''s "fine"');
ALTER TYPE app.mood ADD VALUE 'meh' BEFORE 'so so';
-- A value of an enumeration can be used once it is committed.
CREATE DOMAIN app.positive AS integer DEFAULT 1 NOT NULL CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE DOMAIN app.mail AS citext COLLATE "C" CHECK (VALUE ~ '@');
CREATE TYPE app.pair AS (a integer, b text COLLATE "C");
CREATE TYPE app.span AS RANGE (SUBTYPE = double precision, SUBTYPE_DIFF = float8mi);
CREATE COLLATION app.plain (provider = libc, locale = 'C');
ALTER TYPE app.mood OWNER TO app_owner;
REVOKE USAGE ON TYPE app.pair FROM PUBLIC;
GRANT USAGE ON TYPE app.pair TO readers;
COMMENT ON TYPE app.pair IS 'two of them';

CREATE SEQUENCE app.numbers AS smallint INCREMENT BY 5 MINVALUE 10 MAXVALUE 1000 START WITH 20 CACHE 3 CYCLE;
CREATE TABLE app.people (
    id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 2) PRIMARY KEY,
    name varchar(60) NOT NULL DEFAULT 'no"body''s' COLLATE "C",
    mail app.mail,
    feels app.mood NOT NULL DEFAULT 'meh',
    height numeric(5, 2) CHECK (height > 0 AND height < 300),
    halved numeric GENERATED ALWAYS AS (height / 2) STORED,
    tags text[] NOT NULL DEFAULT '{}',
    born timestamptz(0) DEFAULT now(),
    number smallint DEFAULT nextval('app.numbers'),
    gone integer,
    score app.positive,
    blob bytea,
    extras jsonb DEFAULT '{"a": [1, 2]}'::jsonb,
    CONSTRAINT one_mail UNIQUE (mail) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE app.people DROP COLUMN gone;
ALTER TABLE app.people ALTER COLUMN blob SET STORAGE EXTERNAL, ALTER COLUMN name SET STATISTICS 500;
ALTER TABLE app.people ALTER COLUMN extras SET COMPRESSION pglz;
ALTER SEQUENCE app.numbers OWNED BY app.people.number;
ALTER TABLE app.people OWNER TO app_owner;
ALTER TABLE app.people REPLICA IDENTITY FULL;
COMMENT ON TABLE app.people IS 'everybody';
COMMENT ON COLUMN app.people.name IS 'as they say it';
COMMENT ON CONSTRAINT one_mail ON app.people IS 'no two';

CREATE TABLE app.visits (
    id serial PRIMARY KEY,
    person bigint NOT NULL REFERENCES app.people ON DELETE CASCADE,
    at timestamp without time zone NOT NULL,
    during tstzrange,
    place point,
    EXCLUDE USING gist (during WITH &&)
);
ALTER TABLE app.visits ADD CONSTRAINT recent CHECK (at > '2020-01-01') NOT VALID;
CREATE INDEX visits_lower ON app.visits (date_trunc('day', at) DESC NULLS LAST, person) WHERE person > 10;
CREATE UNIQUE INDEX visits_one ON app.visits (person, at) INCLUDE (place) WITH (fillfactor = 80);
ALTER TABLE app.visits CLUSTER ON visits_one;
ALTER TABLE app.visits REPLICA IDENTITY USING INDEX visits_pkey;
CREATE UNLOGGED TABLE app.scratch (k text PRIMARY KEY, v "char", h hstore);
CREATE UNIQUE INDEX scratch_nulls ON app.scratch (v) NULLS NOT DISTINCT;

CREATE TABLE app.parent (a integer NOT NULL, b text DEFAULT 'x');
CREATE TABLE app.child (c date) INHERITS (app.parent);
ALTER TABLE app.parent ADD COLUMN late integer DEFAULT 7 CHECK (late > 0);
CREATE TABLE app.events (at timestamptz NOT NULL, kind integer NOT NULL, body text, id bigint, PRIMARY KEY (at, kind)) PARTITION BY RANGE (at);
CREATE TABLE app.events_2024 (body text, at timestamptz NOT NULL, kind integer NOT NULL, id bigint);
ALTER TABLE app.events ATTACH PARTITION app.events_2024 FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00');
CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00') PARTITION BY LIST (kind);
CREATE TABLE app.events_2025_a PARTITION OF app.events_2025 FOR VALUES IN (1, 2);
CREATE TABLE app.events_rest PARTITION OF app.events DEFAULT;
CREATE INDEX events_kind ON app.events (kind);
ALTER TABLE app.events ADD CONSTRAINT of_person FOREIGN KEY (id) REFERENCES app.people (id);
CREATE TABLE app.notes (at timestamptz, kind integer, FOREIGN KEY (at, kind) REFERENCES app.events);
CREATE TABLE app.hashed (k integer, v text) PARTITION BY HASH (k);
CREATE TABLE app.hashed_0 PARTITION OF app.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.hashed_1 PARTITION OF app.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.of_type OF app.pair (PRIMARY KEY (a));
CREATE TABLE "Odd Schema"."Odd ""Table"".x" ("select" integer, "a b" text, "ümlaut" text, "dot.ted" text DEFAULT 'a;b');
CREATE INDEX "Odd Index" ON "Odd Schema"."Odd ""Table"".x" ("a b" COLLATE "C" text_pattern_ops, ("select" + 1));
CREATE TABLE public.plain (id integer PRIMARY KEY, n integer DEFAULT 0 CHECK (n >= 0), t timestamptz(0), UNIQUE (n));
ALTER TABLE public.plain OWNER TO server;
ALTER TABLE public.plain ADD CONSTRAINT later CHECK (n < 1000);
CREATE TABLE app.doubled (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE public."none" ();

CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = app, pg_temp AS $$BEGIN NEW.born := now(); RETURN NEW; END$$;
CREATE FUNCTION app.total(VARIADIC n integer[] DEFAULT '{1}') RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7
    AS 'SELECT sum(x) FROM unnest(n) x';
CREATE FUNCTION app.total(a text, OUT x integer, INOUT y app.pair DEFAULT NULL) LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN x := 1; END$$;
CREATE FUNCTION app.rows_of(app.mood, "Odd Arg" text DEFAULT 'x''y') RETURNS SETOF app.people LANGUAGE sql STABLE ROWS 50
    AS 'SELECT * FROM app.people WHERE feels = $1';
CREATE FUNCTION app.standard(n integer) RETURNS integer LANGUAGE sql RETURN n + 1;
CREATE FUNCTION app.atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM app.people WHERE id > 3; END;
CREATE FUNCTION "Odd Schema"."f(x) ""y"" %"(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE app.clean(INOUT n integer) LANGUAGE plpgsql AS $$BEGIN n := 2; END$$;
CREATE AGGREGATE app.longest(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
ALTER FUNCTION app.standard(integer) OWNER TO app_owner;
REVOKE EXECUTE ON FUNCTION app.total(integer[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.total(integer[]) TO readers WITH GRANT OPTION;
COMMENT ON FUNCTION app.standard(integer) IS 'adds one';

CREATE VIEW app.simple AS SELECT name, feels FROM app.people WHERE height > 100;
CREATE VIEW app.aliased WITH (security_barrier = true, check_option = local) AS SELECT p.name AS called, p.id FROM app.people p WHERE p.id > 0;
CREATE VIEW app.joined AS SELECT p.name, v.at, (SELECT count(*) FROM app.visits x WHERE x.person = p.id) AS n
    FROM app.people p JOIN app.visits v ON v.person = p.id WHERE p.feels IN ('sad', 'meh') ORDER BY 1;
CREATE VIEW app.listed AS SELECT p.name, q.a FROM app.people p, app.parent q WHERE p.id = q.a;
CREATE VIEW app.grouped AS SELECT feels, count(*) AS n, string_agg(name, ', ' ORDER BY name) FILTER (WHERE height > 1) AS names,
    extract(year FROM max(born)) AS y, max(CASE WHEN height > 100 THEN 1 ELSE 0 END) AS tall FROM app.people GROUP BY feels HAVING count(*) > 1;
CREATE VIEW app.grouped_join AS SELECT p.feels, date_trunc('day', v.at) AS d, count(*) AS n FROM app.people p JOIN app.visits v ON v.person = p.id
    GROUP BY p.feels, date_trunc('day', v.at);
CREATE VIEW app.cubed AS SELECT a, b, grouping(a, b) AS g, sum(late) AS s FROM app.parent GROUP BY ROLLUP (a, b);
CREATE VIEW app.windowed AS SELECT id, name, row_number() OVER (PARTITION BY feels ORDER BY born DESC) AS n, lag(name) OVER w AS before
    FROM app.people WINDOW w AS (ORDER BY id);
CREATE VIEW app.united AS SELECT id, name FROM app.people UNION ALL SELECT a, b FROM app.parent EXCEPT SELECT 1, 'x';
CREATE VIEW app.nested AS SELECT s.n, s.who FROM (SELECT count(*) AS n, name AS who FROM app.people GROUP BY name) s WHERE s.n > 1;
CREATE VIEW app.with_query AS WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t;
CREATE VIEW app.lateral_view AS SELECT p.id, l.x FROM app.people p CROSS JOIN LATERAL (SELECT max(v.at) AS x FROM app.visits v WHERE v.person = p.id) l;
CREATE VIEW app.functional AS SELECT x, y FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS u(x, y);
CREATE VIEW app.literals AS SELECT column1 AS a, column2 AS b FROM (VALUES (1, 'one'), (2, 'two')) v;
CREATE VIEW app.constant AS SELECT 1 AS one, 'x'::text AS x, now() AS at, interval '1 day' AS i, CURRENT_DATE AS d, 'a' LIKE 'b' AS l;
CREATE VIEW app.correlated AS SELECT name FROM app.people WHERE EXISTS (SELECT 1 FROM app.visits WHERE visits.person = people.id)
    AND people.id = ANY (ARRAY(SELECT a FROM app.parent WHERE parent.a = people.id));
CREATE VIEW app.distinct_view AS SELECT DISTINCT ON (feels) feels, name COLLATE "C" AS name, height::integer, (extras ->> 'a') AS a FROM app.people
    ORDER BY feels, name DESC LIMIT 10 OFFSET 1;
CREATE VIEW app.whole AS SELECT people AS row, people.*::text AS t FROM app.people;
CREATE VIEW app.sampled AS SELECT a FROM ONLY app.parent TABLESAMPLE SYSTEM (10);
CREATE VIEW "Odd Schema"."Odd View" AS SELECT "a b", "select" AS "from" FROM "Odd Schema"."Odd ""Table"".x" AS "T 1" WHERE "dot.ted" = 'x. y';
CREATE MATERIALIZED VIEW app.kept AS SELECT feels, count(*) AS n FROM app.people GROUP BY feels WITH DATA;
CREATE MATERIALIZED VIEW app.empty AS SELECT id FROM app.people WITH NO DATA;
CREATE UNIQUE INDEX kept_feels ON app.kept (feels);
ALTER VIEW app.aliased OWNER TO app_owner;
ALTER VIEW app.aliased ALTER COLUMN called SET DEFAULT 'nobody';

CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name ON app.people FOR EACH ROW WHEN (NEW.name <> 'x') EXECUTE FUNCTION app.touch('a', 'b''c');
CREATE TRIGGER asleep AFTER DELETE ON app.people REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION app.touch();
ALTER TABLE app.people DISABLE TRIGGER asleep;
CREATE TRIGGER always BEFORE INSERT ON app.visits FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.visits ENABLE ALWAYS TRIGGER always;
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON app.visits DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER on_parts BEFORE INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.events_2024 DISABLE TRIGGER on_parts;
CREATE TRIGGER instead INSTEAD OF INSERT ON app.joined FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE RULE no_delete AS ON DELETE TO public.plain WHERE OLD.n > 5 DO INSTEAD NOTHING;
CREATE RULE also_log AS ON INSERT TO app.simple DO INSTEAD (INSERT INTO app.people (name, feels) VALUES (NEW.name, NEW.feels); NOTIFY told);
ALTER TABLE app.people ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.visits ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.visits FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON app.people FOR SELECT TO readers, server USING (name = current_user AND EXISTS (SELECT 1 FROM app.visits WHERE person = people.id));
CREATE POLICY strict ON app.people AS RESTRICTIVE USING (height > 1) WITH CHECK (height > 2);

GRANT SELECT (name, mail), UPDATE (name) ON app.people TO readers;
GRANT SELECT, INSERT ON app.visits TO server WITH GRANT OPTION;
GRANT ALL ON app.parent TO server;
REVOKE INSERT, DELETE ON app.parent FROM postgres;
GRANT SELECT ON app.simple TO PUBLIC;
GRANT USAGE ON SEQUENCE app.visits_id_seq TO server;
GRANT USAGE ON LANGUAGE plpgsql TO readers;
ALTER DEFAULT PRIVILEGES FOR ROLE server IN SCHEMA app GRANT SELECT ON TABLES TO readers;
ALTER DEFAULT PRIVILEGES FOR ROLE server REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT USAGE ON SEQUENCES TO server WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE ALL ON TYPES FROM PUBLIC;

CREATE FUNCTION app.same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE OPERATOR app.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = app.same, COMMUTATOR = OPERATOR(app.===));
CREATE FUNCTION app.to_mood(integer) RETURNS app.mood LANGUAGE sql IMMUTABLE AS 'SELECT ''sad''::app.mood';
CREATE CAST (integer AS app.mood) WITH FUNCTION app.to_mood(integer) AS ASSIGNMENT;
CREATE OPERATOR CLASS app.backwards FOR TYPE integer USING btree AS OPERATOR 1 > , OPERATOR 2 >= , OPERATOR 3 = , OPERATOR 4 <= , OPERATOR 5 < ,
    FUNCTION 1 btint4cmp(integer, integer);
CREATE TEXT SEARCH DICTIONARY app.stems (TEMPLATE = snowball, LANGUAGE = english);
CREATE TEXT SEARCH CONFIGURATION app.words (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION app.words ALTER MAPPING FOR asciiword WITH app.stems, simple;
CREATE STATISTICS app.together (dependencies, ndistinct) ON name, feels FROM app.people;
CREATE STATISTICS app.computed ON (height * 2), id FROM app.people;
ALTER STATISTICS app.together SET STATISTICS 300;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example', dbname 'x');
CREATE USER MAPPING FOR server SERVER elsewhere OPTIONS (user 'me', password 'hunter2');
CREATE FOREIGN TABLE app.remote (id integer OPTIONS (column_name 'key'), v text) SERVER elsewhere OPTIONS (table_name 'hidden');
GRANT USAGE ON FOREIGN SERVER elsewhere TO readers;
CREATE PUBLICATION told FOR TABLE app.people (id, name) WHERE (id > 10), app.visits WITH (publish = 'insert, update');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA app WITH (publish_via_partition_root = true);
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE DEBUG 'ddl'; END$$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION app.on_ddl();
CREATE EVENT TRIGGER unwatched ON sql_drop EXECUTE FUNCTION app.on_ddl();
ALTER EVENT TRIGGER unwatched DISABLE;
COMMENT ON EVENT TRIGGER watch IS 'sees tables come and go';
SELECT lo_create(0), lo_create(0);
INSERT INTO app.people (name, height) VALUES ('Ada', 170), ('Bo', 90);
REFRESH MATERIALIZED VIEW app.kept;
