//! What the story needs of the stack that moves, whether its servers are real or stand-ins.

use anyhow::Result;

/// Where the servers of the log path are, as the Migration document names them.
pub(crate) struct Addresses {
    pub(crate) agent: String,
    pub(crate) alloy: String,
    pub(crate) old_loki: String,
    pub(crate) new_loki: String,
    pub(crate) gateway: String,
    pub(crate) old_grafana: String,
    pub(crate) new_grafana: String,
    /// The uid of the datasource that dashboards use.
    pub(crate) datasource: String,
    /// A token of the new Grafana.
    pub(crate) token: String,
}

/// The log path: what an operator does to it between two `cutover` commands, and what goes wrong with it.
pub(crate) trait Stack {
    /// In a sentence: which parts are real.
    const PARTS: &'static str;

    fn addresses(&self) -> Addresses;

    /// Phase 1: Alloy begins to ship to the old Loki, and the agent begins to write.
    async fn deploy_alloy(&self) -> Result<()>;

    /// Phase 1, the way back: Alloy and the agent stop.
    async fn remove_alloy(&self) -> Result<()>;

    /// Phase 1: the old collector stops.
    async fn retire_promtail(&self) -> Result<()>;

    /// Phase 1, the way back: the old collector starts again.
    async fn restore_promtail(&self) -> Result<()>;

    /// Alloy stops shipping, and stays ready and healthy.
    async fn stop_shipping(&self) -> Result<()>;

    /// Alloy ships again, what it held back included.
    async fn ship_again(&self) -> Result<()>;

    /// Phase 2: the history is copied, Alloy ships to the new Loki. Says what was moved.
    async fn move_loki(&self) -> Result<String>;

    /// Phase 3: what the old Grafana has is copied to the new one, the old datasource included. Says what was moved.
    async fn move_grafana(&self) -> Result<String>;

    /// Phase 3: the datasource leads to the new Loki, through its gateway.
    async fn repoint_grafana(&self) -> Result<()>;
}
