//! How Loki 3.6 puts the parts of a split query together, and cuts them at the limit.
//!
//! It keeps the streams in a heap, and misuses it: what is left of a stream goes back to the end of the heap without being moved to
//! its place. So, when a limit cuts several streams over several hours, the lines that are returned are not always the first ones.
//! A reader that pages through such results loses lines, here as there.

use std::collections::{BTreeMap, VecDeque};

/// Lines with their moments, by stream.
pub(crate) type Part<T> = BTreeMap<String, VecDeque<(i64, T)>>;

/// Parts in the order of the direction, each with up to `limit` lines, to one result in the order of its streams.
pub(crate) fn merge<T>(parts: Vec<Part<T>>, limit: usize, forward: bool) -> Vec<(String, Vec<T>)> {
    let mut groups = Part::new();
    for (name, lines) in parts.into_iter().flatten() {
        groups.entry(name).or_default().extend(lines);
    }
    let mut streams: Vec<Stream<T>> = groups.into_iter().map(|(name, lines)| Stream { name, lines }).collect();
    if !forward {
        streams.reverse();
    }
    let total: usize = streams.iter().map(|stream| stream.lines.len()).sum();
    let names: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    let mut taken: BTreeMap<String, Vec<T>> = BTreeMap::new();
    if total <= limit {
        taken.extend(streams.into_iter().map(|stream| (stream.name, stream.lines.into_iter().map(|(_, line)| line).collect())));
    } else {
        let mut heap = Heap { streams, forward };
        heap.build();
        for (name, line) in std::iter::from_fn(|| heap.pop()).take(limit) {
            taken.entry(name).or_default().push(line);
        }
    }
    names.into_iter().filter_map(|name| taken.remove(&name).map(|lines| (name, lines))).collect()
}

struct Stream<T> {
    name: String,
    lines: VecDeque<(i64, T)>,
}

impl<T> Stream<T> {
    fn at(&self) -> Option<i64> {
        self.lines.front().map(|(at, _)| *at)
    }
}

struct Heap<T> {
    streams: Vec<Stream<T>>,
    forward: bool,
}

impl<T> Heap<T> {
    fn build(&mut self) {
        for index in (0..self.streams.len() / 2).rev() {
            self.down(index, self.streams.len());
        }
    }

    fn before(&self, one: usize, other: usize) -> bool {
        let at = |index: usize| self.streams.get(index).and_then(Stream::at);
        if self.forward { at(one) < at(other) } else { at(one) > at(other) }
    }

    fn down(&mut self, mut index: usize, end: usize) {
        loop {
            let (left, right) = (2 * index + 1, 2 * index + 2);
            if left >= end {
                return;
            }
            let child = if right < end && self.before(right, left) { right } else { left };
            if !self.before(child, index) {
                return;
            }
            self.streams.swap(index, child);
            index = child;
        }
    }

    /// The first line. The rest of its stream stays at the end of the heap, wherever it belongs.
    fn pop(&mut self) -> Option<(String, T)> {
        let last = self.streams.len().checked_sub(1)?;
        self.streams.swap(0, last);
        self.down(0, last);
        let stream = self.streams.last_mut()?;
        let (name, (_, line)) = (stream.name.clone(), stream.lines.pop_front()?);
        if stream.lines.is_empty() {
            self.streams.pop();
        }
        Some((name, line))
    }
}
