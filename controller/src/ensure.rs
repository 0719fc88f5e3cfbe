//! Creates a Broker where there is none, and never changes one.

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
