//! Promise: what objects refer to is followed wherever it goes, and watched where that is allowed.

use super::*;

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
fn references_lead_to_no_other_namespace_if_the_operator_says_so() {
    let subscriber = |kind: &str, api_version: &str, namespace: &str| {
        let reference = json!({"apiVersion": api_version, "kind": kind, "name": "b", "namespace": namespace});
        json!({"broker": "b", "subscriber": {"ref": reference}})
    };
    let mut world = World::with(
        vec![broker("shop/b", None), broker("billing/b", None)],
        vec![
            object(
                BROKER,
                "Trigger",
                "shop/away",
                subscriber("Broker", BROKER, "billing"),
            ),
            object(
                BROKER,
                "Trigger",
                "shop/home",
                subscriber("Broker", BROKER, "shop"),
            ),
            object(
                BROKER,
                "Trigger",
                "shop/service",
                subscriber("Service", "v1", "billing"),
            ),
        ],
    );
    world.apply();
    assert_eq!(world.ready(Kind::Trigger, "shop/away"), "Ready=True Ready");
    assert_eq!(needs(&world.objects, &world.options).references.len(), 1);
    world.options.same_namespace = true;
    world.apply();
    for name in ["shop/away", "shop/service"] {
        let ready = world.ready(Kind::Trigger, name);
        assert!(ready.starts_with("Ready=False OtherNamespace"), "{ready}");
    }
    assert_eq!(world.ready(Kind::Trigger, "shop/home"), "Ready=True Ready");
    assert!(
        needs(&world.objects, &world.options).references.is_empty(),
        "nor is it watched"
    );
}
