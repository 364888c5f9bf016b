//! The programs of a control plane, and what each is started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::identity::{self, Identity};
use crate::process::{Process, Spec};
use crate::stack;
use crate::world::Supervisor;

/// Where k3s has its pods and services.
const PODS: &str = "10.42.0.0/16";
const SERVICES: &str = "10.43.0.0/16";
/// An address for documentation: what the service `kubernetes` leads to. Nobody connects to it, and a machine need not have one.
const ADVERTISED: &str = "192.0.2.1";
/// What k3s calls the issuer of service accounts' tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// What fake kubelets do, of KWOK's own stages: nodes and pods become ready at once, jobs complete, and what has a label
/// `pod-container-running-failed.stage.kwok.x-k8s.io` (`pod-init-…`, `node-not-ready.…`) fails.
const STAGES: [&str; 8] = [
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "node/chaos/node-not-ready",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
    "pod/chaos/pod-container-running-failed",
    "pod/chaos/pod-init-container-running-failed",
];
const OUR_STAGES: &str = include_str!("stages.yaml");

/// An etcd that forgets to sync: nothing here survives the machine.
pub(super) fn etcd(binary: PathBuf, data: &Path, client: u16, peer: u16) -> Spec {
    let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    Spec::new("etcd", binary)
        .args(["--name=tests", "--unsafe-no-fsync", "--log-level=warn"])
        .arg(format!("--data-dir={}", data.display()))
        .args(["--listen-client-urls", "--advertise-client-urls"].map(|flag| format!("{flag}={client}")))
        .args(["--listen-peer-urls", "--initial-advertise-peer-urls"].map(|flag| format!("{flag}={peer}")))
        .arg(format!("--initial-cluster=tests={peer}"))
}

/// An API server that k3s would have started, as far as the flags decide what a client sees.
pub(super) fn apiserver(binary: PathBuf, folder: &Path, identity: &Identity, etcd: &str, port: u16) -> Spec {
    let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
    Spec::new("kube-apiserver", binary)
        .args(["--bind-address=127.0.0.1", "--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--allow-privileged=true"])
        .args(["--enable-admission-plugins=NodeRestriction", "--profiling=false", "--shutdown-delay-duration=0s"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--etcd-servers={etcd}"))
        .arg(format!("--advertise-address={ADVERTISED}"))
        .arg(format!("--service-cluster-ip-range={SERVICES}"))
        .arg(format!("--service-account-issuer={ISSUER}"))
        .arg(format!("--api-audiences={ISSUER},k3s"))
        .arg(file("service-account-key-file", identity.file("service-account.crt")))
        .arg(file("service-account-signing-key-file", identity.file("service-account.key")))
        .arg(file("tls-cert-file", identity.file("apiserver.crt")))
        .arg(file("tls-private-key-file", identity.file("apiserver.key")))
        .arg(file("client-ca-file", identity.ca()))
        .arg(file("token-auth-file", identity.file("tokens.csv")))
        .arg(file("cert-dir", folder.join("certificates")))
        .arg(file("audit-policy-file", folder.join("audit-policy.json")))
        .arg(file("audit-log-path", folder.join("audit.log")))
}

/// Controller manager, scheduler and fake kubelets, not started yet. Each has a login of its own; the controllers use their service
/// accounts, as in k3s.
pub(super) async fn controllers(
    supervisor: &Supervisor,
    folder: &Path,
    identity: &Identity,
    apiserver: &str,
) -> Result<Vec<Arc<Process>>> {
    let kubeconfig = |name: &str, token: &str| -> Result<String> {
        Ok(format!("--kubeconfig={}", identity.kubeconfig(name, apiserver, token)?.display()))
    };
    let manager = Spec::new("kube-controller-manager", stack::binary("kube-controller-manager").await?)
        .arg(kubeconfig("controller-manager", identity::CONTROLLER_MANAGER)?)
        .arg(format!("--service-account-private-key-file={}", identity.file("service-account.key").display()))
        .arg(format!("--root-ca-file={}", identity.ca().display()))
        .args(["--use-service-account-credentials=true", "--leader-elect=false", "--secure-port=0"])
        .args(["--kube-api-qps=200", "--kube-api-burst=400"]);
    let scheduler = Spec::new("kube-scheduler", stack::binary("kube-scheduler").await?)
        .arg(kubeconfig("scheduler", identity::SCHEDULER)?)
        .args(["--leader-elect=false", "--secure-port=0"]);
    let binary = stack::binary("kwok").await?;
    let stages = binary.parent().context("the binary is in no folder")?.join("home");
    let ours = folder.join("stages.yaml");
    std::fs::write(&ours, OUR_STAGES)?;
    let files = STAGES.iter().map(|stage| stages.join(format!("{stage}.yaml"))).chain([ours]);
    let kwok = Spec::new("kwok", binary)
        .arg(kubeconfig("kwok", identity::KWOK)?)
        // Without leases its nodes are taken for silent after a minute.
        .args(["--manage-all-nodes=true", "--enable-crds=", "--node-lease-duration-seconds=40"])
        .arg(format!("--cidr={PODS}"))
        .args(files.map(|file| format!("--config={}", file.display())));
    Ok([manager, scheduler, kwok].map(|spec| supervisor.adopt(spec)).into())
}
