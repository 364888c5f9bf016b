//! Can a test set a clock? And does the product mind when somebody sets it while it runs?

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, TimeDelta, Utc};
use tests::{Output, Postgres, Spec, Verifier, World, wait_until};

const SOON: Duration = Duration::from_secs(30);
const HOUR: TimeDelta = TimeDelta::hours(1);

#[expect(clippy::disallowed_methods, reason = "compared with clocks of other programs")]
fn ahead(other: DateTime<Utc>) -> TimeDelta {
    other - Utc::now()
}

fn near(one: TimeDelta, other: TimeDelta) -> bool {
    (one - other).abs() < TimeDelta::minutes(5)
}

#[tokio::test]
async fn a_server_has_a_clock_of_its_own_that_can_be_set_while_it_runs() {
    let world = World::new().unwrap();
    world.set_clock(Some(HOUR));
    let shifted = Postgres::start(&world).await.unwrap();
    world.set_clock(None);
    let plain = Postgres::start(&world).await.unwrap();
    let now = async |postgres: &Postgres| {
        let row = postgres.connect().await.unwrap().query_one("SELECT extract(epoch FROM now())::bigint", &[]).await.unwrap();
        ahead(DateTime::from_timestamp(row.get(0), 0).unwrap())
    };
    let session = shifted.connect().await.unwrap();
    assert!(near(now(&shifted).await, HOUR) && near(now(&plain).await, TimeDelta::zero()));
    shifted.process().shift_clock(-HOUR).unwrap();
    assert!(near(now(&shifted).await, -HOUR));
    let row = session.query_one("SELECT extract(epoch FROM now())::bigint", &[]).await.unwrap();
    assert!(near(ahead(DateTime::from_timestamp(row.get(0), 0).unwrap()), -HOUR), "a session that was open already");
    shifted.stop().await.unwrap();
    shifted.start_again().await.unwrap();
    assert!(near(now(&shifted).await, -HOUR));
    let refused = plain.process().shift_clock(HOUR).unwrap_err();
    assert!(refused.to_string().contains("postgres has the machine's clock"), "{refused}");
}

#[tokio::test]
async fn a_killed_program_leaves_nothing_of_its_clock() {
    let world = World::new().unwrap();
    let spec = Spec::new("clocked", "sh").args(["-c", "date +%s; exec sleep 600"]).clock(HOUR);
    let process = world.start(spec).unwrap();
    let said = async || Ok(process.stdout().trim().parse::<i64>()?);
    let told = process.wait_until(SOON, "the time", said).await.unwrap();
    assert!(near(ahead(DateTime::from_timestamp(told, 0).unwrap()), HOUR));
    let pid = process.pid().unwrap().to_string();
    let shared = || {
        let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("faketime") && name.ends_with(&format!("_{pid}"))).count()
    };
    assert_ne!(shared(), 0);
    // Between the shell's end and the first moment of what comes in its place, nothing of the clock is in the process.
    let maps = format!("/proc/{pid}/maps");
    let clocked = async || {
        let maps = std::fs::read_to_string(&maps)?;
        ensure!(maps.contains("sleep") && maps.contains("/dev/shm/"), "{maps}");
        Ok(())
    };
    process.wait_until(SOON, "the sleep has the clock", clocked).await.unwrap();
    process.kill().await.unwrap();
    drop(world);
    assert_eq!(shared(), 0);
}

/// What the gate says, at which moment by the verifier's clock.
async fn gate(verifier: &Verifier) -> (String, DateTime<Utc>) {
    let body = verifier.get("/v1/gates/move").await.unwrap().json().unwrap();
    let word = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}")).to_owned();
    (word("verdict"), word("evaluatedAt").parse().unwrap())
}

/// A verifier in the phase `move`, whose one probe passes and whose gate opens after half an hour of that.
async fn soaking(world: &World) -> Verifier {
    let script = world.dir().join("one.script");
    let document = format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: clocks}}\nspec:\n  \
         defaults: {{every: 200ms, timeout: 150ms, maxAge: 5s}}\n  phases:\n  - name: move\n    \
         gate: {{soak: 30m, minSamples: 1, unknownBudget: 0s}}\n    probes:\n    \
         - {{name: one, check: {{scripted: {{file: \"{}\"}}}}}}\n",
        script.display()
    );
    let verifier = Verifier::start_scripted(world, &document).await.unwrap();
    for step in [["begin", "move"], ["switch", "move"]] {
        wait_until(SOON, step[0], async || {
            let Output { code, stderr, .. } = verifier.cutover(&step).await?;
            ensure!(code == 0, "{stderr}");
            Ok(())
        })
        .await
        .unwrap();
    }
    wait_until(SOON, "the soak begins", async || {
        let (verdict, _) = gate(&verifier).await;
        ensure!(verdict == "pending", "{verdict}");
        Ok(())
    })
    .await
    .unwrap();
    verifier
}

#[tokio::test]
async fn no_jump_of_the_wall_clock_serves_a_soak() {
    let world = World::new().unwrap();
    world.set_clock(Some(TimeDelta::zero()));
    let verifier = soaking(&world).await;
    for offset in [TimeDelta::zero(), HOUR, -HOUR, HOUR * 24 * 365, TimeDelta::zero()] {
        verifier.process().shift_clock(offset).unwrap();
        let mut seen = None;
        // Several epochs, each judged at the new time.
        for _ in 0..5 {
            let (verdict, at) = wait_until(SOON, "an epoch at the new time", async || {
                let (verdict, at) = gate(&verifier).await;
                // Not `ensure!`: a gate that opens for a moment would be looked at again.
                assert_ne!(verdict, "open", "at {at}");
                ensure!(near(ahead(at), offset) && Some(at) > seen, "{verdict} at {at}");
                Ok((verdict, at))
            })
            .await
            .unwrap();
            assert_eq!(verdict, "pending", "at {at}");
            seen = Some(at);
        }
    }
}
