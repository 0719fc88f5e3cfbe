//! Creates a Broker where there is none, and never changes one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use millrace_crds::Kind;
use millrace_model::ObjectName;
use serde_json::json;

use crate::kinds::{self, CLASS, CLASS_ANNOTATION};

/// The pause between two tries: the kind or the namespace may come late.
const PAUSE: Duration = Duration::from_secs(2);

/// The Brokers that Triggers ask for, while they are tried.
#[derive(Debug, Default)]
pub(crate) struct Injections {
    tasks: BTreeMap<ObjectName, AbortOnDropHandle>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct AbortOnDropHandle(tokio::task::AbortHandle);

impl Drop for AbortOnDropHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Injections {
    /// Tries to create these Brokers, and no others any more.
    pub(crate) fn want(&mut self, client: &Client, brokers: BTreeSet<ObjectName>) {
        self.tasks.retain(|broker, _| brokers.contains(broker));
        for broker in brokers {
            self.tasks.entry(broker.clone()).or_insert_with(|| {
                let trying = tokio::spawn(ensure(client.clone(), broker));
                AbortOnDropHandle(trying.abort_handle())
            });
        }
    }
}

/// Tries until there is a Broker of that name.
pub(crate) async fn ensure(client: Client, name: ObjectName) {
    let resource = kinds::resource(Kind::Broker);
    let api: Api<DynamicObject> = Api::namespaced_with(client, name.namespace(), &resource);
    let broker = DynamicObject::new(name.name(), &resource).within(name.namespace());
    let mut broker = broker.data(json!({"spec": {}}));
    let class = (CLASS_ANNOTATION.to_owned(), CLASS.to_owned());
    broker.metadata.annotations = Some([class].into());
    let mut said = String::new();
    loop {
        let why = match api.create(&PostParams::default(), &broker).await {
            Ok(_) => {
                tracing::info!(broker = %name, "the Broker was created");
                return;
            }
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(error) => error.to_string(),
        };
        if why != said {
            tracing::warn!(broker = %name, why, "the Broker cannot be created yet; it is tried again");
            said = why;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
