//! What a comparison has found, in few words: it is kept from one Run to the next, however much differs.

use serde::{Deserialize, Serialize};

/// Most tables that are told by name.
const SHOWN: usize = 8;
/// The longest words about one.
const LONGEST: usize = 240;

/// Things of one kind: the first few in words, the others counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    words: Vec<String>,
    more: u64,
}

impl Told {
    /// One more.
    pub(super) fn add(&mut self, words: &str) {
        if self.words.len() < SHOWN {
            self.words.push(words.chars().take(LONGEST).collect());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// How many in all.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.words.len()).unwrap_or_default().saturating_add(self.more)
    }

    /// None at all.
    pub(super) fn is_none(&self) -> bool {
        self.words.is_empty()
    }

    /// All of it.
    pub(super) fn in_words(&self) -> String {
        let mut words = self.words.join("; ");
        if self.more > 0 {
            words.push_str("; and ");
            words.push_str(&self.more.to_string());
            words.push_str(" more");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_told_and_the_others_counted() {
        let mut told = Told::default();
        assert!(told.is_none());
        for n in 0..10 {
            told.add(&format!("t{n}"));
        }
        told.add(&"x".repeat(1000));
        assert_eq!(told.count(), 11);
        assert!(told.in_words().starts_with("t0; t1;") && told.in_words().ends_with("t7; and 3 more"), "{}", told.in_words());
        assert!(serde_json::to_vec(&told).unwrap().len() < 4096);
    }
}
