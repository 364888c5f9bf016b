//! A set of sequence numbers that is mostly whole, kept as intervals.

use serde::{Deserialize, Serialize};

/// Numbers as intervals `(first, last)`: sorted, disjoint, and with a gap between any two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct Intervals(Vec<(u64, u64)>);

impl From<Vec<(u64, u64)>> for Intervals {
    /// In any order, overlapping or not; an interval that ends before it begins is none.
    fn from(mut all: Vec<(u64, u64)>) -> Self {
        all.retain(|(first, last)| first <= last);
        all.sort_unstable();
        let mut set: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match set.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => set.push((first, last)),
            }
        }
        Self(set)
    }
}

impl From<Intervals> for Vec<(u64, u64)> {
    fn from(set: Intervals) -> Self {
        set.0
    }
}

impl Intervals {
    /// Adds numbers.
    pub(crate) fn extend(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(numbers.into_iter().map(|n| (n, n)));
        *self = Self::from(all);
    }

    /// The greatest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// The gaps strictly between `above` and `below`, as intervals.
    pub(crate) fn missing(&self, above: u64, below: u64) -> Self {
        let mut gaps = Vec::new();
        let mut next = above.saturating_add(1);
        for (first, last) in &self.0 {
            if next >= below {
                break;
            }
            if *first > next {
                gaps.push((next, (first - 1).min(below - 1)));
            }
            next = next.max(last.saturating_add(1));
        }
        if next < below {
            gaps.push((next, below - 1));
        }
        Self(gaps)
    }

    /// The smallest number.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The last number of the unbroken row that begins right after `n`; `n` itself if none does.
    pub(crate) fn unbroken_after(&self, n: u64) -> u64 {
        let next = n.saturating_add(1);
        self.0.iter().find(|(first, last)| *first <= next && next <= *last).map_or(n, |(_, last)| *last)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many intervals it takes.
    pub(crate) fn pieces(&self) -> usize {
        self.0.len()
    }

    /// The numbers up to and with `n`.
    pub(crate) fn up_to(&self, n: u64) -> Self {
        Self(self.0.iter().filter(|(first, _)| *first <= n).map(|(first, last)| (*first, (*last).min(n))).collect())
    }

    /// Adds another set.
    pub(crate) fn join(&mut self, other: &Self) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(&other.0);
        *self = Self::from(all);
    }

    /// The numbers that are not in the other set.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len());
        for (first, last) in &self.0 {
            let mut next = Some(*first);
            let at = other.0.partition_point(|(_, end)| end < first);
            for (from, to) in other.0.iter().skip(at).take_while(|(from, _)| from <= last) {
                rest.extend(next.filter(|next| next < from).map(|next| (next, from - 1)));
                next = to.checked_add(1).filter(|next| next <= last);
            }
            rest.extend(next.map(|next| (next, *last)));
        }
        Self(rest)
    }

    /// Forgets the interval with the smallest numbers, and says which was the last of them.
    pub(crate) fn forget_lowest(&mut self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.remove(0).1)
    }

    /// Forgets all numbers up to and with `n`.
    pub(crate) fn forget_to(&mut self, n: u64) {
        self.0.retain(|(_, last)| *last > n);
        if let Some((first, _)) = self.0.first_mut() {
            *first = (*first).max(n.saturating_add(1));
        }
    }

    /// Keeps the lowest `most` intervals. If that forgets something, says up to which number the set still tells all.
    pub(crate) fn keep(&mut self, most: usize) -> Option<u64> {
        if self.0.len() <= most {
            return None;
        }
        let kept = self.0.get(most).map(|(first, _)| first.saturating_sub(1));
        self.0.truncate(most);
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Numbers that look random and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    fn numbers(set: &Intervals) -> BTreeSet<u64> {
        set.0.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    fn is_sound(set: &Intervals) -> bool {
        set.0.iter().all(|(first, last)| first <= last) && set.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0)
    }

    #[test]
    fn it_is_the_same_as_a_plain_set_whatever_happens_to_it() {
        for seed in 0..500 {
            let mut dice = Dice(seed);
            let (mut set, mut plain) = (Intervals::default(), BTreeSet::new());
            for _ in 0..40 {
                let (a, b) = (dice.below(60), dice.below(60));
                match dice.below(9) {
                    0 => {
                        set.forget_to(a);
                        plain.retain(|n| *n > a);
                    }
                    1 => {
                        let most = usize::try_from(1 + dice.below(8)).unwrap();
                        if let Some(limit) = set.keep(most) {
                            assert!(plain.iter().any(|n| *n > limit), "nothing was forgotten");
                            plain.retain(|n| *n <= limit);
                        }
                    }
                    2 => {
                        let away: Vec<u64> = (0..=dice.below(9)).map(|_| dice.below(60)).collect();
                        let mut other = Intervals::default();
                        other.extend(away.iter().copied());
                        set = set.without(&other);
                        plain.retain(|n| !away.contains(n));
                    }
                    3 if dice.below(4) == 0 => {
                        let lowest = set.0.first().copied();
                        assert_eq!(set.forget_lowest(), lowest.map(|(_, last)| last));
                        plain.retain(|n| lowest.is_none_or(|(_, last)| *n > last));
                    }
                    _ => {
                        let more: Vec<u64> = (0..=dice.below(5)).map(|_| dice.below(60)).collect();
                        set.extend(more.iter().copied());
                        plain.extend(more);
                    }
                }
                assert!(is_sound(&set), "{set:?}");
                assert_eq!(numbers(&set), plain);
                assert_eq!((set.first(), set.last()), (plain.first().copied(), plain.last().copied()));
                assert_eq!((set.is_empty(), set.pieces()), (plain.is_empty(), set.0.len()));
                assert_eq!(numbers(&set.up_to(a)), plain.range(..=a).copied().collect());
                assert_eq!(set.count(), u64::try_from(plain.len()).unwrap());
                let gaps = set.missing(a, b);
                assert!(is_sound(&gaps), "{gaps:?}");
                assert_eq!(numbers(&gaps), (a + 1..b).filter(|n| !plain.contains(n)).collect(), "{set:?} {a} {b}");
                assert_eq!(set.unbroken_after(a), (a..100).find(|n| !plain.contains(&(n + 1))).unwrap());
                let again: Intervals = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
                assert_eq!(again, set);
            }
        }
    }

    #[test]
    fn a_memory_in_disorder_is_put_in_order() {
        let set: Intervals = serde_json::from_str("[[9,3],[5,6],[1,2],[3,4],[8,8],[6,6]]").unwrap();
        assert_eq!(set.0, [(1, 6), (8, 8)]);
    }

    #[test]
    fn the_greatest_numbers_do_no_harm() {
        let mut set = Intervals::default();
        set.extend([u64::MAX, 0, u64::MAX - 1]);
        assert_eq!(set.0, [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(set.unbroken_after(u64::MAX), u64::MAX);
        assert_eq!(set.missing(0, u64::MAX).0, [(1, u64::MAX - 2)]);
        assert_eq!(set.missing(u64::MAX, 0).0, []);
        assert_eq!(set.without(&Intervals(vec![(1, u64::MAX)])).0, [(0, 0)]);
        assert_eq!(Intervals(vec![(0, u64::MAX)]).without(&set).0, [(1, u64::MAX - 2)]);
        set.forget_to(u64::MAX);
        assert_eq!(set.count(), 0);
        assert_eq!(Intervals(vec![(0, u64::MAX)]).count(), u64::MAX);
    }
}
