//! The scenes. Each shows something and insists on it: a rehearsal that did not see what it tells fails.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe::exit::Exit;
use tests::Output;
use tests::wait_until;

use crate::homelab::Homelab;
use crate::screen::Screen;

/// How long any level may take to be reached, on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) async fn tell(lab: &Homelab<'_>, screen: &Screen) -> Result<()> {
    let stage = Stage { lab, screen };
    stage.opening().await?;
    stage.a_phase_begins().await?;
    stage.a_server_dies_and_comes_back().await?;
    stage.the_verifier_dies_and_comes_back().await?;
    stage.the_first_phase_is_complete().await?;
    stage.the_second_phase_is_complete().await?;
    stage.ending().await
}

struct Stage<'a, 'w> {
    lab: &'a Homelab<'w>,
    screen: &'a Screen,
}

impl Stage<'_, '_> {
    async fn opening(&self) -> Result<()> {
        self.screen.title("Nothing has begun: the gate is shut, and says what would open it");
        self.level("loki", "closed").await?;
        self.cutover(&["gate", "explain", "loki"], Exit::CLOSED).await?;
        Ok(())
    }

    async fn a_phase_begins(&self) -> Result<()> {
        self.screen.title("Phase loki begins: its preflight has been seen green");
        self.level("loki/entry", "open").await?;
        self.cutover(&["advance"], Exit::OPEN).await?;
        Screen::say("the operator re-points Alloy at the new Loki, and says so:");
        self.cutover(&["switch", "loki"], Exit::OPEN).await?;
        self.level("loki", "pending").await?;
        Screen::say("all green, but not for long enough:");
        self.cutover(&["gate", "check", "loki"], Exit::PENDING).await?;
        self.cutover(&["advance"], Exit::PENDING).await?;
        Ok(())
    }

    async fn a_server_dies_and_comes_back(&self) -> Result<()> {
        self.screen.title("In mid-soak the new Loki is killed");
        self.lab.k3s_loki.kill().await?;
        self.level("loki", "closed").await?;
        let refusal = self.cutover(&["advance"], Exit::CLOSED).await?;
        ensure!(refusal.names("k3s-loki-ready"), "the refusal does not name its blocker");
        self.curl("loki", 412).await?;
        Screen::say("the new Loki is started again:");
        self.lab.k3s_loki.start_again().await?;
        self.level("loki", "pending").await?;
        Screen::say("it is green again, and its soak starts anew:");
        self.cutover(&["gate", "explain", "loki"], Exit::PENDING).await?;
        Ok(())
    }

    async fn the_verifier_dies_and_comes_back(&self) -> Result<()> {
        self.screen.title("In mid-soak the verifier itself is killed (kill -9) and started again");
        self.lab.verifier.kill9().await?;
        self.cutover(&["gate", "check", "loki"], Exit::UNREACHABLE).await?;
        self.lab.verifier.start_again().await?;
        Screen::say(
            "it remembers the phases, and the soak up to its last checkpoint, but nothing it has seen: no evidence, no green",
        );
        self.cutover(&["gate", "check", "loki"], Exit::UNKNOWN).await?;
        Ok(())
    }

    async fn the_first_phase_is_complete(&self) -> Result<()> {
        self.screen.title("The soak is served: the gate opens");
        self.cutover(&["gate", "wait", "loki", "--for", "open", "--timeout", "3m"], Exit::OPEN).await?;
        self.curl("loki", 200).await?;
        self.cutover(&["advance"], Exit::OPEN).await?;
        Ok(())
    }

    async fn the_second_phase_is_complete(&self) -> Result<()> {
        self.screen.title("Phase postgres");
        self.level("postgres/entry", "open").await?;
        self.cutover(&["switch", "postgres"], Exit::OPEN).await?;
        self.cutover(&["gate", "wait", "postgres", "--for", "open", "--timeout", "3m"], Exit::OPEN).await?;
        self.cutover(&["advance"], Exit::OPEN).await?;
        Ok(())
    }

    async fn ending(&self) -> Result<()> {
        self.screen.title("The migration is complete");
        self.cutover(&["status"], Exit::OPEN).await?;
        self.cutover(&["audit", "verify"], Exit::OPEN).await?;
        Ok(())
    }

    /// Runs `cutover` on the screen and insists on its exit code.
    async fn cutover(&self, words: &[&str], expected: Exit) -> Result<Shown> {
        let output = self.lab.verifier.cutover(words).await?;
        let line = format!("cutover {}", words.join(" "));
        Screen::command(&line, &output);
        ensure!(
            output.code == i32::from(expected.code),
            "`{line}` ended with {}, not with {} ({})",
            output.code,
            expected.code,
            expected.name
        );
        Ok(Shown(output))
    }

    /// Asks the gate as a script would.
    async fn curl(&self, phase: &str, expected: u16) -> Result<()> {
        let path = format!("/v1/gates/{phase}/check");
        let answer = self.lab.verifier.get(&path).await?;
        Screen::say(&format!("curl -f {}{path}  →  {}", self.lab.verifier.url(), answer.status));
        ensure!(answer.status == expected, "{path} answered {}, not {expected}", answer.status);
        Ok(())
    }

    /// Waits until a gate has this verdict.
    async fn level(&self, phase: &str, verdict: &str) -> Result<()> {
        let path = format!("/v1/gates/{phase}");
        wait_until(PATIENCE, &format!("gate {phase} {verdict}"), async || {
            let body = self.lab.verifier.get(&path).await?.json()?;
            let word = |key: &str| body.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            ensure!(word("verdict") == verdict, "it is {}: {}", word("verdict"), word("reason"));
            Ok(())
        })
        .await
    }
}

struct Shown(Output);

impl Shown {
    fn names(&self, what: &str) -> bool {
        self.0.stdout.contains(what) || self.0.stderr.contains(what)
    }
}
