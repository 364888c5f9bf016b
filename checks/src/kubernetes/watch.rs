//! One watch: the objects of one kind, as the API server tells them, with the proof that it still does.
//!
//! What a watch holds looks the same whether nothing changes or nothing is heard any more. So each request is asked to end soon, and
//! is resumed at once where it ended: every event, bookmark and orderly end, and every resumed request, proves that somebody is
//! there. What is older than [`SILENT`] without such a proof is no sight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, Resource, WatchEvent};
use serde::Deserialize;
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clients::MAX_BODY;
use crate::outcome::Outcome;

use super::api::{Asked, Trouble};
use super::kinds::Kind;
use super::lines::Lines;
use super::{API_UNREACHABLE, TOO_MANY_OBJECTS, WATCH_SILENT};

/// How long one request to watch lasts, in seconds: four requests a minute. API servers send a bookmark two seconds before its end.
const LASTS: u32 = 15;
/// When a request that should have ended long ago is given up.
const OVERDUE: Duration = Duration::from_secs(20);
/// The oldest proof of life that counts: one request's time, and ten seconds in which the next must have begun.
pub(crate) const SILENT: Duration = Duration::from_secs(25);
/// Without an event or a bookmark for this long, the objects are listed anew: that a request ends proves little, if something
/// between us and the API server ends it.
const SPOKEN: Duration = Duration::from_mins(1);
/// A request that ends earlier than this, and said nothing, was not ended by an API server.
const EARLY: Duration = Duration::from_secs(5);
/// A watch ends when nobody has asked for this long.
const IDLE: Duration = Duration::from_mins(5);
/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Objects of one page of a list.
const PAGE: u32 = 100;
/// Most objects of one watch.
pub(crate) const MAX_OBJECTS: usize = 5000;

/// Which objects are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    /// The namespace; none for things that are in none.
    pub(crate) namespace: Option<String>,
    /// A selector by labels.
    pub(crate) labels: Option<String>,
    /// A selector by fields.
    pub(crate) fields: Option<String>,
}

impl Scope {
    /// All of a namespace.
    pub(crate) fn within(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::default() }
    }

    /// All that is in no namespace.
    pub(crate) fn cluster() -> Self {
        Self::default()
    }

    /// The one of this name.
    #[must_use]
    pub(crate) fn named(self, name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), ..self }
    }

    /// Those with these labels.
    #[must_use]
    pub(crate) fn labelled(self, selector: &str) -> Self {
        Self { labels: Some(selector.to_owned()).filter(|selector| !selector.is_empty()), ..self }
    }
}

/// The objects of one kind in one scope, by name.
pub(crate) type Sight<T> = Arc<BTreeMap<String, Arc<T>>>;

/// A watch, shared between the task that follows it and the looks.
pub(super) struct Watch<K: Kind> {
    scope: Scope,
    state: Mutex<State<K>>,
    /// Told at each change.
    news: channel::Sender<()>,
}

struct State<K: Kind> {
    objects: Sight<K::Kept>,
    listed: bool,
    trouble: Option<Trouble>,
    /// The last proof that the API server is there.
    alive: Option<Instant>,
    /// When it last said something itself.
    spoken: Option<Instant>,
    asked: Instant,
}

#[derive(Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
struct Page<T> {
    metadata: PageMeta,
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: String,
}

impl<K: Kind> Watch<K> {
    pub(super) fn new(scope: Scope) -> Self {
        let state =
            State { objects: Arc::default(), listed: false, trouble: None, alive: None, spoken: None, asked: Instant::now() };
        Self { scope, state: Mutex::new(state), news: channel::Sender::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, verb: &'static str) -> Asked {
        Asked {
            verb,
            group: K::Object::group(&()).into_owned(),
            resource: K::Object::plural(&()).into_owned(),
            namespace: self.scope.namespace.clone(),
        }
    }

    /// What is known now; waits for the first list until `end`.
    pub(super) async fn sight(&self, end: Instant) -> Result<Sight<K::Kept>, Outcome> {
        let mut news = self.news.subscribe();
        loop {
            if let Some(known) = self.known(Instant::now()) {
                return known;
            }
            if !matches!(tokio::time::timeout_at(end, news.changed()).await, Ok(Ok(()))) {
                let plural = K::Object::plural(&());
                return Err(API_UNREACHABLE.because(format!("list {plural}: no answer yet")));
            }
        }
    }

    fn known(&self, now: Instant) -> Option<Result<Sight<K::Kept>, Outcome>> {
        let mut state = self.state();
        state.asked = now;
        match (&state.trouble, state.alive.filter(|_| state.listed)) {
            (Some(Trouble::Said(outcome)), _) | (Some(Trouble::Passing(outcome)), None) => Some(Err(outcome.clone())),
            (Some(Trouble::Gone) | None, None) => None,
            (trouble, Some(alive)) => {
                let age = now.saturating_duration_since(alive);
                if age <= SILENT {
                    return Some(Ok(Arc::clone(&state.objects)));
                }
                let more = match trouble {
                    Some(Trouble::Passing(outcome)) => format!("; {}", outcome.evidence()),
                    Some(Trouble::Said(_) | Trouble::Gone) | None => String::new(),
                };
                let plural = K::Object::plural(&());
                Some(Err(WATCH_SILENT.because(format!("watch {plural}: nothing heard for {} s{more}", age.as_secs()))))
            }
        }
    }

    /// Follows the API server until nobody asks any more.
    pub(super) async fn follow(self: Arc<Self>, client: Client) {
        let (mut version, mut pause) = (None, FIRST_PAUSE);
        while self.state().asked.elapsed() < IDLE {
            let start = Instant::now();
            match self.turn(&client, &mut version).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    // Whoever ends requests early is not asked without end.
                    sleep_until(start + FIRST_PAUSE).await;
                }
                Err(trouble) => {
                    // What was missed meanwhile must not look as if it had been seen: all is listed anew.
                    version = None;
                    self.state().trouble = Some(trouble);
                    self.news.send_replace(());
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// One request to watch, after a list if there is no version to go on from.
    async fn turn(&self, client: &Client, version: &mut Option<String>) -> Result<(), Trouble> {
        let quiet = self.state().spoken.is_none_or(|spoken| spoken.elapsed() > SPOKEN);
        let from = match version.take().filter(|_| !quiet) {
            Some(from) => from,
            None => self.list(client).await?,
        };
        let asked = self.asked("watch");
        let params = WatchParams {
            label_selector: self.scope.labels.clone(),
            field_selector: self.scope.fields.clone(),
            timeout: Some(LASTS),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = self.request().watch(&params, &from).map_err(|error| asked.unreadable(&error.to_string()))?;
        let start = Instant::now();
        let response = asked.open(client, request).await?;
        self.lives(false);
        let mut lines = Lines::new(response.into_body(), MAX_BODY);
        let (mut at, mut said) = (from, false);
        while let Some(line) = asked.line(&mut lines, start + OVERDUE, WATCH_SILENT).await? {
            let event = serde_json::from_slice::<WatchEvent<K::Object>>(&line);
            match event.map_err(|error| asked.unreadable(&format!("no event: {error}")))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    at = object.meta().resource_version.clone().unwrap_or(at);
                    self.keep(object)?;
                }
                WatchEvent::Deleted(object) => {
                    at = object.meta().resource_version.clone().unwrap_or(at);
                    self.drop(object.meta().name.as_deref().unwrap_or_default());
                }
                WatchEvent::Bookmark(mark) => at = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(asked.refused(status.code, &status.message)),
            }
            said = true;
            self.lives(true);
        }
        if !said && start.elapsed() < EARLY {
            return Err(asked.silent(WATCH_SILENT, start.elapsed()));
        }
        self.lives(false);
        *version = Some(at);
        Ok(())
    }

    fn request(&self) -> Request {
        Request::new(K::Object::url_path(&(), self.scope.namespace.as_deref()))
    }

    /// Lists all objects, page by page. Gives the version of the list.
    async fn list(&self, client: &Client) -> Result<String, Trouble> {
        let asked = self.asked("list");
        let mut params = ListParams {
            label_selector: self.scope.labels.clone(),
            field_selector: self.scope.fields.clone(),
            ..ListParams::default().limit(PAGE)
        };
        let mut objects = Vec::new();
        let started = Instant::now();
        // What has changed since long ago may have changed long ago.
        let before = {
            let state = self.state();
            let fresh = state.alive.is_some_and(|alive| alive.elapsed() <= SILENT);
            if fresh { Arc::clone(&state.objects) } else { Arc::default() }
        };
        let version = loop {
            let request = self.request().list(&params).map_err(|error| asked.unreadable(&error.to_string()))?;
            let body = asked.read(client, request).await?;
            let page: Page<K::Object> =
                serde_json::from_slice(&body).map_err(|error| asked.unreadable(&format!("no list: {error}")))?;
            // What is not needed is not kept, not even until the last page.
            for object in page.items {
                let name = object.meta().name.clone().unwrap_or_default();
                let kept = K::keep(object, before.get(&name).map(Arc::as_ref));
                objects.push((name, Arc::new(kept)));
            }
            if objects.len() > MAX_OBJECTS {
                return Err(Trouble::Said(Self::too_many()));
            }
            if page.metadata.more.is_empty() {
                break page.metadata.resource_version;
            }
            params = params.continue_token(&page.metadata.more);
        };
        let mut state = self.state();
        state.objects = Arc::new(objects.into_iter().collect());
        state.listed = true;
        state.trouble = None;
        // A list is as old as the question.
        state.alive = Some(started);
        state.spoken = Some(started);
        drop(state);
        self.news.send_replace(());
        Ok(version)
    }

    fn too_many() -> Outcome {
        TOO_MANY_OBJECTS.because(format!("list {}: more than {MAX_OBJECTS}", K::Object::plural(&())))
    }

    fn lives(&self, spoken: bool) {
        let (mut state, now) = (self.state(), Instant::now());
        state.trouble = None;
        state.alive = Some(now);
        if spoken {
            state.spoken = Some(now);
            drop(state);
            self.news.send_replace(());
        }
    }

    fn keep(&self, object: K::Object) -> Result<(), Trouble> {
        let mut state = self.state();
        let name = object.meta().name.clone().unwrap_or_default();
        let kept = K::keep(object, state.objects.get(&name).map(Arc::as_ref));
        let objects = Arc::make_mut(&mut state.objects);
        objects.insert(name, Arc::new(kept));
        if objects.len() > MAX_OBJECTS { Err(Trouble::Said(Self::too_many())) } else { Ok(()) }
    }

    fn drop(&self, name: &str) {
        Arc::make_mut(&mut self.state().objects).remove(name);
    }
}

#[cfg(test)]
mod tests;
