//! A question where nobody can answer: a pipeline, a cron job, a terminal that is closed, a pipe that stays silent.

use std::time::Duration;

use serde_json::Value;
use tests::Role;

use super::Bench;

/// Far longer than any of them takes, and shorter than somebody would wait for an answer.
const END: Duration = Duration::from_secs(30);

/// What stands where an answer would come from.
const INPUTS: [(&str, &str); 2] = [
    ("a closed stdin", "exec \"$@\" <&-"),
    ("a pipe that never says anything", "[ -p silent ] || mkfifo silent; exec \"$@\" <>silent"),
];

/// Everything that somebody has done to the migration: what is looked at, and what comes of that, goes on by itself.
async fn deeds(bench: &Bench) -> Vec<Value> {
    let trail = bench.verifier.get("/v1/audit?from=1&limit=1000").await.unwrap().json().unwrap();
    let frames = trail["frames"].as_array().unwrap().clone();
    assert!(frames.len() < 1000 && trail["next"].is_null(), "the trail is longer than one page: {}", trail["head"]);
    let kind = |frame: &Value| frame["event"]["event"].as_str().unwrap().to_owned();
    frames.into_iter().filter(|frame| !["probeChanged", "verdictChanged"].contains(&kind(frame).as_str())).collect()
}

/// Each line ends with 2, names the flag that answers its question, and does nothing.
async fn are_refused(bench: &Bench, rows: &[(&[&str], &str)]) {
    let (before, trace) = (deeds(bench).await, bench.trace());
    for (input, script) in INPUTS {
        let script = format!("cd {} && {script}", bench.world.dir().display());
        for (args, flag) in rows {
            let row = format!("{}, with {input}", args.join(" "));
            let spec = bench.verifier.cutover_spec(Role::Operate, args).unwrap().by_shell(&script);
            let output = bench.world.run(spec, END).await.unwrap_or_else(|error| panic!("{row}: {error:#}"));
            assert_eq!(output.code, 2, "{row}: {}{}", output.stdout, output.stderr);
            let hint = output.stderr.lines().last().unwrap_or_default();
            assert!(hint.starts_with("hint: ") && hint.contains(flag), "{row}: {}", output.stderr);
            assert!(output.stdout.is_empty(), "{row}: {}", output.stdout);
        }
    }
    assert_eq!(deeds(bench).await, before);
    assert_eq!(bench.trace(), trace);
}

#[tokio::test]
async fn nobody_to_ask_is_2_at_once_and_changes_nothing() {
    let bench = Bench::new().await;
    let waiting: &[(&[&str], &str)] = &[
        (&["begin", "move", "--confirm", "move"], "--yes"),
        (&["begin", "move", "--yes"], "--confirm=move"),
        (&["advance", "--confirm", "move"], "--yes"),
        (&["advance", "--yes"], "--confirm=move"),
        (&["adopt", "move", "--reason", "x"], "--yes"),
        (&["rollback", "base", "--reason", "x"], "--yes"),
        (&["override", "create", "new-side", "--ttl", "5m", "--reason", "x"], "--yes"),
        (&["decommission", "old-side", "--reason", "x"], "--confirm=old-side"),
        (&["decommission", "old-side", "--reason", "x", "--yes"], "--confirm=old-side"),
        (&["lock", "release", "0", "--reason", "x"], "--yes"),
    ];
    are_refused(&bench, waiting).await;

    bench.tell("do", "two", "fail");
    bench.tell("undo", "two", "fail");
    assert_eq!(bench.runs(&["begin", "move"]).await.code, 12);
    are_refused(&bench, &[(&["abort"], "--yes"), (&["rollback", "move", "--reason", "x"], "--yes")]).await;
    bench.go("do", "two");
    bench.go("undo", "two");
    assert_eq!(bench.cutover(&["abort", "--yes"]).await.code, 0);

    bench.tell("do", "three", "fail");
    assert_eq!(bench.runs(&["begin", "move"]).await.code, 12);
    let beyond: &[(&[&str], &str)] = &[
        (&["resume", "--confirm", "move"], "--yes"),
        (&["resume", "--yes"], "--confirm=move"),
        (&["abort", "--yes"], "--confirm=move"),
        (&["abort", "--confirm", "move"], "--yes"),
        (&["rollback", "move", "--reason", "x", "--yes"], "--confirm=move"),
        (&["rollback", "move", "--reason", "x", "--confirm", "move"], "--yes"),
    ];
    are_refused(&bench, beyond).await;
}
