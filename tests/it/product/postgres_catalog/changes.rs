//! Single changes of a database, what takes each of them back, and what has to be said about it.

mod objects;
mod outside;

pub(super) use objects::OBJECTS;
pub(super) use outside::OUTSIDE;

/// What is done to the new side.
pub(super) struct Change {
    pub(super) plant: &'static str,
    pub(super) back: &'static str,
    /// Each part that fails, its reason, and words of its evidence.
    pub(super) shows: &'static [(&'static str, &'static str, &'static str)],
}

const fn change(plant: &'static str, back: &'static str, shows: &'static [(&'static str, &'static str, &'static str)]) -> Change {
    Change { plant, back, shows }
}

/// What only later versions know, and what has to be on both sides for it.
pub(super) const NEWER: &str = "CREATE TABLE app.lax (a integer CONSTRAINT positive CHECK (a > 0) NOT ENFORCED); CREATE TABLE app.newer (a integer, \
     b integer GENERATED ALWAYS AS (a + 1) VIRTUAL, c integer CONSTRAINT filled NOT NULL); GRANT MAINTAIN ON app.newer TO readers; \
     CREATE PUBLICATION computed FOR TABLE app.doubled WITH (publish_generated_columns = stored)";

pub(super) const OF_NEWER: &[Change] = &[
    change(
        "REVOKE MAINTAIN ON app.newer FROM readers",
        "GRANT MAINTAIN ON app.newer TO readers",
        &[("privileges", "privilege_missing", "privileges of readers on table app.newer")],
    ),
    change(
        "ALTER TABLE app.newer ALTER b SET EXPRESSION AS (a + 2)",
        "ALTER TABLE app.newer ALTER b SET EXPRESSION AS (a + 1)",
        &[("columns", "differs", "column app.newer.b: generated virtual (a + 1) → virtual (a + 2)")],
    ),
    change(
        "ALTER TABLE app.newer DROP CONSTRAINT filled, ADD CONSTRAINT filled NOT NULL c NOT VALID",
        "ALTER TABLE app.newer VALIDATE CONSTRAINT filled",
        &[("constraints", "differs", "constraint app.newer.filled: definition NOT NULL c → NOT NULL c NOT VALID")],
    ),
    change(
        "ALTER TABLE app.lax DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (a > 0)",
        "ALTER TABLE app.lax DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (a > 0) NOT ENFORCED",
        &[("constraints", "differs", "constraint app.lax.positive: definition")],
    ),
    change(
        "GRANT readers TO grafana WITH SET FALSE",
        "GRANT readers TO grafana WITH SET TRUE",
        &[("roles", "role_differs", "membership of grafana in readers: may become it yes → no")],
    ),
    change(
        "ALTER PUBLICATION computed SET (publish_generated_columns = none)",
        "ALTER PUBLICATION computed SET (publish_generated_columns = stored)",
        &[("publications", "differs", "publication computed: generated columns s → none")],
    ),
];
