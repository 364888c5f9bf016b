//! The two ways in which data move from one server to another.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Postgres;
use crate::process::Spec;
use crate::world::World;

/// Long enough for the data of a benchmark.
const MOVE: Duration = Duration::from_mins(10);

impl Postgres {
    /// Starts a copy of a stopped server's volume: a folder and a port of its own, all else the same, the system identifier included.
    ///
    /// # Errors
    /// The original still runs, or the copy does not start within 30 s.
    pub async fn copy_of(world: &World, old: &Self) -> Result<Self> {
        ensure!(old.process.ended()?.is_some(), "a volume is copied while its server is stopped, and this one runs");
        let data = old.plan.folder(world)?.join("data");
        let spec = Spec::new("cp", "/bin/cp").arg("-a").args([&old.data, &data].map(|path| path.display().to_string()));
        let copied = world.run(spec, MOVE).await?;
        ensure!(copied.code == 0, "cp ended with {}: {}", copied.code, copied.stderr);
        let copy = Self::launch(world, old.plan.clone(), data)?;
        copy.ready("homelab").await?;
        Ok(copy)
    }

    /// Dumps `homelab` of another server with this one's `pg_dump`, which has to be the newer of the two, and restores it here. Roles
    /// are no part of a dump.
    ///
    /// # Errors
    /// One of the programs says that something is wrong.
    pub async fn restore_from(&self, old: &Self) -> Result<()> {
        self.restore(old, "homelab", "").await
    }

    /// The same, of what is visible in a snapshot.
    ///
    /// # Errors
    /// One of the programs says that something is wrong.
    pub async fn restore_snapshot(&self, old: &Self, snapshot: &str) -> Result<()> {
        self.restore_database(old, "homelab", snapshot).await
    }

    /// The same of another database, into one that has its name.
    ///
    /// # Errors
    /// One of the programs says that something is wrong.
    pub async fn restore_database(&self, old: &Self, database: &str, snapshot: &str) -> Result<()> {
        self.restore(old, database, &format!("--snapshot={snapshot}")).await
    }

    async fn restore(&self, old: &Self, database: &str, option: &str) -> Result<()> {
        let line = "set -o pipefail; \"$0\" --format=custom --dbname=\"$2\" $4 | \"$1\" --exit-on-error --dbname=\"$3\" >&2";
        let programs = ["pg_dump", "pg_restore"].map(|name| self.own_program(name).display().to_string());
        let spec = Spec::new("dump-and-restore", "bash").args(["-c", line]).args(programs).args([
            old.url("postgres", "postgres", database),
            self.url("postgres", "postgres", database),
            option.to_owned(),
        ]);
        let moved = self.supervisor.adopt(spec).run(MOVE).await?;
        ensure!(moved.code == 0, "pg_dump | pg_restore ended with {}: {}", moved.code, moved.stderr);
        Ok(())
    }
}
