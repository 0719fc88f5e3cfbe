//! Promise: the mesh has what is ours to serve, each object in its newest valid generation, until its
//! deletion is known.

use super::*;
use crate::due;

/// The same object, whose status is ours.
fn written(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = serde_json::from_value(json!([
        {"manager": "millrace", "operation": "Apply", "subresource": "status"},
    ]))
    .expect("fields");
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
    let ours = written(trigger("shop/ours", "gone"));
    let mut world = World::with(vec![], vec![ours, trigger("shop/theirs", "gone")]);
    world.options.default_class = false;
    assert_eq!(world.names().1, ["shop/ours"]);
    let lost = world.ready(Kind::Trigger, "shop/ours");
    assert!(lost.starts_with("Ready=False BrokerDoesNotExist"), "{lost}");
}

#[test]
fn a_status_is_given_up_once_another_class_is_in_effect_if_it_is_ours() {
    let objects = |class| {
        World::with(
            vec![
                written(broker("shop/b", Some(class))),
                broker("shop/theirs", Some("Other")),
            ],
            vec![written(trigger("shop/t", "b")), trigger("shop/u", "b")],
        )
    };
    let (before, after) = (objects("Millrace"), objects("Other"));
    let left = |in_effect: &World| {
        let writes = due::writes(&after.build().drafts, &in_effect.build().mesh, &after.scene());
        let left = writes.into_iter().filter(|write| write.status.is_none());
        left.map(|write| write.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(left(&before), [""; 0], "events still go their way");
    assert_eq!(left(&after), ["Broker shop/b", "Trigger shop/t"]);
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
    let wanted = Wanted::of(reference("v1", "Service", "shop/ship"));
    again.kept = [(wanted, address.into())].into();
    let (before, after) = (world.build(), again.build());
    assert_eq!(before.members, after.members);
    assert_eq!(before.mesh.brokers, after.mesh.brokers);
    let of = |built: &Built, name: &str| built.mesh.triggers[&named(name)].clone();
    assert_eq!(of(&before, "shop/t"), of(&after, "shop/t"));
    let target: Target = Target::http(Uri::from_static("http://ship.shop.svc.cluster.local/in?x=y"));
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
fn a_broker_that_is_to_be_there_and_is_of_another_class_is_told() {
    for (class, told) in [
        (Some("Millrace"), None),
        (None, Some(None)),
        (Some("Other"), Some(Some("Other"))),
    ] {
        let options = Options {
            default_class: false,
            ensure_broker: Some(named("shop/b")),
            ..World::new().options
        };
        let mut index = Index::new(options, Kept::default());
        assert_eq!(index.foreign_ensured(), None, "it is not there yet");
        let there = News::Listed(vec![broker("shop/b", class)]);
        index.objects.see(Kind::Broker, None, there);
        let found = index.foreign_ensured().map(|(_, class)| class);
        assert_eq!((found, index.has_ensured()), (told, told.is_none()));
    }
}

#[test]
fn a_broker_that_a_trigger_asks_for_is_made_where_we_are_the_default_class() {
    let asking = |name: &str, broker: &str, value: &str| {
        let mut trigger = trigger(name, broker);
        trigger.metadata.annotations =
            Some([("eventing.knative.dev/injection".to_owned(), value.to_owned())].into());
        trigger
    };
    let mut world = World::with(
        vec![broker("there/default", Some("MTChannelBasedBroker"))],
        vec![
            asking("shop/a", "default", "enabled"),
            asking("shop/b", "other", "enabled"),
            asking("mill/c", "default", "disabled"),
            asking("there/d", "default", "enabled"),
            trigger("mill/e", "default"),
        ],
    );
    assert_eq!(
        injected(&world.objects, &world.options),
        [named("shop/default")].into()
    );
    world.options.default_class = false;
    assert!(injected(&world.objects, &world.options).is_empty());
}
