//! Grafana's backend, 10.0.0: the API without the web interface.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::process::Spec;
use crate::server::Server;
use crate::stack;
use crate::world::World;

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);
/// What dashboards refer to the datasource by: the uid that provisioning gives to the name `Loki`.
const DATASOURCE: &str = "P8E80F9AEF21F6940";
const ADMIN: &str = "admin";
const PASSWORD: &str = "grafana-admin";
const DATABASE: &str = "data/grafana.db";
/// The plugin that can be installed.
const PLUGIN: &str = "example-panel";
const LOST_ORGANIZATION: &str = "failed to create default organization: UNIQUE constraint failed: org.id";
/// How often a new one is started at most. One start in some seventy ends with [`LOST_ORGANIZATION`].
const FIRST_STARTS: usize = 3;

/// A real Grafana with one provisioned datasource, `Loki`. What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct Grafana {
    server: Server,
    folder: PathBuf,
}

impl Deref for Grafana {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Grafana {
    /// Starts a new one whose datasource leads to the Loki, or gateway, at `loki`; returns when it answers.
    ///
    /// # Errors
    /// It can not be built or started, or does not answer within a minute.
    pub async fn start(world: &World, loki: &str) -> Result<Self> {
        let binary = stack::binary("grafana").await?;
        let home = binary.parent().context("the binary is in no folder")?.join("home");
        let port = world.port()?;
        let folder = world.folder("grafana")?;
        for name in ["data", "plugins", "dashboards", "provisioning/datasources", "provisioning/dashboards"] {
            std::fs::create_dir_all(folder.join(name))?;
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let spec = Spec::new("grafana", binary)
            .args(["server".to_owned(), "--homepath".to_owned(), home.display().to_string()])
            .env("GF_PATHS_DATA", at("data"))
            .env("GF_PATHS_LOGS", at("logs"))
            .env("GF_PATHS_PLUGINS", at("plugins"))
            .env("GF_PATHS_PROVISIONING", at("provisioning"))
            .env("GF_SERVER_HTTP_ADDR", "127.0.0.1")
            .env("GF_SERVER_HTTP_PORT", port.to_string())
            .env("GF_ANALYTICS_REPORTING_ENABLED", "false")
            .env("GF_ANALYTICS_CHECK_FOR_UPDATES", "false")
            .env("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false")
            .env("GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS", PLUGIN)
            .env("GF_SECURITY_ADMIN_PASSWORD", PASSWORD)
            .env("GF_LOG_MODE", "console");
        let server = Server::new(world, spec, port, "/api/health", (START, STOP));
        let grafana = Self { server, folder };
        grafana.provision(loki)?;
        let provider =
            json!({"name": "files", "type": "file", "updateIntervalSeconds": 3, "options": {"path": grafana.dashboards()}});
        let file = grafana.folder.join("provisioning/dashboards/files.yaml");
        std::fs::write(file, json!({"apiVersion": 1, "providers": [provider]}).to_string())?;
        grafana.first_start().await?;
        Ok(grafana)
    }

    /// Starts it on a new database. A Grafana of this age looks for the organization that it made an instant ago by the current second,
    /// too: over a second's end it does not find it, undoes everything, and ends (grafana/grafana#68644).
    async fn first_start(&self) -> Result<()> {
        for _ in 1..FIRST_STARTS {
            match self.start_again().await {
                Err(error) if format!("{error:#}").contains(LOST_ORGANIZATION) => {}
                ended => return ended,
            }
        }
        self.start_again().await
    }

    /// The uid of its datasource.
    pub fn datasource(&self) -> &'static str {
        DATASOURCE
    }

    /// Provisions the datasource anew; it counts from the next start on.
    ///
    /// # Errors
    /// The file can not be written.
    pub fn provision(&self, loki: &str) -> Result<()> {
        let datasource =
            json!({"name": "Loki", "type": "loki", "access": "proxy", "url": loki, "uid": DATASOURCE, "isDefault": true});
        let file = self.folder.join("provisioning/datasources/loki.yaml");
        Ok(std::fs::write(file, json!({"apiVersion": 1, "datasources": [datasource]}).to_string())?)
    }

    /// Where it reads dashboards from, every three seconds: a JSON file for each.
    pub fn dashboards(&self) -> PathBuf {
        self.folder.join("dashboards")
    }

    /// The file that it keeps everything in.
    pub fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    /// Installs a plugin: a panel, unsigned. It counts from the next start on.
    ///
    /// # Errors
    /// Its files can not be written.
    pub fn install_plugin(&self, version: &str) -> Result<()> {
        let folder = self.folder.join("plugins").join(PLUGIN);
        std::fs::create_dir_all(&folder)?;
        let info = json!({"version": version, "author": {"name": "tests"}});
        let plugin =
            json!({"type": "panel", "name": "Example", "id": PLUGIN, "info": info, "dependencies": {"grafanaDependency": "*"}});
        std::fs::write(folder.join("plugin.json"), plugin.to_string())?;
        Ok(std::fs::write(folder.join("module.js"), "define([],function(){return {}});")?)
    }

    /// Removes that plugin; it counts from the next start on.
    ///
    /// # Errors
    /// Its files can not be removed.
    pub fn remove_plugin(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.join("plugins").join(PLUGIN))?)
    }

    /// Stops it, provisions the datasource anew, and starts it again.
    ///
    /// # Errors
    /// It does not stop, or does not answer again.
    pub async fn repoint(&self, loki: &str) -> Result<()> {
        self.stop().await?;
        self.provision(loki)?;
        self.start_again().await
    }

    /// Puts another Grafana's database in the place of its own, as an operator does: both are stopped meanwhile. The files of its
    /// dashboards go along, and its provisioned datasource becomes the other's until it is provisioned again.
    ///
    /// # Errors
    /// One of them does not stop or start again, or the file can not be copied.
    pub async fn take_over(&self, other: &Self) -> Result<()> {
        self.stop().await?;
        other.stop().await?;
        for part in [DATABASE, "provisioning/datasources/loki.yaml"] {
            std::fs::copy(other.folder.join(part), self.folder.join(part)).with_context(|| format!("copying {part}"))?;
        }
        for file in std::fs::read_dir(other.dashboards())? {
            let file = file?;
            std::fs::copy(file.path(), self.dashboards().join(file.file_name()))?;
        }
        tokio::try_join!(self.start_again(), other.start_again()).map(|_| ())
    }

    /// A call of its API as the server's admin.
    pub fn as_admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http().request(method, format!("{}{path}", self.url())).basic_auth(ADMIN, Some(PASSWORD))
    }

    /// A new service account of this role, and its token.
    ///
    /// # Errors
    /// Grafana refuses; the error holds its words.
    pub async fn token(&self, name: &str, role: &str) -> Result<String> {
        let made = self.create("/api/serviceaccounts", &json!({"name": name, "role": role})).await?;
        let id = made.get("id").and_then(Value::as_u64).with_context(|| format!("no id in {made}"))?;
        let token = self.create(&format!("/api/serviceaccounts/{id}/tokens"), &json!({"name": name})).await?;
        token.get("key").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no key in {token}"))
    }

    /// Makes something, as the server's admin: posts it. Grafana's answer.
    ///
    /// # Errors
    /// Grafana refuses; the error holds its words.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Any call of its API, as the server's admin. Grafana's answer.
    ///
    /// # Errors
    /// Grafana refuses; the error holds its words.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = self.as_admin(method, path);
        let answer = Answer::to(body.into_iter().fold(request, RequestBuilder::json)).await?;
        ensure!((200..300).contains(&answer.status), "Grafana refused {path} ({}): {}", answer.status, answer.body.trim());
        answer.json()
    }
}
