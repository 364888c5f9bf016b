//! `probe init`: writes a first Migration document from flags, or from the answers of a person at a terminal. What it writes has
//! passed the same check as `probe config check`; it never replaces a file unasked, and never waits for an answer without a
//! terminal.

mod answers;
mod page;
#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use checks::net::tcp::{Port, Tcp};
use checks::{Check, Registry};
use clap::ValueEnum;
use url::Url;

use crate::config;
use crate::cutover::painted;
use crate::exit::Exit;

use answers::Answers;
use page::Page;

/// Flags of `probe init`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct InitArgs {
    /// What the migration is called
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Only these phases [default: those that a flag or an answer is about; all without any]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PHASE,…")]
    pub phases: Vec<Phase>,
    /// The Loki that is still on Docker
    #[arg(long, value_name = "URL", value_parser = web)]
    pub docker_loki: Option<Url>,
    /// The Loki in k3s
    #[arg(long, value_name = "URL", value_parser = web)]
    pub k3s_loki: Option<Url>,
    /// The gateway in front of the Loki in k3s
    #[arg(long, value_name = "URL", value_parser = web)]
    pub k3s_loki_gateway: Option<Url>,
    /// Each Alloy in k3s by itself
    #[arg(long, value_name = "URL", value_parser = web, num_args = 1..)]
    pub alloy: Vec<Url>,
    /// Each `probe agent`, one per node
    #[arg(long, value_name = "URL", value_parser = web, num_args = 1..)]
    pub agent: Vec<Url>,
    /// The Grafana in k3s
    #[arg(long, value_name = "URL", value_parser = web)]
    pub grafana: Option<Url>,
    /// uid of the datasource in Grafana that leads to the Loki in k3s
    #[arg(long, value_name = "UID", value_parser = uid)]
    pub grafana_datasource: Option<String>,
    /// The verifier's environment variable that holds Grafana's token
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub grafana_token_env: Option<String>,
    /// The verifier's environment variable that holds the connection string of the old PostgreSQL
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub old_postgres_env: Option<String>,
    /// The verifier's environment variable that holds the connection string of the new PostgreSQL
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub new_postgres_env: Option<String>,
    /// Where the old PostgreSQL listens; nobody may, once its clients have moved
    #[arg(long, value_name = "HOST:PORT", value_parser = port)]
    pub old_postgres_address: Option<String>,
    /// Where to write it; `-` is stdout
    #[arg(long, short, value_name = "FILE", default_value = "migration.yaml")]
    pub output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Never ask, also at a terminal
    #[arg(long)]
    pub no_input: bool,
}

/// A phase, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Phase {
    /// Alloy takes over the journal
    Alloy,
    /// Loki moves
    Loki,
    /// Grafana moves
    Grafana,
    /// PostgreSQL moves
    Postgres,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Alloy, Self::Loki, Self::Grafana, Self::Postgres];
}

const EXAMPLES: &str = "\
At a terminal and without flags it asks; an answer that is left empty leaves its phase out. Elsewhere it writes what the flags say
and example values for the rest, and names the lines that have them. What it writes is checked as by `probe config check`.

Examples:
  probe init
  probe init --docker-loki http://192.0.2.10:3100 --alloy http://192.0.2.10:12345 --agent http://192.0.2.10:9471
  probe init --phases loki,grafana --k3s-loki http://192.0.2.10:30310 -o migration.yaml
  probe init --no-input -o - | less

Exit codes: 0 written · 2 wrong usage, a document that does not hold, a file that is there already or can not be written";

/// A web address.
fn web(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write all of it, such as http://192.0.2.10:3100"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("write all of it, such as http://192.0.2.10:3100".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user and password here: the document holds no secret".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("nothing from `?` or `#` on: what stands there belongs to one request, and may be a secret".to_owned());
    }
    Ok(url)
}

/// The name of a migration.
fn name(text: &str) -> Result<String, String> {
    config::bad_name(text).map_or_else(|| Ok(text.to_owned()), |_| Err(config::NAME_HINT.to_owned()))
}

/// What Grafana takes as a uid.
fn uid(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.is_empty() || !text.chars().all(fits) {
        return Err("a uid has letters, digits, `-` and `_`; it stands in the address of the datasource's page".to_owned());
    }
    Ok(text.to_owned())
}

/// What the check `tcp` takes as an address.
fn port(text: &str) -> Result<String, String> {
    let check = Tcp { address: text.to_owned(), expect: Port::Refused };
    check.validate().into_iter().next().map_or(Ok(check.address), |error| Err(error.hint))
}

/// The name of an environment variable. Its value would be a secret in a file that is shared.
fn variable(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(fits) {
        return Err("give the variable's name, such as PG_NEW_DSN, not what it holds".to_owned());
    }
    Ok(text.to_owned())
}

/// The process's streams.
struct Io<'a> {
    input: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether a person is there to answer.
    person: bool,
}

impl Io<'_> {
    /// Talk that nobody reads changes nothing.
    fn say(&mut self, line: &str) {
        drop(self.err.write_all(painted(&[line.to_owned()]).as_bytes()).and_then(|()| self.err.flush()));
    }
}

/// Runs the command line of this process.
pub fn main(args: InitArgs, registry: &Registry) -> Exit {
    let person = !args.no_input && io::stdin().is_terminal() && io::stderr().is_terminal();
    let (input, out, err) = (&mut io::stdin().lock(), &mut io::stdout().lock(), &mut anstream::stderr());
    run(args, registry, &mut Io { input, out, err, person })
}

fn run(args: InitArgs, registry: &Registry, io: &mut Io<'_>) -> Exit {
    match wrote(args, registry, io) {
        Ok(()) => Exit::OPEN,
        Err(message) => {
            let heading = if message.starts_with("error: ") { "" } else { "error: " };
            io.say(&format!("{heading}{message}"));
            Exit::USAGE
        }
    }
}

fn wrote(args: InitArgs, registry: &Registry, io: &mut Io<'_>) -> Result<(), String> {
    let (output, force) = (args.output.clone(), args.force);
    // Nobody shall answer questions for nothing.
    if !force && !to_stdout(&output) && output.exists() {
        return Err(taken(&output));
    }
    let asks = io.person && !Answers::given(&args);
    let answers = if asks { Answers::ask(args, io)? } else { Answers::of(args) };
    let page = Page::of(&answers);
    let name = output.display().to_string();
    let config =
        config::parse(&name, page.text.as_bytes(), registry).map_err(|errors| format!("{errors}\nnothing was written"))?;
    save(&output, &page.text, force, io)?;
    let phases: Vec<&str> = config.plan.phases.iter().map(|phase| &*phase.name).collect();
    io.say(&format!("{name}: {} probes in the phases {}", config.probes.len(), phases.join(", ")));
    for warning in &config.warnings {
        io.say(&format!("warning: {warning}"));
    }
    tell_edits(&page, &name, io);
    tell_next(&answers, if to_stdout(&output) { "FILE" } else { &name }, io);
    Ok(())
}

fn tell_edits(page: &Page, name: &str, io: &mut Io<'_>) {
    let edits = page.edits();
    if !edits.is_empty() {
        io.say("edit the lines with example values:");
        for (number, line) in edits {
            io.say(&format!("  {name}:{number}: {line}"));
        }
    }
}

/// What the person does with the document.
fn tell_next(answers: &Answers, file: &str, io: &mut Io<'_>) {
    if answers.agents.assumed && answers.has_canary() {
        io.say(
            "no agent was given: no log line is proven, and no gate on the way of the logs opens, until one runs on each node",
        );
    }
    io.say("then:");
    io.say(&format!("  probe config check {file}"));
    io.say(&format!("  probe check --config.file {file}"));
    if answers.phases.contains(&Phase::Postgres) {
        io.say(&format!("  probe check --config.file {file} k3s-pg-commits   # prints the SQL that makes its table"));
    }
    io.say(&format!("  probe verifier --config.file {file} --state.dir ./state"));
}

fn to_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

fn taken(output: &Path) -> String {
    format!("{} is there already\nhint: name another file with --output, or add --force to replace it", output.display())
}

fn save(output: &Path, text: &str, force: bool, io: &mut Io<'_>) -> Result<(), String> {
    if to_stdout(output) {
        return match io.out.write_all(text.as_bytes()).and_then(|()| io.out.flush()) {
            // A reader that hangs up (`| head`) has what it wants.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let failed = |error: io::Error| {
        let told = format!("{} can not be written: {error}", output.display());
        if error.kind() == io::ErrorKind::AlreadyExists { taken(output) } else { told }
    };
    replace(output, text, force).map_err(failed)
}

/// Either what was there or the whole new file is there, whatever happens in between.
fn replace(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // No secret stands in it, so it is read by whom the umask lets.
    let mut next = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    next.write_all(text.as_bytes())?;
    next.as_file().sync_all()?;
    let there = if force { next.persist(path) } else { next.persist_noclobber(path) };
    there.map(drop).map_err(|error| error.error)
}
