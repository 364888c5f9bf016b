//! The application against a real server: what each writer leaves behind, by its habit.

use anyhow::ensure;

use super::*;
use crate::wait::wait_until;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);

async fn number(postgres: &Postgres, query: &str) -> i64 {
    let superuser = postgres.connect_as_superuser().await.unwrap();
    superuser.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until more of each kind was committed than `before`.
async fn goes_on(application: &Application, before: Writes) {
    wait_until(SOON, "all three write", async || {
        let now = application.written();
        let more = now.metrics >= before.metrics + 4 && now.syncs > before.syncs && now.reports > before.reports;
        ensure!(more, "{now:?}");
        Ok(())
    })
    .await
    .unwrap();
}

const ALL: [Writer; 3] = [Writer::Job, Writer::Service, Writer::Report];
const ROWS: &str = "SELECT (SELECT count(*) FROM system_metrics) + (SELECT count(*) FROM reading_sync_history) \
     + (SELECT count(*) FROM daily_report)";

#[tokio::test]
async fn three_writers_pause_roll_back_and_leave_out_what_they_are_told() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    let application = Application::start_at(&postgres.dsn(), Pace::BUSY).await.unwrap();
    goes_on(&application, Writes::default()).await;
    for writer in ALL {
        application.set(writer, Habit::Pauses).await.unwrap();
    }
    let written = application.written();
    let rows = i64::try_from(written.metrics + written.syncs + written.reports).unwrap();
    assert_eq!(number(&postgres, ROWS).await, rows, "nothing is on its way");

    let next_xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    let before = number(&postgres, next_xid).await;
    for writer in ALL {
        application.set(writer, Habit::RollsBack).await.unwrap();
    }
    wait_until(SOON, "transactions are rolled back", async || {
        ensure!(number(&postgres, next_xid).await >= before + 6);
        Ok(())
    })
    .await
    .unwrap();
    application.set(Writer::Job, Habit::Pauses).await.unwrap();
    assert_eq!((number(&postgres, ROWS).await, application.written()), (rows, written));

    postgres.connect().await.unwrap().batch_execute("TRUNCATE system_metrics").await.unwrap();
    application.set(Writer::Job, Habit::Partial).await.unwrap();
    wait_until(SOON, "the job writes in part", async || {
        ensure!(number(&postgres, "SELECT count(*) FROM system_metrics").await >= 6);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(number(&postgres, "SELECT count(DISTINCT metric_type) FROM system_metrics").await, 3);
}

#[tokio::test]
async fn a_writer_is_left_on_the_old_server_and_comes_back_when_its_session_is_ended() {
    let world = World::new().unwrap();
    let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
    let mut application = Application::start_at(&old.dsn(), Pace::BUSY).await.unwrap();
    goes_on(&application, Writes::default()).await;
    application.point_at(&new.dsn()).await.unwrap();
    application.point(Writer::Service, &old.dsn()).await.unwrap();
    goes_on(&application, application.written()).await;
    assert_eq!(number(&new, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'server' AND query LIKE '%sync%'").await, 0);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'server'";
    assert_eq!(number(&old, end).await, 1, "the service's session is the only one");
    goes_on(&application, application.written()).await;
    application.stop().await;

    let syncs = "SELECT count(*) FROM reading_sync_history";
    let before = number(&old, syncs).await;
    let lived = Application::stray(&old).await.unwrap();
    assert!(lived > Duration::ZERO && lived < SOON, "{lived:?}");
    assert_eq!(number(&old, syncs).await, before + 1);
}

#[tokio::test]
async fn the_reader_reads_what_the_application_writes_and_keeps_two_idle_sessions() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    let mut application = Application::start(&postgres.dsn()).await.unwrap();
    application.stop().await;
    let reader = Reader::start(&postgres.reader_dsn()).await.unwrap();
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'grafana' AND state = 'idle'";
    assert_eq!(number(&postgres, idle).await, 2);
    reader.read().await.unwrap();
    let session = postgres.connect_to("grafana", "homelab").await.unwrap();
    session.batch_execute("DELETE FROM system_metrics").await.unwrap_err();
}
