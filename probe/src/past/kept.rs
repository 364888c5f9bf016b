//! PURE. What is kept of the state with what the events told: only what chained events have made of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::{Durable, State};

pub(super) fn serialize<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    state.durable.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
    let durable = Durable::deserialize(deserializer)?;
    Ok(State { durable, ..State::default() }.restarted())
}
