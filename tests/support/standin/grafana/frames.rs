//! From Loki's answer to Grafana's frames.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ask::{Asked, Failure};

/// The statistics that Grafana shows: its name, a unit, and where Loki has it.
const STATS: &[(&str, &str, &str)] = &[
    ("Summary: bytes processed per second", "Bps", "/summary/bytesProcessedPerSecond"),
    ("Summary: lines processed per second", "", "/summary/linesProcessedPerSecond"),
    ("Summary: total bytes processed", "decbytes", "/summary/totalBytesProcessed"),
    ("Summary: total lines processed", "", "/summary/totalLinesProcessed"),
    ("Summary: exec time", "s", "/summary/execTime"),
    ("Ingester: total reached", "", "/ingester/totalReached"),
    ("Ingester: total chunks matched", "", "/ingester/totalChunksMatched"),
    ("Ingester: total batches", "", "/ingester/totalBatches"),
    ("Ingester: total lines sent", "", "/ingester/totalLinesSent"),
    ("Ingester: head chunk bytes", "decbytes", "/ingester/store/chunk/headChunkBytes"),
    ("Ingester: head chunk lines", "", "/ingester/store/chunk/headChunkLines"),
    ("Ingester: decompressed bytes", "decbytes", "/ingester/store/chunk/decompressedBytes"),
    ("Ingester: decompressed lines", "", "/ingester/store/chunk/decompressedLines"),
    ("Ingester: compressed bytes", "decbytes", "/ingester/store/chunk/compressedBytes"),
    ("Ingester: total duplicates", "", "/ingester/store/chunk/totalDuplicates"),
];

/// Frames as Grafana makes them of a good answer.
pub(crate) fn of(answer: &Value, asked: &Asked) -> Result<Vec<Value>, Failure> {
    let strange = || Failure::strange("unknown result type");
    let result = answer.pointer("/data/result").and_then(Value::as_array).ok_or_else(strange)?;
    let stats = stats(answer.pointer("/data/stats").unwrap_or(&Value::Null));
    let mut frames = match answer.pointer("/data/resultType").and_then(Value::as_str) {
        Some("streams") => vec![lines(result, asked).ok_or_else(strange)?],
        Some("matrix") => result.iter().map(|series| range(series, asked)).collect::<Option<_>>().ok_or_else(strange)?,
        Some("vector") => result.iter().map(|series| instant(series, asked)).collect::<Option<_>>().ok_or_else(strange)?,
        _ => return Err(strange()),
    };
    // They are of the whole answer, and come with its first frame.
    if let Some(meta) = frames.first_mut().and_then(|frame: &mut Value| frame.pointer_mut("/schema/meta")?.as_object_mut()) {
        meta.insert("stats".into(), stats);
    }
    Ok(frames)
}

fn stats(given: &Value) -> Value {
    let stat = |(name, unit, path): &(&str, &str, &str)| {
        let mut stat = Map::from_iter([
            ("displayName".to_owned(), json!(name)),
            ("value".to_owned(), given.pointer(path).cloned().unwrap_or_else(|| json!(0))),
        ]);
        if !unit.is_empty() {
            stat.insert("unit".into(), json!(unit));
        }
        Value::Object(stat)
    };
    STATS.iter().map(stat).collect()
}

fn field(name: &str, kind: &str, frame: &str) -> Value {
    json!({"name": name, "type": kind, "typeInfo": {"frame": frame}})
}

/// One frame with all lines.
fn lines(streams: &[Value], asked: &Asked) -> Option<Value> {
    let (mut labels, mut times, mut texts, mut nanos, mut ids, mut rests) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for stream in streams {
        let of_stream = stream.get("stream")?;
        for value in stream.get("values")?.as_array()? {
            let (at, text) = (value.get(0)?.as_str()?, value.get(1)?.as_str()?);
            let moment: i64 = at.parse().ok()?;
            let sum = checksum(&format!("{text}_{of_stream}"));
            let id = format!("{at}_{sum:x}");
            let times_before = seen.entry(id.clone()).or_default();
            let again = if *times_before == 0 { String::new() } else { format!("_{times_before}") };
            *times_before += 1;
            labels.push(of_stream.clone());
            times.push(json!(moment / 1_000_000));
            rests.push(moment % 1_000_000);
            texts.push(json!(text));
            nanos.push(json!(at));
            ids.push(json!(format!("{id}{again}_{}", asked.id)));
        }
    }
    let fields = [
        field("labels", "other", "json.RawMessage"),
        field("Time", "time", "time.Time"),
        field("Line", "string", "string"),
        field("tsNs", "string", "string"),
        field("id", "string", "string"),
    ];
    let meta = json!({
        "typeVersion": [0, 0], "custom": {"frameType": "LabeledTimeValues"},
        "executedQueryString": format!("Expr: {}", asked.expression),
    });
    let mut data = json!({"values": [labels, times, texts, nanos, ids]});
    if rests.iter().any(|rest| *rest != 0) {
        data.as_object_mut()?.insert("nanos".into(), json!([null, rests, null, null, null]));
    }
    Some(json!({"schema": {"refId": asked.id, "meta": meta, "fields": fields}, "data": data}))
}

/// FNV-1, 32 bits.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(2_166_136_261, |sum: u32, byte| sum.wrapping_mul(16_777_619) ^ u32::from(byte))
}

fn range(series: &Value, asked: &Asked) -> Option<Value> {
    let points = series.get("values")?.as_array()?.iter().map(point).collect::<Option<Vec<_>>>()?;
    let mut time = field("Time", "time", "time.Time");
    time.as_object_mut()?.insert("config".into(), json!({"interval": asked.step}));
    let step = go_duration(asked.step);
    numbers(series, asked, "timeseries-multi", time, points, &format!("\nStep: {step}"))
}

fn instant(series: &Value, asked: &Asked) -> Option<Value> {
    let points = vec![point(series.get("value")?)?];
    numbers(series, asked, "numeric-multi", field("Time", "time", "time.Time"), points, "")
}

/// Milliseconds, and a number.
fn point(value: &Value) -> Option<(Value, Value)> {
    let (at, number) = (value.get(0)?, value.get(1)?.as_str()?);
    let text = at.to_string();
    let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let at = seconds.parse::<i64>().ok()? * 1000 + millis.parse::<i64>().ok()?;
    // A whole number has no point, as Go encodes it.
    let number = number.parse::<i64>().map(|number| json!(number)).or_else(|_| number.parse::<f64>().map(|number| json!(number)));
    Some((json!(at), number.ok()?))
}

fn numbers(series: &Value, asked: &Asked, kind: &str, time: Value, points: Vec<(Value, Value)>, step: &str) -> Option<Value> {
    let labels = series.get("metric")?.as_object()?;
    let names: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut value = field("Value", "number", "float64");
    let more = value.as_object_mut()?;
    if !labels.is_empty() {
        more.insert("labels".into(), json!(labels));
    }
    more.insert("config".into(), json!({"displayNameFromDS": format!("{{{}}}", names.join(", "))}));
    let meta = json!({
        "type": kind, "typeVersion": [0, 1], "executedQueryString": format!("Expr: {}{step}", asked.expression),
    });
    let (times, values): (Vec<Value>, Vec<Value>) = points.into_iter().unzip();
    Some(json!({
        "schema": {"refId": asked.id, "meta": meta, "fields": [time, value]},
        "data": {"values": [times, values]},
    }))
}

/// As Go prints a duration.
fn go_duration(millis: i64) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    match (hours, minutes) {
        (0, 0) if millis < 1000 => format!("{millis}ms"),
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}
