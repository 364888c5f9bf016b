//! Is it true? One test binary; each module asks one question.

// The lints that tests are exempt from look for this attribute, also in a test binary.
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod image;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod model;
#[cfg(test)]
mod product;
#[cfg(test)]
mod promql;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod real_stack;
#[cfg(test)]
mod reaper;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod tidy;
