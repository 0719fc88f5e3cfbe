//! The custom resources: what the API of Kubernetes has to know to store the documents of Millrace.
//!
//! A [`Definition`] is one kind, and [`definitions`] lists them. [`schema`] says what the fields may hold,
//! [`rule`] what a type cannot say; both are data here, and become OpenAPI and CEL only in the manifests. So
//! the same table is also what [`judge`] asks. [`parts`] has the fields that several kinds share;
//! [`eventing`], [`sources`] and [`sinks`] have the kinds. [`policy`] holds the rules about annotations,
//! which a schema cannot see. [`manifest`] is what is applied, written by [`yaml`], and
//! [`reference`](mod@reference) what people read.
//!
//! Most words and bounds are those of the readers in [`crate::document`]: a schema takes them from there.

mod eventing;
pub(crate) mod judge;
mod manifest;
mod parts;
mod policy;
mod reference;
mod rule;
mod schema;
mod sinks;
mod sources;
mod yaml;

use serde_json::{Value, json};

pub use self::manifest::{Manifest, manifests};
pub use self::reference::reference;
use self::schema::{Schema, needed, optional};

/// A kind, as it is defined in a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    /// What the kind is for.
    says: &'static str,
    categories: &'static [&'static str],
    /// Labels besides those that all have.
    labels: &'static [&'static str],
    /// The columns that `kubectl get` shows before the usual ones.
    columns: &'static [Column],
    /// The fields that objects are selected by (`kubectl get --field-selector`).
    selectable: &'static [&'static str],
    spec: Schema,
    /// Whether an object must have a `spec`.
    needs_spec: bool,
    status: Schema,
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
struct Column {
    name: &'static str,
    path: &'static str,
    /// Whether only `-o wide` shows it.
    is_wide: bool,
}

/// The column of kinds that have an address.
const ADDRESS: Column = Column {
    name: "URL",
    path: ".status.address.url",
    is_wide: false,
};

/// The label by which Knative's own tools find what can be sent to.
const ADDRESSABLE: &str = "duck.knative.dev/addressable";
/// The label by which `kn source list` finds the kinds of sources.
const SOURCE: &str = "duck.knative.dev/source";
/// The label of kinds that hand events on to something outside.
const SINK: &str = "duck.knative.dev/sink";

/// All kinds, in the order in which the reference has them.
pub(crate) fn definitions() -> Vec<Definition> {
    let [git_webhook, cron, kafka, api_server] = sources::definitions();
    vec![
        eventing::broker(),
        eventing::trigger(),
        eventing::event_policy(),
        git_webhook,
        cron,
        kafka,
        api_server,
        sinks::kafka(),
    ]
}

// === impl Definition ===

impl Definition {
    /// Lower case and an `s`: `kn source list` makes the name of a kind so.
    fn plural(&self) -> String {
        let lower = self.kind.to_lowercase();
        match lower.strip_suffix('y') {
            Some(begin) => format!("{begin}ies"),
            None => format!("{lower}s"),
        }
    }

    /// `group/version`.
    fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// What an object of the kind may hold, but for what all objects have.
    fn root(&self) -> Schema {
        let spec = if self.needs_spec { needed } else { optional };
        let fields = vec![
            spec("spec", self.spec.clone()),
            optional("status", self.status.clone()),
        ];
        Schema::object(self.says, fields)
    }

    /// The CustomResourceDefinition.
    fn object(&self) -> Value {
        let mut labels = json!({"app.kubernetes.io/name": "millrace", "knative.dev/crd-install": "true"});
        for label in self.labels {
            labels[label] = json!("true");
        }
        let plural = self.plural();
        let mut version = json!({
            "name": self.version,
            "served": true,
            "storage": true,
            "subresources": {"status": {}},
            "additionalPrinterColumns": self.columns(),
            "schema": {"openAPIV3Schema": self.root().openapi()},
        });
        if !self.selectable.is_empty() {
            let fields = self.selectable.iter().map(|path| json!({"jsonPath": path}));
            version["selectableFields"] = fields.collect();
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{}", self.group), "labels": labels},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": plural,
                    "singular": self.kind.to_lowercase(),
                    "categories": self.categories,
                },
                "versions": [version],
            },
        })
    }

    /// The columns of the kind, and those of every kind: the age and the condition `Ready`.
    fn columns(&self) -> Value {
        let ready = |field| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
        let of_kind = |wide| {
            let columns = self.columns.iter().filter(move |column| column.is_wide == wide);
            columns.map(|Column { name, path, is_wide }| {
                let mut column = json!({"name": name, "type": "string", "jsonPath": path});
                if *is_wide {
                    column["priority"] = json!(1);
                }
                column
            })
        };
        let usual = [
            json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
            json!({"name": "Ready", "type": "string", "jsonPath": ready("status")}),
            json!({"name": "Reason", "type": "string", "jsonPath": ready("reason")}),
        ];
        of_kind(false).chain(usual).chain(of_kind(true)).collect()
    }
}
