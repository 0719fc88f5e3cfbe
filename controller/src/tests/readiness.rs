//! Promise: `Ready` says what is true of the mesh in effect, and a status that says the same is not written
//! again.

use std::sync::Arc;

use millrace_model::event_policy::DefaultMode;

use super::*;
use crate::options::Authentication;

#[test]
fn ready_is_unknown_until_the_mesh_with_this_generation_is_in_effect() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger("shop/t", "b")]);
    assert_eq!(
        world.conditions(Kind::Broker, "shop/b"),
        [
            "Addressable=True Addressed",
            "ChannelReady=Unknown DataPlaneNotUpdated the mesh in effect does not have this generation of Broker shop/b yet",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "EventPoliciesReady=True NotAsked nobody has to say who they are, so that policies decide nothing (--access)",
            "IngressReady=Unknown DataPlaneNotUpdated the mesh in effect does not have this generation of Broker shop/b yet",
            "Ready=Unknown DataPlaneNotUpdated the mesh in effect does not have this generation of Broker shop/b yet",
        ]
    );
    world.apply();
    assert_eq!(
        world.conditions(Kind::Broker, "shop/b"),
        [
            "Addressable=True Addressed",
            "ChannelReady=True Embedded synced: it is on the disk",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "EventPoliciesReady=True NotAsked nobody has to say who they are, so that policies decide nothing (--access)",
            "IngressReady=True EventsAccepted",
            "Ready=True Ready",
        ]
    );
    assert_eq!(
        world.conditions(Kind::Trigger, "shop/t"),
        [
            "BrokerReady=True BrokerReady",
            "CaughtUp=True CaughtUp",
            "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured",
            "Delivering=True Delivering",
            "DependencyReady=True DependencyNotConfigured",
            "NothingParked=True NothingParked",
            "OIDCIdentityCreated=True NotEnabled deliveries show no token of OpenID Connect: Millrace runs without --oidc-service-account",
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
fn a_trigger_waits_for_a_broker_or_a_kafka_sink_as_for_a_source() {
    for (version, kind) in [
        (BROKER, Kind::Broker),
        ("sinks.millrace.dev/v1alpha1", Kind::KafkaSink),
    ] {
        let name = json!({"apiVersion": version, "kind": kind.to_string(), "name": "other"});
        let mut dependent = trigger("shop/t", "b");
        dependent.metadata.annotations =
            Some([("knative.dev/dependency".to_owned(), name.to_string())].into());
        let b = broker("shop/b", None);
        let mut world = World::with(vec![b.clone()], vec![dependent]);
        world.apply();
        let listed: Vec<_> = (kind == Kind::Broker).then_some(b).into_iter().collect();
        if kind != Kind::Broker {
            let ready = world.ready(Kind::Trigger, "shop/t");
            assert!(ready.starts_with("Ready=Unknown NotResolvedYet"), "{ready}");
        }
        let other = |observed: i64, status: &str| {
            let mut other = object(version, &kind.to_string(), "shop/other", json!({}));
            other.data["status"] = json!({
                "observedGeneration": observed, "conditions": [{"type": "Ready", "status": status}],
            });
            News::Applied(Box::new(other))
        };
        for (news, expected) in [
            (News::Listed(listed), "Ready=False DependencyDoesNotExist"),
            (other(-1, "Unknown"), "Ready=Unknown DependencyNotConfigured"),
            (other(1, "False"), "Ready=False DependencyNotReady"),
            (other(1, "True"), "Ready=True Ready"),
        ] {
            world.objects.see(kind, None, news);
            let ready = world.ready(Kind::Trigger, "shop/t");
            assert!(ready.starts_with(expected), "{kind:?}: {ready}");
        }
    }
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
    world.options.authentication = Authentication(Arc::new(|| Some(DefaultMode::AllowAll)));
    let asking = world.status(&draft);
    assert!(!asking.is_said_by(&written));
    let audience = &asking.json(&written, "2026-11-29T12:00:00Z")["address"]["audience"];
    assert_eq!(audience, "eventing.knative.dev/broker/shop/b");
    world.options.authentication = Authentication::none();
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
    assert_eq!(times, [kept, now, kept, kept, now, now]);
    let mut more = written.clone();
    more["deadLetterSinkUri"] = json!("http://d/");
    assert!(
        !status.is_said_by(&more),
        "a field that is ours goes when it has no value"
    );
}

#[test]
fn how_a_lane_stands_is_said_as_information_and_ready_does_not_depend_on_it() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger("shop/t", "b")]);
    world.apply();
    let mut seen = trigger("shop/t", "b");
    let word = |ty: &str, reason: &str| json!({"type": ty, "reason": reason, "severity": "Info"});
    let words = [
        word("CaughtUp", "Behind"),
        word("Delivering", "Paused"),
        word("NothingParked", "Parked"),
    ];
    seen.data["status"] = json!({"conditions": words});
    world
        .objects
        .see(Kind::Trigger, None, News::Applied(Box::new(seen)));
    assert_eq!(world.ready(Kind::Trigger, "shop/t"), "Ready=True Ready");
    let built = world.build();
    let draft = built.drafts.iter().find(|draft| draft.key.kind == Kind::Trigger);
    let status = world.status(draft.expect("a draft")).json(&Value::Null, "");
    let conditions = status["conditions"].as_array().expect("a list").iter();
    let info = conditions.filter(|one| one["severity"] == "Info");
    let info: Vec<_> = info
        .map(|one| format!("{} {}", one["status"], one["reason"]))
        .collect();
    assert_eq!(
        info,
        [
            r#""False" "Behind""#,
            r#""False" "Paused""#,
            r#""False" "Parked""#
        ]
    );
}

#[test]
fn a_policy_is_ready_where_it_is_asked_who_calls_and_all_whom_it_names_are_known() {
    let policy = |name: &str, from: Value| {
        let spec = json!({"to": [{"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b"}}], "from": from});
        let object = json!({
            "apiVersion": "eventing.knative.dev/v1alpha1", "kind": "EventPolicy", "spec": spec,
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "1",
            },
        });
        serde_json::from_value::<DynamicObject>(object).expect("an object")
    };
    let from_trigger =
        json!([{"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "name": "t"}}]);
    let from_ping =
        json!([{"ref": {"apiVersion": "sources.knative.dev/v1", "kind": "PingSource", "name": "p"}}]);
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger("shop/t", "b")]);
    let known = vec![policy("known", from_trigger)];
    world
        .objects
        .see(Kind::EventPolicy, None, News::Listed(known.clone()));
    world.apply();
    let unasked = world.conditions(Kind::EventPolicy, "shop/known");
    assert!(
        unasked[0].starts_with("AuthenticationEnabled=False NotAsked"),
        "{unasked:?}"
    );
    world.options.authentication = Authentication(Arc::new(|| Some(DefaultMode::AllowAll)));
    assert_eq!(
        world.conditions(Kind::EventPolicy, "shop/known"),
        [
            "AuthenticationEnabled=True Asked",
            "Ready=True Ready",
            "SubjectsResolved=True Resolved",
        ]
    );
    let status = |world: &World, kind| {
        let built = world.build();
        let draft = built
            .drafts
            .iter()
            .find(|draft| draft.key.kind == kind)
            .expect("a draft");
        world.status(draft).json(&Value::Null, "")
    };
    assert_eq!(
        status(&world, Kind::EventPolicy)["from"],
        json!(["system:millrace:trigger:shop:t"])
    );
    let bound = json!([{"apiVersion": "eventing.knative.dev/v1alpha1", "name": "known"}]);
    assert_eq!(status(&world, Kind::Broker)["policies"], bound);

    let both = [known, vec![policy("unknown", from_ping)]].concat();
    world.objects.see(Kind::EventPolicy, None, News::Listed(both));
    world.apply();
    let ready = world.ready(Kind::EventPolicy, "shop/unknown");
    assert!(ready.starts_with("Ready=False SubjectNotKnown"), "{ready}");
    let ready = world.ready(Kind::Broker, "shop/b");
    assert!(ready.starts_with("Ready=False EventPoliciesNotReady"), "{ready}");
}
