//! Log lines out of Grafana's data frames: columns, each with a name and a type.

use serde_json::Value;

/// The frames of one answer. The error is a fragment for evidence.
pub(super) fn all(answer: &Value) -> Result<Vec<Frame<'_>>, String> {
    match answer.get("frames") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(frames)) => frames.iter().map(Frame::of).collect(),
        Some(_) => Err("no list of frames".to_owned()),
    }
}

/// The lines of one answer, in nanoseconds. The error is a fragment for evidence.
///
/// The Loki plugin names its columns in one of two ways: `Time`, `Line` and `tsNs` (nanoseconds as text), or, with the feature
/// toggle `lokiLogsDataplane`, `timestamp` and `body`. A time column holds milliseconds; what is below them stands in
/// `data.nanos`, which is left out when it is zero everywhere. Neither order nor number of the columns is fixed.
pub(super) fn read(answer: &Value) -> Result<Vec<(i64, String)>, String> {
    let mut lines = Vec::new();
    for frame in all(answer)? {
        lines.extend(frame.lines()?);
    }
    Ok(lines)
}

/// The number of an answer to a query for one: the first value of the first column of numbers; none if there is no value. The error is
/// a fragment for evidence.
pub(super) fn number(answer: &Value) -> Result<Option<f64>, String> {
    for frame in all(answer)? {
        if let Some(value) = frame.number()? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Columns, and what each of them is.
pub(super) struct Frame<'a> {
    fields: &'a [Value],
    values: &'a [Value],
    nanos: &'a [Value],
}

impl<'a> Frame<'a> {
    fn of(frame: &'a Value) -> Result<Self, String> {
        let list = |pointer: &str| match frame.pointer(pointer) {
            None | Some(Value::Null) => Ok(&[][..]),
            Some(Value::Array(list)) => Ok(list.as_slice()),
            Some(_) => Err(format!("{pointer} is no list")),
        };
        Ok(Self { fields: list("/schema/fields")?, values: list("/data/values")?, nanos: list("/data/nanos")? })
    }

    /// Its columns, each with its type; empty if it has none.
    pub(super) fn columns(&self) -> Result<Vec<(&'a str, &'a [Value])>, String> {
        let kind = |at: usize| self.fields.get(at).and_then(|field| field.get("type")?.as_str()).unwrap_or_default();
        let column = |(at, column): (usize, &'a Value)| Some((kind(at), column.as_array()?.as_slice()));
        let columns: Option<Vec<_>> = self.values.iter().enumerate().map(column).collect();
        columns.ok_or_else(|| "a column is no list".to_owned())
    }

    fn lines(&self) -> Result<Vec<(i64, String)>, String> {
        if self.values.iter().all(|column| column.as_array().is_some_and(Vec::is_empty)) {
            return Ok(Vec::new());
        }
        let (_, texts) = self.column(&["Line", "body"], "string").ok_or("no column of log lines")?;
        let times = self.times()?;
        if times.len() != texts.len() {
            return Err(format!("{} times for {} lines", times.len(), texts.len()));
        }
        let texts = texts.iter().map(|text| text.as_str().map(str::to_owned).ok_or("a line that is no text"));
        times.into_iter().zip(texts).map(|(time, text)| Ok((time, text?))).collect()
    }

    fn number(&self) -> Result<Option<f64>, String> {
        if self.values.iter().all(|column| column.as_array().is_some_and(Vec::is_empty)) {
            return Ok(None);
        }
        let position = self.fields.iter().position(|field| field.get("type").and_then(Value::as_str) == Some("number"));
        let column = position.and_then(|position| self.values.get(position)?.as_array()).ok_or("no column of numbers")?;
        match column.as_slice() {
            [] => Ok(None),
            [value] => value.as_f64().map(Some).ok_or_else(|| "a number that is none".to_owned()),
            [_, _, ..] => Err(format!("{} numbers where one was asked for", column.len())),
        }
    }

    fn times(&self) -> Result<Vec<i64>, String> {
        if let Some((_, times)) = self.column(&["tsNs"], "string") {
            let times = times.iter().map(|time| time.as_str()?.parse().ok());
            return times.collect::<Option<_>>().ok_or_else(|| "tsNs is no time in nanoseconds".to_owned());
        }
        let (position, times) = self.column(&["Time", "timestamp"], "time").ok_or("no column of times")?;
        let nanos = self.nanos.get(position).and_then(Value::as_array);
        let time = |(row, time): (usize, &Value)| {
            let below = match nanos {
                None => 0,
                Some(nanos) => nanos.get(row)?.as_i64().filter(|below| (0..1_000_000).contains(below))?,
            };
            time.as_i64()?.checked_mul(1_000_000)?.checked_add(below)
        };
        times.iter().enumerate().map(time).collect::<Option<_>>().ok_or_else(|| "a time that is none".to_owned())
    }

    /// A column by name and type, and its position.
    fn column(&self, names: &[&str], kind: &str) -> Option<(usize, &'a [Value])> {
        let text = |field: &'a Value, key| field.get(key).and_then(Value::as_str);
        let position = self.fields.iter().position(|field| {
            text(field, "type") == Some(kind) && text(field, "name").is_some_and(|name| names.contains(&name))
        })?;
        Some((position, self.values.get(position)?.as_array()?))
    }
}

#[cfg(test)]
mod tests;
