//! The agent at home on a host and in a cluster: what the files in `deploy/` say of it is what it takes.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use checks::log_path::line::CanaryLine;
use serde_json::Value;
use tests::{Journal, Spec, World, binary, wait_until};

use super::PATIENCE;

const SOCKET: &str = "/run/systemd/journal/socket";
const INSTALLED: &str = "/usr/local/bin/probe-agent";

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// An agent with these arguments, on a port and with a journal of its own, writes and answers at these paths.
async fn lives(args: &[String], node: &str, paths: &[&str]) {
    let world = World::new().unwrap();
    let journal = Journal::start(&world).await.unwrap();
    let socket = journal.socket().to_str().unwrap();
    let listen = format!("127.0.0.1:{}", world.port().unwrap());
    let named = args.iter().any(|arg| arg == SOCKET);
    let own = args.iter().map(|arg| if arg == SOCKET { socket.to_owned() } else { arg.clone() });
    let spec = Spec::new("agent", binary("probe-agent").unwrap()).args(own).args(["--web.listen-address", &listen]);
    let agent = world.start(spec.args(if named { vec![] } else { vec!["--journal.socket", socket] })).unwrap();
    for path in paths {
        let look = async || Ok(world.http().get(format!("http://{listen}{path}")).send().await?.error_for_status()?);
        agent.wait_until(PATIENCE, path, look).await.unwrap();
    }
    let line = wait_until(PATIENCE, "a line in the journal", async || {
        let entries = journal.entries("SYSLOG_IDENTIFIER=system-metrics-canary").await?;
        ensure!(!entries.is_empty());
        Ok(CanaryLine::parse(entries[0]["MESSAGE"].as_str().unwrap_or_default()))
    });
    assert_eq!(line.await.unwrap().map(|line| (line.seq, line.node)), Some((1, node.to_owned())));
}

#[tokio::test]
async fn the_unit_is_one_that_systemd_takes_and_starts_the_agent() {
    let unit = deploy("phasegate-agent.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let args: Vec<_> = command.split(' ').map(|arg| arg.replace("%H", "node-1")).collect();
    assert_eq!(args[0], INSTALLED);
    lives(&args[1..], "node-1", &["/-/ready"]).await;

    let world = World::new().unwrap();
    let here = unit.replace(INSTALLED, &binary("probe-agent").unwrap().display().to_string());
    let file = world.write("phasegate-agent.service", &here).unwrap();
    let verify = Spec::new("verify", "systemd-analyze").args(["verify", "--man=no", file.to_str().unwrap()]);
    let output = world.run(verify, Duration::from_mins(1)).await.unwrap();
    // What it does not know it warns of, and goes on.
    let own: Vec<_> = output.stderr.lines().filter(|line| line.contains("phasegate")).collect();
    assert!(output.code == 0 && own.is_empty(), "{output:?}");
}

#[tokio::test]
async fn the_daemonset_starts_the_agent_and_asks_it_where_it_answers() {
    let set: Value = serde_saphyr::from_str(&deploy("base/agents/daemonset.yaml")).unwrap();
    let pod = &set["spec"]["template"]["spec"];
    let agent = &pod["containers"][0];
    assert_eq!(set["spec"]["selector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
    assert_eq!((&agent["command"][0], agent["env"][0]["name"].as_str()), (&Value::from("probe-agent"), Some("NODE_NAME")));
    let args = agent["args"].as_array().unwrap().iter();
    let args: Vec<_> = args.map(|arg| arg.as_str().unwrap().replace("$(NODE_NAME)", "node-1")).collect();
    let probes = ["readinessProbe", "livenessProbe"].map(|probe| agent[probe]["httpGet"]["path"].as_str().unwrap());
    lives(&args, "node-1", &probes).await;

    // The port that it listens on by itself, and the folder of the socket that it is given.
    assert_eq!(agent["ports"][0]["containerPort"], 9471);
    let folder = pod["volumes"][0]["hostPath"]["path"].as_str().unwrap();
    assert_eq!(agent["volumeMounts"][0]["mountPath"], folder);
    assert!(args.iter().any(|arg| arg == SOCKET) && Path::new(SOCKET).parent() == Some(Path::new(folder)));
}
