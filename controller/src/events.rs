//! Events of Kubernetes: what `kubectl describe` and `kubectl events` show of a transition.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use millrace_crds::Kind;
use millrace_model::ObjectName;

use crate::kinds::{self, MANAGER};

/// How long one Event may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a note, as the API server takes them.
const NOTE: usize = 1000;

/// Who tells.
pub(crate) struct Events {
    recorder: Recorder,
}

/// What is told of an object.
pub(crate) struct Told {
    pub(crate) is_warning: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
    pub(crate) action: &'static str,
}

// === impl Events ===

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Tells it of this object. If that fails, a status or a log line has said it.
    pub(crate) async fn tell(&self, kind: Kind, name: &ObjectName, uid: &str, told: Told) {
        let resource = kinds::resource(kind);
        let event = Event {
            type_: if told.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: told.reason,
            note: Some(told.note.chars().take(NOTE).collect()),
            action: told.action.to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace: Some(name.namespace().to_owned()),
            name: Some(name.name().to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let told = tokio::time::timeout(TIMEOUT, self.recorder.publish(&event, &regarding)).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(%kind, object = %name, "an Event of Kubernetes was not taken");
        }
    }
}
