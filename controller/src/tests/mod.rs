//! What becomes of objects as the API gives them: the mesh, and the status of each. Here is the small world
//! that the tests share.

mod channels;
mod destinations;
mod kafka_sinks;
mod membership;
mod readiness;
mod sources;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use kube::core::DynamicObject;
use millrace_crds::{Document, Draft, Kind, Wanted};
use millrace_model::status::{ChannelStatus, SourceStatus};
use millrace_model::{ObjectName, Reference, SourceKey, SourceKind, SourceState, Target, Unresolved};
use serde_json::{Value, json};

use crate::build::{Built, build, injected, needs};
use crate::channels::Channels;
use crate::configs::Configs;
use crate::index::Index;
use crate::kept::Kept;
use crate::lanes::Lanes;
use crate::objects::{Objects, Standing};
use crate::options::{Authentication, Options};
use crate::public::Public;
use crate::resolve::{Addresses, Resolver, Reviews, Secrets};
use crate::review::Question;
use crate::running::Running;
use crate::sinks::Sinks;
use crate::status::{Scene, Status};
use crate::targets::{TargetKind, Targets};
use crate::watch::{News, Trouble};

const BROKER: &str = "eventing.knative.dev/v1";

/// What a test knows of a cluster.
struct World {
    objects: Objects,
    targets: Targets,
    secrets: Secrets,
    readable: Vec<Document>,
    reviews: Reviews,
    running: Running,
    sinks: Sinks,
    configs: Configs,
    channels: Channels,
    lanes: Lanes,
    kept: Addresses,
    options: Options,
    applied: HashSet<(String, i64)>,
}

impl World {
    fn new() -> Self {
        Self {
            objects: Objects::default(),
            targets: Targets::default(),
            secrets: Secrets::new(),
            readable: Vec::new(),
            reviews: Reviews::new(),
            running: Running::default(),
            sinks: Sinks::default(),
            configs: Configs::default(),
            channels: Channels::default(),
            lanes: Lanes::default(),
            kept: Addresses::new(),
            options: Options {
                default_class: true,
                namespaces: Vec::new(),
                own_namespace: Some("mill".to_owned()),
                public: Public::at(Uri::from_static("http://millrace.mill.svc.cluster.local")),
                cluster_domain: "cluster.local".to_owned(),
                ensure_broker: None,
                same_namespace: false,
                accounts: BTreeMap::new(),
                authentication: Authentication::none(),
                kept: PathBuf::new(),
            },
            applied: HashSet::new(),
        }
    }

    /// A world in which these are all the Brokers and Triggers.
    fn with(brokers: Vec<DynamicObject>, triggers: Vec<DynamicObject>) -> Self {
        let mut world = Self::new();
        world.objects.see(Kind::Broker, None, News::Listed(brokers));
        world.objects.see(Kind::Trigger, None, News::Listed(triggers));
        world
    }

    fn build(&self) -> Built {
        let resolver = Resolver {
            objects: &self.objects,
            targets: &self.targets,
            secrets: &self.secrets,
            configs: &self.configs,
            kept: &self.kept,
            options: &self.options,
        };
        let beside = self.readable.iter().chain(self.configs.documents());
        build(&self.objects, beside, &resolver, &self.options, &self.reviews)
    }

    /// The mesh is in effect.
    fn apply(&mut self) {
        let built = self.build();
        self.applied = built.in_effect(&built.mesh);
        self.open(None, None);
    }

    /// The channels of all Brokers are open where they are to be, but for that.
    fn open(&mut self, fault: Option<&str>, refused: Option<&str>) {
        let brokers = self.build().mesh.brokers.into_iter();
        let stand = brokers.map(|(name, broker)| {
            let status = ChannelStatus {
                broker,
                durability: Some(("synced", "it is on the disk")),
                fault: fault.map(str::to_owned),
                refused: refused.map(str::to_owned),
            };
            (name, status)
        });
        self.channels.observe(stand.collect());
    }

    /// A source is in that state.
    fn run(&mut self, kind: SourceKind, name: &str, state: SourceState, reason: &str) {
        let key = SourceKey {
            kind,
            name: named(name),
        };
        let status = SourceStatus {
            state,
            reason: Some(reason.to_owned()),
            ..SourceStatus::default()
        };
        let source = self.build().mesh.sources[&key].clone();
        self.running.observe(&[(key, (source, status))].into());
    }

    fn status(&self, draft: &Draft) -> Status {
        let entry = self
            .objects
            .get(draft.key.kind, &draft.key.name)
            .expect("it is there");
        Status::of(draft, entry, &self.scene())
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            options: &self.options,
            objects: &self.objects,
            targets: &self.targets,
            reviews: &self.reviews,
            running: &self.running,
            sinks: &self.sinks,
            channels: &self.channels,
            lanes: &self.lanes,
            applied: &self.applied,
            delay: "",
            account: Some("mill:millrace"),
        }
    }

    /// The conditions of an object, a line each.
    fn conditions(&self, kind: Kind, name: &str) -> Vec<String> {
        let built = self.build();
        let draft = built
            .drafts
            .iter()
            .find(|draft| draft.key.kind == kind && draft.key.name == named(name));
        let conditions = self.status(draft.expect("a draft")).conditions;
        let line = |one: &crate::condition::Shown| {
            format!("{}={} {} {}", one.ty, one.status, one.reason, one.message)
                .trim_end()
                .to_owned()
        };
        conditions.iter().map(line).collect()
    }

    fn ready(&self, kind: Kind, name: &str) -> String {
        let conditions = self.conditions(kind, name);
        let ready = conditions.into_iter().find(|line| line.starts_with("Ready="));
        ready.expect("it is said")
    }

    fn names(&self) -> (Vec<String>, Vec<String>) {
        let mesh = self.build().mesh;
        let text = |name: &ObjectName| name.to_string();
        (
            mesh.brokers.keys().map(text).collect(),
            mesh.triggers.keys().map(text).collect(),
        )
    }
}

fn named(name: &str) -> ObjectName {
    name.parse().expect("namespace/name")
}

/// An object as the API gives it.
fn object(api_version: &str, kind: &str, name: &str, spec: impl Into<Value>) -> DynamicObject {
    let name = named(name);
    serde_json::from_value(json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name.name(), "namespace": name.namespace(), "uid": format!("uid-of-{}", name.name()),
            "generation": 1, "resourceVersion": "7",
        },
        "spec": spec.into(),
    }))
    .expect("an object")
}

fn broker(name: &str, class: Option<&str>) -> DynamicObject {
    let mut broker = object(BROKER, "Broker", name, json!({}));
    broker.metadata.annotations =
        class.map(|class| [("eventing.knative.dev/broker.class".to_owned(), class.to_owned())].into());
    broker
}

fn trigger(name: &str, broker: &str) -> DynamicObject {
    let spec = json!({"broker": broker, "subscriber": {"uri": "http://sink.example/"}});
    object(BROKER, "Trigger", name, spec)
}

fn to_service(name: &str) -> DynamicObject {
    let service = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "ship"}, "uri": "/in?x=y"});
    object(
        BROKER,
        "Trigger",
        name,
        json!({"broker": "b", "subscriber": service}),
    )
}

fn service_kind() -> TargetKind {
    TargetKind {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
    }
}

fn reference(api_version: &str, kind: &str, name: &str) -> Reference {
    Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: named(name),
    }
}

fn at_generation(mut object: DynamicObject, generation: i64) -> DynamicObject {
    object.metadata.generation = Some(generation);
    object
}
