//! A Kubernetes cluster, 1.37.2: etcd, the real API server, the real controllers and the real scheduler; only nodes and what runs on
//! them are fake (KWOK).

mod audit;
mod identity;
mod programs;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::process::{Output, Process, Spec};
use crate::server::Server;
use crate::stack;
use crate::wait::wait_until;
use crate::world::{Supervisor, World};

pub use audit::Request;
use identity::Identity;

const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_secs(30);
const CONTROLLERS: Duration = Duration::from_mins(2);
const NODES: Duration = Duration::from_mins(1);
/// How long one `kubectl` may take, whatever its `--timeout` says.
const KUBECTL: Duration = Duration::from_mins(2);
/// How long a service account's token is valid.
const TOKEN_SECONDS: u64 = 3600;

/// A real cluster, set up as k3s does: RBAC, no anonymous access, its pod and service networks, Pod Security and quotas in force.
///
/// As a [`Server`] it is its API server, and what it asks for there (`get`) it asks for as the cluster's admin. [`Server::kill`] and
/// [`Server::start_again`] keep port and data; in front of it a [`FaultProxy`](crate::FaultProxy) on [`Server::authority`] will do, since
/// the certificate holds for each port: [`Kubernetes::kubeconfig_at`].
#[derive(Debug)]
pub struct Kubernetes {
    server: Server,
    etcd: Server,
    controllers: Vec<Arc<Process>>,
    folder: PathBuf,
    identity: Identity,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    manifests: AtomicU16,
    supervisor: Arc<Supervisor>,
}

impl Deref for Kubernetes {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Kubernetes {
    /// Starts an empty one: etcd and API server. Objects can be made, watched and deleted, and nobody does anything about them.
    ///
    /// # Errors
    /// A part can not be built or started, or is not ready within two minutes.
    pub async fn start(world: &World) -> Result<Self> {
        let [etcd, apiserver, kubectl] =
            [stack::binary("etcd").await?, stack::binary("kube-apiserver").await?, stack::binary("kubectl").await?];
        let supervisor = world.supervisor();
        let folder = world.folder("kubernetes")?;
        std::fs::write(folder.join("audit-policy.json"), audit::POLICY)?;
        let identity = Identity::make(&supervisor, folder.join("identity")).await?;

        let (client, peer, port) = (world.port()?, world.port()?, world.port()?);
        let spec = programs::etcd(etcd, &folder.join("etcd"), client, peer);
        let etcd = Server::new(world, spec, client, "/health", (START, STOP));
        let authority = format!("127.0.0.1:{port}");
        let spec = programs::apiserver(apiserver, &folder, &identity, etcd.url(), port);
        let url = format!("https://{authority}");
        let server = Server::at(world, spec, url, admin(&identity.ca())?, "/readyz", (START, STOP));
        let kubeconfig = identity.kubeconfig("admin", &authority, identity::ADMIN)?;
        let controllers = Vec::new();
        let manifests = AtomicU16::new(0);
        let cluster = Self { server, etcd, controllers, folder, identity, kubeconfig, kubectl, manifests, supervisor };
        cluster.etcd.start_again().await?;
        cluster.server.start_again().await?;
        Ok(cluster)
    }

    /// Starts the controllers, the scheduler and the fake kubelets as well: deployments get pods, pods get nodes and become ready, unless
    /// they have the label `tests.phasegate.dev/pod: crashes` or `unready`. Returns when pods can be made in the namespace `default`.
    ///
    /// # Errors
    /// A part can not be built or started, or the controllers do nothing within two minutes.
    pub async fn with_controllers(mut self) -> Result<Self> {
        self.controllers = programs::controllers(&self.supervisor, &self.folder, &self.identity, self.authority()).await?;
        self.start_controllers().await?;
        Ok(self)
    }

    async fn start_controllers(&self) -> Result<()> {
        for process in &self.controllers {
            process.start()?;
        }
        // What a pod needs before it can be made there.
        for path in
            ["/api/v1/namespaces/default/serviceaccounts/default", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"]
        {
            for process in &self.controllers {
                process.wait_until(CONTROLLERS, "the controllers work", async || self.object(path).await.map(drop)).await?;
            }
        }
        Ok(())
    }

    /// Adds fake nodes `node-1` to `node-N` with the addresses `127.0.0.1` to `127.0.0.N`, and returns when they are ready: see
    /// [`Kubernetes::add_nodes`].
    ///
    /// # Errors
    /// The API server refuses, or they are not ready within a minute (is it [`Kubernetes::with_controllers`]?).
    pub async fn nodes(&self, count: u8) -> Result<()> {
        let nodes: Vec<_> = (1..=count).map(|number| (format!("node-{number}"), Ipv4Addr::new(127, 0, 0, number))).collect();
        self.add_nodes(&nodes).await
    }

    /// Adds fake nodes of these names and addresses, and returns when they are ready. A node's address is that of its pods with
    /// `hostNetwork`: a real server that listens there is in the pod's place. Services lead to no loopback address, but to any other
    /// one of this machine.
    ///
    /// # Errors
    /// The API server refuses, or they are not ready within a minute (is it [`Kubernetes::with_controllers`]?).
    pub async fn add_nodes(&self, nodes: &[(String, Ipv4Addr)]) -> Result<()> {
        let items: Vec<Value> = nodes.iter().map(|(name, address)| node(name, *address)).collect();
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await?;
        wait_until(NODES, "the nodes are ready", async || {
            for (name, _) in nodes {
                let seen = self.object(&format!("/api/v1/nodes/{name}")).await?;
                ensure!(condition(&seen, "Ready") == Some("True"), "{name} is not ready");
            }
            Ok(())
        })
        .await
    }

    /// Tells the cluster what the objects of this `CustomResourceDefinition` are, and returns what `kubectl apply` said once it knows.
    ///
    /// # Errors
    /// The API server refuses, or does not know them within half a minute.
    pub async fn define(&self, definition: &str) -> Result<Output> {
        let file = self.folder.join("definition.yaml");
        std::fs::write(&file, definition)?;
        let file = file.display().to_string();
        let applied = self.kubectl(&["apply", "--server-side", "-f", &file]).await?;
        ensure!(applied.code == 0, "{applied:?}");
        let known = self.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &file]).await?;
        ensure!(known.code == 0, "{known:?}");
        Ok(applied)
    }

    /// The kubeconfig of the cluster's admin.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The file with the certificate of its authority.
    pub fn ca(&self) -> PathBuf {
        self.identity.ca()
    }

    /// The folder with its data, logs and certificates.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its etcd.
    pub fn etcd(&self) -> &Server {
        &self.etcd
    }

    /// `kube-controller-manager`, `kube-scheduler` or `kwok`, to be frozen: then nobody looks at new generations, no pod gets a node, or
    /// what becomes of pods and nodes is not told.
    ///
    /// # Errors
    /// There is none of that name (is it [`Kubernetes::with_controllers`]?).
    pub fn part(&self, name: &str) -> Result<&Process> {
        let part = self.controllers.iter().find(|process| process.name() == name);
        part.map(Arc::as_ref).with_context(|| format!("{name} is not started here"))
    }

    /// A kubeconfig for whoever has this token, that reaches the API server through `HOST:PORT`; `name` is what the file is called.
    ///
    /// # Errors
    /// It can not be written.
    pub fn kubeconfig_at(&self, name: &str, authority: &str, token: &str) -> Result<PathBuf> {
        self.identity.kubeconfig(name, authority, token)
    }

    /// The same for a user who logs in by a certificate, and has no token.
    ///
    /// # Errors
    /// openssl fails, or it can not be written.
    pub async fn kubeconfig_by_certificate(&self, user: &str) -> Result<PathBuf> {
        self.identity.certified(&self.supervisor, user, self.authority()).await
    }

    /// An address of this machine that is not loopback: the API server leads no service to a loopback address.
    ///
    /// # Errors
    /// There is none.
    pub fn outward() -> Result<Ipv4Addr> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // Nothing is sent: the kernel only chooses a way.
        socket.connect("198.51.100.1:9")?;
        match socket.local_addr()?.ip() {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(address) => anyhow::bail!("{address} is no IPv4 address"),
        }
    }

    /// The admin's token.
    pub fn admin_token(&self) -> &'static str {
        identity::ADMIN
    }

    /// A token of a service account as a pod gets it, valid for an hour.
    ///
    /// # Errors
    /// The API server refuses; there may be no such service account.
    pub async fn token(&self, namespace: &str, name: &str) -> Result<String> {
        self.token_for(namespace, name, None).await
    }

    /// The same for another audience than the API server.
    ///
    /// # Errors
    /// As for [`Kubernetes::token`].
    pub async fn token_for(&self, namespace: &str, name: &str, audience: Option<&str>) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS, "audiences": audience.map(|audience| [audience])}});
        let answer = self.call(identity::ADMIN, Method::POST, &path, Some(&request)).await?;
        ensure!(answer.status == 201, "no token ({}): {}", answer.status, answer.body.trim());
        let made = answer.json()?;
        made.pointer("/status/token").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no token in {made}"))
    }

    /// A kubeconfig with such a token.
    ///
    /// # Errors
    /// As for [`Kubernetes::token`], or it can not be written.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.token(namespace, name).await?;
        self.kubeconfig_at(&format!("{namespace}-{name}"), self.authority(), &token)
    }

    /// Any call of the API as whoever has this token; the answer, whatever it is.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = self.http().request(method, format!("{}{path}", self.url())).bearer_auth(token);
        Answer::to(body.into_iter().fold(request, RequestBuilder::json)).await
    }

    /// The object, or list, at this path of the API, read by the admin.
    ///
    /// # Errors
    /// There is no answer, or another than 200; the error holds its words.
    pub async fn object(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        ensure!(answer.status == 200, "{path} ({}): {}", answer.status, answer.body.trim());
        answer.json()
    }

    /// Runs `kubectl` as the admin, at most for two minutes.
    ///
    /// # Errors
    /// It can not be run, or does not end (it is killed then). That it fails is its exit code.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(&self.kubeconfig, args).await
    }

    /// The same with another kubeconfig.
    ///
    /// # Errors
    /// As for [`Kubernetes::kubectl`].
    pub async fn kubectl_with(&self, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
        let spec =
            Spec::new("kubectl", &self.kubectl).arg(format!("--kubeconfig={}", kubeconfig.display())).args(args.iter().copied());
        self.supervisor.adopt(spec).run(KUBECTL).await
    }

    /// The program, for what runs it by itself.
    pub fn kubectl_binary(&self) -> &Path {
        &self.kubectl
    }

    /// `kubectl apply` of these documents.
    ///
    /// # Errors
    /// It fails; the error holds its words.
    pub async fn apply(&self, documents: &str) -> Result<()> {
        let number = self.manifests.fetch_add(1, Ordering::Relaxed);
        let file = self.folder.join(format!("manifests-{number}.yaml"));
        std::fs::write(&file, documents)?;
        let applied = self.kubectl(&["apply", "-f", &file.display().to_string()]).await?;
        ensure!(applied.code == 0, "kubectl apply failed ({}): {}{}", applied.code, applied.stdout, applied.stderr);
        Ok(())
    }

    /// All that it knows is gone, as after the loss of the server's disk: everything is killed and started again on nothing, but with
    /// the same port, certificates and keys. Nodes have to be made anew.
    ///
    /// # Errors
    /// Something does not end, or is not ready again in time.
    pub async fn empty(&self) -> Result<()> {
        try_join_all(self.controllers.iter().map(|process| process.kill())).await?;
        self.server.kill().await?;
        self.etcd.kill().await?;
        std::fs::remove_dir_all(self.folder.join("etcd"))?;
        self.etcd.start_again().await?;
        self.server.start_again().await?;
        self.start_controllers().await
    }

    /// What the API server was asked so far, by whom. The last requests may be missing for a moment.
    ///
    /// # Errors
    /// Its audit log can not be read.
    pub fn requests(&self) -> Result<Vec<Request>> {
        audit::read(&self.folder.join("audit.log"))
    }

    /// How often this user asked this (`list`, `pods`; `patch`, `deployments.apps/scale`).
    ///
    /// # Errors
    /// As for [`Kubernetes::requests`].
    pub fn asked(&self, user: &str, verb: &str, resource: &str) -> Result<usize> {
        let same = |one: &&Request| one.user == user && one.verb == verb && one.resource == resource;
        Ok(self.requests()?.iter().filter(same).count())
    }
}

/// A client that trusts only this authority, and is the admin unless told otherwise.
fn admin(ca: &Path) -> Result<reqwest::Client> {
    let ca = Certificate::from_pem(&std::fs::read(ca)?)?;
    let token = HeaderValue::from_str(&format!("Bearer {}", identity::ADMIN))?;
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, token)]))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(Duration::from_secs(30));
    Ok(client.build()?)
}

fn node(name: &str, address: Ipv4Addr) -> Value {
    let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let addresses = json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": room, "capacity": room, "addresses": addresses},
    })
}

/// The status of an object's condition.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?.get("status")?.as_str()
}
