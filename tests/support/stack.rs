//! Real servers that are built from source (`tests/stack/build`) or installed (`tests/stack/postgres`), once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::sync::Mutex;

/// What the names of all tests of built servers hold, so that `tests/run` can leave them out, and say so, where there is no Go.
const MARK: &str = "real_";

/// The binary of a server. The first one to ask builds it, if no earlier run did.
///
/// # Errors
/// It can not be built; or a test asks whose name does not say that it does.
pub(crate) async fn binary(server: &'static str) -> Result<PathBuf> {
    marked()?;
    once("build", server).await
}

/// The folder of the programs of a major version of PostgreSQL. The first one to ask installs it, if no earlier run did.
///
/// # Errors
/// It can not be installed.
pub(crate) async fn postgres(major: &'static str) -> Result<PathBuf> {
    once("postgres", major).await
}

/// pgcopydb, as one that has `compare`. The first one to ask builds it, if no earlier run did.
///
/// # Errors
/// It can not be built.
pub(crate) async fn pgcopydb() -> Result<PathBuf> {
    once("pgcopydb", "pgcopydb").await
}

/// A test's thread is called like the test; other threads have no path as their name.
fn marked() -> Result<()> {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    ensure!(
        !name.contains("::") || name.contains(MARK),
        "{name} needs a server that is built from source: let its name, or its module's, hold `{MARK}`"
    );
    Ok(())
}

/// What a script has made of something, and the path that it printed.
async fn once(script: &'static str, what: &'static str) -> Result<PathBuf> {
    static MADE: Mutex<BTreeMap<&str, PathBuf>> = Mutex::const_new(BTreeMap::new());
    let mut made = MADE.lock().await;
    if let Some(path) = made.get(what) {
        return Ok(path.clone());
    }
    let path = run(script, what).await?;
    made.insert(what, path.clone());
    Ok(path)
}

async fn run(script: &str, what: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack").join(script);
    let mut command = Command::new(&script);
    command.args(["--quiet", what]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("running {}", script.display()))?;
    ensure!(output.status.success(), "{} {what} failed ({}), see above", script.display(), output.status);
    let stdout = String::from_utf8(output.stdout)?;
    let path = stdout.lines().last().with_context(|| format!("{} printed no path", script.display()))?;
    Ok(PathBuf::from(path))
}
