//! What deliveries show: tokens of an OAuth 2.0 server, and what of all that must not be kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use http::Uri;
use millrace_delivery::{
    AccountTokens, Auth, Connection, Connector, ConnectorOptions, Issued, Outcome, Request, Sender, Verdict,
};
use millrace_event::{Clock, ObjectName, Timestamp};
use millrace_model::auth::{AccountToken, AwsSigV4, ClientLogin, OAuth2};
use millrace_model::{Auth as Spec, Credentials, Octets, Secret};

use crate::server::{OK, Server, Step, answer, answers, done, event, failure, request};

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

fn secret(text: &str) -> Secret {
    Secret::Value(text.as_bytes().into())
}

/// What asks this server for tokens.
fn oauth2(token_url: Uri) -> Arc<Spec> {
    Arc::new(Spec {
        credentials: Some(Credentials::OAuth2(Box::new(OAuth2 {
            token_url,
            client_id: secret("shop"),
            client_secret: secret("hush"),
            scope: Some("events".to_owned()),
            audience: None,
            login: ClientLogin::Header,
        }))),
        certificate: None,
        signing_keys: Vec::new(),
    })
}

/// A server that gives these tokens, one after the other.
async fn giving(tokens: &[&str]) -> Server {
    let scripts = tokens.iter().map(|token| {
        let body = format!(r#"{{"access_token": "{token}", "token_type": "Bearer", "expires_in": 600}}"#);
        json(200, &body)
    });
    Server::start(scripts.collect()).await
}

fn json(status: u16, body: &str) -> Vec<Step> {
    let length = body.len();
    answer(format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

async fn deliver(slot: &mut Connection, to: &Server, auth: &Auth) -> Outcome {
    let (event, name) = (event(), ObjectName::new("shop", "ship"));
    let sender = Some(Sender {
        auth,
        name: &name,
        stage: "subscriber",
    });
    let request = Request {
        sender,
        ..request(&event)
    };
    slot.attempt(&to.url("/"), &request).await
}

/// The header with which the next request to this server came.
async fn shown(server: &mut Server) -> String {
    let request = server.request().await;
    let line = request
        .lines()
        .find_map(|line| line.strip_prefix("authorization: "));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_token_is_used_for_all_deliveries_until_shortly_before_its_end() {
    let (mut tokens, mut target) = (
        giving(&["one", "two"]).await,
        Server::start(vec![answers(&[OK; 4])]).await,
    );
    let clock = Clock::manual(Timestamp(0));
    let connector = Connector::new(ConnectorOptions::default()).with_clock(clock.clone());
    let auth = connector.auth(&oauth2(tokens.url("/token?x=y")));
    let mut slot = connector.slot();
    for (after, token) in [(0, "one"), (1, "one"), (538, "one"), (1, "two")] {
        clock.advance(Duration::from_secs(after));
        assert_eq!(done(deliver(&mut slot, &target, &auth).await).0, 202);
        assert_eq!(shown(&mut target).await, format!("bearer {token}"));
    }
    assert_eq!(tokens.accepted(), 2);
    let asked = tokens.request().await;
    assert!(asked.starts_with("POST /token?x=y HTTP/1.1\r\n"), "{asked}");
    // The server writes heads in lower case: this is the Base64 of `shop:hush`.
    assert!(asked.contains("authorization: basic c2hvcdpodxno\r\n"), "{asked}");
    assert!(
        asked.ends_with("\r\n\r\ngrant_type=client_credentials&scope=events"),
        "{asked}"
    );
}

#[tokio::test]
async fn one_of_many_deliveries_asks_and_a_reload_of_the_mesh_keeps_the_token() {
    let tokens = giving(&["one"]).await;
    let target = Server::start((0..20).map(|_| answers(&[OK])).collect()).await;
    let connector = Connector::new(ConnectorOptions::default());
    let spec = oauth2(tokens.url("/"));
    let auth = connector.auth(&spec);
    let deliveries = (0..20).map(|_| async {
        let again = connector.auth(&Arc::new((*spec).clone()));
        deliver(&mut connector.slot(), &target, &again).await
    });
    for outcome in join_all(deliveries).await {
        assert_eq!(done(outcome).0, 202);
    }
    assert_eq!(tokens.accepted(), 1);
    drop(auth);
}

#[tokio::test]
async fn without_a_token_an_attempt_fails_and_repeats_nothing_of_the_answer() {
    let refusal = r#"{"error": "invalid_client", "error_description": "hush is wrong"}"#;
    let moved = "HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    for (script, reason) in [
        (json(400, refusal), "it answers 400 (invalid_client)"),
        (json(401, r#"{"error": "hush"}"#), "it answers 401"),
        (answer(moved), "it answers 307"),
        (json(200, "{}"), "its answer has no `access_token`"),
        (json(200, "hush"), "its answer has no `access_token`"),
        (
            json(200, r#"{"access_token": "hu sh"}"#),
            "the bearer token holds what no token may",
        ),
        (
            json(200, r#"{"access_token": "hush", "token_type": "mac"}"#),
            "its token is no bearer token",
        ),
        (
            json(200, &"x".repeat(70_000)),
            "its answer has more than 65536 octets",
        ),
        (vec![Step::Request], "the connection was closed"),
    ] {
        let tokens = Server::start(vec![script]).await;
        let target = Server::start(vec![answers(&[OK])]).await;
        let connector = Connector::new(ConnectorOptions::default());
        let auth = connector.auth(&oauth2(tokens.url("/")));
        let failure = failure(deliver(&mut connector.slot(), &target, &auth).await);
        assert_eq!(failure.verdict, Verdict::Again);
        let all = format!("no token from 127.0.0.1: {reason}");
        assert!(
            failure.reason.contains(&all) && !failure.reason.contains("hu"),
            "{}",
            failure.reason
        );
        assert_eq!((tokens.accepted(), target.accepted()), (1, 0), "nothing was sent");
    }
}

#[tokio::test]
async fn a_token_that_is_withdrawn_is_replaced_and_a_new_one_that_is_refused_is_final() {
    let mut target = Server::start(vec![answers(&[OK, UNAUTHORIZED, UNAUTHORIZED])]).await;
    let tokens = giving(&["one", "two", "three"]).await;
    let connector = Connector::new(ConnectorOptions::default());
    let auth = connector.auth(&oauth2(tokens.url("/")));
    let mut slot = connector.slot();
    assert_eq!(done(deliver(&mut slot, &target, &auth).await).0, 202);
    assert_eq!(
        failure(deliver(&mut slot, &target, &auth).await).verdict,
        Verdict::Again
    );
    assert_eq!(
        failure(deliver(&mut slot, &target, &auth).await).verdict,
        Verdict::Final
    );
    for token in ["one", "one", "two"] {
        assert_eq!(shown(&mut target).await, format!("bearer {token}"));
    }
}

#[tokio::test]
async fn a_target_that_repeats_a_token_repeats_it_in_vain() {
    let body = "you sent: Bearer access-token-1";
    let repeating = format!("HTTP/1.1 400 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (tokens, target) = (giving(&["access-token-1"]).await, Server::once(repeating).await);
    let connector = Connector::new(ConnectorOptions::default());
    let auth = connector.auth(&oauth2(tokens.url("/")));
    let failure = failure(deliver(&mut connector.slot(), &target, &auth).await);
    assert_eq!(failure.body, "you sent: Bearer ***");
    assert!(!format!("{auth:?} {connector:?}").contains("access-token"));
}

/// A panic prints what it is given by `Debug`, as do errors and log lines.
#[tokio::test]
async fn nothing_that_holds_a_secret_prints_it() {
    let canary = "canary-hush-hush-canary-hush";
    let signing = format!("whsec_{}", BASE64_STANDARD.encode(canary));
    let (hidden, tokens) = (|| secret(canary), giving(&["canary-access"]).await);
    let Some(Credentials::OAuth2(client)) = &oauth2(tokens.url("/")).credentials else {
        panic!("it asks for tokens");
    };
    let client_secret = hidden();
    let ways = [
        Credentials::Bearer(hidden()),
        Credentials::Basic {
            username: secret("shop"),
            password: hidden(),
        },
        Credentials::OAuth2(Box::new(OAuth2 {
            client_secret,
            ..OAuth2::clone(client)
        })),
        Credentials::AwsSigV4(Box::new(AwsSigV4 {
            region: "eu-central-1".to_owned(),
            service: "lambda".to_owned(),
            access_key_id: secret("AKID"),
            secret_access_key: hidden(),
            session_token: Some(hidden()),
        })),
    ];
    let octets = format!("{:?}", canary.as_bytes());
    let spellings = [
        canary.to_owned(),
        signing.clone(),
        BASE64_STANDARD.encode(canary),
        BASE64_STANDARD.encode(format!("shop:{canary}")),
        octets.trim_matches(['[', ']']).to_owned(),
        "canary-access".to_owned(),
    ];
    let connector = Connector::new(ConnectorOptions::default());
    for credentials in ways {
        let spec = Arc::new(Spec {
            credentials: Some(credentials),
            certificate: None,
            signing_keys: vec![secret(&signing)],
        });
        let target = Server::start(vec![answers(&[OK])]).await;
        let (auth, mut slot) = (connector.auth(&spec), connector.slot());
        let outcome = deliver(&mut slot, &target, &auth).await;
        let read = spec.map(&mut |secret| match secret {
            Secret::Value(value) => Octets::from(value.clone()),
            other => panic!("{other:?} is no value"),
        });
        let printed = format!("{spec:?} {read:?} {auth:?} {connector:?} {outcome:?}");
        for spelling in &spellings {
            assert!(!printed.contains(spelling), "{spelling} in {printed}");
        }
        assert_eq!(done(outcome).0, 202, "it was shown");
    }
}

/// A cluster that gives out `token-1`, `token-2` and so on, each for ten minutes; or none, for this reason.
#[derive(Debug, Default)]
struct Cluster {
    asked: AtomicUsize,
    refuses: Option<&'static str>,
}

#[async_trait]
impl AccountTokens for Cluster {
    async fn issue(&self, wanted: &AccountToken) -> Result<Issued, String> {
        assert_eq!(*wanted, token_for_ship());
        let nth = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        // Others have the time to ask as well.
        tokio::task::yield_now().await;
        match self.refuses {
            Some(why) => Err(why.to_owned()),
            None => Ok(Issued {
                token: format!("token-{nth}").into_bytes().into(),
                lifetime: Duration::from_secs(600),
            }),
        }
    }
}

fn token_for_ship() -> AccountToken {
    AccountToken {
        account: ObjectName::new("shop", "deliverer"),
        audience: "ship".to_owned(),
    }
}

fn by_account() -> Arc<Spec> {
    Arc::new(Spec {
        credentials: Some(Credentials::Account(Box::new(token_for_ship()))),
        certificate: None,
        signing_keys: Vec::new(),
    })
}

#[tokio::test]
async fn a_token_of_an_account_is_asked_for_once_and_replaced_before_its_end_or_when_it_is_refused() {
    let mut target = Server::start(vec![answers(&[OK, OK, OK, UNAUTHORIZED, OK])]).await;
    let (cluster, clock) = (Arc::new(Cluster::default()), Clock::manual(Timestamp(0)));
    let connector = Connector::new(ConnectorOptions::default()).with_clock(clock.clone());
    connector.ask_cluster(cluster.clone());
    let auth = connector.auth(&by_account());
    let mut slot = connector.slot();
    for (after, expected) in [(0, "token-1"), (539, "token-1"), (1, "token-2")] {
        clock.advance(Duration::from_secs(after));
        assert_eq!(done(deliver(&mut slot, &target, &auth).await).0, 202);
        assert_eq!(shown(&mut target).await, format!("bearer {expected}"));
    }
    let refused = failure(deliver(&mut slot, &target, &auth).await);
    assert_eq!((refused.status, refused.verdict), (Some(401), Verdict::Again));
    assert_eq!(done(deliver(&mut slot, &target, &auth).await).0, 202);
    for expected in ["token-2", "token-3"] {
        assert_eq!(shown(&mut target).await, format!("bearer {expected}"));
    }
    assert_eq!(cluster.asked.load(Ordering::Relaxed), 3);
    assert!(!format!("{auth:?} {connector:?}").contains("token-"));
}

#[tokio::test]
async fn one_of_many_deliveries_asks_the_cluster() {
    let target = Server::start((0..20).map(|_| answers(&[OK])).collect()).await;
    let cluster = Arc::new(Cluster::default());
    let connector = Connector::new(ConnectorOptions::default());
    connector.ask_cluster(cluster.clone());
    let auth = connector.auth(&by_account());
    let deliveries = (0..20).map(|_| async { deliver(&mut connector.slot(), &target, &auth).await });
    for outcome in join_all(deliveries).await {
        assert_eq!(done(outcome).0, 202);
    }
    assert_eq!(cluster.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_a_token_of_its_account_an_attempt_fails_with_the_reason_and_sends_nothing() {
    let target = Server::start(vec![answers(&[OK])]).await;
    let connector = Connector::new(ConnectorOptions::default());
    let auth = connector.auth(&by_account());
    let alone = failure(deliver(&mut connector.slot(), &target, &auth).await);
    assert!(alone.reason.contains("knows no cluster"), "{}", alone.reason);
    connector.ask_cluster(Arc::new(Cluster {
        refuses: Some("it may not"),
        ..Cluster::default()
    }));
    let refused = failure(deliver(&mut connector.slot(), &target, &auth).await);
    assert_eq!(refused.verdict, Verdict::Again);
    assert!(
        refused
            .reason
            .ends_with("no token of the ServiceAccount shop/deliverer: it may not"),
        "{}",
        refused.reason
    );
    assert_eq!(target.accepted(), 0);
}
