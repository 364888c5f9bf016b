//! The scenes. Each shows something and insists on it: a rehearsal that did not see what it tells fails.

use anyhow::{Result, ensure};
use probe::exit::Exit;
use serde_json::Value;
use tests::{Output, wait_until};

use crate::homelab::Homelab;
use crate::screen::Screen;
use crate::stack::Stack;

pub(crate) async fn tell<S: Stack>(lab: &mut Homelab<'_, S>, screen: &Screen) -> Result<()> {
    opening(lab, screen).await?;
    phase_alloy(lab, screen).await?;
    alloy_stops_shipping(lab, screen).await?;
    phase_loki(lab, screen).await?;
    the_verifier_dies(lab, screen).await?;
    phase_grafana(lab, screen).await?;
    phase_postgres(lab, screen).await?;
    ending(lab, screen).await
}

async fn opening<S: Stack>(lab: &Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Nothing has begun: the gate is shut, and says what would open it");
    level(lab, "alloy", "closed").await?;
    cutover(lab, &["gate", "explain", "alloy"], Exit::CLOSED).await.map(drop)
}

async fn phase_alloy<S: Stack>(lab: &mut Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Phase 1, alloy: its preflight is green, so it may begin. Its last step fails, and everything is taken back");
    level(lab, "alloy/entry", "open").await?;
    cutover(lab, &["plan"], Exit::OPEN).await?;
    lab.hands.break_once("compose-stop-promtail");
    let refusal = run(lab, &["advance", "--yes"], Exit::ROLLED_BACK).await?;
    refusal.names("permission denied")?;
    Screen::say("the cause is mended, and it begins anew");
    run(lab, &["advance", "--yes"], Exit::OPEN).await?;
    soaking(lab, "alloy").await?;
    Screen::say("each line that the agent writes arrives; but not for long enough yet:");
    cutover(lab, &["advance"], Exit::PENDING).await.map(drop)
}

async fn alloy_stops_shipping<S: Stack>(lab: &Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Fault 1: Alloy stops shipping. It stays ready and healthy, and so does Loki; only the lines tell");
    lab.logs.stop_shipping().await?;
    level(lab, "alloy", "closed").await?;
    let refusal = cutover(lab, &["advance"], Exit::CLOSED).await?;
    refusal.names("journal-to-docker-loki")?;
    curl(lab, "alloy", 412).await?;
    Screen::say("it ships again, what it held back included: no line was lost, and the soak starts anew");
    lab.logs.ship_again().await?;
    soaking(lab, "alloy").await?;
    cutover(lab, &["gate", "explain", "alloy"], Exit::PENDING).await?;
    waits(lab, "alloy").await?;
    if let Some(cluster) = &lab.cluster {
        cluster.waits("AlloyGateOpen", lab.patience).await?;
    }
    curl(lab, "alloy", 200).await
}

async fn phase_loki<S: Stack>(lab: &mut Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Phase 2, loki: the log store moves");
    level(lab, "loki/entry", "closed").await?;
    run(lab, &["advance", "--yes"], Exit::OPEN).await?;
    Screen::say("the probes that watched the old Loki are not required any more");
    soaking(lab, "loki").await?;
    scaled_to_zero(lab, screen).await
}

/// Loki answers on, as far as HTTP goes: what is wrong is in the cluster alone.
async fn scaled_to_zero<S: Stack>(lab: &Homelab<'_, S>, screen: &Screen) -> Result<()> {
    let Some(cluster) = &lab.cluster else { return Ok(()) };
    screen.title("A fault of the cluster: somebody scales the new Loki to zero");
    cluster.scale_loki("0").await?;
    level(lab, "loki", "closed").await?;
    cutover(lab, &["advance"], Exit::CLOSED).await?.names("loki-rollout")?;
    cluster.shows("closed").await?;
    cluster.scale_loki("1").await?;
    Screen::say("its claim was kept (`whenScaled: Retain`), and the soak starts anew");
    soaking(lab, "loki").await
}

async fn the_verifier_dies<S: Stack>(lab: &Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("In mid-soak the verifier itself is killed (kill -9) and started again");
    lab.verifier.kill9().await?;
    cutover(lab, &["gate", "check", "loki"], Exit::UNREACHABLE).await?;
    lab.verifier.start_again().await?;
    Screen::say("it remembers phases, and soak up to its last checkpoint, but nothing it has seen: no evidence, no green");
    cutover(lab, &["gate", "check", "loki"], Exit::UNKNOWN).await?;
    waits(lab, "loki").await
}

async fn phase_grafana<S: Stack>(lab: &mut Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Phase 3, grafana. Fault 2: its datasource still leads to the old Loki, and every panel has data");
    level(lab, "grafana/entry", "closed").await?;
    run(lab, &["advance", "--yes"], Exit::OPEN).await?;
    level(lab, "grafana", "closed").await?;
    let refusal = cutover(lab, &["advance"], Exit::CLOSED).await?;
    refusal.names("canary-through-grafana")?;
    lab.logs.repoint_grafana().await?;
    Screen::say("the datasource is mended: it asks the Loki in k3s, through the gateway");
    soaking(lab, "grafana").await?;
    waits(lab, "grafana").await
}

async fn phase_postgres<S: Stack>(lab: &mut Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("Phase 4, postgres: dump and restore, and a point of no return that wants to be named");
    cutover(lab, &["advance", "--yes"], Exit::USAGE).await?.names("--confirm=postgres")?;
    run(lab, &["advance", "--yes", "--confirm", "postgres"], Exit::OPEN).await?;
    soaking(lab, "postgres").await?;
    waits(lab, "postgres").await?;
    cutover(lab, &["advance"], Exit::OPEN).await.map(drop)
}

async fn ending<S: Stack>(lab: &Homelab<'_, S>, screen: &Screen) -> Result<()> {
    screen.title("The migration is complete; the checklist, with its evidence");
    cutover(lab, &["status"], Exit::OPEN).await?;
    cutover(lab, &["audit", "verify"], Exit::OPEN).await?;
    let report = cutover(lab, &["report"], Exit::OPEN).await?;
    report.names("4 of 4 phases complete")?;
    ensure!(!report.0.stdout.contains("[ ]"), "something on the checklist is not proven");
    if let Some(cluster) = &lab.cluster {
        cluster.waits("PostgresComplete", lab.patience).await?;
        cluster.shows("complete").await?;
    }
    marked(lab).await
}

/// Each phase was begun, switched and completed: that is marked in Grafana, and each of it once.
async fn marked<S: Stack>(lab: &Homelab<'_, S>) -> Result<()> {
    const OF_A_PHASE: usize = 3;
    let least = 4 * OF_A_PHASE;
    let what = format!("{least} marks in Grafana");
    let marks = wait_until(lab.patience, &what, async || {
        let marks = lab.logs.marks().await?;
        ensure!(marks.is_none_or(|marks| marks >= least), "{marks:?}");
        Ok(marks)
    });
    if let Some(marks) = marks.await? {
        Screen::say(&format!("{marks} events of the migration are marked in the new Grafana, those of before its move included"));
    }
    Ok(())
}

/// Waits for an open gate on the screen, as an operator would.
async fn waits<S: Stack>(lab: &Homelab<'_, S>, phase: &str) -> Result<()> {
    let patience = format!("{}s", lab.patience.as_secs());
    cutover(lab, &["gate", "wait", phase, "--for", "open", "--timeout", &patience], Exit::OPEN).await.map(drop)
}

/// Runs `cutover` on the screen and insists on its exit code.
async fn cutover<S: Stack>(lab: &Homelab<'_, S>, words: &[&str], expected: Exit) -> Result<Shown> {
    let output = lab.verifier.cutover(words).await?;
    shown(words, output, expected)
}

fn shown(words: &[&str], output: Output, expected: Exit) -> Result<Shown> {
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

/// The same, and does meanwhile what its steps ask for.
async fn run<S: Stack>(lab: &mut Homelab<'_, S>, words: &[&str], expected: Exit) -> Result<Shown> {
    let output = lab.runs(words).await?;
    shown(words, output, expected)
}

/// Asks the gate as a script would.
async fn curl<S: Stack>(lab: &Homelab<'_, S>, phase: &str, expected: u16) -> Result<()> {
    let path = format!("/v1/gates/{phase}/check");
    let answer = lab.verifier.get(&path).await?;
    Screen::say(&format!("curl -f {}{path}  →  {}", lab.verifier.url(), answer.status));
    ensure!(answer.status == expected, "{path} answered {}, not {expected}", answer.status);
    Ok(())
}

/// Waits until a gate, or an entry guard, has this verdict.
async fn level<S: Stack>(lab: &Homelab<'_, S>, phase: &str, verdict: &str) -> Result<()> {
    let path = format!("/v1/gates/{phase}");
    wait_until(lab.patience, &format!("gate {phase} {verdict}"), async || {
        let body = lab.verifier.get(&path).await?.json()?;
        let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        ensure!(word("verdict") == verdict, "it is {}: {}", word("verdict"), word("reason"));
        Ok(())
    })
    .await
}

/// Waits until everything that a gate requires is green, and nothing but its soak is missing.
async fn soaking<S: Stack>(lab: &Homelab<'_, S>, phase: &str) -> Result<()> {
    let path = format!("/v1/gates/{phase}/check?accept=pending");
    wait_until(lab.patience, &format!("gate {phase} has nothing missing but its soak"), async || {
        let answer = lab.verifier.get(&path).await?;
        ensure!(answer.status == 200, "{}", answer.json()?.get("reason").cloned().unwrap_or_default());
        Ok(())
    })
    .await
}

struct Shown(Output);

impl Shown {
    /// Insists that these words were on the screen.
    fn names(&self, what: &str) -> Result<()> {
        let there = self.0.stdout.contains(what) || self.0.stderr.contains(what);
        ensure!(there, "nothing is said of `{what}`");
        Ok(())
    }
}
