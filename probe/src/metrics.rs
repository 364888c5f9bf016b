//! tmp
#[derive(Clone, Debug, Default)]
pub struct Metrics;
impl Metrics {
    pub fn new() -> Self { Self }
    pub fn ledger_queue(&self, _n: usize) {}
    pub fn persisted(&self, _n: crate::now::Now) {}
    pub fn persist_failed(&self, _e: &crate::store::StoreError) {}
    pub fn scheduler_lag(&self, _l: std::time::Duration) {}
    pub fn measures(&self, _p: &crate::plan::ProbePlan, _m: &[checks::Measure]) {}
    pub fn config_reload(&self, _ok: bool, _n: crate::now::Now) {}
}
