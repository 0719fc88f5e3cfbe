//! Promise: a Broker's channel is kept where the ConfigMap says that its `config` names; what is wrong with
//! that is said in its own status; nobody's ConfigMap is read for a Broker of another namespace.

use millrace_model::{Backend, NoSecret};

use super::*;

/// A Broker `shop/b` that names this ConfigMap.
fn on(config: &str) -> DynamicObject {
    let config = named(config);
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": config.name(), "namespace": config.namespace()});
    object(BROKER, "Broker", "shop/b", json!({"config": config}))
}

fn config(name: &str, data: &Value) -> DynamicObject {
    let mut config = object("v1", "ConfigMap", name, json!(null));
    config.data = json!({"data": data});
    config
}

fn channel(world: &World) -> String {
    let conditions = world.conditions(Kind::Broker, "shop/b");
    let found = conditions
        .into_iter()
        .find(|line| line.starts_with("ChannelReady="));
    found.expect("it is said")
}

fn see(world: &mut World, news: News) {
    world.configs.see(named("shop/on-nats"), news);
}

fn backend(world: &World) -> Backend {
    world.build().mesh.brokers[&named("shop/b")].backend.clone()
}

#[test]
fn what_a_config_lacks_is_said_of_its_own_broker_and_permitted_by_a_command() {
    let mut world = World::with(vec![on("shop/on-nats")], vec![]);
    let needs = |world: &World| needs(&world.objects, &world.configs, &world.options);
    assert_eq!(needs(&world).configs, [named("shop/on-nats")].into());
    assert!(channel(&world).starts_with("ChannelReady=Unknown NotResolvedYet"));
    see(&mut world, News::Failed(Trouble::Forbidden));
    let forbidden = channel(&world);
    assert!(forbidden.starts_with("ChannelReady=False ConfigForbidden"));
    for part in [
        "kubectl -n shop create role millrace-config-on-nats --verb=get,list,watch --resource=configmaps \
         --resource-name=on-nats",
        "--serviceaccount=mill:millrace",
    ] {
        assert!(forbidden.contains(part), "{forbidden}");
    }
    see(&mut world, News::Listed(vec![]));
    assert_eq!(
        channel(&world),
        "ChannelReady=False ConfigNotFound there is no ConfigMap shop/on-nats"
    );
    let wrong = config("shop/on-nats", &json!({"backend": "nats"}));
    see(&mut world, News::Applied(Box::new(wrong)));
    let said = channel(&world);
    assert!(
        said.starts_with(
            "ChannelReady=False ConfigInvalid the ConfigMap shop/on-nats is invalid: data.backend:"
        ),
        "{said}"
    );
    assert!(
        world
            .ready(Kind::Broker, "shop/b")
            .starts_with("Ready=False ConfigInvalid")
    );
    assert!(matches!(backend(&world), Backend::Unknown(_)));

    let data = json!({"backend": "jetstream", "servers": "nats://a:4222", "auth-secret": "login"});
    let right = config("shop/on-nats", &data);
    see(&mut world, News::Applied(Box::new(right)));
    assert_eq!(needs(&world).secrets, [named("shop/login")].into());
    world
        .secrets
        .insert(named("shop/login"), Standing::Failed(Trouble::Forbidden));
    let forbidden = channel(&world);
    assert!(forbidden.starts_with("ChannelReady=False SecretForbidden"));
    assert!(
        forbidden.contains("create role millrace-secret-login"),
        "{forbidden}"
    );
    let login = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"},
        "data": {"token": "aHVudGVyMg=="},
    });
    world.readable.push(Document::of_object(&login));
    world.apply();
    assert_eq!(
        channel(&world),
        "ChannelReady=True JetStream synced: it is on the disk"
    );
    let Backend::JetStream(there) = backend(&world) else {
        panic!("it is on NATS");
    };
    assert!(there.secrets.contains_key("token") && there.missing.is_none());
    assert_eq!(world.ready(Kind::Broker, "shop/b"), "Ready=True Ready");
}

#[test]
fn a_channel_that_is_not_open_or_kept_elsewhere_says_why() {
    let mut world = World::with(vec![on("shop/on-nats")], vec![]);
    let right = config(
        "shop/on-nats",
        &json!({"backend": "jetstream", "servers": "nats://a:4222"}),
    );
    see(&mut world, News::Applied(Box::new(right)));
    world.apply();
    world.open(Some("no server answers"), None);
    assert_eq!(channel(&world), "ChannelReady=False NotOpen no server answers");
    world.open(None, Some("it is kept on the local disk"));
    assert_eq!(
        channel(&world),
        "ChannelReady=False KeptElsewhere it is kept on the local disk"
    );
    // What another Broker of that name was says nothing of this one.
    let mut anew = on("shop/on-nats");
    anew.metadata.uid = Some("another".to_owned());
    world
        .objects
        .see(Kind::Broker, None, News::Applied(Box::new(anew)));
    assert!(channel(&world).starts_with("ChannelReady=Unknown DataPlaneNotUpdated"));
}

#[test]
fn a_broker_that_moved_from_knative_is_on_the_local_disk_with_a_word_about_its_config() {
    let knative = "knative-eventing/config-br-default-channel";
    let mut world = World::with(vec![on(knative)], vec![]);
    assert!(
        needs(&world.objects, &world.configs, &world.options)
            .configs
            .is_empty()
    );
    // Also if somebody had it, it is not used.
    let right = config(
        knative,
        &json!({"backend": "jetstream", "servers": "nats://a:4222"}),
    );
    world.configs.see(named(knative), News::Applied(Box::new(right)));
    world.apply();
    assert_eq!(
        channel(&world),
        format!(
            "ChannelReady=True Embedded the ConfigMap {knative} is in another namespace: it is not read, and the channel is \
             on the local disk. synced: it is on the disk"
        )
    );
    assert_eq!(world.ready(Kind::Broker, "shop/b"), "Ready=True Ready");

    let mut world = World::with(vec![on("shop/on-nats")], vec![]);
    let theirs = config(
        "shop/on-nats",
        &json!({"channel-template-spec": "kind: InMemoryChannel"}),
    );
    see(&mut world, News::Applied(Box::new(theirs)));
    world.apply();
    let said = channel(&world);
    assert!(
        said.starts_with(
            "ChannelReady=True Embedded the ConfigMap shop/on-nats is for Knative's own brokers"
        ),
        "{said}"
    );
    assert!(backend(&world).is_embedded());
}

#[test]
fn what_an_earlier_run_has_accepted_counts_until_it_is_listed() {
    let mut world = World::with(vec![on("shop/on-nats")], vec![]);
    let right = config(
        "shop/on-nats",
        &json!({"backend": "kafka", "servers": "a:9092", "auth-secret": "s"}),
    );
    see(&mut world, News::Applied(Box::new(right)));
    world.configs = Configs::remembered(&world.configs.accepted());
    let Backend::Kafka(on) = backend(&world) else {
        panic!("it is on Kafka");
    };
    assert_eq!(on.missing.map(|missing| missing.why), Some(NoSecret::Pending));
    see(&mut world, News::Listed(vec![]));
    assert!(matches!(backend(&world), Backend::Unknown(_)));
}

#[test]
fn a_change_of_the_channel_alone_is_in_effect_when_its_own_condition_says_so() {
    let mut world = World::with(vec![on("shop/on-nats")], vec![trigger("shop/t", "b")]);
    let at = |server: &str| {
        let data = json!({"backend": "jetstream", "servers": server});
        News::Applied(Box::new(config("shop/on-nats", &data)))
    };
    see(&mut world, at("nats://a:4222"));
    world.apply();
    let in_effect = world.build().mesh;
    see(
        &mut world,
        News::Deleted(Box::new(config("shop/on-nats", &json!({})))),
    );
    // The Broker is served on where it was, and so are its Triggers.
    world.applied = world.build().in_effect(&in_effect);
    assert_eq!(world.ready(Kind::Trigger, "shop/t"), "Ready=True Ready");
    assert!(
        world
            .ready(Kind::Broker, "shop/b")
            .starts_with("Ready=Unknown NotResolvedYet")
    );
}
