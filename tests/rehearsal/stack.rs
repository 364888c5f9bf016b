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
    /// A token of the role Admin, of the Grafana that moves.
    pub(crate) token: String,
    /// Another one, of the role Editor.
    pub(crate) editor: String,
    /// Where the new Grafana reads dashboards from.
    pub(crate) new_grafana_files: String,
    /// Where Alloy ships to in phase 1, host and port: the old Loki, by the name that Alloy has for it.
    pub(crate) old_loki_of_alloy: String,
}

/// The log path: what an operator does to it between two `cutover` commands, and what goes wrong with it.
pub(crate) trait Stack {
    /// In a sentence: which parts are real.
    const PARTS: &'static str;

    /// Whether its servers answer all that checks of the log path ask. A stand-in of Loki does not count hours.
    const COUNTS: bool;

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

    /// Phase 2: the history is copied, Alloy ships to both. Says what was moved.
    async fn copy_loki(&self) -> Result<String>;

    /// Phase 2, the way back: Alloy ships to the old Loki alone.
    async fn ship_to_old_loki(&self) -> Result<()>;

    /// Phase 2: Alloy ships to the new Loki alone.
    async fn ship_to_new_loki(&self) -> Result<()>;

    /// Phase 3: what the old Grafana has is copied to the new one, the old datasource included. Says what was moved.
    async fn move_grafana(&self) -> Result<String>;

    /// How many events of the migration are marked in the new Grafana; none if it can not keep such marks.
    async fn marks(&self) -> Result<Option<usize>>;

    /// Phase 3: the datasource leads to the new Loki, through its gateway.
    async fn repoint_grafana(&self) -> Result<()>;
}
