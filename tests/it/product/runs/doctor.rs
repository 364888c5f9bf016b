//! `cutover doctor` in a world that is well, and in worlds that are not: each trouble is found, alone, with its exit code and what
//! to type.

use anyhow::ensure;
use chrono::TimeDelta;
use serde_json::Value;
use tests::{Output, Role, Spec, binary, wait_until};

use super::Bench;
use crate::product::PATIENCE;

/// What was found, by what it is about, without what is as it should be.
fn troubles(output: &Output) -> Vec<(String, String, String)> {
    let body: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = body["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] != "ok");
    findings
        .map(|one| (word(one, "about"), word(one, "level"), format!("{} | {}", word(one, "message"), word(one, "next"))))
        .collect()
}

impl Bench {
    fn doctor_spec(&self, role: Role, args: &[&str]) -> Spec {
        self.verifier.cutover_spec(role, &[&["doctor", "-o", "json"], args].concat()).unwrap()
    }

    /// The doctor in an environment that `env` changes like this.
    fn doctor_in(&self, changes: &[&str]) -> Spec {
        let verifier = &self.verifier;
        Spec::new("cutover", "/usr/bin/env")
            .args(changes.iter().copied())
            .arg(binary("cutover-scripted").unwrap().display().to_string())
            .args(["doctor", "-o", "json"])
            .env("PHASEGATE_SERVER", verifier.url())
            .env("PHASEGATE_TOKEN", verifier.token(Role::Operate))
            .env("PHASEGATE_FILE", verifier.document().display().to_string())
    }

    async fn doctor(&self, spec: Spec) -> Output {
        self.world.run(spec, PATIENCE).await.unwrap()
    }

    /// The doctor finds this one problem, and no other.
    async fn ails(&self, what: &str, spec: Spec, (code, about, words): (i32, &str, &str)) {
        let output = self.doctor(spec).await;
        let troubles = troubles(&output);
        let problems: Vec<_> = troubles.iter().filter(|(_, level, _)| level == "problem").collect();
        assert_eq!(output.code, code, "{what}: {troubles:?}");
        assert!(!problems.is_empty() && problems.iter().all(|(found, ..)| found == about), "{what}: {troubles:?}");
        assert!(problems.iter().any(|(.., text)| text.contains(words)), "{what}: no {words:?} in {troubles:?}");
    }
}

#[tokio::test]
async fn the_doctor_finds_what_would_stop_a_run() {
    let bench = Bench::new().await;
    for format in ["table", "wide", "json", "yaml", "name", "github", "junit"] {
        let output = bench.cutover(&["doctor", "-o", format]).await;
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{format}: {}", output.stdout);
    }
    assert_eq!(troubles(&bench.doctor(bench.doctor_spec(Role::Operate, &[])).await), []);
    let shown = bench.cutover(&["doctor"]).await.stdout;
    for words in
        ["is the document in force", "test-operate's, with the role operate", "phase move may begin", "it is free", ": sh\n"]
    {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }

    let operator = |args: &[&str]| bench.doctor_spec(Role::Operate, args);
    let folder = bench.world.dir();
    let other = folder.join("other.yaml");
    let text = std::fs::read_to_string(bench.verifier.document()).unwrap();
    std::fs::write(&other, text.replace("timeout: 60s", "timeout: 59s")).unwrap();
    let other = other.display().to_string();
    let broken = folder.join("broken.yaml");
    std::fs::write(&broken, text.replace("gate:", "gait:")).unwrap();
    let broken = broken.display().to_string();
    for (what, spec, found) in [
        ("no token", operator(&[]).env("PHASEGATE_TOKEN", ""), (4, "token", "--token-file")),
        ("a wrong token", operator(&[]).env("PHASEGATE_TOKEN", "of-another-verifier"), (4, "token", "not known")),
        ("a dashboard's token", bench.doctor_spec(Role::Read, &[]), (4, "token", "it moves no phase")),
        ("another document", operator(&["--file", &other]), (5, "document", "is not the document in force")),
        ("a broken document", operator(&["--file", &broken]), (2, "document", "broken.yaml:8:5: unknown field `gait`")),
        ("no document", bench.doctor_in(&["-u", "PHASEGATE_FILE"]), (2, "document", "--file")),
        ("no program", bench.doctor_in(&["PATH=/nowhere"]), (2, "steps", "`sh` is not found in PATH")),
        ("no place for the journal", operator(&[]).env("XDG_STATE_HOME", "/proc/self/status"), (2, "journal", "XDG_STATE_HOME")),
        ("nobody there", operator(&["--server", "http://127.0.0.1:1"]), (11, "verifier", "were not looked at")),
    ] {
        bench.ails(what, spec, found).await;
    }
    assert!(!bench.verifier.document().with_file_name("journal").exists(), "it only looks");
    let ahead = bench.doctor(operator(&[]).clock(TimeDelta::hours(1))).await;
    let found = troubles(&ahead);
    assert!(found.len() == 1 && found[0].0 == "clock" && found[0].2.contains(" ahead of the verifier"), "{found:?}");
    assert_eq!(ahead.code, 0, "a clock stops no run");

    bench.base.says("unknown");
    let ails = async |about: &str| {
        wait_until(PATIENCE, about, async || {
            let output = bench.doctor(operator(&[])).await;
            ensure!(troubles(&output).iter().any(|(found, level, _)| found == about && level == "problem"), "{output:?}");
            Ok(output)
        })
        .await
        .unwrap()
    };
    assert_eq!(ails("probes").await.code, 3);
    bench.base.says("fail");
    let output = ails("regression").await;
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("cutover regression ack base --reason"), "{}", output.stdout);
}

#[tokio::test]
async fn the_doctor_tells_a_run_that_was_left_from_one_that_goes_on() {
    let bench = Bench::new().await;
    let process = bench.held_in("two").await;
    let spec = || bench.doctor_spec(Role::Operate, &[]);
    bench.ails("it goes on", spec(), (5, "lock", "cutover status --watch")).await;
    bench.orphan(&process).await;
    // Without a verifier nobody says that the lock's holder was heard of just now.
    bench.verifier.kill9().await.unwrap();
    let gone = bench.doctor(spec()).await;
    assert_eq!(gone.code, 11);
    assert!(gone.stdout.contains("cutover abort --file "), "{}", gone.stdout);
    bench.verifier.start_again().await.unwrap();
    bench.go("do", "two");
    assert_eq!(bench.runs(&["resume", "--in-flight", "again"]).await.code, 0);
    assert_eq!(bench.doctor(spec()).await.code, 0);
}
