//! Promise: the status of a Trigger says as whom its deliveries are made, for whom, or why no token is shown.

use millrace_crds::Address;

use super::*;

const SECRET: &str = "{bearer: {secretKeyRef: {name: ship, key: token}}}";

fn shown(world: &World) -> (String, Value) {
    let conditions = world.conditions(Kind::Trigger, "shop/t");
    let said = conditions
        .iter()
        .find_map(|line| line.strip_prefix("OIDCIdentityCreated="));
    let built = world.build();
    let draft = built.drafts.iter().find(|draft| draft.key.kind == Kind::Trigger);
    let status = world.status(draft.expect("a draft"));
    (
        said.expect("it is said").to_owned(),
        status.json(&Value::Null, "2026-11-29T12:00:00Z"),
    )
}

#[test]
fn the_condition_tells_of_every_reason_and_the_status_of_the_account() {
    let with = |audience: Option<&str>, dead: Option<&str>, auth: Option<&str>| {
        let sink = |audience| json!({"uri": "http://sink.example/", "audience": audience});
        let mut spec = json!({"broker": "b", "subscriber": sink(audience)});
        if dead.is_some() {
            spec["delivery"] = json!({"deadLetterSink": sink(dead)});
        }
        let mut trigger = object(BROKER, "Trigger", "shop/t", spec);
        let auth = auth.map(|auth| ("millrace.dev/subscriber-auth".to_owned(), auth.to_owned()));
        trigger.metadata.annotations = auth.map(|auth| [auth].into());
        trigger
    };
    let accounts = |name: &str| {
        let name = named(name);
        BTreeMap::from([(name.namespace().to_owned(), name)])
    };
    let ours = || accounts("shop/deliverer");
    for (accounts, trigger, expected, account) in [
        (
            BTreeMap::new(),
            with(Some("ship"), None, None),
            "True NotEnabled",
            false,
        ),
        (ours(), with(None, None, None), "True NoAudience", false),
        (
            accounts("other/deliverer"),
            with(Some("ship"), None, None),
            "True NoServiceAccount",
            false,
        ),
        (
            ours(),
            with(Some("ship"), None, Some(SECRET)),
            "True OtherCredentials",
            false,
        ),
        (ours(), with(Some("ship"), None, None), "True TokensShown", true),
        (ours(), with(None, Some("dead"), None), "True TokensShown", true),
        (
            ours(),
            with(Some("ship"), Some("dead"), Some(SECRET)),
            "True TokensShown",
            true,
        ),
    ] {
        let (audience, dead) = (
            trigger.data["spec"]["subscriber"]["audience"].clone(),
            trigger.data["spec"]["delivery"]["deadLetterSink"]["audience"].clone(),
        );
        let mut world = World::with(vec![broker("shop/b", None)], vec![trigger]);
        world.options.accounts = accounts;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ship", "namespace": "shop"},
            "data": {"token": "aHVzaA=="},
        });
        world.readable.push(Document::of_object(&secret));
        let (said, status) = shown(&world);
        assert!(said.starts_with(expected), "{said}");
        let expected = account.then(|| json!({"serviceAccountName": "deliverer"}));
        assert_eq!(status.get("auth"), expected.as_ref(), "{said}");
        assert_eq!(status["subscriberAudience"], audience);
        assert_eq!(status["deadLetterSinkAudience"], dead);
    }
}

#[test]
fn the_condition_says_why_the_audience_of_a_status_does_not_count() {
    let to = json!({"ref": {"apiVersion": "v1", "kind": "Widget", "name": "theirs", "namespace": "bank"}});
    let spec = json!({"broker": "b", "subscriber": to});
    let trigger = object(BROKER, "Trigger", "shop/t", spec);
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger]);
    world.options.accounts = BTreeMap::from([("shop".to_owned(), named("shop/deliverer"))]);
    let wanted = Wanted::of(reference("v1", "Widget", "bank/theirs"));
    let address = Address {
        audience: Some("theirs".to_owned()),
        ..Uri::from_static("http://theirs.example/").into()
    };
    world.kept = [(wanted, address)].into();
    let (said, status) = shown(&world);
    assert!(said.starts_with("True AudienceRefused "), "{said}");
    assert!(said.contains("is in another namespace"), "{said}");
    assert!(status.get("auth").is_none() && status.get("subscriberAudience").is_none());
}

#[test]
fn a_broker_of_the_mesh_has_its_audience_and_is_shown_no_token() {
    let to = json!({"ref": {"apiVersion": BROKER, "kind": "Broker", "name": "b"}});
    let trigger = object(
        BROKER,
        "Trigger",
        "shop/t",
        json!({"broker": "b", "subscriber": to}),
    );
    let mut world = World::with(vec![broker("shop/b", None)], vec![trigger]);
    world.options.accounts = BTreeMap::from([("shop".to_owned(), named("shop/deliverer"))]);
    let (said, status) = shown(&world);
    assert!(said.starts_with("True NoAudience"), "{said}");
    assert!(status.get("subscriberAudience").is_none(), "nobody is asked");
    let allow = millrace_model::event_policy::DefaultMode::AllowAll;
    world.options.authentication = Authentication(Arc::new(move || Some(allow)));
    let (said, status) = shown(&world);
    assert!(said.starts_with("True NoAudience"), "{said}");
    assert_eq!(status["subscriberAudience"], "eventing.knative.dev/broker/shop/b");
}
