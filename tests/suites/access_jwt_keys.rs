//! Promise: an issuer may replace its keys, be gone for a while, or answer nonsense, and tokens are judged by
//! the keys that it published last. It is asked no more often than the access file says.

use anyhow::ensure;
use http::Method;
use millrace_tests::access::{Access, ask};
use millrace_tests::issuer::{DISCOVERY, Issuer, KEYS, Made, Order, post, until};
use millrace_tests::peers::{self, Peer};
use millrace_tests::sink::{Answer, Gate};
use millrace_tests::{Mesh, Sink, wait_until};
use serde_json::json;

/// Keys `a` and `b`, and a token of each.
async fn two_keys(issuer: &Issuer, library: &Peer) -> anyhow::Result<(Made, [String; 2])> {
    let mut order = Order::default();
    for name in ["a", "b"] {
        order = order.key(name, "ES256", &json!({}), &json!({}));
        order.good((name, "ES256"), &issuer.claims(&json!({})));
    }
    let made = order.make(library).await?;
    let tokens = [made.tokens[0].clone(), made.tokens[1].clone()];
    Ok((made, tokens))
}

const SUBJECTS: &str = "subjects: [{sub: till, brokers: [shop/default]}]";

async fn mesh(issuer: &Issuer, more: &[&str], sink: &Sink) -> anyhow::Result<(Access, String, Mesh)> {
    let mut access = Access::new()?;
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    let entry: Vec<_> = more.iter().copied().chain([SUBJECTS]).collect();
    access.write(&issuer.entry(&entry))?;
    let mesh = access.mesh(&[], sink).await?;
    Ok((access, operator, mesh))
}

/// Waits until that many fetches ended so, or more.
async fn fetched(mesh: &Mesh, operator: &str, outcome: &str, least: u64) -> anyhow::Result<u64> {
    wait_until(&format!("{least} fetches: {outcome}"), || async {
        let answer = ask(mesh, operator, &Method::GET, "/metrics").await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let name = "millrace_issuer_key_fetches_total{";
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line.contains(&format!("outcome=\"{outcome}\"")));
        let count = line
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0);
        Ok((count >= least).then_some(count))
    })
    .await
}

#[tokio::test]
async fn a_new_key_is_taken_when_a_token_names_it_and_an_old_one_ends_with_its_set() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let (issuer, sink) = (Issuer::start().await?, Sink::start().await?);
    let (made, [a, b]) = two_keys(&issuer, &library).await?;
    issuer.publishes(&made.keys(&["a"]));
    let (_access, operator, mesh) = mesh(&issuer, &["refreshPause: 1s", "refreshEvery: 1h"], &sink).await?;
    until(&mesh, "a", &a, (202, "")).await?;
    assert_eq!(fetched(&mesh, &operator, "taken", 1).await?, 1);

    // A name that nobody has: asked once, and no more often than once a second.
    until(&mesh, "b", &b, (401, "unknown-key")).await?;
    issuer.publishes(&made.keys(&["a", "b"]));
    until(&mesh, "b", &b, (202, "")).await?;
    until(&mesh, "a", &a, (202, "")).await?;

    // The key of tokens that are remembered is withdrawn: they end with it.
    issuer.publishes(&made.keys(&["b"]));
    let before = fetched(&mesh, &operator, "taken", 1).await?;
    wait_until("the next fetch", || async {
        // Any unknown name makes it ask.
        post(&mesh, "x", &forged(&a)).await?;
        let now = fetched(&mesh, &operator, "taken", 1).await?;
        Ok((now > before).then_some(()))
    })
    .await?;
    assert_eq!(post(&mesh, "gone", &a).await?.1, "unknown-key");
    until(&mesh, "b", &b, (202, "")).await?;
    Ok(())
}

/// The same token with the name of a key that is nowhere.
fn forged(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","kid":"nowhere"}"#);
    let rest = token.split_once('.').map_or("", |(_, rest)| rest);
    format!("{header}.{rest}")
}

#[tokio::test]
async fn the_keys_of_an_issuer_that_is_gone_are_used_for_a_bounded_time() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let (issuer, sink) = (Issuer::start().await?, Sink::start().await?);
    let (made, [a, _]) = two_keys(&issuer, &library).await?;
    let times = ["refreshPause: 1s", "refreshEvery: 1s", "keepKeys: 5s"];
    let (access, operator, mesh) = mesh(&issuer, &times, &sink).await?;
    // Before it has said anything nothing can be said of its tokens: come back.
    until(&mesh, "early", &a, (503, "issuer-keys-missing")).await?;
    issuer.publishes(&made.keys(&["a"]));
    until(&mesh, "a", &a, (202, "")).await?;

    issuer.server.down();
    let failed = fetched(&mesh, &operator, "failed", 1).await?;
    fetched(&mesh, &operator, "failed", failed + 1).await?;
    until(&mesh, "kept", &a, (202, "")).await?;
    until(&mesh, "over", &a, (503, "issuer-keys-missing")).await?;
    issuer.server.up().await?;
    until(&mesh, "again", &a, (202, "")).await?;

    // A change of the file that leaves the issuer as it is keeps its keys.
    issuer.server.down();
    let mut entry: Vec<_> = times.to_vec();
    entry.extend([SUBJECTS, "clockSkew: 10s"]);
    access.write(&issuer.entry(&entry))?;
    let said = "changed files are in effect";
    wait_until(said, || async {
        Ok(mesh.running().stderr().contains(said).then_some(()))
    })
    .await?;
    assert_eq!(post(&mesh, "changed", &a).await?.0, 202);
    let said = mesh.running().stderr();
    ensure!(said.contains("keys of the issuer cannot be fetched"), "{said}");
    Ok(())
}

#[tokio::test]
async fn nonsense_of_an_issuer_changes_nothing() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let (issuer, sink) = (Issuer::start().await?, Sink::start().await?);
    let (made, [a, _]) = two_keys(&issuer, &library).await?;
    issuer.publishes(&made.keys(&["a"]));
    let (_access, operator, mesh) = mesh(&issuer, &["refreshPause: 1s", "refreshEvery: 1s"], &sink).await?;
    until(&mesh, "a", &a, (202, "")).await?;

    let (good, stranger) = (made.keys(&["a"])[0].clone(), made.keys(&["b"])[0].clone());
    let set = |keys: Vec<serde_json::Value>| json!({ "keys": keys }).to_string();
    let gate = Gate::closed();
    let elsewhere = Sink::start().await?;
    elsewhere.answer(KEYS, [Answer::status(200).body(set(vec![stranger.clone()]))]);
    let body = |text: String| Answer::status(200).body(text);
    let answers = [
        (
            "10 MiB",
            body(format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 << 20))),
        ),
        ("too many keys", body(set(vec![good; 65]))),
        ("no keys", body(set(vec![]))),
        ("no list", body(json!({"keys": {}}).to_string())),
        ("no JSON", body("<html>".to_owned())),
        (
            "deep",
            body(format!(
                "{{\"keys\":{}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            )),
        ),
        ("twice", body(format!("{{\"keys\":[],\"keys\":[{stranger}]}}"))),
        (
            "none of use",
            body(json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}).to_string()),
        ),
        ("an error", Answer::status(500).body(set(vec![stranger.clone()]))),
        (
            "another status",
            Answer::status(203).body(set(vec![stranger.clone()])),
        ),
        (
            "a redirect",
            Answer::status(302).header("location", &elsewhere.url(KEYS)),
        ),
        ("slow", body(set(vec![stranger.clone()])).after(&gate)),
    ];
    for (name, answer) in answers {
        issuer.server.answer(KEYS, [answer]);
        let before = fetched(&mesh, &operator, "failed", 0).await?;
        fetched(&mesh, &operator, "failed", before + 2).await?;
        assert_eq!(post(&mesh, name, &a).await?.0, 202, "{name}");
    }
    gate.open();
    // Its documents are its own.
    issuer.publishes(&[stranger]);
    for (name, (issuer_name, keys)) in [
        (
            "another issuer",
            ("https://evil.example".to_owned(), issuer.server.url(KEYS)),
        ),
        (
            "not https",
            (issuer.name(), "http://evil.example/keys".to_owned()),
        ),
        (
            "metadata",
            (issuer.name(), "https://169.254.169.254/keys".to_owned()),
        ),
        ("a file", (issuer.name(), "file:///etc/passwd".to_owned())),
    ] {
        issuer.discovers(&issuer_name, &keys);
        let before = fetched(&mesh, &operator, "failed", 0).await?;
        fetched(&mesh, &operator, "failed", before + 2).await?;
        assert_eq!(post(&mesh, name, &a).await?.0, 202, "{name}");
    }
    issuer.server.answer(DISCOVERY, [Answer::status(404)]);
    let before = fetched(&mesh, &operator, "failed", 0).await?;
    fetched(&mesh, &operator, "failed", before + 2).await?;
    assert_eq!(post(&mesh, "nothing", &a).await?.0, 202);
    assert_eq!(elsewhere.count(KEYS), 0, "a redirect is not followed");
    Ok(())
}
