//! Real servers that are built from source, once (`tests/stack/build`).

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
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::const_new(BTreeMap::new());
    marked()?;
    let mut built = BUILT.lock().await;
    if let Some(binary) = built.get(server) {
        return Ok(binary.clone());
    }
    let binary = build(server).await?;
    built.insert(server, binary.clone());
    Ok(binary)
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

async fn build(server: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/build");
    let mut command = Command::new(&script);
    command.args(["--quiet", server]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("running {}", script.display()))?;
    ensure!(output.status.success(), "{} {server} failed ({}), see above", script.display(), output.status);
    let stdout = String::from_utf8(output.stdout)?;
    let binary = stdout.lines().last().with_context(|| format!("{} printed no path", script.display()))?;
    Ok(PathBuf::from(binary))
}
