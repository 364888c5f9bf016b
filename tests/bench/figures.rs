//! Durations as a row of a table.

use std::io::Write;
use std::time::Duration;

/// Progress and trouble, on stderr.
pub(crate) fn say(text: &str) {
    drop(writeln!(anstream::stderr(), "{text}"));
}

/// A figure, on stdout.
pub(crate) fn tell(text: &str) {
    drop(writeln!(anstream::stdout(), "{text}"));
}

/// Name, how many, least, median, 99th percentile, worst.
pub(crate) fn row(name: &str, mut samples: Vec<Duration>) -> String {
    samples.sort_unstable();
    let at = |percent: usize| {
        let nth = (samples.len() * percent).div_ceil(100).saturating_sub(1);
        samples.get(nth).copied().unwrap_or_default()
    };
    let least = samples.first().copied().unwrap_or_default();
    format!(
        "{name:<44} n={:<6} min {least:>9.2?}  median {:>9.2?}  p99 {:>9.2?}  max {:>9.2?}",
        samples.len(),
        at(50),
        at(99),
        at(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let samples = [5, 1, 4, 2, 3].map(Duration::from_secs).to_vec();
        let row = row("five", samples);
        assert!(row.contains("min     1.00s  median     3.00s  p99     5.00s  max     5.00s"), "{row}");
    }
}
