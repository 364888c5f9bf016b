//! A Migration as a custom resource: its spec is read as a file would be, and its status is written, so that `kubectl wait` and
//! whoever watches it see what the verifier sees.
//!
//! A condition can not tell that its writer has died. What can be done about it is done: conditions are `Unknown` from the start
//! until everything was seen, and again after an orderly end; they carry the generation that they are about; each write is
//! bound to the version that was read just before, so that nothing that a former writer sends late takes effect; and what
//! somebody else has put there is written over.

mod conditions;
mod events;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::conditions::{Edge, Standing, standing, starting, stopped};
use self::events::Herald;
use super::ask;
use crate::api::reasons::ReasonBook;
use crate::api::{ConfigStatus, summary};
use crate::clock::wall;
use crate::config::Config;
use crate::config::crd::{GROUP, PLURAL, VERSION};
use crate::ledger::Ledger;
use crate::source::Seen;

/// How often the resource is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How soon a change of the verdict is written.
const SOON: Duration = Duration::from_secs(1);
/// How often mere words are brought up to date: a soak's progress must not make a write each second.
const WORDS: Duration = Duration::from_secs(30);
/// How long the last write may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Attempts when somebody else writes at the same moment.
const TRIES: usize = 3;

/// One custom resource.
#[derive(Clone)]
pub(crate) struct Resource {
    api: Api<DynamicObject>,
    client: Client,
    name: String,
    place: String,
}

impl Resource {
    /// The Migration of this name.
    pub(crate) fn new(client: &Client, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced_with(client.clone(), namespace, &kind());
        Self { api, client: client.clone(), name: name.to_owned(), place: format!("migration {namespace}/{name}") }
    }

    /// How people call it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Reads its document.
    pub(crate) async fn look(&self) -> Result<Arc<Seen>, String> {
        self.get().await.map(|object| Arc::new(document(&object)))
    }

    async fn get(&self) -> Result<DynamicObject, String> {
        ask(self.api.get(&self.name)).await.map_err(|unanswered| unanswered.to_string())
    }
}

/// The kind of resource that Migrations are.
fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, "Migration"), PLURAL)
}

/// The document that a file would hold.
fn document(object: &DynamicObject) -> Seen {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let document =
        json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Migration", "metadata": {"name": name}, "spec": spec});
    Seen { bytes: format!("{document:#}\n").into_bytes(), generation: object.metadata.generation.unwrap_or_default() }
}

/// Keeps an eye on a Migration, and its status up to date.
pub(crate) struct Keeper {
    pub(crate) resource: Resource,
    pub(crate) ledger: Ledger,
    pub(crate) reasons: ReasonBook,
    pub(crate) config: watch::Receiver<ConfigStatus>,
    pub(crate) document: watch::Receiver<Arc<Config>>,
    /// Which generation is in force.
    pub(crate) generation: watch::Receiver<Option<i64>>,
    pub(crate) seen: watch::Sender<Result<Arc<Seen>, String>>,
    pub(crate) reload: Arc<Notify>,
    /// Who writes.
    pub(crate) holder: String,
}

/// Works until it is told to stop, and leaves every condition unknown.
pub(crate) async fn run(keeper: Keeper, stop: CancellationToken) {
    let mut snapshots = keeper.ledger.watch();
    let mut herald = Herald::new(keeper.resource.client.clone(), &keeper.holder);
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut written, mut last) = (None, Instant::now());
    // What keeps the status from being written, while something does: it is told once, and tried again with the next look.
    let mut trouble = String::new();
    loop {
        let looked = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => true,
            changed = snapshots.changed() => {
                if changed.is_err() {
                    break;
                }
                false
            }
        };
        let edge = written.as_ref() != Some(&keeper.standing().edge());
        if !(looked || edge && trouble.is_empty() && last.elapsed() >= SOON) {
            continue;
        }
        let renew = last.elapsed() >= WORDS;
        match keeper.write(written.as_ref(), renew, &mut herald).await {
            Ok(edge) => {
                trouble.clear();
                if let Some(edge) = edge {
                    (written, last) = (Some(edge), Instant::now());
                }
            }
            Err(why) if why == trouble => {}
            Err(why) => {
                tracing::warn!(migration = keeper.resource.place, why, "the status could not be written");
                trouble = why;
            }
        }
    }
    if timeout(FAREWELL, keeper.leave()).await.is_err() {
        tracing::warn!(migration = keeper.resource.place, "the status could not be made unknown in time");
    }
}

impl Keeper {
    /// What is to be said at this moment.
    fn standing(&self) -> Standing {
        let error = self.config.borrow().error.clone();
        match summary(&self.ledger.read(), &self.reasons, error.clone()) {
            Some(body) => standing(&body),
            None => starting(&self.phases(), error.as_deref()),
        }
    }

    /// The phases of the document in force.
    fn phases(&self) -> Vec<String> {
        self.document.borrow().plan.phases.iter().map(|phase| phase.name.to_string()).collect()
    }

    /// Looks at the resource, and writes its status if it is not as it should be. None: nothing has changed there.
    /// What is returned is what stands there now, which need not be what is true by now.
    async fn write(&self, written: Option<&Edge>, renew: bool, herald: &mut Herald) -> Result<Option<Edge>, String> {
        for _ in 0..TRIES {
            let object = self.look().await?;
            // Only now, so that what is written is what is known after the look.
            let standing = self.standing();
            let status = self.status(&object, &standing);
            let found = object.data.get("status").cloned().unwrap_or_default();
            let stands = conditions::same(&found, &status);
            if stands && (found == status || !renew && written.is_some()) {
                return Ok(Some(standing.edge()).filter(|edge| written != Some(edge)));
            }
            if self.patch(&object, &status).await? {
                herald.tell(&object, &found, &status).await;
                return Ok(Some(standing.edge()));
            }
        }
        Err("somebody else writes it again and again".to_owned())
    }

    async fn look(&self) -> Result<DynamicObject, String> {
        let object = self.resource.get().await;
        let seen = object.as_ref().map(|object| Arc::new(document(object))).map_err(Clone::clone);
        let news = self.seen.send_if_modified(|before| {
            let differs = *before != seen;
            *before = seen;
            differs
        });
        if news {
            self.reload.notify_one();
        }
        object
    }

    /// The whole status, with the time of each condition's last change.
    fn status(&self, object: &DynamicObject, standing: &Standing) -> Value {
        let before = conditions::by_type(object.data.get("status"));
        let now = wall().to_rfc3339_opts(SecondsFormat::Secs, true);
        let generation = self.generation.borrow().unwrap_or_default();
        standing.status(&before, generation, &self.holder, &now)
    }

    /// Writes a status over the version that was read. False: that is no longer the newest.
    async fn patch(&self, object: &DynamicObject, status: &Value) -> Result<bool, String> {
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": status}));
        if !self.ledger.read().held {
            return Err("the Lease could not be renewed, so another verifier may write it by now".to_owned());
        }
        match ask(self.resource.api.patch_status(&self.resource.name, &PatchParams::default(), &patch)).await {
            Ok(_) => Ok(true),
            Err(unanswered) if unanswered.status().is_some_and(|status| status.reason == "Conflict") => Ok(false),
            Err(unanswered) => Err(unanswered.to_string()),
        }
    }

    /// Nobody looks any more: that is all that can be said then.
    async fn leave(&self) {
        let standing = stopped(&self.phases());
        for _ in 0..TRIES {
            let left = match self.resource.get().await {
                Ok(object) => self.patch(&object, &self.status(&object, &standing)).await,
                Err(why) => Err(why),
            };
            match left {
                Ok(false) => {}
                Ok(true) => return,
                Err(why) => return tracing::warn!(migration = self.resource.place, why, "the status could not be made unknown"),
            }
        }
    }
}

/// Conditions by their type.
type Conditions = BTreeMap<String, Value>;
