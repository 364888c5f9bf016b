//! The new side's objects in a real control plane: what `kubectl` makes there, its controllers roll out, and the verifier watches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Kubernetes, Output, World, wait_until};

use crate::screen::Screen;

/// Of the verifier's service account, and of the Migration.
pub(crate) const NAMESPACE: &str = "phasegate";
/// Of the Migration.
pub(crate) const NAME: &str = "homelab";
/// The node that everything runs on; a pod with the node's network has its address.
const NODE: &str = "homelab";
const ROLLOUT: Duration = Duration::from_mins(2);

/// What is made where, in the order in which it is made.
const BEFORE: &str = include_str!("cluster/before.yaml");
const ALLOY: &str = include_str!("cluster/alloy.yaml");
const LOKI: &str = include_str!("cluster/loki.yaml");
const GRAFANA: &str = include_str!("cluster/grafana.yaml");
const POSTGRES: &str = include_str!("cluster/postgres.yaml");

/// A part of the new side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Alloy,
    Loki,
    Grafana,
    Postgres,
}

impl Part {
    const fn manifest(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Alloy => ("alloy.yaml", ALLOY, "daemonset/alloy"),
            Self::Loki => ("loki.yaml", LOKI, "statefulset/loki"),
            Self::Grafana => ("grafana.yaml", GRAFANA, "deployment/grafana"),
            Self::Postgres => ("postgres.yaml", POSTGRES, "statefulset/postgresql"),
        }
    }
}

/// The control plane, with what `deploy/` needs there.
pub(crate) struct Cluster {
    kubernetes: Kubernetes,
    folder: PathBuf,
}

impl Cluster {
    pub(crate) async fn start(world: &World) -> Result<Self> {
        Screen::say(
            "control plane: real etcd, API server, controllers and scheduler; the node and its kubelet are KWOK's, so pods are objects, and \
             what runs in them runs beside it",
        );
        let kubernetes = Kubernetes::start(world).await?.with_controllers().await?;
        kubernetes.add_nodes(&[(NODE.to_owned(), std::net::Ipv4Addr::LOCALHOST)]).await?;
        let folder = world.dir().join("manifests");
        std::fs::create_dir_all(&folder)?;
        let cluster = Self { kubernetes, folder };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no parent")?.join("deploy");
        let of = |path: &str| deploy.join(path).display().to_string();
        cluster.shown(&["apply", "-f", &of("base/crd.yaml")], "kubectl apply -f deploy/base/crd.yaml").await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "-f", &of("base/crd.yaml")]).await?;
        cluster.shown(&["apply", "-k", &of("overlays/minimal")], "kubectl apply -k deploy/overlays/minimal").await?;
        cluster.kubernetes.apply(BEFORE).await?;
        let rights = of("components/cluster-checks/rights.yaml");
        cluster.shown(&["apply", "-f", &rights], "kubectl apply -f deploy/components/cluster-checks/rights.yaml").await?;
        Ok(cluster)
    }

    /// With the rights that `deploy/` gives the verifier, and no others.
    pub(crate) async fn kubeconfig(&self) -> Result<PathBuf> {
        self.kubernetes.kubeconfig_for_service_account(NAMESPACE, "phasegate-verifier").await
    }

    /// `kubectl apply` of the Migration.
    pub(crate) async fn migrate(&self, file: &Path) -> Result<()> {
        let file = file.display().to_string();
        self.shown(&["apply", "-n", NAMESPACE, "-f", &file], "kubectl apply -n phasegate -f migration.yaml").await.map(drop)
    }

    /// `kubectl apply`, and waits for the rollout. Says what was made.
    pub(crate) async fn apply(&self, part: Part) -> Result<String> {
        let (name, text, workload) = part.manifest();
        let file = self.folder.join(name);
        std::fs::write(&file, text)?;
        self.kubectl(&["apply", "-f", &file.display().to_string()]).await?;
        self.kubectl(&["rollout", "status", workload, "-n", "observability", "--timeout=90s"]).await?;
        Ok(format!("{workload} is rolled out"))
    }

    /// `kubectl delete`, and waits until its pods are gone.
    pub(crate) async fn delete(&self, part: Part) -> Result<()> {
        let (name, _, _) = part.manifest();
        let file = self.folder.join(name).display().to_string();
        self.kubectl(&["delete", "--ignore-not-found", "--cascade=foreground", "--timeout=60s", "-f", &file]).await.map(drop)
    }

    /// `kubectl scale` of the new Loki.
    pub(crate) async fn scale_loki(&self, replicas: &str) -> Result<()> {
        let line = format!("scale statefulset loki -n observability --replicas={replicas}");
        let words: Vec<&str> = line.split(' ').collect();
        self.shown(&words, &format!("kubectl {line}")).await.map(drop)
    }

    /// `kubectl wait` for a condition of the Migration, on the screen.
    pub(crate) async fn waits(&self, condition: &str, patience: Duration) -> Result<()> {
        let (resource, until) = (format!("migration/{NAME}"), format!("--for=condition={condition}"));
        let timeout = format!("--timeout={}s", patience.as_secs());
        let words = ["wait", "-n", NAMESPACE, &resource, &until, &timeout];
        self.shown(&words, &format!("kubectl {}", words.join(" "))).await.map(drop)
    }

    /// What `kubectl` shows of the Migration, once that says this.
    pub(crate) async fn shows(&self, what: &str) -> Result<()> {
        let words = ["get", "migration", NAME, "-n", NAMESPACE];
        let said = wait_until(ROLLOUT, &format!("`kubectl get migration` says {what}"), async || {
            let said = self.kubectl(&words).await?;
            ensure!(said.stdout.contains(what), "{}", said.stdout);
            Ok(said)
        })
        .await?;
        Screen::command(&format!("kubectl {}", words.join(" ")), &said);
        Ok(())
    }

    async fn shown(&self, words: &[&str], line: &str) -> Result<Output> {
        let said = self.kubectl(words).await?;
        Screen::command(line, &said);
        Ok(said)
    }

    async fn kubectl(&self, words: &[&str]) -> Result<Output> {
        let said = self.kubernetes.kubectl(words).await?;
        ensure!(said.code == 0, "kubectl {}: {}", words.join(" "), said.stderr);
        Ok(said)
    }
}

/// What is looked at besides, when the new side is in a cluster: a list item of probes for each phase.
pub(crate) mod probes {
    pub(crate) const ALLOY: &str =
        "{name: alloy-rollout, check: {workload: {namespace: observability, daemonSet: alloy, restartsWithin: 20s}}}";
    pub(crate) const LOKI: [&str; 3] = [
        "{name: loki-rollout, check: {workload: {namespace: observability, statefulSet: loki, restartsWithin: 20s}}}",
        "{name: loki-volume, check: {volume: {namespace: observability, statefulSet: loki, minCapacity: 1Gi}}}",
        "{name: loki-endpoints, check: {endpoints: {namespace: observability, service: loki, pods: app=loki}}}",
    ];
    pub(crate) const GRAFANA: &str =
        "{name: grafana-rollout, check: {workload: {namespace: observability, deployment: grafana, restartsWithin: 20s}}}";
    pub(crate) const POSTGRES: [&str; 2] = [
        "{name: postgres-rollout, check: {workload: {namespace: observability, statefulSet: postgresql, restartsWithin: 20s}}}",
        "{name: postgres-volume, check: {volume: {namespace: observability, statefulSet: postgresql, minCapacity: 1Gi}}}",
    ];
}
