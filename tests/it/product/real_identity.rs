//! Operators by the identities of a real cluster: who may, under which name, and what is said to whoever may not.

mod cluster;
mod rights;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};
use tests::hostile::Habit;
use tests::{Hostile, Kubernetes, Output, Process, Role, Spec, Verifier, World, binary, wait_until};
use tokio::net::TcpListener;

use super::{AT_ONCE, PATIENCE, QUICK, migration};

/// Where the verifier lives, and the name of its service account there and of its Service.
const NAMESPACE: &str = "phasegate";
const NAME: &str = "phasegate-verifier";
/// For how long an answer of the API server may count.
const SOON: Duration = Duration::from_secs(10);
/// For how long the API server itself vouches for an account that is gone, and what that counts here.
const GONE: Duration = Duration::from_secs(25);
/// A token of the verifier's own file.
const OF_FILE: &str = "anna-of-the-token-file";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

/// A cluster with everything that `deploy/` makes for identities, and a verifier in the place of its pod.
struct Bench {
    world: World,
    cluster: Kubernetes,
    verifier: Arc<Process>,
    address: String,
    url: String,
    /// What the gate looks at: shut when it is taken.
    target: Option<TcpListener>,
}

impl Bench {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let cluster = Kubernetes::start(&world).await.unwrap();
        let namespaces =
            ["phasegate", "ci"].map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        let account = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
        let accounts = [account(NAMESPACE, NAME), account("ci", "runner")];
        let items: Vec<_> = namespaces.into_iter().chain(accounts).collect();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await.unwrap();
        for file in ["verifier", "roles", "accounts"] {
            let file = deploy(&format!("components/kubernetes-auth/{file}.yaml")).display().to_string();
            assert_eq!(cluster.kubectl(&["apply", "-f", &file]).await.unwrap().code, 0);
        }
        let kubeconfig = cluster.kubeconfig_for_service_account(NAMESPACE, NAME).await.unwrap();
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bench = Self::with(world, cluster, &kubeconfig, target).await;
        bench.pod().await;
        bench.publish(Some(&bench.address)).await;
        bench
    }

    async fn with(world: World, cluster: Kubernetes, kubeconfig: &Path, target: TcpListener) -> Self {
        let address = format!("{}:{}", Kubernetes::outward().unwrap(), world.port().unwrap());
        let probe = format!("{{name: new-side, check: {{tcp: {{address: \"{}\"}}}}}}", target.local_addr().unwrap());
        let document = world.write("migration.yaml", &migration(QUICK, "{}", AT_ONCE, &[&probe])).unwrap();
        let tokens = world.write("tokens", &format!("anna operate {OF_FILE}\n")).unwrap();
        let state = world.dir().join("state");
        let spec = Spec::new("verifier", binary("probe").unwrap())
            .args(["verifier", "--web.kubernetes.auth", "--kubernetes.namespace", NAMESPACE, "--web.listen-address", &address])
            .args([
                "--config.file".to_owned(),
                document.display().to_string(),
                "--state.dir".to_owned(),
                state.display().to_string(),
            ])
            .args(["--web.token.file".to_owned(), tokens.display().to_string()])
            .env("KUBECONFIG", kubeconfig.display().to_string());
        let verifier = world.start(spec).unwrap();
        let url = format!("http://{address}");
        let bench = Self { world, cluster, verifier, address, url, target: Some(target) };
        let ready = async || Ok(bench.world.http().get(format!("{}/-/ready", bench.url)).send().await?.error_for_status()?);
        bench.verifier.wait_until(PATIENCE, "the verifier is ready", ready).await.unwrap();
        bench
    }

    /// The pod in whose place the verifier is: the API server leads to no other address than that of a pod.
    async fn pod(&self) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"serviceAccountName": NAME, "automountServiceAccountToken": false, "containers": [{"name": "main", "image": "main"}]}});
        self.cluster.apply(&pod.to_string()).await.unwrap();
        let ip = Kubernetes::outward().unwrap();
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}).to_string();
        let patch = ["patch", "pod", NAME, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", &status];
        let patched = self.cluster.kubectl(&patch).await.unwrap();
        assert_eq!(patched.code, 0, "{patched:?}");
    }

    /// The Service of `deploy/`, leading to this address or to nobody. Without controllers nobody else makes its endpoints.
    async fn publish(&self, to: Option<&str>) {
        let metadata = json!({"name": NAME, "namespace": NAMESPACE});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"name": "http", "port": 9470}]}});
        let slice = to.and_then(|to| to.split_once(':')).map(|(ip, port)| {
            let pod = json!({"kind": "Pod", "name": NAME, "namespace": NAMESPACE});
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
                "endpoints": [{"addresses": [ip], "conditions": {"ready": true}, "targetRef": pod}],
                "ports": [{"name": "http", "port": port.parse::<u16>().unwrap(), "protocol": "TCP"}]})
        });
        let gone = self.cluster.kubectl(&["delete", "endpointslice", NAME, "-n", NAMESPACE, "--ignore-not-found"]).await.unwrap();
        assert_eq!(gone.code, 0, "{gone:?}");
        let items: Vec<_> = [service].into_iter().chain(slice).collect();
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await.unwrap();
    }

    /// Records a fact, and says how that was answered.
    async fn records(&self, token: &str, fact: &str) -> (u16, Value) {
        self.asks(token, Method::PUT, &format!("/v1/facts/{fact}")).await
    }

    async fn asks(&self, token: &str, method: Method, path: &str) -> (u16, Value) {
        let request = self.world.http().request(method.clone(), format!("{}{path}", self.url)).bearer_auth(token);
        let request = if method == Method::GET { request } else { request.json(&json!(1)) };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Who did something, by the audit trail.
    async fn actors(&self) -> Vec<String> {
        let url = format!("{}/v1/audit?limit=1000", self.url);
        let text = self.world.http().get(url).send().await.unwrap().text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        collect(&body, &mut found);
        found
    }

    async fn kubectl(&self, line: &str) -> Output {
        let words: Vec<&str> = line.strip_prefix("kubectl ").unwrap().split(' ').collect();
        let done = self.cluster.kubectl(&words).await.unwrap();
        assert_eq!(done.code, 0, "{line}: {done:?}");
        done
    }
}

/// All that is called `by`, wherever it stands.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("by").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The command in the first pair of backticks.
fn command(hint: &Value) -> String {
    hint.as_str().unwrap().split('`').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_real_identity_operates_under_its_name_and_without_the_right_is_told_which_is_missing() {
    let bench = Bench::start().await;
    let runner = bench.cluster.token_for("ci", "runner", Some("phasegate")).await.unwrap();
    let (status, refused) = bench.records(&runner, "a").await;
    assert_eq!((status, &refused["code"]), (403, &json!("role")), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("system:serviceaccount:ci:runner to operate"), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("resourceNames: [product], verbs: [operate]"), "{refused}");
    assert_eq!(bench.asks(&runner, Method::GET, "/v1/token").await.1["covers"], json!(["read"]));

    // What it says is what has to be typed.
    bench.kubectl(&command(&refused["hint"])).await;
    let operates = async |token: &str, expected: u16| {
        wait_until(if expected == 401 { GONE } else { SOON }, "the right counts", async || {
            let (status, body) = bench.records(token, "a").await;
            ensure!(status == expected, "{status}: {body}");
            Ok(())
        })
        .await
        .unwrap();
    };
    operates(&runner, 200).await;
    assert!(bench.actors().await.contains(&"kubernetes:system:serviceaccount:ci:runner".to_owned()));
    let (_, whoami) = bench.asks(&runner, Method::GET, "/v1/token").await;
    let name = "kubernetes:system:serviceaccount:ci:runner";
    assert_eq!(whoami, json!({"name": name, "role": "operate", "covers": ["read", "heartbeat", "operate"]}));

    // A token for the API server itself is one as well, one for somebody else is none.
    let own = bench.cluster.token("ci", "runner").await.unwrap();
    assert_eq!(bench.records(&own, "b").await.0, 200);
    let vault = bench.cluster.token_for("ci", "runner", Some("vault")).await.unwrap();
    let (status, refused) = bench.records(&vault, "c").await;
    assert_eq!((status, &refused["code"]), (401, &json!("token_invalid")), "{refused}");
    // A user of the cluster and a token of the file are two, whatever they are called.
    assert_eq!(bench.records(OF_FILE, "c").await.0, 200);
    assert_eq!(bench.records(bench.cluster.admin_token(), "d").await.0, 200);
    let actors = bench.actors().await;
    assert!(["anna", "kubernetes:admin"].iter().all(|name| actors.iter().any(|actor| actor == name)), "{actors:?}");

    // Who approves does not operate, and the other way round.
    let approver = bench.cluster.token_for(NAMESPACE, "phasegate-approver", Some("phasegate")).await.unwrap();
    let (status, refused) = bench.records(&approver, "e").await;
    assert_eq!(status, 403, "{refused}");
    assert_eq!(bench.asks(&approver, Method::GET, "/v1/token").await.1["covers"], json!(["read", "approve"]));

    // A wrong token is asked about once, however often it comes.
    let user = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
    let asked = || bench.cluster.asked(&user, "create", "tokenreviews.authentication.k8s.io").unwrap();
    let before = asked();
    for _ in 0..20 {
        assert_eq!(bench.records("a-guess-of-somebody", "f").await.0, 401);
    }
    let more = asked() - before;
    assert!(more <= 6, "{more} reviews of the same token");

    // What was taken away does not count for long.
    bench.kubectl("kubectl delete rolebinding runner-phasegate-operator -n phasegate").await;
    operates(&runner, 403).await;
    operates(&own, 403).await;
    bench.kubectl("kubectl delete serviceaccount runner -n ci").await;
    operates(&runner, 401).await;
    let log = bench.verifier.log();
    for token in [&runner, &own, &approver] {
        assert!(!log.contains(&token[token.len() - 40..]), "a token is in the log: {log}");
    }
}

#[tokio::test]
async fn nobody_is_allowed_anything_while_the_real_api_server_says_nothing_or_nonsense() {
    let bench = Bench::start().await;
    let token = bench.cluster.token_for(NAMESPACE, "phasegate-operator", Some("phasegate")).await.unwrap();
    assert_eq!(bench.records(&token, "a").await.0, 200);
    let before = bench.actors().await;
    bench.cluster.freeze().await.unwrap();
    // What was known counts for its seconds, and then nothing does.
    let unknown = wait_until(SOON * 2, "nobody knows", async || {
        let (status, body) = bench.asks(&token, Method::POST, "/-/reload").await;
        ensure!(status == 503, "{status}: {body}");
        Ok(body)
    });
    let unknown = unknown.await.unwrap();
    assert_eq!(unknown["code"], "unknown_identity", "{unknown}");
    assert!(unknown["hint"].as_str().unwrap().contains("kubectl get --raw /readyz"), "{unknown}");
    assert_eq!(bench.asks(&token, Method::GET, "/v1/token").await.0, 503);
    let status = bench.world.http().get(format!("{}/v1/status", bench.url)).send().await.unwrap().status();
    assert_eq!(status.as_u16(), 200, "to look needs nobody");
    assert_eq!(bench.actors().await, before, "nothing happened");
    assert_eq!(bench.records(OF_FILE, "b").await.0, 200, "the token file needs no API server");
    bench.cluster.thaw();
    wait_until(PATIENCE, "it counts again", async || {
        let (status, body) = bench.records(&token, "c").await;
        ensure!(status == 200, "{status}: {body}");
        Ok(())
    })
    .await
    .unwrap();

    for habit in
        [Habit::Html, Habit::Silent, Habit::Reset, Habit::Endless, Habit::Truncated, Habit::Status(200), Habit::Status(500)]
    {
        let hostile = Hostile::start(habit).await.unwrap();
        let world = World::new().unwrap();
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": hostile.url()}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "users": [{"name": "a", "user": {"token": "x"}}]});
        let kubeconfig = world.write("kubeconfig", &kubeconfig.to_string()).unwrap();
        let document = migration(QUICK, "{}", AT_ONCE, &["{name: new-side, check: {tcp: {address: \"127.0.0.1:1\"}}}"]);
        let verifier = Verifier::start_asking(&world, &document, &kubeconfig).await.unwrap();
        for token in ["a-token-of-anybody", "another-token-of-anybody"] {
            let request = world.http().put(format!("{}/v1/facts/a", verifier.url())).bearer_auth(token).json(&json!(1));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 503, "{habit:?}: {}", answer.text().await.unwrap());
        }
        let own = verifier.request(Method::PUT, "/v1/facts/a", Some(Role::Operate), Some(&json!(1))).await.unwrap();
        assert_eq!(own.status, 200, "the file's tokens count: {}", own.body);
    }
}
