//! Every server real: journald, Promtail, Alloy, both Lokis, both Grafanas, both PostgreSQL servers. Do lines come through, do the moves
//! of a migration lose nothing, and do the checks say what is so?

mod checks;
mod kubernetes;
mod moves;
mod path;

use std::time::Duration;

const SOON: Duration = Duration::from_mins(1);
