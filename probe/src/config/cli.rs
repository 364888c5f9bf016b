//! `probe config …`: a document is checked before anything runs on it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use checks::Registry;
use clap::Subcommand;

use super::{Config, crd, example, load, schema};
use crate::exit::Exit;

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
    /// Print the definition of the document as a custom resource, for Kubernetes
    #[command(after_long_help = "\
Examples:
  probe config crd | kubectl apply --server-side -f -
  kubectl explain migration.spec.phases")]
    Crd,
    /// Print a commented document to start from
    #[command(after_long_help = "\
Examples:
  probe config example > migration.yaml
  probe config check migration.yaml")]
    Example,
}

impl ConfigCommand {
    /// Does it, and says how the process is to exit: [`Exit::OPEN`], or [`Exit::USAGE`] for a document with errors and for
    /// output that could not be written.
    pub fn run(self, registry: &Registry) -> u8 {
        self.run_to(registry, &mut io::stdout().lock(), &mut io::stderr().lock())
    }

    fn run_to(self, registry: &Registry, out: &mut impl Write, err: &mut impl Write) -> u8 {
        let (exit, written) = match self {
            Self::Check { file } => check(&file, registry, out, err),
            Self::Schema => (Exit::OPEN, writeln!(out, "{:#}", schema(registry))),
            Self::Crd => match crd::definition(registry) {
                Ok(definition) => (Exit::OPEN, write!(out, "{}", crd::render(&definition))),
                Err(why) => (Exit::USAGE, writeln!(err, "error: {why}")),
            },
            Self::Example => (Exit::OPEN, write!(out, "{}", example())),
        };
        match written.and_then(|()| out.flush()) {
            // A reader that hangs up (`| head`) has what it wants; the document is as good or bad as before.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::USAGE.code,
            Ok(()) | Err(_) => exit.code,
        }
    }
}

fn check(file: &Path, registry: &Registry, out: &mut impl Write, err: &mut impl Write) -> (Exit, io::Result<()>) {
    match load(file, registry) {
        Ok(config) => (Exit::OPEN, sound(&config, out, err)),
        Err(errors) => (Exit::USAGE, writeln!(err, "{errors}")),
    }
}

fn sound(config: &Config, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
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
    )
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ConfigCommand,
    }

    /// Exit code, stdout and stderr.
    fn run(command: ConfigCommand) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = command.run_to(&checks::registry(), &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn check(file: impl AsRef<Path>) -> (u8, String, String) {
        run(ConfigCommand::Check { file: file.as_ref().to_owned() })
    }

    /// Not every kind of check stands in it: a new one is one file and one line of the registry.
    #[test]
    fn the_example_is_sound_and_has_the_four_phases_in_their_order() {
        let config = crate::config::parse("example", example().as_bytes(), &checks::registry()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, []);
        let phases: Vec<_> = config.plan.phases.iter().map(|phase| &*phase.name).collect();
        assert_eq!(phases, ["alloy", "loki", "grafana", "postgres"]);
    }

    #[test]
    fn a_sound_document_is_one_line_on_stdout() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("migration.yaml");
        std::fs::write(&file, run(ConfigCommand::Example).1).unwrap();
        let (code, out, err) = check(&file);
        assert_eq!((code, err.as_str()), (0, ""));
        let (line, hash) = out.trim_end().rsplit_once(' ').unwrap();
        assert_eq!(line, format!("{}: ok — migration homelab, 4 phases, 42 probes, 12 targets, hash", file.display()));
        assert_eq!(hash.len(), 12);
    }

    #[test]
    fn remarks_do_not_change_the_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("migration.yaml");
        std::fs::write(&file, example().replace("maxWait: 72h", "maxWait: 1m")).unwrap();
        let (code, out, err) = check(&file);
        assert_eq!(code, 0);
        assert!(out.contains(": ok — "), "{out}");
        assert!(err.starts_with("warning: `maxWait` (1m) is shorter"), "{err}");
    }

    #[test]
    fn errors_go_to_stderr_and_exit_with_2() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("migration.yaml");
        std::fs::write(&file, example().replace("every: 15s", "evry: 15s")).unwrap();
        let (code, out, err) = check(&file);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with("error: unknown field `evry`"), "{err}");
        let (code, out, err) = check(folder.path().join("nowhere.yaml"));
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("the file can not be read"), "{err}");
    }

    /// Takes nothing.
    struct Shut(io::ErrorKind);

    impl Write for Shut {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_listening_does_not_make_a_bad_document_good() {
        let shut = |kind, command: ConfigCommand| command.run_to(&checks::registry(), &mut Shut(kind), &mut Shut(kind));
        let bad = || ConfigCommand::Check { file: "/nowhere.yaml".into() };
        assert_eq!(shut(io::ErrorKind::BrokenPipe, bad()), 2);
        assert_eq!(shut(io::ErrorKind::BrokenPipe, ConfigCommand::Example), 0);
        assert_eq!(shut(io::ErrorKind::StorageFull, ConfigCommand::Example), 2);
    }

    #[test]
    fn the_schema_is_json() {
        let (code, out, _) = run(ConfigCommand::Schema);
        assert_eq!(code, 0);
        assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
    }

    #[test]
    fn the_command_line_parses() {
        let cli = Cli::try_parse_from(["probe", "check", "x.yaml"]).unwrap();
        assert!(matches!(cli.command, ConfigCommand::Check { file } if file == Path::new("x.yaml")));
        assert!(Cli::try_parse_from(["probe", "example"]).is_ok());
        assert!(Cli::try_parse_from(["probe", "example", "x"]).is_err());
    }
}
