//! Are the stand-ins what they stand in for? The same questions go to the real Loki and to its stand-in; of the others, what real
//! servers once answered is compared with what the stand-ins answer now.

mod loki;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
