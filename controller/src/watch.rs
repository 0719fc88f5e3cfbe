//! One watch: the objects of a kind, of one namespace or of the whole cluster; one Secret or ConfigMap by its
//! name; or trust bundles by their label.
//!
//! # Contract
//! A list is told only when it is complete. A watch that ends, or whose history the API server has dropped
//! (410), is opened again without a word. A kind that is missing is looked up again, so a
//! CustomResourceDefinition may come late.

use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use kube::discovery::pinned_kind;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use millrace_crds::Kind;
use millrace_model::ObjectName;
use tokio::sync::mpsc;

use crate::bundles;
use crate::kinds;
use crate::review::{self, Question, Verdict};
use crate::targets::{self, TargetKind};

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watched {
    pub(crate) what: What,
    /// `None`: in every namespace.
    pub(crate) namespace: Option<String>,
}

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Those of a kind of ours.
    Ours(Kind),
    /// Those of a kind that documents refer to.
    Target(TargetKind),
    /// The ConfigMaps that are trust bundles.
    Bundles,
    /// One Secret.
    Secret(ObjectName),
    /// One ConfigMap that says where Brokers keep their channels.
    Config(ObjectName),
    /// What an ApiServerSource may read: no objects, but a verdict that is asked for again and again.
    Review(Question),
}

/// What a watch has to say.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) watched: Watched,
    pub(crate) news: News,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum News {
    /// These are all the objects.
    Listed(Vec<DynamicObject>),
    /// This one is new, or changed.
    Applied(Box<DynamicObject>),
    /// This one is gone.
    Deleted(Box<DynamicObject>),
    /// The objects cannot be listed for now.
    Failed(Trouble),
    /// This is the verdict.
    Reviewed(Verdict),
}

/// Why objects cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The API server knows no such kind.
    Missing,
    /// The account may not list or watch them.
    Forbidden,
    /// There is no answer that can be used.
    Unreached(String),
}

/// The first pause before a watch is opened again that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How long one watch is open at most, in seconds: the API server ends it, and it is opened again.
const OPEN_FOR: u32 = 240;

/// Who tells what a watch sees.
struct Teller {
    watched: Watched,
    sightings: mpsc::Sender<Sighting>,
}

/// Follows these objects until the task is aborted.
pub(crate) async fn follow(client: Client, watched: Watched, sightings: mpsc::Sender<Sighting>) {
    let mut pause = PAUSES.0;
    let teller = Teller { watched, sightings };
    if let What::Review(question) = &teller.watched.what {
        return teller.review(&client, question, &mut pause).await;
    }
    loop {
        match resource(&client, &teller.watched.what).await {
            Ok(resource) => teller.watch(&client, &resource, &mut pause).await,
            Err(trouble) => teller.tell(News::Failed(trouble)).await,
        }
        wait(&mut pause).await;
    }
}

// === impl Teller ===

impl Teller {
    async fn tell(&self, news: News) {
        let watched = self.watched.clone();
        // If nobody listens any more, this task is about to be aborted.
        let _ = self.sightings.send(Sighting { watched, news }).await;
    }

    /// Asks for a verdict again and again.
    async fn review(&self, client: &Client, question: &Question, pause: &mut Duration) {
        loop {
            match question.ask(client).await {
                Ok(verdict) => {
                    let again = if verdict.is_ok() {
                        review::AGAIN.0
                    } else {
                        review::AGAIN.1
                    };
                    self.tell(News::Reviewed(verdict)).await;
                    tokio::time::sleep(again).await;
                    *pause = PAUSES.0;
                }
                Err(trouble) => {
                    self.tell(News::Failed(trouble)).await;
                    wait(pause).await;
                }
            }
        }
    }

    /// Watches until a list fails, or a watch cannot be opened.
    async fn watch(&self, client: &Client, resource: &ApiResource, pause: &mut Duration) {
        let what = &self.watched.what;
        let mut config = watcher::Config::default().timeout(OPEN_FOR);
        match what {
            What::Secret(name) | What::Config(name) => {
                config = config.fields(&format!("metadata.name={}", name.name()))
            }
            What::Bundles => config = config.labels(bundles::LABEL),
            What::Ours(_) | What::Target(_) | What::Review(_) => {}
        }
        let mut events = std::pin::pin!(watcher(api(client, &self.watched, resource), config));
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => listed.push(stripped(object, what, resource)),
                Ok(watcher::Event::InitDone) => {
                    *pause = PAUSES.0;
                    self.tell(News::Listed(std::mem::take(&mut listed))).await;
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.tell(News::Applied(Box::new(stripped(object, what, resource))))
                        .await;
                }
                Ok(watcher::Event::Delete(object)) => {
                    self.tell(News::Deleted(Box::new(stripped(object, what, resource))))
                        .await;
                }
                Err(error) => {
                    // A list that failed is tried anew, from the look-up of its kind on.
                    if let Some(trouble) = trouble(&error) {
                        return self.tell(News::Failed(trouble)).await;
                    }
                    tracing::debug!(%error, watched = ?self.watched, "a watch ended; it is opened again");
                    wait(pause).await;
                }
            }
        }
    }
}

/// Waits, each time longer, and never two watches in step.
async fn wait(pause: &mut Duration) {
    let jitter = 0.75 + fastrand::f64() / 2.0;
    tokio::time::sleep(pause.mul_f64(jitter)).await;
    *pause = (*pause * 2).min(PAUSES.1);
}

fn api(client: &Client, watched: &Watched, resource: &ApiResource) -> Api<DynamicObject> {
    let namespace = match &watched.what {
        What::Secret(name) | What::Config(name) => Some(name.namespace()),
        What::Ours(_) | What::Target(_) | What::Bundles | What::Review(_) => watched.namespace.as_deref(),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Where the API serves the kind. Our own are known; others are looked up.
async fn resource(client: &Client, what: &What) -> Result<ApiResource, Trouble> {
    match what {
        What::Ours(kind) => Ok(kinds::resource(*kind)),
        What::Bundles => Ok(bundles::resource()),
        What::Secret(_) => Ok(kinds::resource(Kind::Secret)),
        What::Config(_) => Ok(kinds::resource(Kind::Config)),
        What::Target(kind) => look_up(client, kind).await,
        What::Review(_) => Err(Trouble::Missing),
    }
}

/// Asks the API server where it serves a kind.
pub(crate) async fn look_up(client: &Client, kind: &TargetKind) -> Result<ApiResource, Trouble> {
    let (group, version) = kind
        .api_version
        .split_once('/')
        .unwrap_or(("", &kind.api_version));
    let wanted = GroupVersionKind::gvk(group, version, &kind.kind);
    match pinned_kind(client, &wanted).await {
        Ok((resource, _)) => Ok(resource),
        Err(kube::Error::Discovery(_)) => Err(Trouble::Missing),
        Err(error) => Err(of_client(&error).unwrap_or(Trouble::Missing)),
    }
}

/// What an error of a list means. One of a watch that was open means nothing.
fn trouble(error: &watcher::Error) -> Option<Trouble> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            of_client(error)
        }
        watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// What an error of one request means; nothing where the history is gone.
pub(crate) fn of_client(error: &kube::Error) -> Option<Trouble> {
    let kube::Error::Api(status) = error else {
        return Some(Trouble::Unreached(error.to_string()));
    };
    match status.code {
        404 => Some(Trouble::Missing),
        403 => Some(Trouble::Forbidden),
        410 => None,
        _ => Some(Trouble::Unreached(status.message.clone())),
    }
}

/// An object with its kind, and without what nobody here reads.
fn stripped(mut object: DynamicObject, what: &What, resource: &ApiResource) -> DynamicObject {
    object.types.get_or_insert_with(|| TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    });
    if matches!(what, What::Target(_)) {
        targets::strip(&mut object);
    }
    object
}
