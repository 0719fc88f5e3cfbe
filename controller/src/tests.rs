//! What becomes of objects as the API gives them: the mesh, and the status of each.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use kube::core::DynamicObject;
use millrace_crds::{Document, Draft, Kind};
use millrace_model::status::SourceStatus;
use millrace_model::{ObjectName, Reference, SourceKey, SourceKind, SourceState, Target, Unresolved};
use serde_json::{Value, json};

use crate::build::{Built, build, needs};
use crate::index::Index;
use crate::kept::Kept;
use crate::objects::{Objects, Standing};
use crate::options::Options;
use crate::resolve::{Addresses, Resolver, Reviews, Secrets};
use crate::review::Question;
use crate::running::Running;
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
            kept: Addresses::new(),
            options: Options {
                default_class: true,
                namespaces: Vec::new(),
                public_url: Uri::from_static("http://millrace.mill.svc.cluster.local"),
                cluster_domain: "cluster.local".to_owned(),
                ensure_broker: None,
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
            kept: &self.kept,
            options: &self.options,
        };
        let readable = self.readable.iter();
        build(&self.objects, readable, &resolver, &self.options, &self.reviews)
    }

    /// The mesh is in effect.
    fn apply(&mut self) {
        let built = self.build();
        self.applied = built.in_effect(&built.mesh);
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
        self.running.observe(&[(key, status)].into());
    }

    fn status(&self, draft: &Draft) -> Status {
        let entry = self
            .objects
            .get(draft.key.kind, &draft.key.name)
            .expect("it is there");
        let scene = Scene {
            options: &self.options,
            objects: &self.objects,
            targets: &self.targets,
            reviews: &self.reviews,
            running: &self.running,
            applied: &self.applied,
            delay: "",
            account: Some("mill:millrace"),
        };
        Status::of(draft, entry, &scene)
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

#[test]
fn only_brokers_of_our_class_are_served_and_the_triggers_of_these() {
    let mut world = World::with(
        vec![
            broker("shop/ours", Some("Millrace")),
            broker("shop/theirs", Some("MTChannelBasedBroker")),
            broker("shop/none", None),
        ],
        vec![
            trigger("shop/a", "ours"),
            trigger("shop/b", "theirs"),
            trigger("shop/c", "none"),
            trigger("shop/d", "absent"),
        ],
    );
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        world.names(),
        (
            texts(&["shop/none", "shop/ours"]),
            texts(&["shop/a", "shop/c", "shop/d"])
        )
    );
    let lost = world.ready(Kind::Trigger, "shop/d");
    assert!(lost.starts_with("Ready=False BrokerDoesNotExist"), "{lost}");

    world.options.default_class = false;
    assert_eq!(world.names(), (texts(&["shop/ours"]), texts(&["shop/a"])));
    let drafts = world.build().drafts;
    assert_eq!(drafts.len(), 2, "of what is not ours nothing is said: {drafts:?}");
}

#[test]
fn a_trigger_whose_broker_went_away_is_ours_if_we_have_written_its_status() {
    let mut ours = trigger("shop/ours", "gone");
    ours.metadata.managed_fields = serde_json::from_value(json!([
        {"manager": "millrace", "operation": "Apply", "subresource": "status"},
    ]))
    .expect("fields");
    let mut world = World::with(vec![], vec![ours, trigger("shop/theirs", "gone")]);
    world.options.default_class = false;
    assert_eq!(world.names().1, ["shop/ours"]);
    let lost = world.ready(Kind::Trigger, "shop/ours");
    assert!(lost.starts_with("Ready=False BrokerDoesNotExist"), "{lost}");
}

#[test]
fn ready_is_unknown_until_the_mesh_with_this_generation_is_in_effect() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger("shop/t", "b")]);
    assert_eq!(
        world.conditions(Kind::Broker, "shop/b"),
        [
            "Addressable=True Addressed",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "IngressReady=Unknown DataPlaneNotUpdated the mesh in effect does not have this generation of Broker shop/b yet",
            "Ready=Unknown DataPlaneNotUpdated the mesh in effect does not have this generation of Broker shop/b yet",
        ]
    );
    world.apply();
    assert_eq!(
        world.conditions(Kind::Broker, "shop/b"),
        [
            "Addressable=True Addressed",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "IngressReady=True EventsAccepted",
            "Ready=True Ready",
        ]
    );
    assert_eq!(
        world.conditions(Kind::Trigger, "shop/t"),
        [
            "BrokerReady=True BrokerReady",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "DependencyReady=True DependencyNotConfigured",
            "Ready=True Ready",
            "SubscriberResolved=True Resolved",
            "SubscriptionReady=True Subscribed",
        ]
    );
    let newer = at_generation(trigger("shop/t", "b"), 2);
    world
        .objects
        .see(Kind::Trigger, None, News::Applied(Box::new(newer)));
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(ready.starts_with("Ready=Unknown DataPlaneNotUpdated"), "{ready}");

    let mut anew = trigger("shop/t", "b");
    anew.metadata.uid = Some("another".to_owned());
    world
        .objects
        .see(Kind::Trigger, None, News::Applied(Box::new(anew)));
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(ready.starts_with("Ready=Unknown DataPlaneNotUpdated"), "{ready}");
}

#[test]
fn a_trigger_that_was_there_before_its_broker_waits_for_the_mesh_that_has_both() {
    let mut world = World::with(vec![], vec![trigger("shop/t", "b")]);
    world.apply();
    let broker = News::Applied(Box::new(broker("shop/b", None)));
    world.objects.see(Kind::Broker, None, broker);
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(ready.starts_with("Ready=Unknown DataPlaneNotUpdated"), "{ready}");
    world.apply();
    assert_eq!(world.ready(Kind::Trigger, "shop/t"), "Ready=True Ready");
}

#[test]
fn an_invalid_generation_leaves_the_last_valid_one_in_the_mesh_and_says_what_is_wrong() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger("shop/t", "b")]);
    world.apply();
    let mut bad = at_generation(trigger("shop/t", "b"), 2);
    bad.data["spec"]["filters"] = json!([{}]);
    world
        .objects
        .see(Kind::Trigger, None, News::Applied(Box::new(bad.clone())));
    let built = world.build();
    assert!(built.mesh.triggers[&named("shop/t")].filters.is_empty());
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(
        ready.starts_with("Ready=False InvalidFilter") && ready.contains("spec.filters[0]"),
        "{ready}"
    );
    let draft = built.drafts.iter().find(|draft| draft.key.kind == Kind::Trigger);
    assert_eq!(world.status(draft.expect("a draft")).generation, 2);

    bad.metadata.uid = Some("another".to_owned());
    world
        .objects
        .see(Kind::Trigger, None, News::Applied(Box::new(bad)));
    assert!(
        world.build().mesh.triggers.is_empty(),
        "another object never was valid"
    );
}

#[test]
fn only_a_complete_list_or_a_deletion_of_the_same_object_removes() {
    let mut world = World::with(
        vec![broker("shop/a", None), broker("mill/b", None)],
        vec![trigger("shop/t", "a")],
    );
    world.objects.see(
        Kind::Broker,
        None,
        News::Failed(Trouble::Unreached(String::new())),
    );
    world
        .objects
        .see(Kind::Broker, None, News::Failed(Trouble::Missing));
    assert_eq!(world.names().0, ["mill/b", "shop/a"]);
    assert!(world.objects.is_complete(Kind::Broker, &[None]));

    let mut earlier = broker("shop/a", None);
    earlier.metadata.uid = Some("an-earlier-one".to_owned());
    world
        .objects
        .see(Kind::Broker, None, News::Deleted(Box::new(earlier)));
    assert_eq!(world.names().0, ["mill/b", "shop/a"]);

    let of_mill = News::Listed(vec![]);
    world.objects.see(Kind::Broker, Some("mill"), of_mill);
    assert_eq!(
        world.names().0,
        ["shop/a"],
        "a list of one namespace is about that one"
    );
    world.objects.see(Kind::Broker, None, News::Listed(vec![]));
    assert!(world.names().0.is_empty());
}

#[test]
fn what_is_kept_makes_the_same_mesh_until_the_first_complete_list() {
    let world = World::with(
        vec![broker("shop/b", None)],
        vec![trigger("shop/t", "b"), to_service("shop/s")],
    );
    let mut again = World::new();
    for entry in world.objects.all() {
        let said = entry.valid.as_ref().expect("it is valid");
        again.objects.remember(Value::clone(&said.object));
    }
    let address = Uri::from_static("http://ship.shop.svc.cluster.local/");
    again.kept = [(reference("v1", "Service", "shop/ship"), address)].into();
    let (before, after) = (world.build(), again.build());
    assert_eq!(before.members, after.members);
    assert_eq!(before.mesh.brokers, after.mesh.brokers);
    let of = |built: &Built, name: &str| built.mesh.triggers[&named(name)].clone();
    assert_eq!(of(&before, "shop/t"), of(&after, "shop/t"));
    let target: Target = Target::Http(Uri::from_static("http://ship.shop.svc.cluster.local/in?x=y"));
    assert_eq!(of(&after, "shop/s").subscriber, Ok(target));
    again.objects.see(Kind::Trigger, None, News::Listed(vec![]));
    assert!(again.names().1.is_empty());
}

#[test]
fn of_what_is_kept_only_namespaces_that_are_watched_are_served() {
    let object = |name| Arc::new(serde_json::to_value(broker(name, None)).expect("an object"));
    let kept = Kept {
        objects: vec![object("shop/b"), object("billing/b")],
        ..Kept::default()
    };
    for (namespaces, expected) in [(vec![], 2), (vec!["shop"], 1), (vec!["other"], 0)] {
        let options = Options {
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            ..World::new().options
        };
        let index = Index::new(options, kept.clone());
        assert_eq!(index.objects.all().count(), expected, "{namespaces:?}");
    }
}

#[test]
fn a_service_is_resolved_lost_and_found_again() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![to_service("shop/t")]);
    world.apply();
    let ready = |world: &World| world.ready(Kind::Trigger, "shop/t");
    assert!(ready(&world).starts_with("Ready=Unknown NotResolvedYet"));
    let service = || object("v1", "Service", "shop/ship", json!({"ports": [{"port": 8080}]}));
    let kind = service_kind();
    let see = |world: &mut World, news| world.targets.see(&kind, None, news, "cluster.local");
    see(&mut world, News::Listed(vec![]));
    assert!(ready(&world).starts_with("Ready=False ServiceNotFound"));
    see(&mut world, News::Applied(Box::new(service())));
    assert_eq!(ready(&world), "Ready=True Ready");
    let draft = world
        .build()
        .drafts
        .into_iter()
        .find(|draft| draft.key.kind == Kind::Trigger);
    let fields = world.status(&draft.expect("a draft")).fields;
    assert_eq!(
        fields,
        [(
            "subscriberUri",
            json!("http://ship.shop.svc.cluster.local:8080/in?x=y")
        )]
    );
    see(&mut world, News::Deleted(Box::new(service())));
    assert!(ready(&world).starts_with("Ready=False ServiceNotFound"));
}

#[test]
fn a_kind_that_may_not_be_listed_everywhere_is_watched_where_it_is_referred_to() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![to_service("shop/t")]);
    let kind = service_kind();
    let references = needs(&world.objects, &world.options).references;
    assert_eq!(references, [reference("v1", "Service", "shop/ship")].into());
    let scopes = |world: &mut World| -> BTreeSet<Option<String>> {
        let places = world.targets.want(&references, false).into_iter();
        places.map(|place| place.namespace).collect()
    };
    assert_eq!(scopes(&mut world), [None].into());
    let forbidden = News::Failed(Trouble::Forbidden);
    world.targets.see(&kind, None, forbidden, "cluster.local");
    assert_eq!(scopes(&mut world), [None, Some("shop".to_owned())].into());
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(ready.starts_with("Ready=Unknown NotResolvedYet"), "{ready}");
    let forbidden = News::Failed(Trouble::Forbidden);
    world.targets.see(&kind, Some("shop"), forbidden, "cluster.local");
    let ready = world.ready(Kind::Trigger, "shop/t");
    assert!(ready.starts_with("Ready=False Forbidden"), "{ready}");
    let service = object("v1", "Service", "shop/ship", json!({}));
    let listed = News::Listed(vec![service]);
    world.targets.see(&kind, Some("shop"), listed, "cluster.local");
    world.apply();
    assert_eq!(world.ready(Kind::Trigger, "shop/t"), "Ready=True Ready");
    assert!(world.targets.want(&BTreeSet::new(), false).is_empty());
}

#[test]
fn what_was_known_of_a_namespace_is_forgotten_when_nothing_there_is_referred_to() {
    let mut targets = Targets::default();
    let (kind, ship, bill) = (
        service_kind(),
        reference("v1", "Service", "shop/ship"),
        reference("v1", "Service", "billing/bill"),
    );
    let both = [ship.clone(), bill.clone()].into();
    targets.want(&both, true);
    for (namespace, name) in [("shop", "shop/ship"), ("billing", "billing/bill")] {
        let listed = News::Listed(vec![object("v1", "Service", name, json!({}))]);
        targets.see(&kind, Some(namespace), listed, "cluster.local");
    }
    targets.want(&both, true);
    assert!(targets.get(&ship).is_ok());
    targets.want(&[bill.clone()].into(), true);
    targets.want(&both, true);
    assert_eq!(targets.get(&ship), Err(Unresolved::Pending));
    assert!(targets.get(&bill).is_ok());
}

#[test]
fn a_trigger_waits_for_the_source_that_it_depends_on() {
    let mut dependent = trigger("shop/t", "b");
    let text = r#"{"kind": "PingSource", "name": "ping", "apiVersion": "sources.knative.dev/v1"}"#;
    dependent.metadata.annotations = Some([("knative.dev/dependency".to_owned(), text.to_owned())].into());
    let mut world = World::with(vec![broker("shop/b", None)], vec![dependent]);
    world.apply();
    let kind = TargetKind {
        api_version: "sources.knative.dev/v1".to_owned(),
        kind: "PingSource".to_owned(),
    };
    let see = |world: &mut World, news| world.targets.see(&kind, None, news, "cluster.local");
    let ping = |generation: i64, status: &str| {
        let mut ping = object("sources.knative.dev/v1", "PingSource", "shop/ping", json!({}));
        ping.metadata.generation = Some(generation);
        ping.data["status"] = json!({
            "observedGeneration": 1, "conditions": [{"type": "Ready", "status": status}],
        });
        News::Applied(Box::new(ping))
    };
    see(&mut world, News::Listed(vec![]));
    for (news, expected) in [
        (News::Listed(vec![]), "Ready=False DependencyDoesNotExist"),
        (ping(1, "False"), "Ready=False DependencyNotReady"),
        (ping(2, "True"), "Ready=Unknown DependencyNotConfigured"),
        (ping(1, "True"), "Ready=True Ready"),
    ] {
        see(&mut world, news);
        let ready = world.ready(Kind::Trigger, "shop/t");
        assert!(ready.starts_with(expected), "{ready}");
    }
}

#[test]
fn a_status_says_the_same_whatever_its_times_and_the_fields_of_others_are() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    world.apply();
    let draft = world.build().drafts.remove(0);
    let status = world.status(&draft);
    assert!(!status.is_said_by(&Value::Null));
    let mut written = status.json(&Value::Null, "2026-11-29T12:00:00Z");
    written["annotations"] = json!({});
    assert!(status.is_said_by(&written));
    assert_eq!(
        written["address"],
        json!({"name": "http", "url": "http://millrace.mill.svc.cluster.local/shop/b"})
    );
    world.applied.clear();
    let unknown = world.status(&draft);
    assert!(!unknown.is_said_by(&written));
    let later = unknown.json(&written, "2026-11-29T13:00:00Z");
    let times: Vec<&str> = later["conditions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["lastTransitionTime"].as_str())
        .collect();
    let (kept, now) = ("2026-11-29T12:00:00Z", "2026-11-29T13:00:00Z");
    assert_eq!(times, [kept, kept, now, now]);
    let mut more = written.clone();
    more["deadLetterSinkUri"] = json!("http://d/");
    assert!(
        !status.is_said_by(&more),
        "a field that is ours goes when it has no value"
    );
}

#[test]
fn a_secret_that_may_not_be_read_is_named_with_the_command_that_permits_it() {
    let source = json!({
        "forge": "github",
        "secrets": [{"secretKeyRef": {"name": "hook", "key": "token"}}],
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object(
        "sources.millrace.dev/v1alpha1",
        "GitWebhookSource",
        "shop/git",
        source,
    );
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::GitWebhook);
    world.objects.see(kind, None, News::Listed(vec![source]));
    let document = world.objects.get(kind, &named("shop/git")).expect("it is there");
    assert!(
        document.valid.is_some(),
        "{:?}",
        document.current.document.problems
    );
    world.apply();
    assert!(
        world
            .ready(kind, "shop/git")
            .starts_with("Ready=Unknown NotResolvedYet")
    );
    world
        .secrets
        .insert(named("shop/hook"), Standing::Failed(Trouble::Forbidden));
    let ready = world.ready(kind, "shop/git");
    for part in [
        "Ready=False SecretForbidden",
        "kubectl -n shop create role",
        "--resource-name=hook",
        "--serviceaccount=mill:millrace",
    ] {
        assert!(ready.contains(part), "{ready}");
    }
    world.secrets.insert(named("shop/hook"), Standing::Complete);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "shop"},
        "data": {"token": "aHVzaA=="},
    });
    world.readable.push(Document::of_object(&secret));
    let ready = world.ready(kind, "shop/git");
    assert!(ready.starts_with("Ready=Unknown Starting"), "{ready}");
    world.run(SourceKind::GitWebhook, "shop/git", SourceState::Ready, "");
    assert_eq!(world.ready(kind, "shop/git"), "Ready=True Ready");
}

#[test]
fn a_trigger_waits_for_the_secret_that_its_deliveries_show_and_says_how_to_permit_it() {
    let mut trigger = trigger("shop/t", "b");
    let auth = "bearer: {secretKeyRef: {name: ship, key: token}}";
    trigger.metadata.annotations =
        Some([("millrace.dev/subscriber-auth".to_owned(), auth.to_owned())].into());
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger]);
    world.apply();
    assert!(
        world
            .ready(Kind::Trigger, "shop/t")
            .starts_with("Ready=Unknown NotResolvedYet")
    );
    world
        .secrets
        .insert(named("shop/ship"), Standing::Failed(Trouble::Forbidden));
    let ready = world.ready(Kind::Trigger, "shop/t");
    for part in [
        "Ready=False SecretForbidden",
        "kubectl -n shop create role",
        "--resource-name=ship",
    ] {
        assert!(ready.contains(part), "{ready}");
    }
    world.secrets.insert(named("shop/ship"), Standing::Complete);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ship", "namespace": "shop"},
        "data": {"token": "aHVzaA=="},
    });
    world.readable.push(Document::of_object(&secret));
    world.apply();
    assert_eq!(world.ready(Kind::Trigger, "shop/t"), "Ready=True Ready");
}

#[test]
fn an_api_server_source_is_in_the_mesh_only_when_its_own_account_may_read() {
    let source = json!({
        "serviceAccountName": "reader",
        "resources": [{"apiVersion": "v1", "kind": "Pod"}],
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object(
        "sources.millrace.dev/v1alpha1",
        "ApiServerSource",
        "shop/pods",
        source,
    );
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::ApiServer);
    world.objects.see(kind, None, News::Listed(vec![source]));
    world.apply();
    world.run(SourceKind::ApiServer, "shop/pods", SourceState::Ready, "");
    let entry = world.objects.get(kind, &named("shop/pods")).expect("it is there");
    let question = Question::of(entry, &world.options).expect("it is asked");
    for (verdict, expected) in [
        (None, "Ready=Unknown NotReviewed"),
        (
            Some(Err("no".to_owned())),
            "Ready=False InsufficientPermissions no",
        ),
        (Some(Ok(())), "Ready=True Ready"),
    ] {
        let is_permitted = verdict == Some(Ok(()));
        world
            .reviews
            .extend(verdict.map(|verdict| (question.clone(), verdict)));
        let ready = world.ready(kind, "shop/pods");
        assert!(ready.starts_with(expected), "{ready}");
        assert_eq!(world.build().mesh.sources.len(), usize::from(is_permitted));
    }
}

#[test]
fn a_source_that_does_not_run_says_why() {
    let source = json!({
        "schedule": "0 0 1 1 *",
        "sink": {"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}},
    });
    let source = object("sources.millrace.dev/v1alpha1", "CronSource", "shop/tick", source);
    let mut world = World::with(vec![broker("shop/b", None)], vec![]);
    let kind = Kind::Source(SourceKind::Cron);
    world.objects.see(kind, None, News::Listed(vec![source]));
    world.apply();
    world.run(
        SourceKind::Cron,
        "shop/tick",
        SourceState::NotReady,
        "no zone of that name",
    );
    assert_eq!(
        world.ready(kind, "shop/tick"),
        "Ready=False NotRunning no zone of that name"
    );
}
