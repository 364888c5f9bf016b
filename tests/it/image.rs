//! The image of `deploy/Dockerfile`, as far as it can be judged without a container engine: what it copies is there and is enough, and what it
//! starts is what the manifests call.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// The instructions of each stage, in their order.
fn stages() -> Vec<Vec<(String, String)>> {
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for line in read("deploy/Dockerfile").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push((word.to_owned(), rest.to_owned()));
    }
    stages
}

fn all<'a>(stage: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    stage.iter().filter(|(one, _)| one == word).map(|(_, rest)| rest.as_str()).collect()
}

/// What the first stage copies, from the top of the repository.
fn copied(stage: &[(String, String)]) -> BTreeSet<&str> {
    all(stage, "COPY").into_iter().flat_map(|rest| rest.split(' ').rev().skip(1)).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_image_is_built_from_what_is_copied() {
    let stages = stages();
    let [build, _] = stages.as_slice() else { panic!("{} stages", stages.len()) };
    let copied = copied(build);
    let sent = read("deploy/Dockerfile.dockerignore");
    for path in &copied {
        assert!(root().join(path).exists() && sent.lines().any(|line| line == format!("!{path}")), "{path}");
    }
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")?.strip_suffix(']')).unwrap();
    let members = members.split(", ").map(|member| member.trim_matches('"'));
    for member in members.chain(["Cargo.toml", "Cargo.lock"]) {
        assert!(copied.contains(member), "{member} is not copied");
    }
    // What the sources take in from elsewhere.
    let included = Regex::new(r#"include_(?:str|bytes)!\("([^"]+)"\)"#).unwrap();
    let mut files = Vec::new();
    for folder in ["checks/src", "probe/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut seen = 0;
    for file in files {
        for (_, [path]) in included.captures_iter(&fs::read_to_string(&file).unwrap()).map(|found| found.extract()) {
            let path = fs::canonicalize(file.parent().unwrap().join(path)).unwrap();
            let inside = path.strip_prefix(root()).unwrap().components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            assert!(copied.contains(inside.as_str()), "{} takes in {}", file.display(), path.display());
            seen += 1;
        }
    }
    assert!(seen > 0);
    // By the compiler that the workspace asks for, and linked with the C library that it will find.
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(all(build, "FROM"), [format!("rust:{version}-bookworm AS build")]);
    assert_eq!(all(build, "RUN"), ["cargo build --release --locked -p probe --bins"]);
}

#[test]
fn the_image_starts_what_the_manifests_call() {
    let stages = stages();
    let last = stages.last().unwrap();
    assert_eq!(all(last, "FROM"), ["gcr.io/distroless/cc-debian12:nonroot"], "no shell, and bookworm's C library");
    assert!(all(last, "RUN").is_empty() && all(last, "ENV").is_empty(), "there is no shell to run anything");

    let copy = all(last, "COPY").concat();
    let words: Vec<_> = copy.split(' ').collect();
    let [from, binaries @ .., to] = words.as_slice() else { panic!("{copy}") };
    assert_eq!((*from, *to), ("--from=build", "/usr/local/bin/"), "on the PATH");
    let binaries: BTreeSet<_> = binaries.iter().map(|path| path.strip_prefix("/src/target/release/").unwrap()).collect();
    let manifest = read("probe/Cargo.toml");
    let named: BTreeSet<_> = manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(binaries, named);

    let deployment = yaml("deploy/base/verifier/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    let verifier = &pod["containers"][0];
    assert_eq!(all(last, "ENTRYPOINT"), [r#"["/usr/local/bin/probe"]"#]);
    assert!(verifier.get("command").is_none() && verifier["args"][0] == "verifier");
    let user = pod["securityContext"]["runAsUser"].as_u64().unwrap();
    assert_eq!(all(last, "USER"), [format!("{user}:{}", pod["securityContext"]["runAsGroup"])]);
    assert!(user >= 1000);
    let set = yaml("deploy/base/agents/daemonset.yaml");
    let agent = &set["spec"]["template"]["spec"]["containers"][0];
    assert!(binaries.contains(agent["command"][0].as_str().unwrap()));
    let exposed =
        [&verifier["ports"][0]["containerPort"], &agent["ports"][0]["containerPort"]].map(ToString::to_string).join(" ");
    assert_eq!(all(last, "EXPOSE"), [exposed]);

    // One image under one name, which the base can replace.
    let base = yaml("deploy/base/kustomization.yaml");
    for container in [verifier, agent] {
        assert_eq!(container["image"], base["images"][0]["name"]);
    }
}

/// The operator's kinds are not in the cluster of the tests: their shape is held against what its API says of the fields that are used.
#[test]
fn the_monitors_find_what_is_there() {
    let service = yaml("deploy/base/verifier/service.yaml");
    let set = yaml("deploy/base/agents/daemonset.yaml");
    let [monitor, pods] = ["verifier", "agents"].map(|name| yaml(&format!("deploy/components/prometheus-operator/{name}.yaml")));
    for (object, kind, endpoints) in [(&monitor, "ServiceMonitor", "endpoints"), (&pods, "PodMonitor", "podMetricsEndpoints")] {
        assert_eq!((&object["apiVersion"], &object["kind"]), (&"monitoring.coreos.com/v1".into(), &kind.into()));
        let keys: BTreeSet<_> = object["spec"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["selector", endpoints]));
        let endpoint = object["spec"][endpoints][0].as_object().unwrap();
        let keys: BTreeSet<_> = endpoint.keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["interval", "path", "port", "scrapeTimeout"]));
        assert_eq!(endpoint["path"], "/metrics");
    }
    // A service by its own labels, pods by theirs; ports by their names.
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let template = &set["spec"]["template"];
    assert_eq!(pods["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]);
    assert_eq!(pods["spec"]["podMetricsEndpoints"][0]["port"], template["spec"]["containers"][0]["ports"][0]["name"]);
}
