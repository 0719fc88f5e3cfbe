//! Promise: the token of an issuer lets in whom the access file names, where the token is for, and nobody
//! else, however the token is made. What was refused once is refused again, and what was good stays good.
//!
//! Keys and tokens are made by a library of another language.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use millrace_tests::access::{Access, ask, code, with};
use millrace_tests::issuer::attacks::{ED, ES, PUBLISHED, RS, Table, keys, parts};
use millrace_tests::issuer::{AUDIENCE, Issuer, now, post, until};
use millrace_tests::peers;
use millrace_tests::raw::Socket;
use millrace_tests::{Client, Sink};
use serde_json::{Value, json};

/// The entry of the issuer: it is asked for keys once.
const ENTRY: [&str; 7] = [
    "algorithms: [RS256, ES256, EdDSA]",
    "audiences: [millrace]",
    "refreshPause: 1h",
    "refreshEvery: 2h",
    "subjects:",
    "  - {sub: till, brokers: [shop/default]}",
    "  - {sub: \"system:serviceaccount:ops:*\", admin: read}",
];

/// Another issuer, whose subjects the first cannot vouch for. Nobody listens there.
const OTHER: &str = "    - {issuer: 'http://127.0.0.1:1/k8s', subjectPrefix: 'k8s:', subjects: [{sub: '*', brokers: ['*']}]}\n";

#[tokio::test]
async fn whatever_is_wrong_with_a_token_is_refused_again_and_again() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let issuer = Issuer::start().await?;
    let mut order = keys();
    let good = good_claims(&issuer);
    for (key, claims) in &good {
        order.good(*key, claims);
    }
    let table = Table::all(&issuer, order);
    let made = table.order.make(&library).await?;
    let (good, bad) = made.tokens.split_at(good.len());
    let attacks: Vec<_> = table.attacks.iter().zip(bad).collect();
    ensure!(attacks.len() >= 60, "{} attacks", attacks.len());

    issuer.publishes(&made.keys(&PUBLISHED));
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    access.write(&format!("{}{OTHER}", issuer.entry(&ENTRY)))?;
    let mesh = access.mesh(&[], &sink).await?;
    until(&mesh, "first", &good[0], (202, "")).await?;

    // Twice, with good ones between: nothing is remembered that should not be.
    for round in 0..2 {
        for (attack, token) in &attacks {
            let answer = post(&mesh, "attack", &(attack.change)(token)).await?;
            assert_eq!(
                (answer.0, &*answer.1),
                (attack.status, attack.code),
                "{}",
                attack.name
            );
        }
        for (nth, token) in good.iter().enumerate() {
            let answer = post(&mesh, &format!("good{round}-{nth}"), token).await?;
            assert_eq!((answer.0, &*answer.1), (202, ""), "good {nth}");
        }
    }
    sink.wait_for("/all", 1 + 2 * good.len()).await?;
    let stored = ask(&mesh, &operator, &Method::GET, "/api/v1/brokers").await?;
    let stored: Value = serde_json::from_slice(&stored.body)?;
    assert_eq!(stored[0]["head"], 1 + 2 * good.len(), "{stored}");
    assert_eq!(
        issuer.server.count("/keys"),
        1,
        "unknown names of keys do not make it ask"
    );

    // A token is no password, nothing of it is said, and refusals are counted.
    let password = BASE64_STANDARD.encode(format!("x:{}", good[0]));
    let basic = with("basic", &format!("Basic {password}"));
    let answer = Client::new(mesh.listen()).post("/shop/default", &basic).await?;
    assert_eq!((answer.status, &*code(&answer)), (401, "unknown-credentials"));
    let metrics = ask(&mesh, &operator, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    for line in [
        "millrace_issuer_key_fetches_total{issuer=",
        "code=\"bad-signature\"}",
        "code=\"wrong-audience\"}",
    ] {
        ensure!(metrics.contains(line), "{line} in {metrics}");
    }
    let said = mesh.running().stderr();
    for token in made.tokens.iter().filter(|token| token.len() > 64) {
        let signature = parts(token)[2];
        ensure!(
            signature.len() < 64 || !said.contains(signature),
            "a token is shown"
        );
    }
    Ok(())
}

/// Claims of good tokens, each with its key.
fn good_claims(issuer: &Issuer) -> Vec<((&'static str, &'static str), String)> {
    let all = [
        (RS, json!({})),
        (ES, json!({})),
        (ED, json!({})),
        (RS, json!({"aud": ["other", AUDIENCE]})),
        (RS, json!({"aud": "millrace"})),
        (RS, json!({"nbf": now() - 5, "iat": null})),
        (
            RS,
            json!({"groups": ["a", {"b": [1.5, null]}], "email_verified": true}),
        ),
    ];
    all.into_iter()
        .map(|(key, others)| (key, issuer.claims(&others)))
        .collect()
}

#[tokio::test]
async fn a_token_is_for_the_place_that_it_names_and_as_long_as_it_says() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let issuer = Issuer::start().await?;
    let mut order = keys();
    order.good(
        RS,
        &issuer.claims(&json!({"sub": "system:serviceaccount:ops:prometheus", "aud": "millrace"})),
    );
    order.good(
        RS,
        &issuer.claims(&json!({"sub": "system:serviceaccount:ops:prometheus"})),
    );
    order.good(RS, &issuer.claims(&json!({"aud": "millrace"})));
    order.good(RS, &issuer.claims(&json!({"exp": now() + 8})));
    let made = order.make(&library).await?;
    let [reader, only_broker, till, brief] = &made.tokens[..] else {
        anyhow::bail!("{} tokens", made.tokens.len());
    };
    issuer.publishes(&made.keys(&PUBLISHED));
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    access.token("other", &["--admin-role", "read"]).await?;
    let entry: Vec<_> = ENTRY.into_iter().chain(["clockSkew: 0s"]).collect();
    access.write(&issuer.entry(&entry))?;
    let mesh = access.mesh(&[], &sink).await?;
    until(&mesh, "till", till, (202, "")).await?;
    let get = async |token: &str| {
        let answer = ask(&mesh, token, &Method::GET, "/api/v1/brokers").await?;
        anyhow::Ok((answer.status, code(&answer)))
    };
    assert_eq!(get(reader).await?, (200, String::new()));
    assert_eq!(get(only_broker).await?, (401, "wrong-audience".to_owned()));
    assert_eq!(get(till).await?, (403, "role-not-allowed".to_owned()));
    let change = ask(&mesh, reader, &Method::DELETE, "/api/v1/parked/x").await?;
    assert_eq!((change.status, &*code(&change)), (403, "role-not-allowed"));
    let said = mesh.running().stderr();
    ensure!(
        said.contains("jwt:system:serviceaccount:ops:prometheus"),
        "{said}"
    );

    // What was good and is remembered is not good for longer than it says.
    post(&mesh, "brief", brief).await?;
    until(&mesh, "brief", brief, (401, "expired-credentials")).await?;

    // Who calls is known from the head alone.
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!(
        "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
         authorization: Bearer {only_broker}\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    );
    socket.write(head.as_bytes()).await?;
    let answer = socket.answer().await?.context("no answer")?;
    assert_eq!(answer.status, 403, "not 100, and not after the body");
    Ok(())
}
