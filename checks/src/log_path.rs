//! Following log lines on their way: what the agent writes, and what arrives.

pub mod line;
