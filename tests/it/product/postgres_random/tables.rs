//! Tables with their rows: plain, partitioned, inherited, with keys or without.

use super::kinds::Kind;
use super::names::Names;
use crate::model::rng::Rng;

/// A column.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: &'static Kind,
    not_null: bool,
}

/// Where the values of the first column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Serial,
    Identity,
    Number,
}

/// A table, and what it consists of.
pub(super) struct Table {
    /// As SQL names it, with its schema.
    pub(super) name: String,
    /// A number in each row.
    pub(super) first: String,
    pub(super) columns: Vec<Column>,
    pub(super) keyed: bool,
    /// By which text it is partitioned.
    region: Option<String>,
    pub(super) partitioned: bool,
    /// A crash would empty it, and neither a logged table nor a publication may refer to it.
    pub(super) unlogged: bool,
    /// What makes it, and its rows.
    pub(super) sql: Vec<String>,
    /// Columns that `first` fills by itself are left out.
    filled: bool,
}

/// How rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    Range,
    Hash,
    List,
}

impl Table {
    /// A new one, with its rows.
    pub(super) fn of(rng: &mut Rng, names: &mut Names) -> Self {
        let name = names.in_schema(rng);
        let first = names.next(rng);
        let from = rng.pick(&[First::Serial, First::Identity, First::Number, First::Number]);
        let cut = rng.pick(&[Cut::None, Cut::None, Cut::None, Cut::None, Cut::Range, Cut::Hash, Cut::List]);
        let columns: Vec<Column> = (0..rng.between(0, 7))
            .map(|_| Column { name: names.next(rng), kind: Kind::any(rng), not_null: rng.percent(25) })
            .collect();
        let region = (cut == Cut::List).then(|| names.next(rng));
        let mut table = Self {
            name,
            first,
            columns,
            keyed: rng.percent(65),
            region,
            partitioned: cut != Cut::None,
            unlogged: cut == Cut::None && rng.percent(10),
            sql: Vec::new(),
            filled: from != First::Number,
        };
        table.create(rng, names, from, cut);
        table.partitions(rng, names, from, cut);
        table.rows(rng, &table.name.clone(), &[], table.filled);
        if cut == Cut::None && from != First::Identity && rng.percent(25) {
            table.child(rng, names);
        }
        if rng.percent(20) && table.columns.len() > 1 {
            let gone = table.columns.remove(0);
            table.sql.push(format!("ALTER TABLE {} DROP COLUMN {} CASCADE", table.name, gone.name));
        }
        table
    }

    /// Whether a foreign key can name its first column alone.
    pub(super) fn is_referred_to_by_number(&self) -> bool {
        self.keyed && self.region.is_none() && !self.unlogged
    }

    fn create(&mut self, rng: &mut Rng, names: &mut Names, from: First, cut: Cut) {
        let (name, first) = (&self.name, &self.first);
        let number = rng.pick(&["integer", "bigint"]);
        let mut lines = vec![match from {
            First::Serial => format!("{first} {}", if number == "bigint" { "bigserial" } else { "serial" }),
            First::Identity => {
                let how = rng.pick(&["ALWAYS", "BY DEFAULT"]);
                let options = rng.pick(&["", " (INCREMENT BY 3)", " (START WITH 10 CACHE 2)"]);
                format!("{first} {number} GENERATED {how} AS IDENTITY{options}")
            }
            First::Number => format!("{first} {number}{}", if self.partitioned { " NOT NULL" } else { "" }),
        }];
        lines.extend(self.region.iter().map(|region| format!("{region} text NOT NULL")));
        for Column { name, kind, not_null } in &self.columns {
            let mut line = format!("{name} {}", kind.sql);
            if rng.percent(25) {
                line = format!("{line} DEFAULT {}", kind.constant(rng));
            }
            if *not_null {
                line = format!("{line} NOT NULL");
            }
            lines.push(line);
        }
        if rng.percent(25) {
            let expression = rng.pick(&["(# * 2)", "(abs(#) + length('x'))", "(CASE WHEN # > 3 THEN # END)"]).replace('#', first);
            lines.push(format!("{} bigint GENERATED ALWAYS AS ({expression}) STORED", names.next(rng)));
        }
        if rng.percent(30) {
            let check =
                rng.pick(&["# > -5", "# >= 0 AND # IS DISTINCT FROM -1", "# BETWEEN 0 AND 100000", "# <> ALL (ARRAY[-1, -2])"]);
            lines.push(format!("CONSTRAINT {} CHECK ({})", names.next(rng), check.replace('#', first)));
        }
        if self.keyed {
            let region = self.region.as_ref().map_or_else(String::new, |region| format!(", {region}"));
            lines.push(format!("PRIMARY KEY ({first}{region})"));
        }
        let cut = match cut {
            Cut::None => String::new(),
            Cut::Range => format!(" PARTITION BY RANGE ({first})"),
            Cut::Hash => format!(" PARTITION BY HASH ({first})"),
            Cut::List => format!(" PARTITION BY LIST ({})", self.region.as_deref().unwrap()),
        };
        let (kind, options) = if self.partitioned {
            ("", "")
        } else {
            (
                if self.unlogged { "UNLOGGED " } else { "" },
                rng.pick(&["", "", " WITH (fillfactor = 70)", " WITH (autovacuum_enabled = false)"]),
            )
        };
        self.sql.push(format!("CREATE {kind}TABLE {name} ({}){cut}{options}", lines.join(", ")));
    }

    fn partitions(&mut self, rng: &mut Rng, names: &mut Names, from: First, cut: Cut) {
        let bounds: &[&str] = match cut {
            Cut::None => return,
            Cut::Range => &["FOR VALUES FROM (MINVALUE) TO (4)", "FOR VALUES FROM (4) TO (150)", "DEFAULT"],
            Cut::Hash => &["FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"],
            Cut::List => &["FOR VALUES IN ('a')", "FOR VALUES IN ('b', 'c')", "DEFAULT"],
        };
        for bound in bounds {
            let part = names.in_schema(rng);
            // From version 17 on a dump loses the identity of a partition's partitions.
            if from != First::Identity && rng.percent(20) {
                let sub = names.in_schema(rng);
                self.sql
                    .push(format!("CREATE TABLE {part} PARTITION OF {} {bound} PARTITION BY RANGE ({})", self.name, self.first));
                self.sql.push(format!("CREATE TABLE {sub} PARTITION OF {part} DEFAULT"));
            } else {
                self.sql.push(format!("CREATE TABLE {part} PARTITION OF {} {bound}", self.name));
            }
        }
    }

    /// A table that inherits from it, with rows of its own.
    fn child(&mut self, rng: &mut Rng, names: &mut Names) {
        let (child, extra) = (names.in_schema(rng), Column { name: names.next(rng), kind: Kind::any(rng), not_null: false });
        self.sql.push(format!("CREATE TABLE {child} ({} {}) INHERITS ({})", extra.name, extra.kind.sql, self.name));
        self.rows(rng, &child, &[extra], self.filled);
    }

    /// Some rows of edges, many ordinary ones, and where there is no key, some twice.
    fn rows(&mut self, rng: &mut Rng, into: &str, extra: &[Column], filled: bool) {
        let columns: Vec<&Column> = self.columns.iter().chain(extra).collect();
        let mut list: Vec<&str> = if filled { Vec::new() } else { vec![&self.first] };
        list.extend(self.region.as_deref());
        list.extend(columns.iter().map(|column| column.name.as_str()));
        if list.is_empty() {
            let row = format!("INSERT INTO {into} DEFAULT VALUES");
            self.sql.extend((0..rng.below(4)).map(|_| row.clone()));
            return;
        }
        let list = list.join(", ");
        let mut edges = Vec::new();
        for n in 0..rng.pick(&[0, 1, 3, 6]) {
            let mut values = if filled { Vec::new() } else { vec![n.to_string()] };
            values.extend(self.region.iter().map(|_| rng.pick(&["'a'", "'c'", "'zz'"]).to_owned()));
            values.extend(columns.iter().map(|column| column.kind.edge_or_null(rng, column.not_null)));
            edges.push(format!("({})", values.join(", ")));
        }
        let mut sql = Vec::new();
        if !edges.is_empty() {
            sql.push(format!("INSERT INTO {into} ({list}) VALUES {}", edges.join(", ")));
        }
        let many = rng.pick(&[0, 0, 5, 60, 300, 2000]);
        if many > 0 {
            let mut values = if filled { Vec::new() } else { vec!["n".to_owned()] };
            values.extend(self.region.iter().map(|_| "substr('abcd', 1 + n % 4, 1)".to_owned()));
            values.extend(columns.iter().map(|column| format!("({})::{}", column.kind.series, column.kind.sql)));
            sql.push(format!(
                "INSERT INTO {into} ({list}) SELECT {} FROM generate_series(100, {}) AS n",
                values.join(", "),
                99 + many
            ));
        }
        if (!self.keyed || !extra.is_empty()) && rng.percent(50) {
            sql.push(format!("INSERT INTO {into} ({list}) SELECT {list} FROM ONLY {into} LIMIT 20"));
        }
        self.sql.extend(sql);
    }
}
