//! What each way to prove who sends is read as.

use millrace_model::auth::{AwsSigV4, ClientLogin, OAuth2};
use millrace_model::{Auth, ClientCertificate, Credentials, Secret};

use super::{SECRET, hush, subscriber_auth};

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
