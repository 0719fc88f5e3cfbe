//! Writes statuses that changed, by server-side apply.
//!
//! # Contract
//! A write carries the `resourceVersion` that the status was made from. If the object has changed since, the
//! API server refuses the write, and the next sighting decides anew. Nothing is written again until the
//! object was seen as the last write left it, so that what the API server leaves out of a status is not sent
//! for ever. What is not ours any more is given up: an apply without a status takes away the fields that
//! nobody else has written, and no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use millrace_crds::{ConditionStatus, Key, Kind};
use millrace_event::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::condition::{READY, Shown};
use crate::events::{Events, Told};
use crate::kinds::{self, MANAGER};
use crate::metrics::{Metrics, WriteOutcome};
use crate::status::Status;

/// A status and the object that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) before: Value,
    /// `None`: the object is not ours any more, and what was said of it goes.
    pub(crate) status: Option<Status>,
}

/// Writes at one time.
const AT_ONCE: usize = 8;
/// How long one write may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before writes are tried again that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Who writes.
pub(crate) struct Writer {
    client: Client,
    clock: Clock,
    metrics: Metrics,
    events: Events,
    /// What was written last to each object, and to which version of it, until a newer one is seen.
    written: Mutex<HashMap<String, (String, Option<Status>)>>,
    has_failed: AtomicBool,
    is_forbidden: AtomicBool,
}

// === impl Writer ===

impl Writer {
    pub(crate) fn new(client: Client, clock: Clock, metrics: Metrics) -> Self {
        Self {
            events: Events::new(client.clone()),
            client,
            clock,
            metrics,
            written: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_forbidden: AtomicBool::new(false),
        }
    }

    /// Writes what differs of the newest statuses, until their maker is gone.
    pub(crate) async fn run(self, mut wanted: watch::Receiver<Arc<Vec<Write>>>) {
        let mut pause = PAUSES.0;
        loop {
            let all = wanted.borrow_and_update().clone();
            let newer = wanted.clone();
            self.has_failed.store(false, Ordering::Relaxed);
            self.forget_seen(&all);
            let due = (0..all.len()).filter(|at| self.is_due(&all[*at]));
            // What newer statuses say is not written twice.
            let due = due.take_while(|_| matches!(newer.has_changed(), Ok(false)));
            futures_util::stream::iter(due.map(|at| self.write(&all[at])))
                .buffer_unordered(AT_ONCE)
                .for_each(std::future::ready)
                .await;
            if !self.has_failed.load(Ordering::Relaxed) {
                pause = PAUSES.0;
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let jitter = 0.5 + fastrand::f64();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Objects that are seen as a write left them, or that are gone, may be written again.
    fn forget_seen(&self, all: &[Write]) {
        let versions: HashMap<&str, &str> = all
            .iter()
            .map(|write| (write.uid.as_str(), write.version.as_str()))
            .collect();
        self.written
            .lock()
            .retain(|uid, (version, _)| versions.get(uid.as_str()) == Some(&version.as_str()));
    }

    fn is_due(&self, write: &Write) -> bool {
        let written = self.written.lock();
        let is_written = written
            .get(&write.uid)
            .is_some_and(|(_, status)| *status == write.status);
        let is_said = |status: &Status| status.is_said_by(&write.before);
        !is_written && !write.status.as_ref().is_some_and(is_said)
    }

    async fn write(&self, write: &Write) {
        let resource = kinds::resource(write.key.kind);
        let name = &write.key.name;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), name.namespace(), &resource);
        let now = self.now();
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name.name(), "namespace": name.namespace(), "resourceVersion": write.version,
            },
        });
        if let Some(status) = &write.status {
            body["status"] = status.json(&write.before, &now);
        }
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        let patched = tokio::time::timeout(TIMEOUT, api.patch_status(name.name(), &params, &patch));
        let outcome = match patched.await {
            Ok(Ok(_)) => WriteOutcome::Written,
            Ok(Err(kube::Error::Api(status))) => self.refused(write, status.code, &status.message),
            Ok(Err(error)) => self.failed(write, &error.to_string()),
            Err(_) => self.failed(write, "no answer in time"),
        };
        self.metrics.count(outcome);
        if outcome == WriteOutcome::Written {
            self.note(write);
            self.tell(write).await;
        }
    }

    fn note(&self, write: &Write) {
        let what = (write.version.clone(), write.status.clone());
        self.written.lock().insert(write.uid.clone(), what);
    }

    /// What a refusal means.
    fn refused(&self, write: &Write, code: u16, message: &str) -> WriteOutcome {
        match code {
            // The object has changed, or is gone: the next sighting says what.
            404 | 409 => WriteOutcome::Outdated,
            // Another role, or another definition, makes it better. A role may come at any time.
            403 | 422 => {
                match code {
                    403 => self.has_failed.store(true, Ordering::Relaxed),
                    _ => self.note(write),
                }
                if !self.is_forbidden.swap(true, Ordering::Relaxed) {
                    tracing::error!(object = %write.key, message, "a status cannot be written; this is logged once");
                }
                WriteOutcome::Refused
            }
            _ => self.failed(write, message),
        }
    }

    fn failed(&self, write: &Write, why: &str) -> WriteOutcome {
        tracing::debug!(object = %write.key, why, "a status was not written; it is tried again");
        self.has_failed.store(true, Ordering::Relaxed);
        WriteOutcome::Failed
    }

    /// Tells of a transition of `Ready`, or of its end, with an Event of Kubernetes.
    async fn tell(&self, write: &Write) {
        let Key { kind, name } = &write.key;
        let told = match &write.status {
            Some(status) => transition(status, &write.before).map(|ready| told(&write.key, ready)),
            // It is served, and another says how it stands.
            None if *kind == Kind::EventPolicy => None,
            None => Some(Told {
                is_warning: true,
                reason: "ClassChanged".to_owned(),
                note: format!(
                    "Millrace serves {} no more: the Broker is of another class",
                    write.key
                ),
                action: "Serve",
            }),
        };
        if let Some(told) = told {
            self.events.tell(*kind, name, &write.uid, told).await;
        }
    }

    /// The time, as conditions have it.
    fn now(&self) -> String {
        let now = jiff::Timestamp::from_second(self.clock.now().0 / 1000);
        now.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
    }
}

/// What is told of a transition.
fn told(key: &Key, ready: &Shown) -> Told {
    let is_ready = ready.status == ConditionStatus::True;
    Told {
        is_warning: !is_ready,
        reason: ready.reason.clone(),
        note: if is_ready {
            format!("{key} is ready")
        } else {
            ready.message.clone()
        },
        action: "Serve",
    }
}

/// `Ready`, if its word changes to one that is known.
fn transition<'a>(status: &'a Status, before: &Value) -> Option<&'a Shown> {
    let ready = status.conditions.iter().find(|one| one.ty == READY)?;
    let before = before["conditions"].as_array().into_iter().flatten();
    let before = before
        .filter(|one| one["type"] == READY)
        .find_map(|one| one["status"].as_str());
    (ready.status != ConditionStatus::Unknown && before != Some(ready.status.as_str())).then_some(ready)
}
