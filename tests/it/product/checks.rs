//! A check misbehaves: that is an Unknown of its own probe. It opens nothing and disturbs nobody, and the gate opens again
//! once the check behaves.

use std::time::Duration;

use tests::{Verifier, World};
use tokio::time::Instant;

use super::{AT_ONCE, QUICK, Script, check, gate, looks, migration, opened, probe, reaches, runs_on, switch};

/// An open gate with a good probe and one that can be told to misbehave.
struct Pair {
    _world: World,
    bad: Script,
    verifier: Verifier,
}

impl Pair {
    async fn start(settings: &str, words: &str) -> Self {
        let world = World::new().unwrap();
        let (good, bad) = (Script::new(&world, "good"), Script::new(&world, "bad"));
        bad.says(words);
        let probes = [good.probe(), bad.probe_with(settings)];
        let document = migration(QUICK, "{}", AT_ONCE, &probes.each_ref().map(String::as_str));
        let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
        opened(&verifier).await;
        Self { _world: world, bad, verifier }
    }

    /// The bad one is unknown for this reason, the good one green and running, the gate unknown in every form.
    async fn is_unknown(&self, reason: &str) {
        reaches(&self.verifier, "unknown").await;
        let seen = looks(&self.verifier, "bad", "unknown", reason).await;
        assert!(seen["next"].as_str().is_some_and(|next| !next.is_empty()), "{seen}");
        for _ in 0..3 {
            let good = runs_on(&self.verifier, "good").await;
            assert_eq!(good["state"], "green", "{good}");
            assert_eq!(check(&self.verifier).await, 424);
        }
        let said = self.verifier.cutover(&["gate", "check", "move"]).await.unwrap();
        assert_eq!(said.code, 3, "{said:?}");
    }
}

async fn misbehaves(word: &str, reason: &str) {
    let pair = Pair::start("", "pass").await;
    pair.bad.says(word);
    pair.is_unknown(reason).await;
    pair.bad.says("pass");
    reaches(&pair.verifier, "open").await;
}

#[tokio::test]
async fn a_panic_is_unknown() {
    misbehaves("panic", "panic").await;
}

#[tokio::test]
async fn a_hang_is_unknown() {
    misbehaves("hang", "hung").await;
}

#[tokio::test]
async fn a_flood_of_parts_is_unknown() {
    misbehaves("flood", "flood").await;
}

#[tokio::test]
async fn a_memory_that_is_too_fat_is_unknown() {
    misbehaves("fat", "flood").await;
}

#[tokio::test]
async fn no_part_at_all_is_unknown() {
    misbehaves("empty", "no_parts").await;
}

#[tokio::test]
async fn a_negative_control_that_passes_shuts_an_open_gate() {
    let pair = Pair::start(", controlEvery: 500ms", "pass").await;
    pair.bad.says("pass\npass");
    pair.is_unknown("control_passed").await;
    pair.bad.says("pass\nfail");
    reaches(&pair.verifier, "open").await;
}

#[tokio::test]
async fn a_probe_whose_control_was_never_seen_failing_opens_nothing() {
    let world = World::new().unwrap();
    let bad = Script::new(&world, "bad");
    let document = migration(QUICK, "{}", AT_ONCE, &[&bad.probe()]);
    bad.says("pass\nhang");
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    switch(&verifier).await;
    // The same check, told to answer in other ways that are not its own reason.
    for words in ["pass\nhang", "pass\npanic", "pass\nunknown"] {
        bad.says(words);
        for _ in 0..4 {
            runs_on(&verifier, "bad").await;
        }
        let body = gate(&verifier).await.unwrap();
        assert_eq!(body["verdict"], "unknown", "{words}: {body}");
        assert_eq!(body["blockers"][0]["reason"], "control_untested", "{words}: {body}");
    }
    bad.says("pass\nfail");
    reaches(&verifier, "open").await;
}

#[tokio::test]
async fn a_part_that_vanished_is_missed_until_it_is_forgotten_on_the_record() {
    let pair = Pair::start("", "parts node-1 node-2").await;
    pair.bad.says("parts node-1");
    pair.is_unknown("part_vanished").await;
    let seen = probe(&pair.verifier, "bad").await.unwrap();
    assert!(seen["evidence"].as_str().unwrap().contains("node-2"), "{seen}");
    let gone = pair.verifier.cutover(&["probes", "forget", "bad", "node-2"]).await.unwrap();
    assert_eq!(gone.code, 0, "{gone:?}");
    reaches(&pair.verifier, "open").await;
    let trail = pair.verifier.cutover(&["audit", "list", "-o", "json"]).await.unwrap();
    assert!(trail.stdout.contains("node-2") && trail.stdout.contains("test-operate"), "{}", trail.stdout);
}

#[tokio::test]
async fn checks_that_keep_all_threads_shut_the_gate_and_hold_up_neither_answers_nor_the_end() {
    let world = World::new().unwrap();
    let good = Script::new(&world, "good");
    let blocking = ["block-1", "block-2", "block-3", "block-4"].map(|name| Script::new(&world, name));
    let probes: Vec<_> = [&good].into_iter().chain(&blocking).map(|script| script.probe_with(", maxAge: 2s")).collect();
    let probes: Vec<_> = probes.iter().map(String::as_str).collect();
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", AT_ONCE, &probes)).await.unwrap();
    opened(&verifier).await;
    for script in &blocking {
        script.says("block");
    }
    looks(&verifier, "good", "unknown", "stale").await;
    assert_eq!(check(&verifier).await, 424);
    let asked = Instant::now();
    for _ in 0..20 {
        assert_eq!(check(&verifier).await, 424);
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "20 answers took {:?}", asked.elapsed());
    let ended = Instant::now();
    // The deadline is 10 s.
    assert!(verifier.sigterm().await.unwrap().success());
    println!("SIGTERM with all check threads blocked: {:?}", ended.elapsed());
}

#[tokio::test]
async fn a_proof_that_is_not_finished_is_pending_and_a_failed_one_closes() {
    let world = World::new().unwrap();
    let (good, proof) = (Script::new(&world, "good"), Script::new(&world, "proof"));
    proof.says("more");
    let probes = [good.probe(), proof.probe().replace("scripted:", "scriptedProof:")];
    let document = migration(QUICK, "{}", AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    switch(&verifier).await;
    let body = reaches(&verifier, "pending").await;
    assert_eq!(body["blockers"][0]["reason"], "unfinished", "{body}");
    assert_eq!(verifier.get("/v1/gates/move/check?accept=pending").await.unwrap().status, 425);
    proof.says("fail");
    reaches(&verifier, "closed").await;
    proof.says("pass");
    reaches(&verifier, "open").await;
}

/// Each of two probes was green at some time, but never both at once: that is no open gate.
#[tokio::test]
async fn greens_at_different_moments_do_not_add_up() {
    let world = World::new().unwrap();
    let (one, other) = (Script::new(&world, "one"), Script::new(&world, "other"));
    other.says("fail");
    let probes = [one.probe(), other.probe()];
    let document = migration(QUICK, "{}", AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    switch(&verifier).await;
    looks(&verifier, "one", "green", "").await;
    looks(&verifier, "other", "red", "").await;
    one.says("fail");
    looks(&verifier, "one", "red", "").await;
    other.says("pass");
    looks(&verifier, "other", "green", "").await;
    let body = gate(&verifier).await.unwrap();
    assert_eq!((&body["verdict"], &body["open"]), (&"closed".into(), &false.into()), "{body}");
    let status = verifier.get("/v1/status").await.unwrap().body;
    assert!(status.contains("\"openSince\":null") || !status.contains("openSince"), "it was open at some time: {status}");
}
