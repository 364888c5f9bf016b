//! Where PostgreSQL's programs are, and whom a server runs as.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

use super::{Plan, Postgres};
use crate::process::{Spec, User};
use crate::stack;
use crate::world::World;

const COPY: Duration = Duration::from_mins(1);

/// A major version of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Major {
    /// The distribution's, Debian 12.
    Fifteen,
    /// The one of the migration that phasegate is built for.
    Seventeen,
    /// The newest.
    Eighteen,
}

impl Major {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Fifteen, Self::Seventeen, Self::Eighteen];

    /// Its number.
    pub fn number(self) -> &'static str {
        match self {
            Self::Fifteen => "15",
            Self::Seventeen => "17",
            Self::Eighteen => "18",
        }
    }
}

impl Postgres {
    /// Where one of PostgreSQL's programs is (`pg_dump`): in `PHASEGATE_PG_BIN`, or of the newest version that the
    /// distribution has, or on the `PATH`.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn program(name: &str) -> Result<PathBuf> {
        let told = std::env::var_os("PHASEGATE_PG_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = told.into_iter().chain(installed()).chain(std::env::split_paths(&path));
        found.map(|folder| folder.join(name)).find(|program| program.is_file()).with_context(|| {
            format!("there is no {name}: apt-get install postgresql, or set PHASEGATE_PG_BIN; tests/run does the former")
        })
    }

    /// Where a program of this major version is; the first one to ask installs it (`tests/stack/postgres`).
    ///
    /// # Errors
    /// It can not be installed, or does not have this program.
    pub async fn program_of(major: Major, name: &str) -> Result<PathBuf> {
        let program = folder(major).await?.join(name);
        ensure!(program.is_file(), "PostgreSQL {} has no {name} at {}", major.number(), program.display());
        Ok(program)
    }

    /// Where pgcopydb is, which moves databases and compares them; the first one to ask builds it (`tests/stack/pgcopydb`).
    ///
    /// # Errors
    /// It can not be built.
    pub async fn pgcopydb() -> Result<PathBuf> {
        stack::pgcopydb().await
    }

    /// Where a program of this server's own version is.
    pub fn own_program(&self, name: &str) -> PathBuf {
        self.plan.bin.join(name)
    }
}

/// The folder of the programs that the distribution has.
pub(super) fn distribution() -> Result<PathBuf> {
    let initdb = Postgres::program("initdb")?;
    Ok(initdb.parent().context("a program in no folder")?.to_owned())
}

/// The folder of a major version's programs.
pub(super) async fn folder(major: Major) -> Result<PathBuf> {
    match major {
        Major::Fifteen => {
            let debian = PathBuf::from("/usr/lib/postgresql/15/bin");
            if debian.join("initdb").is_file() { Ok(debian) } else { fifteen_by_another_name() }
        }
        Major::Seventeen | Major::Eighteen => stack::postgres(major.number()).await,
    }
}

fn fifteen_by_another_name() -> Result<PathBuf> {
    let folder = distribution()?;
    let said = std::process::Command::new(folder.join("postgres")).arg("--version").output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(
        said.contains(" 15."),
        "there is no PostgreSQL 15, but {}: Debian 12 has it, or set PHASEGATE_PG_BIN to the folder of its programs",
        said.trim()
    );
    Ok(folder)
}

/// The folders of all versions that Debian has installed, newest first.
fn installed() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = versions.filter_map(|version| version.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))).collect()
}

impl Plan {
    pub(super) async fn new(world: &World, bin: PathBuf, settings: &[(&str, &str)]) -> Result<Self> {
        let user = account()?;
        let bin = if user.is_some() && !open_to_all(&bin)? { within_reach(world, &bin).await? } else { bin };
        let settings = settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect();
        Ok(Self { bin, settings, user })
    }

    /// A new folder for a server's data.
    pub(super) fn folder(&self, world: &World) -> Result<PathBuf> {
        let folder = world.folder("postgres")?;
        if let Some(User { uid, gid }) = self.user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
        }
        Ok(folder)
    }
}

/// Whether every account can come there. Root's cache is usually below a home that only root can enter.
fn open_to_all(folder: &Path) -> Result<bool> {
    for above in folder.ancestors() {
        let mode = above.metadata().with_context(|| format!("looking at {}", above.display()))?.mode();
        if mode & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The programs once more in the world's folder, by hard links where that is the same disk.
async fn within_reach(world: &World, bin: &Path) -> Result<PathBuf> {
    // What tests/stack/postgres has unpacked: PACKAGE/pginstall/bin, and libraries beside PACKAGE.
    let all = bin.ancestors().nth(3).with_context(|| format!("{} is no unpacked package", bin.display()))?;
    let to = world.folder("postgres-programs")?.join("files");
    let script = "cp -rl \"$0\" \"$1\" 2>/dev/null || { rm -rf \"$1\" && cp -r \"$0\" \"$1\"; }";
    let spec = Spec::new("cp", "/bin/sh").args(["-c", script]).args([all, &to].map(|path| path.display().to_string()));
    let copied = world.run(spec, COPY).await?;
    ensure!(copied.code == 0, "copying {} ended with {}: {}", all.display(), copied.code, copied.stderr);
    Ok(to.join(bin.strip_prefix(all)?))
}

/// Whom to run as: PostgreSQL refuses root, and a user id that has no account.
fn account() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    };
    let user = find("postgres").or_else(|| find("nobody"));
    Ok(Some(user.context("PostgreSQL does not run as root, and there is neither `postgres` nor `nobody`")?))
}
