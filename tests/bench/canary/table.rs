//! What came out, for people and for programs.

use serde_json::{Value, json};

/// One figure of both.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) ours: String,
    pub(super) rivals: String,
}

/// What one case came to.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    pub(super) raw: Value,
}

impl Part {
    pub(super) fn new(title: impl Into<String>, raw: Value) -> Self {
        Self { title: title.into(), rows: Vec::new(), raw }
    }

    pub(super) fn row(mut self, what: impl Into<String>, ours: impl Into<String>, rivals: impl Into<String>) -> Self {
        self.rows.push(Row { what: what.into(), ours: ours.into(), rivals: rivals.into() });
        self
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| json!({"what": row.what, "phasegate": row.ours, "loki-canary": row.rivals}));
        json!({"case": self.title, "rows": rows.collect::<Vec<_>>(), "raw": self.raw})
    }
}

/// All parts under one head.
pub(super) fn text(parts: &[Part]) -> String {
    let rows = || parts.iter().flat_map(|part| &part.rows);
    let widest = |of: fn(&Row) -> &String, least: usize| rows().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least);
    let (what, ours) = (widest(|row| &row.what, 0), widest(|row| &row.ours, "phasegate".len()));
    let line = |one: &str, two: &str, three: &str| format!("  {one:<what$}  {two:<ours$}  {three}").trim_end().to_owned();
    let mut lines = vec![line("", "phasegate", "loki-canary 3.6.3")];
    for part in parts {
        lines.push(part.title.clone());
        lines.extend(part.rows.iter().map(|row| line(&row.what, &row.ours, &row.rivals)));
    }
    lines.join("\n")
}

pub(super) fn json(parts: &[Part], head: &Value) -> Value {
    json!({"head": head, "cases": parts.iter().map(Part::json).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let part = Part::new("calm", Value::Null).row("processor", "0.1 s", "0.2 s").row("a long name", "nothing at all", "1");
        let wanted = "               phasegate       loki-canary 3.6.3\ncalm\n  processor    0.1 s           0.2 s\n  a long name  \
                      nothing at all  1";
        assert_eq!(text(&[part]), wanted);
    }
}
