//! Are the stand-ins what they stand in for? The same exchanges go to the real Loki and to its stand-in; of the others, what real
//! servers once answered is compared with what the stand-ins answer now. And do they misbehave as they are told?

mod flaws;
mod pair;
mod real_loki;
mod real_recordings;
mod real_refusals;
mod recorded;
mod recordings;
mod standins;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
