//! Who is who in a cluster: its certificate authority, the API server's certificate, the keys of service accounts, and the fixed tokens
//! of its own parts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::process::Spec;
use crate::world::Supervisor;

const OPENSSL: Duration = Duration::from_secs(30);

/// The names that k3s gives its API server, and its services' first address. A certificate holds for every port of 127.0.0.1, so for
/// a proxy in front of it as well.
const CERTIFICATES: &str = "[req]
distinguished_name = name
prompt = no
[name]
CN = by -subj
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, \
DNS:kubernetes.default.svc.cluster.local, IP:127.0.0.1, IP:10.43.0.1
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
";

/// Token, user and group of the operator and of each part of the control plane. The groups and names are those that Kubernetes' own
/// roles are bound to; the fake kubelets may do everything.
const TOKENS: [(&str, &str, &str); 4] = [
    (ADMIN, "admin", "system:masters"),
    (CONTROLLER_MANAGER, "system:kube-controller-manager", ""),
    (SCHEDULER, "system:kube-scheduler", ""),
    (KWOK, "kwok", "system:masters"),
];

pub(super) const ADMIN: &str = "token-of-admin";
pub(super) const CONTROLLER_MANAGER: &str = "token-of-controller-manager";
pub(super) const SCHEDULER: &str = "token-of-scheduler";
pub(super) const KWOK: &str = "token-of-kwok";

/// The files of one cluster's identities, made once: they outlive a restart and a loss of all data.
#[derive(Debug)]
pub(super) struct Identity {
    folder: PathBuf,
}

impl Identity {
    pub(super) async fn make(supervisor: &Supervisor, folder: PathBuf) -> Result<Self> {
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("openssl.conf"), CERTIFICATES)?;
        let tokens = TOKENS.map(|(token, user, group)| format!("{token},{user},{user},{group}\n"));
        std::fs::write(folder.join("tokens.csv"), tokens.concat())?;
        let identity = Self { folder };
        identity.certify(supervisor, "authority", "ca", &[]).await?;
        identity.certify(supervisor, "server", "apiserver", &identity.authority()).await?;
        // The certificate is the form in which the API server takes a public key that openssl has made.
        identity.certify(supervisor, "server", "service-account", &[]).await?;
        Ok(identity)
    }

    /// What has a certificate made by the authority.
    fn authority(&self) -> Vec<String> {
        let by = [("-CA", self.ca()), ("-CAkey", self.file("ca.key"))];
        by.into_iter().flat_map(|(option, path)| [option.to_owned(), path.display().to_string()]).collect()
    }

    /// Writes the kubeconfig of a user of this name who logs in by a certificate, as k3s and kubeadm set it up.
    pub(super) async fn certified(&self, supervisor: &Supervisor, name: &str, authority: &str) -> Result<PathBuf> {
        self.certify(supervisor, "client", name, &self.authority()).await?;
        let [certificate, key] = [".crt", ".key"].map(|end| self.file(&format!("{name}{end}")));
        self.write(name, authority, json!({"client-certificate": certificate, "client-key": key}))
    }

    /// A key and a certificate `{name}.key` and `{name}.crt`, with the extensions of this section of [`CERTIFICATES`].
    async fn certify(&self, supervisor: &Supervisor, section: &str, name: &str, by: &[String]) -> Result<()> {
        let file = |name: &str| self.file(name).display().to_string();
        let spec = Spec::new("openssl", "openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"])
            .args(["-config".to_owned(), file("openssl.conf"), "-extensions".to_owned(), section.to_owned()])
            .args(["-subj".to_owned(), format!("/CN={name}")])
            .args(["-keyout".to_owned(), file(&format!("{name}.key")), "-out".to_owned(), file(&format!("{name}.crt"))])
            .args(by.iter().cloned());
        let output = supervisor.adopt(spec).run(OPENSSL).await?;
        ensure!(output.code == 0, "openssl failed ({}): {}", output.code, output.stderr);
        Ok(())
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// Writes the kubeconfig of whoever has this token, for the API server that `authority` (`HOST:PORT`) leads to.
    pub(super) fn kubeconfig(&self, name: &str, authority: &str, token: &str) -> Result<PathBuf> {
        self.write(name, authority, json!({"token": token}))
    }

    fn write(&self, name: &str, authority: &str, user: Value) -> Result<PathBuf> {
        let cluster = json!({"server": format!("https://{authority}"), "certificate-authority": self.ca()});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        });
        let path = self.file(&format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}
