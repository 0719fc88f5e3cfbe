//! Which address of an object is meant (`ref.address`), and who vouches for it (`CACerts`).

use millrace_crds::{
    Address, Assembled, AudienceRefused, ConditionType, Resolve, ShownToken, Standing, Wanted, assemble,
};
use millrace_model::auth::AccountToken;
use millrace_model::{
    Authorities, Credentials, NoSecret, NoTarget, ObjectName, OtherAddresses, Target, Unresolved,
};
use serde_json::{Value, json};

use crate::{EVENTING, broker, condition, line, name, trigger};

const OWN: &str = include_str!("../data/authority.pem");

/// A cluster with one Widget, and a Service that is called by `https` where somebody vouches for it.
#[derive(Debug)]
struct Widgets {
    authorities: Result<Option<Authorities>, String>,
    audience: Option<String>,
    account: Option<ObjectName>,
}

impl Widgets {
    fn new() -> Self {
        Self {
            authorities: Ok(None),
            audience: None,
            account: None,
        }
    }
}

impl Resolve for Widgets {
    fn address(&self, wanted: &Wanted) -> Result<Address, Unresolved> {
        let url = match (
            wanted.resource.kind.as_str(),
            wanted.address.as_deref(),
            wanted.secured,
        ) {
            ("Service", _, false) => "http://s.shop.svc/",
            ("Service", _, true) => "https://s.shop.svc/",
            ("Widget", None | Some("outer"), _) => "https://w.example/",
            ("Widget", Some("inner"), _) => "https://w.shop.svc/",
            // One of another class, which is not among the documents.
            ("Broker", None, _) => "https://b.example/",
            (_, Some(name), _) => {
                return Err(Unresolved::from(OtherAddresses {
                    wanted: name.to_owned(),
                    names: vec!["outer".to_owned(), "inner".to_owned()],
                }));
            }
            _ => return Err(Unresolved::NotFound),
        };
        Ok(Address {
            url: url.parse().expect("a URL"),
            authorities: self.authorities.clone(),
            audience: self.audience.clone(),
        })
    }

    fn account(&self, namespace: &str) -> Option<ObjectName> {
        assert_eq!(namespace, "shop");
        self.account.clone()
    }

    fn secret(&self, _: &ObjectName, _: &str) -> Result<Box<[u8]>, NoSecret> {
        Err(NoSecret::NotFound)
    }
}

/// A mesh with one Trigger `shop/t`, whose subscriber is this.
fn of(subscriber: &Value, cluster: &Widgets) -> Assembled {
    let documents = [
        broker("shop/default", json!({})),
        trigger("shop/t", json!({"broker": "default", "subscriber": subscriber})),
    ];
    assemble(&documents, cluster)
}

fn subscriber(assembled: &Assembled) -> Result<Target, NoTarget> {
    assembled.mesh.triggers[&name("shop/t")].subscriber.clone()
}

fn widget(address: Option<&str>) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "address": address})
}

#[test]
fn the_address_of_that_name_is_taken_and_one_that_is_not_there_is_said() {
    let cluster = Widgets::new();
    for (address, expected) in [
        (None, "https://w.example/"),
        (Some(""), "https://w.example/"),
        (Some("outer"), "https://w.example/"),
        (Some("inner"), "https://w.shop.svc/"),
    ] {
        let assembled = of(&json!({"ref": widget(address)}), &cluster);
        let target = subscriber(&assembled).expect("a target");
        assert_eq!(target.to_string(), expected, "{address:?}");
    }
    let assembled = of(&json!({"ref": widget(Some("innner"))}), &cluster);
    assert_eq!(
        line(&condition(
            &assembled.drafts[1],
            ConditionType::SubscriberResolved
        )),
        "SubscriberResolved=False AddressNotFound: the Widget shop/w has no address of the name `innner` \
         (`ref.address`): it has `outer` and `inner`"
    );
}

#[test]
fn a_broker_of_the_mesh_has_the_names_that_knative_gives() {
    let cluster = Widgets::new();
    let default = |address: &str| json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "default", "address": address}});
    for address in ["http", "https"] {
        let target = subscriber(&of(&default(address), &cluster));
        assert_eq!(target, Ok(Target::Broker(name("shop/default"))), "{address}");
    }
    let assembled = of(&default("kafka"), &cluster);
    assert_eq!(
        line(&condition(
            &assembled.drafts[1],
            ConditionType::SubscriberResolved
        )),
        "SubscriberResolved=False AddressNotFound: the Broker shop/default has no address of the name `kafka` \
         (`ref.address`): it has `http` and `https`"
    );
}

#[test]
fn what_the_document_says_of_authorities_counts_more_than_what_the_object_says() {
    let theirs = Authorities::new("-----BEGIN CERTIFICATE-----\ntheirs");
    let own = Authorities::new(OWN);
    let bad = "certificate 1 cannot be read".to_owned();
    let vouched = |assembled: &Assembled| match subscriber(assembled) {
        Ok(Target::Http { authorities, .. }) => authorities,
        other => panic!("{other:?}"),
    };
    for (said, found, expected) in [
        (None, Ok(None), None),
        (None, Ok(Some(theirs.clone())), Some(theirs.clone())),
        (Some(OWN), Ok(None), Some(own.clone())),
        (Some(OWN), Ok(Some(theirs)), Some(own.clone())),
        (Some(OWN), Err(bad.clone()), Some(own.clone())),
    ] {
        let cluster = Widgets {
            authorities: found,
            ..Widgets::new()
        };
        let subscriber = json!({"ref": widget(None), "CACerts": said});
        assert_eq!(vouched(&of(&subscriber, &cluster)), expected, "{cluster:?}");
    }
    let cluster = Widgets {
        authorities: Err(bad),
        ..Widgets::new()
    };
    let assembled = of(&json!({"ref": widget(None)}), &cluster);
    assert_eq!(
        line(&condition(
            &assembled.drafts[1],
            ConditionType::SubscriberResolved
        )),
        "SubscriberResolved=False InvalidCertificates: the Widget shop/w names certificates for its address \
         (`CACerts`) that cannot be used: certificate 1 cannot be read"
    );
}

#[test]
fn a_service_for_which_somebody_vouches_is_called_by_https() {
    let cluster = Widgets::new();
    let service = json!({"apiVersion": "v1", "kind": "Service", "name": "s"});
    for (certificates, expected) in [("", "http://s.shop.svc/"), (OWN, "https://s.shop.svc/")] {
        let assembled = of(&json!({"ref": service, "CACerts": certificates}), &cluster);
        assert_eq!(subscriber(&assembled).expect("a target").to_string(), expected);
    }
}

#[test]
fn deliveries_show_a_token_for_the_audience_of_their_target_where_an_account_is_named() {
    let account = name("shop/deliverer");
    let of_account = |audience: &str| {
        ShownToken::Of(Box::new(AccountToken {
            account: account.clone(),
            audience: audience.to_owned(),
        }))
    };
    let none = || ShownToken::NoAudience;
    let no_account = |audience: &str| ShownToken::NoAccount(audience.to_owned());
    for (account, theirs, own, expected) in [
        (None, None, None, none()),
        (Some(&account), None, None, none()),
        (Some(&account), None, Some(""), none()),
        (None, Some("theirs"), None, no_account("theirs")),
        (Some(&account), Some("theirs"), None, of_account("theirs")),
        (Some(&account), Some("theirs"), Some(""), of_account("theirs")),
        (Some(&account), Some("theirs"), Some("own"), of_account("own")),
        (Some(&account), None, Some("own"), of_account("own")),
    ] {
        let cluster = Widgets {
            audience: theirs.map(str::to_owned),
            account: account.cloned(),
            ..Widgets::new()
        };
        let assembled = of(&json!({"ref": widget(None), "audience": own}), &cluster);
        let Standing::Trigger { tokens, .. } = &assembled.drafts[1].standing else {
            panic!("{:?}", assembled.drafts);
        };
        assert_eq!(tokens.subscriber, expected, "{cluster:?}");
        let shown = assembled.mesh.triggers[&name("shop/t")]
            .subscriber_auth
            .as_deref();
        let credentials = shown.and_then(|auth| auth.credentials.clone());
        let expected = match expected {
            ShownToken::Of(token) => Some(Credentials::Account(token)),
            _ => None,
        };
        assert_eq!(credentials, expected);
    }
}

fn reference([api_version, kind, namespace, name]: [&str; 4]) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name})
}

/// Whoever writes the status of an object cannot have a token sent to themselves that is good elsewhere.
#[test]
fn an_object_names_no_audience_to_other_namespaces_and_no_broker_but_itself() {
    let account = name("shop/deliverer");
    let widget = |namespace: &str| reference(["example.com/v1", "Widget", namespace, "w"]);
    let broker = |namespace: &str, name: &str| reference([EVENTING, "Broker", namespace, name]);
    let like_a_broker = reference(["example.com/v1", "Broker", "shop", "theirs"]);
    let theirs = "eventing.knative.dev/broker/shop/theirs";
    let (other_namespace, other_broker) = (
        Err(AudienceRefused::OtherNamespace),
        Err(AudienceRefused::OtherBroker),
    );
    for (to, said, own, expected) in [
        (
            widget("shop"),
            "https://kube.example",
            None,
            Ok("https://kube.example"),
        ),
        (widget("bank"), "w", None, other_namespace),
        (widget("bank"), "w", Some("w"), Ok("w")),
        (
            broker("bank", "theirs"),
            "eventing.knative.dev/broker/bank/theirs",
            None,
            other_namespace,
        ),
        (
            widget("shop"),
            "eventing.knative.dev/broker/bank/default",
            None,
            other_broker,
        ),
        (
            widget("shop"),
            "eventing.knative.dev/broker/shop/w",
            None,
            other_broker,
        ),
        (widget("shop"), "eventing.knative.dev/broker/", None, other_broker),
        (
            widget("shop"),
            "eventing.knative.dev/broker/x",
            Some("own"),
            Ok("own"),
        ),
        (like_a_broker, theirs, None, other_broker),
        (broker("shop", "theirs"), theirs, None, Ok(theirs)),
        (broker("shop", "theirs"), "theirs", None, Ok("theirs")),
        (
            broker("shop", "theirs"),
            "eventing.knative.dev/broker/shop/default",
            None,
            other_broker,
        ),
        (
            broker("shop", "theirs"),
            "eventing.knative.dev/broker/bank/theirs",
            None,
            other_broker,
        ),
    ] {
        let cluster = Widgets {
            audience: Some(said.to_owned()),
            account: Some(account.clone()),
            ..Widgets::new()
        };
        let assembled = of(&json!({"ref": to, "audience": own}), &cluster);
        let Standing::Trigger { tokens, .. } = &assembled.drafts[1].standing else {
            panic!("{:?}", assembled.drafts);
        };
        let shown = match &tokens.subscriber {
            ShownToken::Of(token) => Ok(&*token.audience),
            ShownToken::AudienceRefused(why) => Err(*why),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown, expected, "{to} {said}");
        let trigger = &assembled.mesh.triggers[&name("shop/t")];
        assert!(trigger.subscriber.is_ok(), "events go there in any case");
        assert_eq!(trigger.subscriber_auth.is_some(), expected.is_ok(), "{to} {said}");
    }
}
