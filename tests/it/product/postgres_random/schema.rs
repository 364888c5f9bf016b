//! A random database: tables with rows, and something of everything that hangs on them.

use super::kinds::TYPES;
use super::names::Names;
use super::tables::Table;
use super::views::views;
use crate::model::rng::Rng;

/// Who is on both servers.
pub(super) const ROLES: &str = "CREATE ROLE app_owner NOLOGIN; CREATE ROLE readers NOLOGIN; CREATE ROLE \"Odd \"\"Role\"\"\" LOGIN; \
     GRANT readers TO grafana; GRANT app_owner TO server WITH ADMIN OPTION; ALTER ROLE readers SET work_mem = '8MB'; \
     COMMENT ON ROLE readers IS 'who reads'";
const OWNERS: &[&str] = &["app_owner", "server", "postgres", "\"Odd \"\"Role\"\"\""];
const GRANTEES: &[&str] = &["readers", "server", "grafana", "PUBLIC", "\"Odd \"\"Role\"\"\""];

/// What makes it, statement by statement.
pub(super) fn schema(rng: &mut Rng) -> Vec<String> {
    let names = &mut Names::default();
    let mut sql =
        vec!["CREATE SCHEMA app AUTHORIZATION app_owner".to_owned(), "CREATE SCHEMA \"Odd Schema\"".to_owned(), TYPES.to_owned()];
    if rng.percent(15) {
        sql.push("CREATE EXTENSION citext; CREATE EXTENSION hstore SCHEMA app".to_owned());
    }
    let mut tables = Vec::new();
    for _ in 0..rng.between(1, 5) {
        let table = Table::of(rng, names);
        sql.extend(table.sql.iter().cloned());
        tables.push(table);
    }
    sql.extend(sequence(rng, names));
    let functions = functions(rng, names, &tables);
    sql.extend(functions.iter().flat_map(|function| function.sql.clone()));
    for table in &tables {
        sql.extend(indexes(rng, names, table));
        sql.extend(keys(rng, names, table, &tables));
        sql.extend(guards(rng, names, table, &functions));
        sql.extend(rights(rng, table));
    }
    sql.extend(views(rng, names, &tables));
    sql.extend(besides(rng, names, &tables));
    sql
}

fn sequence(rng: &mut Rng, names: &mut Names) -> Vec<String> {
    let name = names.in_schema(rng);
    let options = rng.pick(&[
        "",
        " AS smallint INCREMENT BY 5 MINVALUE 10 MAXVALUE 1000 CACHE 3 CYCLE",
        " INCREMENT BY -1",
        " START WITH 7",
    ]);
    let used = rng.below(4);
    vec![
        format!("CREATE SEQUENCE {name}{options}"),
        format!("SELECT nextval('{}') FROM generate_series(1, {used})", name.replace('\'', "''")),
    ]
}

struct Function {
    name: String,
    trigger: bool,
    sql: Vec<String>,
}

fn functions(rng: &mut Rng, names: &mut Names, tables: &[Table]) -> Vec<Function> {
    let mut made = Vec::new();
    for n in 0..rng.between(1, 4) {
        let (name, table) = (names.in_schema(rng), &tables[0]);
        let trigger = n == 0;
        let (arguments, definition) = if trigger {
            ("", "RETURNS trigger LANGUAGE plpgsql AS $x$BEGIN RETURN coalesce(NEW, OLD); END$x$".to_owned())
        } else {
            let first = &table.first;
            match rng.below(6) {
                0 => (
                    "",
                    format!(
                        "RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM {} x WHERE x.{first} > 3; END",
                        table.name
                    ),
                ),
                1 => (
                    "integer",
                    "RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 AS 'SELECT $1 + 1'".to_owned(),
                ),
                2 => ("integer", "RETURNS integer LANGUAGE sql RETURN $1 + 2".to_owned()),
                3 => (
                    "",
                    format!("RETURNS SETOF {} LANGUAGE sql STABLE ROWS 50 AS $x$SELECT * FROM {}$x$", table.name, table.name),
                ),
                4 => (
                    "",
                    "RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS $x$BEGIN PERFORM 1; END$x$"
                        .to_owned(),
                ),
                _ => ("app.mood", "RETURNS text LANGUAGE sql AS $x$SELECT $1::text || '''%'$x$".to_owned()),
            }
        };
        let call = format!("{name}({arguments})");
        let mut sql = vec![format!("CREATE FUNCTION {call} {definition}")];
        if rng.percent(30) {
            sql.push(format!("ALTER FUNCTION {call} OWNER TO {}", rng.pick(OWNERS)));
        }
        if rng.percent(30) {
            sql.push(format!("REVOKE EXECUTE ON FUNCTION {call} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {call} TO readers"));
        }
        if rng.percent(30) {
            sql.push(format!("COMMENT ON FUNCTION {call} IS 'does it'"));
        }
        made.push(Function { name, trigger, sql });
    }
    made
}

fn indexes(rng: &mut Rng, names: &mut Names, table: &Table) -> Vec<String> {
    let (on, first) = (&table.name, &table.first);
    let mut sql = Vec::new();
    for column in &table.columns {
        if let Some(method) = column.kind.index.filter(|_| rng.percent(35)) {
            let name = names.next(rng);
            sql.push(format!("CREATE INDEX {name} ON {on} USING {method} ({})", column.name));
            if rng.percent(20) && !table.partitioned {
                let schema = on.split('.').next().unwrap();
                sql.push(format!("COMMENT ON INDEX {schema}.{name} IS 'fast'"));
            }
        }
    }
    if rng.percent(40) {
        let what = rng.pick(&[
            "((# % 7)) WHERE # > 1",
            "(# DESC NULLS LAST)",
            "((#::text) COLLATE \"C\" text_pattern_ops)",
            "(#) WITH (fillfactor = 80)",
        ]);
        sql.push(format!("CREATE INDEX {} ON {on} {}", names.next(rng), what.replace('#', first)));
    }
    if table.keyed && !table.partitioned && rng.percent(40) {
        let what = rng.pick(&["(#)", "((# + 1))", "(#) WHERE # > 2", "(#) NULLS NOT DISTINCT"]);
        sql.push(format!("CREATE UNIQUE INDEX {} ON {on} {}", names.next(rng), what.replace('#', first)));
    }
    if table.keyed && !table.partitioned && rng.percent(25) {
        sql.push(format!("ALTER TABLE {on} ADD CONSTRAINT {} UNIQUE ({first}) DEFERRABLE", names.next(rng)));
    }
    sql
}

/// Foreign keys and further checks.
fn keys(rng: &mut Rng, names: &mut Names, table: &Table, tables: &[Table]) -> Vec<String> {
    let mut sql = Vec::new();
    let parent = &tables[usize::try_from(rng.below(u64::try_from(tables.len()).unwrap())).unwrap()];
    if parent.is_referred_to_by_number() && rng.percent(60) {
        let (column, name, on, first) = (names.next(rng), names.next(rng), &table.name, &parent.first);
        sql.push(format!("ALTER TABLE {on} ADD COLUMN {column} bigint"));
        sql.push(format!(
            "UPDATE {on} SET {column} = (SELECT min({first}) FROM ONLY {}) WHERE ({}) % 2 = 0",
            parent.name, table.first
        ));
        let how = rng.pick(&[
            "",
            " ON DELETE CASCADE",
            " ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
            " ON UPDATE RESTRICT NOT VALID",
        ]);
        let how = if table.partitioned { how.replace(" NOT VALID", "") } else { how.to_owned() };
        sql.push(format!(
            "ALTER TABLE {on} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {} ({first}){how}",
            parent.name
        ));
    }
    if rng.percent(30) {
        let how = rng.pick(&["", " NOT VALID", " NO INHERIT"]);
        let how = if table.partitioned { "" } else { how };
        let check = rng
            .pick(&["# IS NULL OR # >= 0", "(#::text) <> 'never'", "length(#::text) < 100 AND # IN (#, 1, 2)"])
            .replace('#', &table.first);
        sql.push(format!("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({check}){how}", table.name, names.next(rng)));
    }
    sql
}

/// Triggers, rules and policies.
fn guards(rng: &mut Rng, names: &mut Names, table: &Table, functions: &[Function]) -> Vec<String> {
    let (on, first) = (&table.name, &table.first);
    let mut sql = Vec::new();
    let function = functions.iter().find(|function| function.trigger).unwrap();
    if rng.percent(40) {
        let trigger = names.next(rng);
        let when = rng.pick(&["BEFORE INSERT", "AFTER UPDATE OR DELETE", "BEFORE INSERT OR UPDATE"]);
        let condition = if when.contains("INSERT") { format!(" WHEN (NEW.{first} > 5)") } else { String::new() };
        sql.push(format!(
            "CREATE TRIGGER {trigger} {when} ON {on} FOR EACH ROW{condition} EXECUTE FUNCTION {}('a', 'b''c')",
            function.name
        ));
        if rng.percent(30) {
            sql.push(format!("ALTER TABLE {on} {} TRIGGER {trigger}", rng.pick(&["DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"])));
        }
        if rng.percent(30) {
            sql.push(format!("COMMENT ON TRIGGER {trigger} ON {on} IS 'fires'"));
        }
    }
    if rng.percent(30) {
        let policy = names.next(rng);
        let (command, to) = (rng.pick(&["", " FOR SELECT"]), rng.pick(&["", " TO readers, server"]));
        sql.push(format!("CREATE POLICY {policy} ON {on}{command}{to} USING ({first} > 1 OR current_user = 'x')"));
        if rng.percent(70) {
            sql.push(format!("ALTER TABLE {on} ENABLE ROW LEVEL SECURITY"));
        }
        if rng.percent(30) {
            sql.push(format!("ALTER TABLE {on} FORCE ROW LEVEL SECURITY"));
        }
    }
    if rng.percent(15) {
        let what = rng.pick(&["ON DELETE TO @ WHERE OLD.# > 5 DO INSTEAD NOTHING", "ON UPDATE TO @ DO ALSO NOTIFY told"]);
        sql.push(format!("CREATE RULE {} AS {}", names.next(rng), what.replace('#', first).replace('@', on)));
    }
    sql
}

/// Owners, privileges, comments, options.
fn rights(rng: &mut Rng, table: &Table) -> Vec<String> {
    let (on, first) = (&table.name, &table.first);
    let mut sql = Vec::new();
    if rng.percent(50) {
        sql.push(format!("ALTER TABLE {on} OWNER TO {}", rng.pick(OWNERS)));
    }
    for _ in 0..rng.below(4) {
        let to = rng.pick(GRANTEES);
        let what =
            rng.pick(&["SELECT", "SELECT, INSERT", "ALL", "SELECT (#), UPDATE (#)", "TRUNCATE, REFERENCES"]).replace('#', first);
        // Nobody observes who may write.
        let what = if to == "PUBLIC" { "SELECT".to_owned() } else { what };
        sql.push(format!("GRANT {what} ON {on} TO {to}"));
    }
    if rng.percent(10) {
        sql.push(format!("GRANT SELECT ON {on} TO readers WITH GRANT OPTION"));
    }
    if rng.percent(40) {
        sql.push(format!("COMMENT ON TABLE {on} IS 'it''s \"this\" ↯'; COMMENT ON COLUMN {on}.{first} IS E'two\\nlines'"));
    }
    if rng.percent(20) {
        sql.push(format!("ALTER TABLE {on} ALTER {first} SET STATISTICS 500"));
    }
    if rng.percent(15) && !table.partitioned {
        sql.push(format!("ALTER TABLE {on} REPLICA IDENTITY FULL"));
    }
    sql
}

/// What few databases have.
fn besides(rng: &mut Rng, names: &mut Names, tables: &[Table]) -> Vec<String> {
    let mut sql = Vec::new();
    let table = &tables[0];
    if rng.percent(30) {
        sql.push(format!("GRANT USAGE ON SCHEMA app, \"Odd Schema\" TO {}", rng.pick(GRANTEES)));
    }
    if rng.percent(20) {
        sql.push("ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO readers".to_owned());
    }
    if rng.percent(20) {
        sql.push("REVOKE USAGE ON TYPE app.pair FROM PUBLIC; ALTER TYPE app.mood OWNER TO app_owner; COMMENT ON TYPE app.pair IS 'two'".to_owned());
    }
    if !table.unlogged && rng.percent(20) {
        sql.push(format!("CREATE PUBLICATION {} FOR TABLE {} WITH (publish = 'insert, update')", names.next(rng), table.name));
    }
    if let Some(column) = table.columns.iter().find(|column| column.kind.index == Some("btree")).filter(|_| rng.percent(40)) {
        sql.push(format!("CREATE STATISTICS {} ON {}, {} FROM {}", names.in_schema(rng), table.first, column.name, table.name));
    }
    if rng.percent(25) {
        sql.push("SELECT lo_from_bytea(0, '\\x0102'), lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'))".to_owned());
    }
    sql
}
