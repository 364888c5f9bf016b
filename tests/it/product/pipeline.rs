//! An agent whose lines a collector ships to a Loki, the last three as stand-ins.

use tests::standin::{StandinAlloy, StandinJournal, StandinLoki};
use tests::{Agent, World};

/// The identifier of the agent's lines in the journal.
const IDENTIFIER: &str = "system-metrics-canary";

/// All of its parts run.
pub(super) struct Pipeline {
    pub(super) agent: Agent,
    pub(super) alloy: StandinAlloy,
    /// As a document names them: `agents`, `alloy` and `loki`.
    pub(super) targets: String,
    _journal: StandinJournal,
    _loki: StandinLoki,
}

impl Pipeline {
    pub(super) async fn start(world: &World) -> Self {
        let journal = StandinJournal::new();
        let sink = world.write("journal", "").unwrap();
        journal.follow(&sink, IDENTIFIER);
        let flags = ["--every", "200ms", "--sink", &format!("file:{}", sink.display())];
        let agent = Agent::start(world, "node-1", &flags).await.unwrap();
        let loki = StandinLoki::start().unwrap();
        let alloy = StandinAlloy::start(&journal, &[&loki.url()]).unwrap();
        let targets = format!(
            "{{agents: {{agent: {{urls: [\"{}\"]}}}}, alloy: {{alloy: {{urls: [\"{}\"]}}}}, loki: {{loki: {{url: \"{}\"}}}}}}",
            agent.url(),
            alloy.url(),
            loki.url()
        );
        Self { agent, alloy, targets, _journal: journal, _loki: loki }
    }
}
