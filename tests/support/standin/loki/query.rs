//! Answering queries from what is stored.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cut::{Part, merge};
use super::logql::{Labels, Numbers, Query, Selector, parse, parse_matchers, shown};
use super::params::{Params, check, check_length};
use super::store::{Found, HOUR, Tenant};

/// A query over a tenant's lines, at a moment.
pub(crate) struct Reader<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) now: i64,
    /// Labels and structured metadata apart.
    pub(crate) categorize: bool,
}

impl Reader<'_> {
    /// `query_range`.
    pub(crate) fn range(&self, params: &Params) -> Result<Value, String> {
        let limit = params.limit()?;
        let range = params.range(self.now)?;
        let forward = params.forward()?;
        check(range, limit)?;
        let step = params.step(range)?;
        let query = parse(params.get("query")).map_err(|error| error.to_string())?;
        check_length(range)?;
        Ok(match query {
            Query::Lines(selector) => {
                selector.check_filters().map_err(ToString::to_string)?;
                self.streams(&selector, range, limit, forward)
            }
            Query::Numbers(numbers) => {
                numbers.selector.check_filters().map_err(ToString::to_string)?;
                matrix(range, step, |at| self.count(&numbers, at))
            }
            Query::Constant(number) => matrix(range, step, |_| BTreeMap::from([(Labels::new(), number.to_string())])),
        })
    }

    /// `query`.
    pub(crate) fn instant(&self, params: &Params) -> Result<Value, String> {
        params.limit()?;
        let at = params.time(self.now)?;
        params.forward()?;
        let series = match parse(params.get("query")).map_err(|error| error.to_string())? {
            Query::Lines(_) => {
                let words = "log queries are not supported as an instant query type";
                return Err(format!("{words}, please change your query to a range query type"));
            }
            Query::Numbers(numbers) => {
                numbers.selector.check_filters().map_err(ToString::to_string)?;
                self.count(&numbers, at)
            }
            Query::Constant(number) => BTreeMap::from([(Labels::new(), number.to_string())]),
        };
        // Series without labels come first here, unlike in a matrix.
        let result: Vec<Value> =
            series.into_iter().map(|(labels, value)| json!({"metric": labels, "value": [epoch(at), value]})).collect();
        let count = result.len();
        Ok(json!({"resultType": "vector", "result": result, "stats": stats(0, count)}))
    }

    /// `labels`: of all streams, whatever the range, as long as they are in memory.
    pub(crate) fn labels(&self) -> Vec<String> {
        distinct(self.tenant.streams.keys().flat_map(Labels::keys))
    }

    /// `label/<name>/values`.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        distinct(self.tenant.streams.keys().filter_map(|labels| labels.get(name)))
    }

    /// `series`.
    pub(crate) fn series(&self, params: &Params) -> Result<Vec<Labels>, String> {
        let range = params.range(self.now)?;
        let mut selectors: Vec<Selector> = Vec::new();
        for text in params.all("match[]") {
            selectors.push(parse_matchers(text)?);
        }
        if selectors.is_empty() {
            selectors.push(Selector::all());
        }
        let mut series: Vec<Labels> = Vec::new();
        for selector in &selectors {
            series.extend(self.tenant.find(selector, range, self.now).map(|found| found.labels.clone()));
        }
        series.sort();
        series.dedup();
        Ok(series)
    }

    fn streams(&self, selector: &Selector, range: (i64, i64), limit: usize, forward: bool) -> Value {
        let (mut parts, mut labels_of) = (Vec::new(), BTreeMap::new());
        let (mut seen, mut bytes, mut returned) = (0, 0, 0);
        let mut hours = split(range);
        let whole = hours.len() < 2;
        if !forward {
            hours.reverse();
        }
        for hour in hours {
            let mut found: Vec<Found<'_>> = self.tenant.find(selector, hour, self.now).collect();
            seen += found.len();
            bytes += found.iter().map(|found| found.entry.line.len()).sum::<usize>();
            if !forward {
                found.reverse();
            }
            // Stable: lines of one moment keep the order of their arrival.
            found.sort_by_key(|found| if forward { found.entry.at } else { -found.entry.at });
            found.truncate(limit);
            returned += found.len();
            let mut part: Part<Value> = Part::new();
            for found in found {
                let (labels, value) = self.value(&found);
                let name = shown(&labels);
                part.entry(name.clone()).or_default().push_back((found.entry.at, value));
                labels_of.insert(name, labels);
            }
            parts.push(part);
            if returned >= limit {
                break;
            }
        }
        // Streams go backwards only where parts are merged.
        let mut streams = merge(parts, limit, forward);
        if whole && !forward {
            streams.reverse();
        }
        let result: Vec<Value> =
            streams.into_iter().map(|(name, values)| json!({"stream": labels_of.get(&name), "values": values})).collect();
        let mut data = json!({"resultType": "streams", "result": result, "stats": stats(bytes, seen)});
        if let Some(total) = data.pointer_mut("/stats/summary/totalEntriesReturned") {
            *total = json!(returned.min(limit));
        }
        if let (true, Some(data)) = (self.categorize, data.as_object_mut()) {
            data.insert("encodingFlags".into(), json!(["categorize-labels"]));
        }
        data
    }

    fn value(&self, found: &Found<'_>) -> (Labels, Value) {
        let (at, line) = (found.entry.at.to_string(), &found.entry.line);
        if self.categorize {
            let apart = json!({"structuredMetadata": found.entry.metadata});
            return (found.labels.clone(), json!([at, line, apart]));
        }
        (found.merged(), json!([at, line]))
    }

    /// Counts the window that ends with `at`, or as long before as the offset says: its start is not in it, its end is.
    fn count(&self, numbers: &Numbers, at: i64) -> BTreeMap<Labels, String> {
        let mut series: BTreeMap<Labels, usize> = BTreeMap::new();
        let end = at - numbers.offset;
        for found in self.tenant.find(&numbers.selector, (end - numbers.range + 1, end + 1), self.now) {
            let labels = found.merged();
            let labels = numbers.sum.as_ref().map_or_else(|| labels.clone(), |grouping| grouping.apply(labels.clone()));
            *series.entry(labels).or_default() += if numbers.bytes { found.entry.line.len() } else { 1 };
        }
        series.into_iter().map(|(labels, value)| (labels, value.to_string())).collect()
    }
}

/// Loki splits a query at full hours.
fn split((start, end): (i64, i64)) -> Vec<(i64, i64)> {
    let mut hours = Vec::new();
    let mut from = start;
    while from < end {
        let to = end.min((from.div_euclid(HOUR) + 1) * HOUR);
        hours.push((from, to));
        from = to;
    }
    hours
}

/// Points from `start` down to a multiple of the step, to `end` up to one. A point without a value is left out.
fn matrix((start, end): (i64, i64), step: i64, value: impl Fn(i64) -> BTreeMap<Labels, String>) -> Value {
    let mut series: BTreeMap<String, (Labels, Vec<Value>)> = BTreeMap::new();
    let mut at = start.div_euclid(step) * step;
    let last = (end + step - 1).div_euclid(step) * step;
    while at <= last {
        for (labels, value) in value(at) {
            let points = &mut series.entry(shown(&labels)).or_insert_with(|| (labels, Vec::new())).1;
            points.push(json!([epoch(at), value]));
        }
        at += step;
    }
    let result: Vec<Value> = series.into_values().map(|(labels, values)| json!({"metric": labels, "values": values})).collect();
    let count = result.len();
    json!({"resultType": "matrix", "result": result, "stats": stats(0, count)})
}

/// Seconds as Loki writes them: whole ones as an integer, others to the millisecond.
fn epoch(at: i64) -> Value {
    let millis = at.div_euclid(1_000_000);
    if millis % 1000 == 0 {
        return json!(millis / 1000);
    }
    serde_json::from_str(&format!("{}.{:03}", millis / 1000, millis % 1000)).unwrap_or_default()
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// The part of Loki's statistics that others look at.
fn stats(bytes: usize, lines: usize) -> Value {
    let store = json!({
        "totalChunksRef": 0, "totalChunksDownloaded": 0, "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": false, "queryUsedV2Engine": false,
        "chunk": {
            "headChunkBytes": bytes, "headChunkLines": lines, "decompressedBytes": 0, "decompressedLines": 0,
            "compressedBytes": 0, "totalDuplicates": 0, "postFilterLines": lines,
            "headChunkStructuredMetadataBytes": 0, "decompressedStructuredMetadataBytes": 0,
        },
        "chunkRefsFetchTime": 0, "congestionControlLatency": 0, "pipelineWrapperFilteredLines": 0,
    });
    json!({
        "summary": {
            "bytesProcessedPerSecond": bytes, "linesProcessedPerSecond": lines, "totalBytesProcessed": bytes,
            "totalLinesProcessed": lines, "execTime": 0.001, "queueTime": 0, "subqueries": 0, "totalEntriesReturned": lines,
            "splits": 1, "shards": 1, "totalPostFilterLines": lines, "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": store},
        "ingester": {"totalReached": 1, "totalChunksMatched": 1, "totalBatches": 1, "totalLinesSent": lines, "store": store},
    })
}
