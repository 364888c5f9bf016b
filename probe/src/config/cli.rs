//! `probe config …`: a document is checked before anything runs on it.

use std::io::{self, Write};
use std::path::PathBuf;

use checks::Registry;
use clap::Subcommand;

use super::{ConfigErrors, example, load, schema};

/// Exit code for a document with errors.
const INVALID: u8 = 2;

/// What to do with a Migration document.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a document; print every error with its place and a hint
    #[command(after_long_help = "\
Prints one line to stdout when the document is sound, and exits 0. Prints every error at once to stderr, and exits 2.
Nothing is contacted: targets, secrets and phases are looked at by the verifier only.

Examples:
  probe config check migration.yaml
  PHASEGATE_CONFIG=/etc/phasegate/migration.yaml probe config check")]
    Check {
        /// The document
        #[arg(value_name = "FILE", env = "PHASEGATE_CONFIG")]
        file: PathBuf,
    },
    /// Print the JSON schema of the document, for editors
    #[command(after_long_help = "\
Examples:
  probe config schema > migration.schema.json

In the document's first line, for editors with a YAML language server:
  # yaml-language-server: $schema=migration.schema.json")]
    Schema,
    /// Print a commented document to start from
    #[command(after_long_help = "\
Examples:
  probe config example > migration.yaml
  probe config check migration.yaml")]
    Example,
}

impl ConfigCommand {
    /// Does it, and says how the process is to exit: 0, or 2 for a document with errors.
    pub fn run(self, registry: &Registry) -> u8 {
        // A reader that hangs up (`| head`) has what it wants.
        self.run_to(registry, &mut io::stdout().lock(), &mut io::stderr().lock()).unwrap_or_default()
    }

    fn run_to(self, registry: &Registry, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
        match self {
            Self::Check { file } => return check(&file, registry, out, err),
            Self::Schema => writeln!(out, "{:#}", schema(registry))?,
            Self::Example => write!(out, "{}", example())?,
        }
        Ok(0)
    }
}

fn check(file: &std::path::Path, registry: &Registry, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let config = match load(file, registry) {
        Ok(config) => config,
        Err(errors @ ConfigErrors { .. }) => {
            writeln!(err, "{errors}")?;
            return Ok(INVALID);
        }
    };
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}\n")?;
    }
    let plan = &config.plan;
    writeln!(
        out,
        "{}: ok — migration {}, {}, {}, {}, hash {}",
        config.source.file,
        plan.migration,
        count(plan.phases.len(), "phase"),
        count(config.probes.len(), "probe"),
        count(config.targets.len(), "target"),
        plan.hash.get(..12).unwrap_or_default(),
    )?;
    Ok(0)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
