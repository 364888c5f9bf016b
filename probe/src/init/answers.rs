//! What the document is to say: from flags, from answers, and from the example where nobody said anything.

use std::collections::BTreeSet;

use url::Url;

use super::{InitArgs, Io, Phase, name, port, uid, variable, web};

/// A value, and whether it is only an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// As YAML.
    pub(super) text: String,
    /// Nobody gave it.
    pub(super) assumed: bool,
}

/// Everything that the document needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) name: Value,
    pub(super) phases: BTreeSet<Phase>,
    pub(super) agents: Value,
    pub(super) alloy: Value,
    pub(super) docker_loki: Value,
    pub(super) k3s_loki: Value,
    /// None: there is no gateway.
    pub(super) gateway: Option<Value>,
    pub(super) grafana: Value,
    pub(super) grafana_token: Value,
    pub(super) datasource: Value,
    pub(super) old_postgres: Value,
    pub(super) new_postgres: Value,
    /// None: nothing looks whether the old server is gone.
    pub(super) old_address: Option<String>,
}

/// Text as YAML: JSON's form of a string is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A base URL without the slash that the parser adds.
fn address(url: &Url) -> String {
    quoted(url.as_str().strip_suffix('/').filter(|_| url.path() == "/").unwrap_or(url.as_str()))
}

fn list(urls: &[Url]) -> Option<String> {
    let list: Vec<_> = urls.iter().map(address).collect();
    (!list.is_empty()).then(|| format!("[{}]", list.join(", ")))
}

fn variable_ref(name: &str) -> String {
    // A variable may be called `true` or `null`.
    format!("{{env: {}}}", quoted(name))
}

fn or(given: Option<String>, example: &str) -> Value {
    Value { assumed: given.is_none(), text: given.unwrap_or_else(|| example.to_owned()) }
}

impl Answers {
    /// Whether any flag says something about the document, so that nothing is asked.
    pub(super) fn given(args: &InitArgs) -> bool {
        args.name.is_some() || !args.phases.is_empty() || !args.agent.is_empty() || !told(args).is_empty()
    }

    /// What the flags say, and the example's values for the rest.
    pub(super) fn of(args: InitArgs) -> Self {
        let about = told(&args);
        let phases = match (args.phases.as_slice(), about.is_empty()) {
            ([], true) => Phase::ALL.into(),
            ([], false) => about,
            (only, _) => only.iter().copied().collect(),
        };
        let loki_given = args.k3s_loki.is_some();
        let gateway = args.k3s_loki_gateway.as_ref().map(address);
        Self {
            name: or(args.name.as_deref().map(quoted), "homelab"),
            phases,
            agents: or(list(&args.agent), "[\"http://192.0.2.10:9471\"]"),
            alloy: or(list(&args.alloy), "[\"http://192.0.2.10:12345\"]"),
            docker_loki: or(args.docker_loki.as_ref().map(address), "\"http://192.0.2.10:3100\""),
            k3s_loki: or(args.k3s_loki.as_ref().map(address), "\"http://loki.observability.svc:3100\""),
            // Who knows the address of Loki and names no gateway has none.
            gateway: (gateway.is_some() || !loki_given).then(|| or(gateway, "\"http://loki-gateway.observability.svc\"")),
            grafana: or(args.grafana.as_ref().map(address), "\"http://grafana.observability.svc:3000\""),
            grafana_token: or(args.grafana_token_env.as_deref().map(variable_ref), "{file: /var/run/secrets/phasegate/grafana}"),
            datasource: or(args.grafana_datasource.as_deref().map(quoted), "loki"),
            old_postgres: or(args.old_postgres_env.as_deref().map(variable_ref), "{env: PG_OLD_DSN}"),
            new_postgres: or(args.new_postgres_env.as_deref().map(variable_ref), "{file: /var/run/secrets/phasegate/pg-new-dsn}"),
            old_address: args.old_postgres_address.as_deref().map(quoted),
        }
    }

    /// Whether a probe of the document follows the agents' lines.
    pub(super) fn has_canary(&self) -> bool {
        self.phases.iter().any(|phase| *phase != Phase::Postgres)
    }

    /// Asks a person. An empty answer to a phase's first question leaves the phase out; one to another question takes the example.
    pub(super) fn ask(mut args: InitArgs, io: &mut Io<'_>) -> Result<Self, String> {
        io.say("A first document, in up to four phases. An empty answer to a numbered question leaves the phase out.");
        args.name = question(io, "Name of the migration, or empty for homelab", "", name)?;
        args.docker_loki = question(io, "1 alloy: URL of the Loki on Docker", "http://192.0.2.10:3100", web)?;
        if args.docker_loki.is_some() {
            args.phases.push(Phase::Alloy);
            args.alloy =
                question(io, "  URL of each Alloy in k3s, blanks between", "http://192.0.2.10:12345", webs)?.unwrap_or_default();
        }
        args.k3s_loki = question(io, "2 loki: URL of the Loki in k3s", "http://loki.observability.svc:3100", web)?;
        if args.k3s_loki.is_some() {
            args.phases.push(Phase::Loki);
            args.k3s_loki_gateway =
                question(io, "  URL of its gateway, if it has one", "http://loki-gateway.observability.svc", web)?;
        }
        args.grafana = question(io, "3 grafana: URL of the Grafana in k3s", "http://grafana.observability.svc:3000", web)?;
        if args.grafana.is_some() {
            args.phases.push(Phase::Grafana);
            args.grafana_datasource = question(io, "  uid of its datasource for Loki", "loki", uid)?;
            args.grafana_token_env = question(io, "  variable with its token", "GRAFANA_TOKEN", variable)?;
        }
        if !args.phases.is_empty() {
            args.agent =
                question(io, "URL of each probe agent, blanks between", "http://192.0.2.10:9471", webs)?.unwrap_or_default();
        }
        args.new_postgres_env =
            question(io, "4 postgres: variable with the connection string of the new server", "PG_NEW_DSN", variable)?;
        if args.new_postgres_env.is_some() {
            args.phases.push(Phase::Postgres);
            args.old_postgres_env = question(io, "  variable with that of the old server", "PG_OLD_DSN", variable)?;
            args.old_postgres_address =
                question(io, "  host:port of the old server, if nobody may listen there in the end", "192.0.2.10:5432", port)?;
        }
        if args.phases.is_empty() {
            return Err("no phase is left: nothing was written".to_owned());
        }
        Ok(Self::of(args))
    }
}

/// The phases that a flag is about.
fn told(args: &InitArgs) -> BTreeSet<Phase> {
    let alloy = args.docker_loki.is_some() || !args.alloy.is_empty();
    let loki = args.k3s_loki.is_some() || args.k3s_loki_gateway.is_some();
    let grafana = args.grafana.is_some() || args.grafana_datasource.is_some() || args.grafana_token_env.is_some();
    let postgres = args.old_postgres_env.is_some() || args.new_postgres_env.is_some() || args.old_postgres_address.is_some();
    Phase::ALL.into_iter().zip([alloy, loki, grafana, postgres]).filter(|(_, told)| *told).map(|(phase, _)| phase).collect()
}

fn webs(text: &str) -> Result<Vec<Url>, String> {
    text.split_whitespace().map(web).collect()
}

/// One answer; none if it is empty. What can not be taken is asked for again; the end of the input ends it all.
fn question<T>(io: &mut Io<'_>, text: &str, like: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    let like = if like.is_empty() { String::new() } else { format!(" (like {like})") };
    loop {
        drop(write!(io.err, "{text}{like}: ").and_then(|()| io.err.flush()));
        let mut line = String::new();
        let count = io.input.read_line(&mut line).map_err(|error| format!("the answer can not be read: {error}"))?;
        if count == 0 {
            return Err("the answers ended early: nothing was written".to_owned());
        }
        let answer = line.trim();
        if answer.is_empty() {
            return Ok(None);
        }
        match read(answer) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => io.say(&format!("  {error}")),
        }
    }
}
