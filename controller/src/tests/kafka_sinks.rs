//! Promise: a KafkaSink is ready when its topic can be reached, and a Trigger that refers to one resolves.

use millrace_model::status::SinkStatus;
use millrace_model::{KafkaSink, SinkState};

use super::*;

const SINKS: &str = "sinks.millrace.dev/v1alpha1";

fn sink(servers: &str) -> DynamicObject {
    let spec = json!({"bootstrapServers": [servers], "topic": "orders"});
    object(SINKS, "KafkaSink", "shop/orders", spec)
}

fn to_sink() -> DynamicObject {
    let subscriber = json!({"ref": {"apiVersion": SINKS, "kind": "KafkaSink", "name": "orders"}});
    object(
        BROKER,
        "Trigger",
        "shop/t",
        json!({"broker": "b", "subscriber": subscriber}),
    )
}

/// Somebody has looked at the sink of the mesh in effect.
fn look(world: &mut World, sink: &Arc<KafkaSink>, state: SinkState, reason: Option<&str>) -> bool {
    let reason = reason.map(str::to_owned);
    let all = [(sink.name.clone(), (sink.clone(), SinkStatus { state, reason }))];
    world.sinks.observe(&all.into())
}

#[test]
fn a_sink_is_ready_when_its_topic_can_be_reached() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![to_sink()]);
    let kind = Kind::KafkaSink;
    world.objects.see(kind, None, News::Listed(vec![sink("a:9092")]));
    assert!(
        world
            .ready(kind, "shop/orders")
            .starts_with("Ready=Unknown DataPlaneNotUpdated")
    );
    world.apply();
    assert!(
        world
            .ready(kind, "shop/orders")
            .starts_with("Ready=Unknown NotLookedAt")
    );
    let why = "topic orders: there is no such topic";
    let found = world.build().mesh.kafka_sinks[&named("shop/orders")].clone();
    assert!(look(&mut world, &found, SinkState::NotReady, Some(why)));
    let other = Some("the same in other words");
    assert!(!look(&mut world, &found, SinkState::NotReady, other), "no write");
    let conditions = world.conditions(kind, "shop/orders");
    assert_eq!(
        conditions,
        [
            format!("Ready=False NotReachable {why}"),
            "SecretsResolved=True Resolved".to_owned(),
            format!("TopicReady=False NotReachable {why}"),
        ]
    );
    assert!(look(&mut world, &found, SinkState::Ready, None));
    assert_eq!(world.ready(kind, "shop/orders"), "Ready=True Ready");
    // One that was edited has not been looked at.
    let edited = world.build().mesh.kafka_sinks[&named("shop/orders")].clone();
    assert!(look(&mut world, &edited, SinkState::Starting, None));
    assert!(
        world
            .ready(kind, "shop/orders")
            .starts_with("Ready=Unknown NotLookedAt")
    );
}

#[test]
fn a_trigger_with_a_sink_resolves_without_a_watch_of_targets() {
    let mut world = World::with(vec![broker("shop/b", None)], vec![to_sink()]);
    let kind = Kind::Trigger;
    // Nothing is known of any KafkaSink yet.
    let resolved = |world: &World| {
        let conditions = world.conditions(kind, "shop/t");
        let found = conditions
            .into_iter()
            .find(|line| line.starts_with("SubscriberResolved="));
        found.expect("it is said")
    };
    assert!(resolved(&world).starts_with("SubscriberResolved=Unknown NotResolvedYet"));
    world.objects.see(Kind::KafkaSink, None, News::Listed(vec![]));
    assert_eq!(
        resolved(&world),
        "SubscriberResolved=False KafkaSinkNotFound there is no KafkaSink shop/orders"
    );
    world
        .objects
        .see(Kind::KafkaSink, None, News::Listed(vec![sink("no port")]));
    assert!(resolved(&world).starts_with("SubscriberResolved=False KafkaSinkInvalid"));
    world
        .objects
        .see(Kind::KafkaSink, None, News::Listed(vec![sink("a:9092")]));
    assert_eq!(resolved(&world), "SubscriberResolved=True Resolved");
    assert!(
        needs(&world.objects, &world.configs, &world.options)
            .addresses
            .is_empty()
    );
    let trigger = world.build().mesh.triggers[&named("shop/t")].clone();
    assert!(matches!(trigger.subscriber, Ok(Target::Kafka(_))), "{trigger:?}");
}
