//! The manifest: counted in the snapshot of a dump, or before the server is stopped; recorded only if both came to their end.

use checks::postgres::manifest::Manifest;
use serde::Deserialize;

use super::*;

impl Pair {
    /// Runs `cutover postgres manifest … -- sh -c SCRIPT {snapshot}`, and insists on its exit code. The snapshot is `$0`.
    async fn takes(&self, code: i32, options: &[&str], script: &str) -> Output {
        let output = self.ran(&manifest_of(options, script)).await;
        assert_eq!(output.code, code, "{script}: {}{}", output.stdout, output.stderr);
        assert!(!output.stderr.contains("observer:observer"), "{}", output.stderr);
        output
    }

    fn dump(&self) -> String {
        let (program, file) = (self.old.own_program("pg_dump"), self.world.dir().join("homelab.dump"));
        format!("{} -d \"$OLD_SUPERUSER\" --snapshot=\"$0\" -Fc -f {}", program.display(), file.display())
    }

    async fn manifest(&self, fact: &str) -> Manifest {
        Manifest::deserialize(&self.fact(fact).await["value"]).unwrap()
    }

    async fn has_no_manifest(&self) {
        assert_eq!(self.fact("postgres-manifest").await["code"], "not_found");
    }
}

fn manifest_of<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let head = ["postgres", "manifest", "--old", "env:OLD_OBSERVER"];
    head.iter().chain(options).chain(&["--", "sh", "-c", script, "{snapshot}"]).copied().collect()
}

#[tokio::test]
async fn a_manifest_is_recorded_with_its_dump() {
    let pair = Pair::new().await;
    pair.exits(1, "manifest --old env:OLD_OBSERVER --check").await;
    // A row that comes while the dump runs is in neither.
    let meanwhile = format!("psql -q -d \"$OLD_SUPERUSER\" -c 'INSERT INTO metrics (value) VALUES (1)'; {}", pair.dump());
    let first = pair.takes(0, &[], &meanwhile).await;
    assert!(first.stderr.contains("warning: the old server is not fenced"), "{}", first.stderr);
    assert!(
        first.stdout.contains("postgres-manifest is recorded") && first.stdout.contains("1 tables with 100 rows"),
        "{}",
        first.stdout
    );
    let manifest = pair.manifest("postgres-manifest").await;
    assert_eq!((manifest.tables["public.metrics"].sum.rows, manifest.stopped.as_ref()), (100, None));
    let restore = format!("pg_restore -l {}/homelab.dump", pair.world.dir().display());
    let listed = pair.world.run(Spec::new("list", "sh").args(["-c".to_owned(), restore]), PATIENCE).await.unwrap();
    assert!(listed.stdout.contains("TABLE DATA public metrics"), "{}", listed.stdout);

    pair.exits(0, "manifest --old env:OLD_OBSERVER --check").await;
    let second = pair.takes(0, &[], "exit 9").await;
    assert!(second.stdout.contains("recorded already") && !second.stderr.contains("is held"), "{}", second.stdout);
    pair.takes(0, &["--again"], &pair.dump()).await;
    assert_eq!(pair.manifest("postgres-manifest.2").await.tables["public.metrics"].sum.rows, 101);
    let named = pair.exits(1, "manifest other --old env:OLD_OBSERVER --check").await;
    assert!(named.stderr.contains("no manifest is recorded as other"), "{}", named.stderr);
    let of_another = pair.exits(1, "manifest --old env:NEW_OBSERVER --check").await;
    assert!(of_another.stderr.contains("postgres-manifest.2 is of another server"), "{}", of_another.stderr);
}

#[tokio::test]
async fn nothing_is_recorded_of_a_dump_that_failed_or_belongs_to_no_snapshot() {
    let pair = Pair::new().await;
    let failed = pair.takes(1, &[], "echo out of space >&2; exit 3").await;
    assert!(failed.stderr.contains("dump | out of space") && failed.stderr.contains("it exited with 3"), "{}", failed.stderr);
    let unread = pair.takes(1, &[], "exec pg_dump_of_nowhere \"$0\"").await;
    assert!(unread.stderr.contains("it exited with 127"), "{}", unread.stderr);
    let loose = pair.exits(2, "manifest --old env:OLD_OBSERVER -- pg_dump homelab").await;
    assert!(loose.stderr.contains("does not say {snapshot}"), "{}", loose.stderr);
    let none = pair.exits(2, "manifest --old env:OLD_OBSERVER").await;
    assert!(none.stderr.contains("there is no command"), "{}", none.stderr);
    sql(&pair.old, "CREATE TABLE hidden (id int)").await;
    let hidden = pair.takes(4, &[], "sleep 60; echo \"$0\"").await;
    assert!(hidden.stderr.contains("can not read public.hidden; run GRANT USAGE"), "{}", hidden.stderr);
    pair.has_no_manifest().await;
}

/// The session that holds the snapshot is ended by somebody: a dump that would go on is broken off.
#[tokio::test]
async fn a_snapshot_that_ends_early_is_told_loudly() {
    let pair = Pair::new().await;
    let end = "psql -q -d \"$OLD_SUPERUSER\" -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'observer'\"; sleep 300";
    let output = pair.takes(1, &[], end).await;
    assert!(output.stderr.contains("the snapshot ended before the dump and the counting did"), "{}", output.stderr);
    assert!(output.stderr.contains("throw the dump away"), "{}", output.stderr);
    pair.has_no_manifest().await;
}

#[tokio::test]
async fn an_interruption_ends_the_dump_too() {
    let pair = Pair::new().await;
    let mark = pair.world.dir().join("ended");
    let script = format!("trap 'echo > {}; exit' TERM; echo begun; while :; do sleep 0.05; done # $0", mark.display());
    let running = pair.world.start(pair.spec(&manifest_of(&[], &script))).unwrap();
    says(&running, "dump | begun").await;
    running.signal(rustix::process::Signal::INT);
    assert_eq!(ends(&running).await, 130, "{}", running.log());
    assert!(running.stderr().contains("nothing was recorded"), "{}", running.stderr());
    assert!(mark.exists(), "the command was left running");
    pair.has_no_manifest().await;
}

/// For a copy of the files: counted, stopped, and read where it stood.
#[tokio::test]
async fn a_volume_is_counted_before_its_server_is_stopped() {
    let pair = Pair::new().await;
    let data = pair.old.data().display().to_string();
    let stop =
        format!("kill -INT $(head -1 {data}/postmaster.pid); while [ -e {data}/postmaster.pid ]; do sleep 0.05; done # $0");
    let control = pair.old.own_program("pg_controldata").display().to_string();
    let options = ["--data", data.as_str(), "--pg-controldata", control.as_str()];
    let running = pair.takes(1, &options, "true # $0").await;
    assert!(running.stderr.contains("\"in production\", not \"shut down\""), "{}", running.stderr);
    let elsewhere = pair.new.data().display().to_string();
    let other = pair.takes(1, &["--data", &elsewhere, "--pg-controldata", &control], "true # $0").await;
    assert!(other.stderr.contains("these are the files of system"), "{}", other.stderr);
    pair.takes(0, &options, &stop).await;
    let manifest = pair.manifest("postgres-manifest").await;
    let stopped = manifest.stopped.unwrap();
    assert!(stopped.next_xid >= manifest.snapshot.end, "{stopped:?} {:?}", manifest.snapshot);
    assert_eq!(manifest.tables["public.metrics"].sum.rows, 100);
}
