//! Real servers that are built from source, once (`tests/stack/build`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The Loki binary. The first one to ask builds it, if no earlier run did.
///
/// # Errors
/// It can not be built.
pub(crate) async fn loki() -> Result<&'static Path> {
    static LOKI: OnceCell<PathBuf> = OnceCell::const_new();
    Ok(LOKI.get_or_try_init(|| build("loki")).await?)
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
