//! Stand-in until the real store is merged.

use crate::clock::BootMoment;
use crate::event::Event;
use crate::now::Now;
use crate::state::State;
use serde::{Deserialize, Serialize};

/// x
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// x
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// x
    pub entries: Vec<serde_json::Value>,
}

/// x
pub trait Store: Send {
    /// x
    fn append(&mut self, events: &[Event], at: Now) -> Result<(), StoreError>;
    /// x
    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError>;
    /// x
    fn audit(&self, from: u64, limit: usize) -> Result<AuditPage, StoreError>;
}

/// x
#[derive(Debug, Default, Clone)]
pub struct MemoryStore { kept: std::sync::Arc<parking_lot::Mutex<(Vec<Event>, Option<std::io::ErrorKind>)>> }
impl MemoryStore {
    /// x
    pub fn fail(&self, kind: Option<std::io::ErrorKind>) { self.kept.lock().1 = kind; }
    fn check(&self) -> Result<(), StoreError> { self.kept.lock().1.map_or(Ok(()), |k| Err(StoreError(k.to_string()))) }
}
impl Store for MemoryStore {
    fn append(&mut self, events: &[Event], _at: Now) -> Result<(), StoreError> { self.check()?; self.kept.lock().0.extend_from_slice(events); Ok(()) }
    fn checkpoint(&mut self, _: &State, _: Now, _: &BootMoment) -> Result<(), StoreError> { self.check() }
    fn audit(&self, from: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(AuditPage { entries: self.kept.lock().0.iter().skip(skip).take(limit).filter_map(|e| serde_json::to_value(e).ok()).collect() })
    }
}
