//! The roles that phasegate is given on a server, by the very files that an operator runs (`deploy/postgres`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::Postgres;
use crate::process::Spec;

const PSQL: Duration = Duration::from_secs(30);

impl Postgres {
    /// Runs `deploy/postgres/NAME.sql` (`observer`, `canary`, `operator`, `owner`) as superuser in `homelab`.
    ///
    /// # Errors
    /// There is no such file, or `psql` says that something is wrong.
    pub async fn grant(&self, name: &str) -> Result<()> {
        let role = match name {
            "observer" => "phasegate",
            "canary" => "phasegate_canary",
            "operator" => "phasegate_operator",
            "owner" => "phasegate_owner",
            _ => bail!("there is no deploy/postgres/{name}.sql"),
        };
        self.run_file(name, &[("password", role)]).await
    }

    /// Runs `deploy/postgres/NAME.sql` with these variables.
    ///
    /// # Errors
    /// `psql` says that something is wrong.
    pub async fn run_file(&self, name: &str, variables: &[(&str, &str)]) -> Result<()> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres").join(name).with_extension("sql");
        let mut psql = Spec::new("psql", self.own_program("psql")).args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]);
        for (name, value) in variables {
            psql = psql.arg("-v").arg(format!("{name}={value}"));
        }
        let psql = psql.arg("-f").arg(file.display().to_string()).arg(self.superuser_dsn());
        let ran = self.supervisor.adopt(psql).run(PSQL).await?;
        ensure!(ran.code == 0, "psql -f {} ended with {}: {}", file.display(), ran.code, ran.stderr);
        Ok(())
    }

    /// The login of what looks, on either side: role `phasegate`.
    pub fn observer_dsn(&self) -> String {
        self.url("phasegate", "phasegate", "homelab")
    }

    /// The login of the canary, on the new side: role `phasegate_canary`.
    pub fn canary_dsn(&self) -> String {
        self.url("phasegate_canary", "phasegate_canary", "homelab")
    }

    /// The login of who fences, on the old side: role `phasegate_operator`.
    pub fn operator_dsn(&self) -> String {
        self.url("phasegate_operator", "phasegate_operator", "homelab")
    }

    /// The login of who carries rows back, on the old side: role `phasegate_owner`.
    pub fn owner_dsn(&self) -> String {
        self.url("phasegate_owner", "phasegate_owner", "homelab")
    }

    /// The login of a reader of the application's tables: role `grafana`.
    pub fn reader_dsn(&self) -> String {
        self.url("grafana", "grafana", "homelab")
    }
}
