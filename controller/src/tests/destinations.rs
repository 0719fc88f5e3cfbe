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
    let references = needs(&world.objects, &world.configs, &world.options).references();
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
fn an_address_says_its_name_and_who_vouches_for_it() {
    const CERTIFICATE: &str = include_str!("../../../crds/tests/data/authority.pem");
    let kind = TargetKind {
        api_version: "example.com/v1".to_owned(),
        kind: "Widget".to_owned(),
    };
    let widget = |status: Value| {
        let mut widget = object(&kind.api_version, &kind.kind, "shop/w", json!({}));
        widget.data["status"] = status;
        crate::targets::strip(&mut widget);
        widget
    };
    let to = |name: &str, address: Option<&str>| {
        let reference =
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "address": address});
        let spec = json!({"broker": "b", "subscriber": {"ref": reference}});
        object(BROKER, "Trigger", name, spec)
    };
    let triggers = vec![to("shop/any", None), to("shop/inner", Some("inner"))];
    let mut world = World::with(vec![broker("shop/b", None)], triggers);
    let mut see = |status: Value| {
        let listed = News::Listed(vec![widget(status)]);
        world.targets.see(&kind, None, listed, "cluster.local");
        world.apply();
        let fields = |name: &str| {
            let drafts = world.build().drafts;
            let draft = drafts.into_iter().find(|draft| draft.key.name == named(name));
            world.status(&draft.expect("a draft")).fields
        };
        let said = ["shop/any", "shop/inner"].map(|name| world.ready(Kind::Trigger, name));
        (said, fields("shop/any"), fields("shop/inner"))
    };
    let ready = || "Ready=True Ready".to_owned();

    let outer = json!({"name": "outer", "url": "https://w.example/"});
    let inner = json!({"name": "inner", "url": "https://w.shop.svc/", "CACerts": CERTIFICATE});
    let (said, any, of_inner) = see(json!({"address": outer, "addresses": [outer, inner]}));
    assert_eq!(said, [ready(), ready()]);
    assert_eq!(any, [("subscriberUri", json!("https://w.example/"))]);
    let expected = [
        ("subscriberUri", json!("https://w.shop.svc/")),
        ("subscriberCACerts", json!(CERTIFICATE)),
    ];
    assert_eq!(of_inner, expected);

    let (said, any, of_inner) = see(json!({"address": outer}));
    let lost = "Ready=False AddressNotFound the Widget shop/w has no address of the name `inner` (`ref.address`): it \
                has `outer`";
    assert_eq!(said, [ready(), lost.to_owned()]);
    assert_eq!((any.len(), of_inner.len()), (1, 0));

    let broken = json!({"name": "inner", "url": "https://w.shop.svc/", "CACerts": "trust me"});
    let (said, ..) = see(json!({"addresses": [outer, broken]}));
    assert_eq!(said[0], ready());
    let why = "Ready=False InvalidCertificates the Widget shop/w names certificates for its address (`CACerts`) that \
               cannot be used: a certificate in PEM is expected";
    assert!(said[1].starts_with(why), "{}", said[1]);
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
    assert_eq!(
        needs(&world.objects, &world.configs, &world.options)
            .addresses
            .len(),
        1
    );
    world.options.same_namespace = true;
    world.apply();
    for name in ["shop/away", "shop/service"] {
        let ready = world.ready(Kind::Trigger, name);
        assert!(ready.starts_with("Ready=False OtherNamespace"), "{ready}");
    }
    assert_eq!(world.ready(Kind::Trigger, "shop/home"), "Ready=True Ready");
    assert!(
        needs(&world.objects, &world.configs, &world.options)
            .addresses
            .is_empty(),
        "nor is it watched"
    );
}
