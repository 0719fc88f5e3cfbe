//! Promise: a provider of OpenID Connect that somebody else wrote is an issuer like any other: its discovery,
//! its keys and its tokens are taken as they come, and a Millrace that gets tokens there may send to another.

use millrace_tests::access::{Access, with};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::issuer::provider::{CLIENT, PASSWORD, Provider};
use millrace_tests::issuer::{post, until};
use millrace_tests::mesh::Setup;
use millrace_tests::{Client, Event, Mesh, Sink};

/// A mesh that knows the provider, which may be asked for keys every second, and its access file.
async fn mesh(provider: &Provider, sink: &Sink) -> anyhow::Result<(Access, Mesh)> {
    let access = Access::new()?;
    let (issuer, authority) = (&provider.issuer, provider.authority().display());
    let file = format!(
        "authentication:\n  issuers:\n    - issuer: {issuer}\n      caFile: {authority}\n      refreshPause: 1s\n      \
         refreshEvery: 1h\n      clockSkew: 0s\n      subjects: [{{sub: {CLIENT}, brokers: [shop/default]}}]\n"
    );
    std::fs::write(access.file(), file)?;
    let mesh = access.mesh(&[], sink).await?;
    Ok((access, mesh))
}

#[tokio::test]
async fn its_tokens_let_in_for_their_audience_and_time_and_follow_its_keys() -> anyhow::Result<()> {
    let Some(provider) = Provider::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (_access, mesh) = mesh(&provider, &sink).await?;
    let first = provider.token("urn:broker").await?;
    until(&mesh, "elliptic", &first, (202, "")).await?;
    let rsa = provider.token("urn:broker:rsa").await?;
    assert_eq!(post(&mesh, "rsa", &rsa).await?, (202, String::new()));

    let elsewhere = provider.token("urn:elsewhere").await?;
    let refused = post(&mesh, "elsewhere", &elsewhere).await?;
    assert_eq!(refused, (401, "wrong-audience".to_owned()));
    let brief = provider.token("urn:broker:brief").await?;
    until(&mesh, "brief", &brief, (401, "expired-credentials")).await?;
    let mut changed = first.clone().into_bytes();
    let payload = first.find('.').unwrap_or_default() + 3;
    changed[payload] = if changed[payload] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed)?;
    let answer = Client::new(mesh.listen())
        .post("/shop/default", &with("changed", &format!("Bearer {changed}")))
        .await?;
    assert_eq!(answer.status, 401);

    provider.rotate().await?;
    let second = provider.token("urn:broker").await?;
    until(&mesh, "second", &second, (202, "")).await?;
    let old = post(&mesh, "old", &first).await?;
    assert_eq!(old, (401, "unknown-key".to_owned()));
    let old = post(&mesh, "old", &rsa).await?;
    assert_eq!(old, (401, "unknown-key".to_owned()));
    Ok(())
}

#[tokio::test]
async fn one_millrace_sends_to_another_with_its_tokens_and_goes_on_when_its_keys_change() -> anyhow::Result<()>
{
    let Some(provider) = Provider::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (_access, receiving) = mesh(&provider, &sink).await?;
    // Its keys are known before anybody sends.
    let token = provider.token("urn:broker").await?;
    until(&receiving, "first", &token, (202, "")).await?;

    let setup = Setup::new("")?;
    let secret = setup.folder().join("password");
    std::fs::write(&secret, PASSWORD)?;
    let auth = format!(
        "{{oauth2: {{tokenUrl: {}, clientId: {CLIENT}, clientSecret: {{file: {}}}}}}}",
        provider.token_url(),
        secret.display()
    );
    let trigger = Trigger::new("onward", &receiving.url("shop/default"))
        .annotation("millrace.dev/subscriber-auth", &auth)
        .delivery("{retry: 20, backoffPolicy: linear, backoffDelay: PT0.2S}");
    setup.write(Documents::broker().trigger(&trigger).text())?;
    let authority = provider.authority().to_string_lossy().into_owned();
    let sending = setup
        .environment("SSL_CERT_FILE", &authority)
        .environment("SSL_CERT_DIR", "")
        .start()
        .await?;
    sending.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/all", 2).await?;

    // The token in use is signed by a key that is gone: the answer is 401 as soon as the receiver knows.
    provider.rotate().await?;
    let newer = provider.token("urn:broker").await?;
    until(&receiving, "newer", &newer, (202, "")).await?;
    sending.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/all", 4).await?;
    assert_eq!(sink.ids("/all"), ["first", "1", "newer", "2"]);
    Ok(())
}
