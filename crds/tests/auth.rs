//! What deliveries show: what the annotations mean, whose credentials go where, and every fault with its
//! field.

use millrace_crds::{Code, Document, Loaded, load_text};
use millrace_model::auth::{AwsSigV4, ClientLogin, OAuth2};
use millrace_model::{Auth, ClientCertificate, Credentials, Mesh, NoTarget, ObjectName, Secret, Trigger};
use serde_json::json;

const SECRET: &str = "{secretKeyRef: {name: s, key: k}}";

/// A Broker and a Secret `s`, and a Trigger with this annotation and what its `delivery` says.
fn text(name: &str, auth: &str, delivery: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, namespace: shop}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: t\n  namespace: shop\n  annotations:\n    \
         millrace.dev/{name}: |\n      {auth}\n\
         spec: {{broker: b, subscriber: {{uri: \"http://a/\"}}, delivery: {{{delivery}}}}}\n"
    )
}

fn load(name: &str, auth: &str, delivery: &str) -> Loaded {
    load_text(&text(name, auth, delivery))
}

fn trigger(mesh: &Mesh) -> &Trigger {
    mesh.triggers.values().next().expect("a Trigger")
}

fn subscriber_auth(auth: &str) -> Auth {
    let loaded = load("subscriber-auth", auth, "");
    let mesh = loaded
        .mesh
        .unwrap_or_else(|| panic!("{auth}: {:?}", loaded.problems));
    let found = trigger(&mesh).subscriber_auth.clone();
    (*found.expect("there is one")).clone()
}

fn hush() -> Secret {
    Secret::Value(b"hush".as_slice().into())
}

#[test]
fn each_way_to_prove_who_sends_is_read() {
    let none = Auth {
        credentials: None,
        certificate: None,
        signing_keys: Vec::new(),
    };
    let basic = |username: Secret| Auth {
        credentials: Some(Credentials::Basic {
            username,
            password: hush(),
        }),
        ..none.clone()
    };
    for (text, expected) in [
        (
            format!("bearer: {SECRET}"),
            Auth {
                credentials: Some(Credentials::Bearer(hush())),
                ..none.clone()
            },
        ),
        (
            format!("basic: {{username: shop, password: {SECRET}}}"),
            basic(Secret::Value(b"shop".as_slice().into())),
        ),
        (format!("basic: {{username: {SECRET}, password: {SECRET}}}"), basic(hush())),
        (
            format!("clientCertificate: {{certificate: {SECRET}, key: {{env: MILLRACE_SECRET_KEY}}}}"),
            Auth {
                certificate: Some(ClientCertificate {
                    certificate: hush(),
                    key: Secret::Env("MILLRACE_SECRET_KEY".to_owned()),
                }),
                ..none.clone()
            },
        ),
        (
            // JSON is YAML.
            r#"{"standardWebhooks": {"secrets": [{"secretKeyRef": {"name": "s", "key": "k"}}, {"env": "E"}]}}"#.to_owned(),
            Auth {
                signing_keys: vec![hush(), Secret::Env("E".to_owned())],
                ..none.clone()
            },
        ),
        (
            format!(
                "oauth2: {{tokenUrl: \"https://id/t\", clientId: c, clientSecret: {SECRET}, scope: a b, audience: x, \
                 clientAuthentication: body}}"
            ),
            Auth {
                credentials: Some(Credentials::OAuth2(Box::new(OAuth2 {
                    token_url: "https://id/t".parse().expect("a URL"),
                    client_id: Secret::Value(b"c".as_slice().into()),
                    client_secret: hush(),
                    scope: Some("a b".to_owned()),
                    audience: Some("x".to_owned()),
                    login: ClientLogin::Body,
                }))),
                ..none.clone()
            },
        ),
        (
            format!(
                "awsSigV4: {{region: eu-central-1, service: execute-api, accessKeyId: AKID, secretAccessKey: {SECRET}, \
                 sessionToken: {{env: E}}}}"
            ),
            Auth {
                credentials: Some(Credentials::AwsSigV4(Box::new(AwsSigV4 {
                    region: "eu-central-1".to_owned(),
                    service: "execute-api".to_owned(),
                    access_key_id: Secret::Value(b"AKID".as_slice().into()),
                    secret_access_key: hush(),
                    session_token: Some(Secret::Env("E".to_owned())),
                }))),
                ..none.clone()
            },
        ),
        (
            format!("awsSigV4: {{region: us-east-1, accessKeyId: {SECRET}, secretAccessKey: {SECRET}}}"),
            Auth {
                credentials: Some(Credentials::AwsSigV4(Box::new(AwsSigV4 {
                    region: "us-east-1".to_owned(),
                    service: "lambda".to_owned(),
                    access_key_id: hush(),
                    secret_access_key: hush(),
                    session_token: None,
                }))),
                ..none.clone()
            },
        ),
    ] {
        assert_eq!(subscriber_auth(&text), expected, "{text}");
    }
    let both = subscriber_auth(&format!(
        "{{bearer: {SECRET}, standardWebhooks: {{secrets: [{SECRET}]}}}}"
    ));
    assert!(both.credentials.is_some() && both.signs_body());
}

#[test]
fn every_fault_is_named_where_it_is() {
    let many = [SECRET; 3].join(", ");
    for (auth, path, code) in [
        ("{}".to_owned(), "", Code::MissingField),
        ("bearer: hush".to_owned(), ".bearer", Code::WrongType),
        ("bearer: {}".to_owned(), ".bearer", Code::BadSecret),
        ("barer: {}".to_owned(), ".barer", Code::UnknownField),
        (
            format!("{{bearer: {SECRET}, basic: {{username: u, password: {SECRET}}}}}"),
            "",
            Code::ConflictingFields,
        ),
        (
            format!("basic: {{password: {SECRET}}}"),
            ".basic.username",
            Code::MissingField,
        ),
        (
            format!("basic: {{username: 7, password: {SECRET}}}"),
            ".basic.username",
            Code::NotAString,
        ),
        (
            "basic: {username: u, password: hush}".to_owned(),
            ".basic.password",
            Code::WrongType,
        ),
        (
            format!("clientCertificate: {{certificate: {SECRET}}}"),
            ".clientCertificate.key",
            Code::MissingField,
        ),
        (
            "standardWebhooks: {}".to_owned(),
            ".standardWebhooks.secrets",
            Code::MissingField,
        ),
        (
            "standardWebhooks: {secrets: []}".to_owned(),
            ".standardWebhooks.secrets",
            Code::OutOfRange,
        ),
        (
            format!("standardWebhooks: {{secrets: [{many}]}}"),
            ".standardWebhooks.secrets",
            Code::OutOfRange,
        ),
        (
            "standardWebhooks: {secrets: [hush]}".to_owned(),
            ".standardWebhooks.secrets[0]",
            Code::WrongType,
        ),
        (
            "oauth2: {tokenUrl: \"/token\", clientId: c, clientSecret: {env: S}}".to_owned(),
            ".oauth2.tokenUrl",
            Code::BadUri,
        ),
        (
            format!(
                "oauth2: {{tokenUrl: \"https://id/\", clientId: c, clientSecret: {SECRET}, clientAuthentication: both}}"
            ),
            ".oauth2.clientAuthentication",
            Code::UnknownValue,
        ),
        (
            format!("oauth2: {{clientId: c, clientSecret: {SECRET}}}"),
            ".oauth2.tokenUrl",
            Code::MissingField,
        ),
        (
            "oauth2: {tokenUrl: \"https://id/\", clientId: c, clientSecret: hush}".to_owned(),
            ".oauth2.clientSecret",
            Code::WrongType,
        ),
        (
            format!("awsSigV4: {{region: Frankfurt, accessKeyId: a, secretAccessKey: {SECRET}}}"),
            ".awsSigV4.region",
            Code::UnknownValue,
        ),
        (
            format!("awsSigV4: {{accessKeyId: a, secretAccessKey: {SECRET}}}"),
            ".awsSigV4.region",
            Code::MissingField,
        ),
        (
            "awsSigV4: {region: us-east-1, accessKeyId: a, secretAccessKey: hush}".to_owned(),
            ".awsSigV4.secretAccessKey",
            Code::WrongType,
        ),
        (
            format!(
                "{{bearer: {SECRET}, awsSigV4: {{region: us-east-1, accessKeyId: a, secretAccessKey: {SECRET}}}}}"
            ),
            "",
            Code::ConflictingFields,
        ),
        ("{bearer: ".to_owned(), "", Code::YamlSyntax),
        ("a text".to_owned(), "", Code::WrongType),
        (
            format!("bearer: {SECRET}\n      ---\n      basic: 1"),
            "",
            Code::YamlSyntax,
        ),
    ] {
        let loaded = load("subscriber-auth", &auth, "");
        let path = format!("metadata.annotations[millrace.dev/subscriber-auth]{path}");
        let found = loaded
            .problems
            .iter()
            .find(|one| one.path == path && one.code == code);
        let found = found.unwrap_or_else(|| panic!("{auth}: {:?}", loaded.problems));
        assert_eq!(
            found.at.map(|at| at.line),
            Some(17),
            "{auth}: where the annotation stands"
        );
        assert!(
            loaded.problems.iter().all(|one| !one.message.contains("hush")),
            "{:?}",
            loaded.problems
        );
    }
}

#[test]
fn a_signature_and_binary_mode_exclude_each_other() {
    let auth = format!("standardWebhooks: {{secrets: [{SECRET}]}}");
    let sink = "deadLetterSink: {uri: \"http://d/\"}";
    for name in ["subscriber-auth", "dead-letter-auth"] {
        let loaded = load(name, &auth, &format!("{sink}, format: binary"));
        let [problem] = &loaded.problems[..] else {
            panic!("{:?}", loaded.problems);
        };
        let is_it = problem.path == "spec.delivery.format" && problem.code == Code::ConflictingFields;
        assert!(is_it && problem.at.is_some(), "{problem:?}");
        assert!(
            load(name, &auth, &format!("{sink}, format: json"))
                .problems
                .is_empty()
        );
        assert!(load(name, &auth, sink).problems.is_empty());
    }
    let bearer = format!("bearer: {SECRET}");
    assert!(
        load("subscriber-auth", &bearer, "format: binary")
            .problems
            .is_empty()
    );
}

/// To a Broker events go within Millrace, and a topic has a login of its own.
#[test]
fn what_no_target_is_shown_is_remarked_on() {
    let bearer = format!("bearer: {SECRET}");
    let broker = "deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}";
    let topic = "deadLetterSink: {ref: {apiVersion: sinks.millrace.dev/v1alpha1, kind: KafkaSink, name: k}}";
    for (sink, expected) in [
        (broker, Some("events go to the Broker shop/b within Millrace")),
        (topic, Some("the KafkaSink shop/k has its own login")),
        ("deadLetterSink: {uri: \"http://d/\"}", None),
    ] {
        let loaded = load_text(&format!(
            "{}---\napiVersion: sinks.millrace.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{name: k, namespace: shop}}\n\
             spec: {{bootstrapServers: [\"k:9092\"], topic: t}}\n",
            text("dead-letter-auth", &bearer, sink)
        ));
        let path = "metadata.annotations[millrace.dev/dead-letter-auth]";
        let unused = loaded.remarks.iter().find(|remark| remark.path == path);
        let expected = expected.map(|why| format!("this is not used: {why}"));
        assert_eq!(unused.map(|remark| &remark.message), expected.as_ref(), "{sink}");
    }
}

/// Only a cluster gives out tokens for an audience.
#[test]
fn a_target_that_may_wait_for_a_token_is_remarked_on_in_files() {
    let to = |audience: &str| format!("{{uri: \"http://d/\", audience: \"{audience}\"}}");
    for (audience, is_said) in [("ship", true), ("", false)] {
        let sink = to(audience);
        let loaded = load_text(&format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, namespace: shop}}\n\
             spec: {{delivery: {{deadLetterSink: {sink}}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
             spec: {{broker: b, subscriber: {sink}, delivery: {{deadLetterSink: {sink}}}}}\n---\n\
             apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: c, namespace: shop}}\n\
             spec: {{schedule: \"@daily\", sink: {sink}}}\n"
        ));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let said = loaded.remarks.iter();
        let mut said: Vec<_> = said
            .filter(|remark| remark.message.contains("asks for a token"))
            .map(|remark| remark.path.as_str())
            .collect();
        said.sort_unstable();
        let sinks = [
            "spec.delivery.deadLetterSink",
            "spec.delivery.deadLetterSink",
            "spec.sink",
            "spec.subscriber",
        ];
        assert_eq!(said, if is_said { sinks.to_vec() } else { Vec::new() });
    }
}

#[test]
fn whoever_names_a_dead_letter_sink_says_what_it_is_shown() {
    let bearer = format!("bearer: {SECRET}");
    let stray = load("dead-letter-auth", &bearer, "retry: 1");
    assert_eq!(stray.problems[0].code, Code::MissingField, "{:?}", stray.problems);
    let own = load(
        "dead-letter-auth",
        &bearer,
        "deadLetterSink: {uri: \"http://d/\"}",
    );
    let mesh = own.mesh.expect("valid");
    assert!(trigger(&mesh).dead_letter_auth.is_some() && trigger(&mesh).subscriber_auth.is_none());

    let of_broker = |delivery: &str| {
        let loaded = load_text(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Broker\n\
             metadata: {{name: b, namespace: shop, annotations: {{millrace.dev/dead-letter-auth: \"{bearer}\"}}}}\n\
             spec: {{delivery: {{deadLetterSink: {{uri: \"http://brokers/\"}}}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
             spec: {{broker: b, subscriber: {{uri: \"http://a/\"}}, delivery: {{{delivery}}}}}\n"
        ));
        let mesh = loaded.mesh.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        trigger(&mesh).dead_letter_auth.is_some()
    };
    assert!(
        of_broker("retry: 1"),
        "the Broker's sink is shown what the Broker says"
    );
    assert!(
        !of_broker("deadLetterSink: {uri: \"http://own/\"}"),
        "and no other sink is"
    );
}

#[test]
fn a_trigger_whose_secret_is_missing_has_no_target() {
    let loaded = load(
        "subscriber-auth",
        "bearer: {secretKeyRef: {name: s, key: other}}",
        "",
    );
    let mesh = loaded.mesh.expect("valid");
    assert!(matches!(&trigger(&mesh).subscriber, Err(NoTarget::NoSecret(_))));
    let said: Vec<_> = loaded.remarks.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|one| one.contains("the Secret shop/s has no entry `other`")),
        "{said:?}"
    );
}

#[test]
fn an_object_of_a_cluster_names_secrets_of_its_own_namespace_only() {
    let object = |auth: &str| {
        Document::of_object(&json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger",
            "metadata": {"name": "t", "namespace": "shop", "annotations": {"millrace.dev/subscriber-auth": auth}},
            "spec": {"broker": "b", "subscriber": {"uri": "http://a/"}},
        }))
    };
    for (auth, code) in [
        ("bearer: {file: /run/secrets/t}", Code::NotOpen),
        ("bearer: {env: MILLRACE_SECRET_T}", Code::NotOpen),
        (
            "bearer: {secretKeyRef: {name: s, key: k, namespace: other}}",
            Code::UnknownField,
        ),
    ] {
        let document = object(auth);
        assert!(
            document.problems.iter().any(|one| one.code == code),
            "{auth}: {:?}",
            document.problems
        );
    }
    let document = object(&format!("bearer: {SECRET}"));
    assert!(document.is_valid(), "{:?}", document.problems);
    assert_eq!(
        document.secrets(),
        [(&ObjectName::new("shop", "s"), "k")],
        "so that it is watched"
    );
}

#[test]
fn a_source_shows_its_sink_what_its_document_says() {
    let load = |key: &str| {
        load_text(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
             apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\n\
             metadata: {{name: c, namespace: shop, annotations: {{millrace.dev/sink-auth: \"bearer: {{secretKeyRef: {{name: s, key: {key}}}}}\"}}}}\n\
             spec: {{schedule: '@daily', sink: {{uri: \"http://a/\"}}}}\n"
        ))
    };
    let mesh = load("k").mesh.expect("valid");
    let source = mesh.sources.values().next().expect("a source");
    assert!(source.sink.is_ok());
    let auth = source.sink_auth.as_deref().expect("there is one");
    assert_eq!(auth.credentials, Some(Credentials::Bearer(hush())));
    let mesh = load("other").mesh.expect("valid");
    let source = mesh.sources.values().next().expect("a source");
    assert!(
        matches!(&source.sink, Err(NoTarget::NoSecret(_))),
        "{:?}",
        source.sink
    );
}
