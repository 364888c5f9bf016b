//! Named objects that are replaced only by whoever knows what they hold: compare and swap on the resource version.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde_json::json;
use tokio::runtime::Handle;

use super::{Unanswered, ask};

/// A little more than [`super::PATIENCE`], for a runtime that is busy.
const AT_MOST: Duration = Duration::from_millis(2250);

/// What an object holds, and which version of it that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its resource version.
    pub version: String,
    /// Its texts, by key.
    pub data: BTreeMap<String, String>,
}

/// Why an object could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It has another version by now.
    #[error("somebody else has changed it meanwhile")]
    Conflict,
    /// There is one of that name already.
    #[error("it exists already")]
    Exists,
    /// There is none of that name.
    #[error("it does not exist")]
    Absent,
    /// Whether anything has happened is not known.
    #[error("{0}")]
    Other(String),
}

/// A place for named objects. All calls block, for no longer than is said of each place.
pub trait Objects: Send {
    /// One object; none if there is none of that name.
    fn get(&self, name: &str) -> Result<Option<Object>, ObjectError>;

    /// Makes one, and says its version. What is sealed can not be changed any more.
    fn create(&self, name: &str, data: &BTreeMap<String, String>, sealed: bool) -> Result<String, ObjectError>;

    /// Puts these texts into one that still has this version, and says its new one.
    fn replace(&self, name: &str, version: &str, data: &BTreeMap<String, String>) -> Result<String, ObjectError>;

    /// Removes one.
    fn delete(&self, name: &str) -> Result<(), ObjectError>;

    /// The names of all of them.
    fn list(&self) -> Result<Vec<String>, ObjectError>;

    /// How people call an object of this name.
    fn place(&self, name: &str) -> String;

    /// What all of them are labelled with.
    fn label(&self) -> String;
}

/// `ConfigMaps` of one namespace that share a label.
#[derive(Debug, Clone)]
pub struct ConfigMaps {
    api: Api<ConfigMap>,
    namespace: String,
    label: (String, String),
    runtime: Handle,
}

impl ConfigMaps {
    /// Those with this label. Requests run on that runtime, which must not be the caller's own thread.
    pub fn new(client: Client, namespace: &str, label: (&str, &str), runtime: Handle) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), label: (label.0.to_owned(), label.1.to_owned()), runtime }
    }

    fn wait<T: Send + 'static>(&self, request: impl Future<Output = kube::Result<T>> + Send + 'static) -> Result<T, ObjectError> {
        let (answer, answered) = sync_channel(1);
        let task = self.runtime.spawn(async move {
            let result = ask(request).await;
            // Whoever asked may have stopped waiting.
            drop(answer.send(result));
        });
        match answered.recv_timeout(AT_MOST) {
            Ok(result) => result.map_err(ObjectError::from),
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                Err(Unanswered::Silent.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(ObjectError::Other("the request was given up".to_owned())),
        }
    }
}

impl Objects for ConfigMaps {
    fn get(&self, name: &str) -> Result<Option<Object>, ObjectError> {
        let (api, name) = (self.api.clone(), name.to_owned());
        let found = self.wait(async move { api.get_opt(&name).await })?;
        found.map(|map| Ok(Object { version: version(map.metadata)?, data: map.data.unwrap_or_default() })).transpose()
    }

    fn create(&self, name: &str, data: &BTreeMap<String, String>, sealed: bool) -> Result<String, ObjectError> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([
                self.label.clone(),
                ("app.kubernetes.io/managed-by".to_owned(), "phasegate".to_owned()),
            ])),
            ..ObjectMeta::default()
        };
        let map = ConfigMap { metadata, data: Some(data.clone()), immutable: sealed.then_some(true), ..ConfigMap::default() };
        let api = self.api.clone();
        let made = self.wait(async move { api.create(&PostParams::default(), &map).await })?;
        version(made.metadata)
    }

    fn replace(&self, name: &str, expected: &str, data: &BTreeMap<String, String>) -> Result<String, ObjectError> {
        let (api, name) = (self.api.clone(), name.to_owned());
        // A merge leaves alone what others have attached to it, as `kubectl annotate` does.
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": expected}, "data": data}));
        let written: PartialObjectMeta<ConfigMap> =
            self.wait(async move { api.patch_metadata(&name, &PatchParams::default(), &patch).await })?;
        version(written.metadata)
    }

    fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let (api, name) = (self.api.clone(), name.to_owned());
        self.wait(async move { api.delete(&name, &DeleteParams::default()).await }).map(|_| ())
    }

    fn list(&self) -> Result<Vec<String>, ObjectError> {
        let (api, params) = (self.api.clone(), ListParams::default().labels(&self.label()));
        let found = self.wait(async move { api.list_metadata(&params).await })?;
        Ok(found.items.into_iter().filter_map(|item| item.metadata.name).collect())
    }

    fn place(&self, name: &str) -> String {
        format!("configmap {}/{name}", self.namespace)
    }

    fn label(&self) -> String {
        format!("{}={}", self.label.0, self.label.1)
    }
}

fn version(metadata: ObjectMeta) -> Result<String, ObjectError> {
    metadata.resource_version.ok_or_else(|| ObjectError::Other("the answer holds no resource version".to_owned()))
}

impl From<Unanswered> for ObjectError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered.status().map(|status| status.reason.as_str()) {
            Some("AlreadyExists") => Self::Exists,
            Some("Conflict") => Self::Conflict,
            Some("NotFound") => Self::Absent,
            Some(_) | None => Self::Other(unanswered.to_string()),
        }
    }
}
