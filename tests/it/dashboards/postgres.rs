//! The database on its way.

use serde_json::Value;

use super::panel::{Panel, dashboard};
use super::words::{CALM, colours, values};

pub(super) fn board() -> Value {
    let whole = |value: &str, checks: &str, how: &str| format!("{how}({})", values(value, checks));
    let checks = "max by (probe) (phasegate_probe_runs_total{job=\"$job\", check=~\"postgresReady|postgresIdentity|postgresCanary|\
                  postgresCatalog|postgresRows|postgresSequences|postgresIndexes|postgresTraffic|postgresQuiet|postgresFence|\
                  postgresSplitBrain|postgresContinuity\"})";
    let now = vec![
        Panel::numbers("Drift", "Rows that came to the old server after the mark; any is too many", (4, 4))
            .query(&whole("drift_rows", "postgresSplitBrain", "sum"), "rows")
            .steps(&CALM),
        Panel::numbers("At risk", "Rows on the new server that going back would lose", (4, 4))
            .query(&whole("rows_at_risk", "postgresSplitBrain", "sum"), "rows")
            .steps(&[("green", None), ("orange", Some(1.0))]),
        Panel::numbers("Could they be carried back?", "1: as far as the probe can tell, rows were only added", (4, 4))
            .query(&whole("reversible", "postgresSplitBrain", "min"), "reversible")
            .steps(&[("orange", None), ("green", Some(1.0))]),
        Panel::numbers("Point of no return", "Phases that nothing leads back from", (4, 4))
            .query("sum(phasegate_phase_ponr_crossed{job=\"$job\"})", "crossed"),
        Panel::numbers("Old server quiet for", "Since nothing writes there", (4, 4))
            .query(&whole("quiet_seconds", "postgresQuiet", "min"), "quiet")
            .unit("s")
            .steps(&[("orange", None), ("green", Some(180.0))]),
        Panel::numbers("Sessions behind the fence", "Of the application's roles, on the old server", (4, 4))
            .query(&whole("sessions", "postgresFence", "sum"), "sessions")
            .steps(&CALM),
    ];
    let traffic = vec![
        Panel::lines(
            "New: newest row of each writer",
            "How long ago each declared writer last committed a row on the new server",
            (12, 8),
        )
        .query(&values("age_seconds", "postgresTraffic"), "{{part}}")
        .unit("s"),
        Panel::lines(
            "Old: who is still there",
            "Sessions, open transactions that have written, and prepared ones on the old server",
            (12, 8),
        )
        .query(&values("sessions", "postgresQuiet"), "sessions")
        .query(&values("open_writers", "postgresQuiet"), "open writers")
        .query(&values("prepared_transactions", "postgresQuiet"), "prepared"),
        Panel::lines("Rows on either side since the mark", "Drift on the old server, rows at risk on the new one", (12, 8))
            .query(&values("drift_rows", "postgresSplitBrain"), "drift (old)")
            .query(&values("rows_at_risk", "postgresSplitBrain"), "at risk (new)"),
        Panel::lines("Canary", "How long our own commit took on the new server, and the longest gaps between what came", (12, 8))
            .query(&values("commit_seconds", "postgresCanary"), "commit")
            .query(&values("gap_seconds", "postgresContinuity"), "gap {{part}}")
            .query(&values("latency_seconds", "postgresReady"), "login {{probe}}")
            .unit("s"),
    ];
    let proofs = vec![
        colours("Fence, quiet, traffic and proofs", "The colour of each probe of a database", (24, 10), "", checks),
        Panel::gauges("Rows compared", "How far the proof of every row is", (8, 6)).query(
            &format!("{} / ({} > 0)", values("tables_compared", "postgresRows"), values("tables_total", "postgresRows")),
            "{{probe}}",
        ),
        Panel::numbers(
            "Differences",
            "Tables with other rows; objects of the catalog that are missing, changed or too many",
            (8, 6),
        )
        .query(&whole("tables_different", "postgresRows", "sum"), "tables")
        .query(&whole("missing", "postgresCatalog", "sum"), "missing")
        .query(&whole("changed", "postgresCatalog", "sum"), "changed")
        .query(&whole("extra", "postgresCatalog", "sum"), "extra")
        .steps(&CALM),
        Panel::numbers("Sequences and indexes", "The fullest sequence, and how many indexes were looked through", (8, 6))
            .query(&whole("most_used_percent", "postgresSequences", "max"), "% of the fullest sequence")
            .query(&whole("indexes_checked", "postgresIndexes", "sum"), "indexes"),
    ];
    dashboard(
        "phasegate-postgres",
        "phasegate / PostgreSQL cutover",
        "Who writes where: the old server fenced and quiet, each writer on the new one, and what leads back.",
        vec![],
        vec![("Now", now), ("Old against new", traffic), ("Probes and proofs", proofs)],
    )
}
