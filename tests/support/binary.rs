//! The product's own binaries, as cargo last built them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The binary `name` in the target folder that this program itself was built into.
///
/// # Errors
/// It is not there, or is older than one of its sources: a test of yesterday's binary proves nothing.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("this program is nowhere")?;
    let binary = folder.join(name);
    current(&binary)?;
    Ok(binary)
}

fn current(binary: &Path) -> Result<()> {
    const REMEDY: &str = "cargo build --workspace --bins";
    let shown = binary.display();
    let built = fs::metadata(binary).and_then(|meta| meta.modified()).with_context(|| format!("no {shown}: {REMEDY}"))?;
    let list = binary.with_extension("d");
    let list = fs::read_to_string(&list).with_context(|| format!("no {}: {REMEDY}", list.display()))?;
    let changed = |source: &String| fs::metadata(source).and_then(|meta| meta.modified()).is_ok_and(|changed| changed > built);
    let newer = sources(&list).into_iter().find(changed);
    ensure!(newer.is_none(), "{shown} is older than {}: {REMEDY}", newer.unwrap_or_default());
    Ok(())
}

/// The sources in cargo's own list (a line of a makefile: `binary: source source`, blanks escaped).
fn sources(list: &str) -> Vec<String> {
    let list = list.replace("\\ ", "\0");
    let sources = list.split_once(": ").map(|(_, sources)| sources).unwrap_or_default();
    sources.split_ascii_whitespace().map(|source| source.replace('\0', " ")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_missing_binary_and_a_stale_one_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let missing = format!("{:#}", current(&at("probe")).unwrap_err());
        assert!(missing.contains("probe: cargo build --workspace --bins"), "{missing}");

        for name in ["probe", "a b.rs"] {
            File::create(at(name)).unwrap();
        }
        let source = at("a b.rs").display().to_string().replace(' ', "\\ ");
        fs::write(at("probe.d"), format!("{}: {source} /nowhere.rs\n", at("probe").display())).unwrap();
        let built = fs::metadata(at("probe")).unwrap().modified().unwrap();
        let touch = |when| File::options().write(true).open(at("a b.rs")).unwrap().set_modified(when).unwrap();
        touch(built - Duration::from_secs(1));
        current(&at("probe")).unwrap();
        touch(built + Duration::from_secs(1));
        let stale = format!("{:#}", current(&at("probe")).unwrap_err());
        assert!(stale.contains("is older than") && stale.contains("a b.rs: cargo build"), "{stale}");
    }
}
