//! Mounts that only one process tree sees, and that go with it.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::OnceCell;

use crate::process::Spec;
use crate::world::World;

const TRIAL: Duration = Duration::from_secs(20);

/// The words before a command that let it mount: `unshare` with its flags, and `--`.
///
/// # Errors
/// This account may not do that.
pub(crate) async fn unshare(world: &World) -> Result<&'static [&'static str]> {
    static WAY: OnceCell<&[&str]> = OnceCell::const_new();
    let ways: [&[&str]; 2] = [&["unshare", "--mount", "--"], &["unshare", "--user", "--map-root-user", "--mount", "--"]];
    let find = async || {
        let mut said = String::new();
        for way in ways {
            // Some machines give away namespaces in which nothing may be mounted.
            let trial = words("namespace", way).args(["mount", "-n", "-t", "tmpfs", "none", "/run"]);
            let done = world.run(trial, TRIAL).await?;
            if done.code == 0 {
                return Ok(way);
            }
            said += &done.stderr;
        }
        bail!("a mount namespace is needed: be root, or allow user namespaces. {}", said.trim())
    };
    WAY.get_or_try_init(find).await.copied()
}

/// A command that begins with these words.
pub(crate) fn words(name: &str, words: &[&str]) -> Spec {
    let (first, rest) = words.split_first().map_or(("true", &[][..]), |(first, rest)| (*first, rest));
    Spec::new(name, first).args(rest.iter().copied())
}
