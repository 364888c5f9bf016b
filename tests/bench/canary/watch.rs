//! What both say of themselves, followed over time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Numbers by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// One number since the beginning; times in seconds after that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Track {
    before: f64,
    after: f64,
    /// When it was first another one than before.
    first: Option<f64>,
    /// When it last became another one.
    last: Option<f64>,
}

/// One system's numbers since the beginning.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    began: Instant,
    tracks: BTreeMap<String, Track>,
}

impl Watch {
    pub(super) fn begin(before: Figures) -> Self {
        let mut watch = Self { began: Instant::now(), tracks: BTreeMap::new() };
        watch.takes(before);
        watch
    }

    /// Takes in what is said now. A number that was not there before was 0, except at the beginning.
    pub(super) fn takes(&mut self, now: Figures) {
        let (at, at_first) = (self.began.elapsed().as_secs_f64(), self.tracks.is_empty());
        for (name, value) in now {
            let before = if at_first { value } else { 0.0 };
            let track = self.tracks.entry(name).or_insert(Track { before, after: before, first: None, last: None });
            if differ(track.after, value) {
                track.last = Some(at);
                track.first = track.first.or(track.last);
                track.after = value;
            }
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn tracks(&self) -> &BTreeMap<String, Track> {
        &self.tracks
    }

    /// When the number first changed.
    pub(super) fn first(&self, name: &str) -> Option<f64> {
        self.tracks.get(name)?.first
    }

    /// When the number last changed.
    pub(super) fn last(&self, name: &str) -> Option<f64> {
        self.tracks.get(name)?.last
    }

    /// What it is now.
    pub(super) fn now(&self, name: &str) -> f64 {
        self.tracks.get(name).map_or(0.0, |track| track.after)
    }

    /// By how much it has grown.
    pub(super) fn grown(&self, name: &str) -> f64 {
        self.tracks.get(name).map_or(0.0, |track| track.after - track.before)
    }

    /// The one of these that changed first, and when.
    pub(super) fn earliest<'a>(&self, names: &[&'a str]) -> Option<(&'a str, f64)> {
        let changed = names.iter().filter_map(|name| Some((*name, self.first(name)?)));
        changed.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

fn differ(one: f64, other: f64) -> bool {
    one.total_cmp(&other).is_ne()
}

/// The samples of a Prometheus text, by what `name` makes of the part before the value.
pub(super) fn samples(text: &str, name: impl Fn(&str) -> Option<String>) -> Figures {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            Some((name(key)?, value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lost: f64) -> Figures {
        BTreeMap::from([("lost".to_owned(), lost), ("calm".to_owned(), 7.0)])
    }

    #[test]
    fn what_changed_is_told_from_what_did_not() {
        let mut watch = Watch::begin(figures(3.0));
        watch.takes(figures(3.0));
        assert_eq!(watch.earliest(&["lost", "calm"]), None);
        watch.takes(figures(5.0));
        let (name, first) = watch.earliest(&["calm", "lost"]).unwrap();
        watch.takes(figures(6.0));
        watch.takes(figures(6.0));
        assert_eq!((name, watch.first("lost"), watch.grown("lost")), ("lost", Some(first), 3.0));
        assert!(watch.last("lost").unwrap() > first && watch.last("calm").is_none() && watch.first("else").is_none());
    }

    #[test]
    fn a_number_that_comes_later_was_0_before() {
        let mut watch = Watch::begin(figures(0.0));
        watch.takes(Figures::from([("late".to_owned(), 2.0)]));
        assert!(watch.grown("late") > 1.5 && watch.now("late") > 1.5 && watch.now("lost") < 0.5);
    }

    #[test]
    fn samples_are_read_by_name() {
        let text = "# HELP a_x words\na_x 3\na_y{status=\"ok\"} 4.5\nb_z 5\na_w NaN?\n";
        let read = samples(text, |key| key.strip_prefix("a_").map(str::to_owned));
        assert_eq!(read, Figures::from([("x".to_owned(), 3.0), ("y{status=\"ok\"}".to_owned(), 4.5)]));
    }
}
