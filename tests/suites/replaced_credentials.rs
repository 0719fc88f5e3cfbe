//! Promise: subscribers, sinks and dead-letter sinks are each shown the credentials or the certificate that
//! their documents name, as they are now: they are replaced while Millrace runs.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::proofs::{DEAD_LETTER, SUBSCRIBER, mesh, secret};
use millrace_tests::webhook::{self, Call};
use millrace_tests::{Answer, Event, Received, Sink, tls, wait_until};

#[tokio::test]
async fn a_token_in_a_file_is_replaced_without_a_restart() -> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let token = secret(folder.path(), "token", "first\n")?;
    let trigger =
        Trigger::new("ship", &sink.url("/ship")).annotation(SUBSCRIBER, &format!("{{bearer: {token}}}"));
    let mesh = mesh(&Documents::broker().trigger(&trigger), folder.path()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    let shown = |one: &Received| one.header("authorization").map(str::to_owned);
    let received = sink.wait_for("/ship", 1).await?;
    assert_eq!(shown(&received[0]).as_deref(), Some("Bearer first"));
    // A credential needs no structured mode.
    assert_eq!(received[0].header("ce-id"), Some("1"));

    fs::write(folder.path().join("token"), "second\n")?;
    wait_until("the second token", || async {
        mesh.send("shop/default", &[Event::new("2", "x")]).await?;
        let received = sink.take("/ship");
        Ok(received
            .iter()
            .any(|one| shown(one).as_deref() == Some("Bearer second"))
            .then_some(()))
    })
    .await?;

    // Without it nothing is sent: the attempts fail and say why.
    mesh.until_settled().await?;
    drop(sink.take("/ship"));
    fs::remove_file(folder.path().join("token"))?;
    wait_until("an attempt without the token", || async {
        mesh.send("shop/default", &[Event::new("3", "x")]).await?;
        let failed = mesh.admin().series("millrace_delivery_attempts_total").await?;
        let failed = failed
            .iter()
            .find(|(labels, _)| labels.contains("no_credentials"));
        Ok(failed.filter(|(_, count)| *count > 0.0).map(drop))
    })
    .await?;
    assert!(
        sink.take("/ship")
            .iter()
            .all(|one| shown(one).as_deref() == Some("Bearer second"))
    );
    fs::write(folder.path().join("token"), "third\n")?;
    wait_until("the third token", || async {
        let received = sink.received("/ship");
        Ok(received
            .iter()
            .any(|one| shown(one).as_deref() == Some("Bearer third"))
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_login_in_a_secret_goes_to_subscriber_and_sink_and_each_gets_its_own() -> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    sink.answer("/ship", [Answer::status(400)]);
    let key = |name: &str, key: &str| format!("{{secretKeyRef: {{name: {name}, key: {key}}}}}");
    let login = format!(
        "{{basic: {{username: {}, password: {}}}}}",
        key("login", "user"),
        key("login", "word")
    );
    let trigger = Trigger::new("ship", &sink.url("/ship"))
        .annotation(SUBSCRIBER, &login)
        .delivery(&format!(
            "{{retry: 0, deadLetterSink: {{uri: '{}'}}}}",
            sink.url("/dead")
        ))
        .annotation(
            DEAD_LETTER,
            "{basic: {username: plain, password: {secretKeyRef: {name: login, key: dead}}}}",
        );
    // A Trigger without a sink of its own has its Broker's, and shows what the Broker says.
    let annotations = format!(
        "{{name: other, namespace: shop, annotations: {{{DEAD_LETTER}: \"{{bearer: {}}}\"}}}}",
        key("login", "broker")
    );
    let spec = format!(
        "spec: {{delivery: {{retry: 0, deadLetterSink: {{uri: '{}'}}}}}}",
        sink.url("/brokers")
    );
    let silent = Trigger::new("silent", &sink.url("/silent")).on("other");
    sink.answer("/silent", [Answer::status(400)]);
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: shop}\n\
                  stringData: {user: aladdin, word: 'open sesame', dead: d, broker: b}\n";
    let documents = Documents::broker()
        .trigger(&trigger)
        .document("Broker", &annotations, &spec)
        .trigger(&silent);
    let text = format!("{}{secret}", documents.text());
    let setup = Setup::new(&text)?.secret_dir(folder.path());
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.send("shop/other", &[Event::new("1", "x")]).await?;
    let basic = |login: &str| format!("Basic {}", BASE64_STANDARD.encode(login));
    for (path, expected) in [
        ("/ship", Some(basic("aladdin:open sesame"))),
        ("/dead", Some(basic("plain:d"))),
        ("/silent", None),
        ("/brokers", Some("Bearer b".to_owned())),
    ] {
        let received = sink.wait_for(path, 1).await?;
        assert_eq!(received[0].header("authorization"), expected.as_deref(), "{path}");
    }

    // A Secret that changes is a document that changes; one that is gone stops the deliveries that need it.
    mesh.reload(&text.replace("open sesame", "close sesame")).await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    let received = sink.wait_for("/ship", 2).await?;
    assert_eq!(
        received[1].header("authorization"),
        Some(&*basic("aladdin:close sesame"))
    );
    mesh.reload(documents.text()).await?;
    let state = mesh.admin().trigger("shop/ship").await?;
    assert_eq!(state["state"], "not-ready", "{state}");
    assert!(
        state["reason"]
            .as_str()
            .is_some_and(|why| why.contains("there is no Secret shop/login")),
        "{state}"
    );
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_asks_for_a_client_certificate_gets_the_one_that_is_in_the_files_now()
-> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let server = tls::self_signed(&["127.0.0.1"], false)?;
    let [first, second] = [
        tls::self_signed(&["client"], false)?,
        tls::self_signed(&["client"], false)?,
    ];
    let asking = tls::asking(&sink, &server, &[&first, &second]).await?;
    fs::write(folder.path().join("trusted.pem"), &server.certificate)?;
    let certificate = secret(folder.path(), "tls.crt", &first.certificate)?;
    let key = secret(folder.path(), "tls.key", first.key())?;
    let url = format!("https://{}", asking.address());
    let auth = format!("{{clientCertificate: {{certificate: {certificate}, key: {key}}}}}");
    let shown = Trigger::new("shown", &format!("{url}/shown")).annotation(SUBSCRIBER, &auth);
    let silent = Trigger::new("silent", &format!("{url}/silent")).delivery("{retry: 0}");
    let documents = Documents::broker().trigger(&shown).trigger(&silent);
    let setup = Setup::new(documents.text())?
        .secret_dir(folder.path())
        .environment(
            "SSL_CERT_FILE",
            &folder.path().join("trusted.pem").to_string_lossy(),
        )
        .environment("SSL_CERT_DIR", "");
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/shown", 1).await?;
    mesh.admin().until_parked(1).await?;
    assert_eq!(sink.count("/silent"), 0, "without a certificate nobody gets in");
    assert!(asking.saw(&first) && !asking.saw(&second));

    fs::write(folder.path().join("tls.key"), second.key())?;
    fs::write(folder.path().join("tls.crt"), &second.certificate)?;
    wait_until("the second certificate", || async {
        mesh.send("shop/default", &[Event::new("2", "x")]).await?;
        Ok(asking.saw(&second).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_source_shows_its_sink_the_token_that_is_in_the_file_now() -> anyhow::Result<()> {
    let (folder, sink) = (tempfile::tempdir()?, Sink::start().await?);
    let token = secret(folder.path(), "token", "first")?;
    let signing = secret(folder.path(), "signing", "hook")?;
    let source = format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata:\n  name: hook\n  namespace: \
         shop\n  annotations: {{millrace.dev/sink-auth: \"{{bearer: {token}}}\"}}\nspec: {{forge: github, secrets: \
         [{signing}], sink: {{uri: '{}'}}}}\n",
        sink.url("/sink")
    );
    let text = format!("{}{source}", Documents::broker().text());
    let setup = Setup::new(&text)?.secret_dir(folder.path());
    let mesh = setup.start().await?;
    let call = async |name: &str| {
        let call = Call::github("push", name, "{}").signed_by_github("hook");
        let answer = webhook::post(&mesh, "hook", &call).await?;
        anyhow::ensure!(answer.status == 202, "{answer:?}");
        anyhow::Ok(())
    };
    let shows = |one: &Received, token: &str| one.header("authorization") == Some(token);
    call("1").await?;
    assert!(shows(&sink.wait_for("/sink", 1).await?[0], "Bearer first"));
    fs::write(folder.path().join("token"), "second")?;
    wait_until("the second token", || async {
        call("2").await?;
        let received = sink.take("/sink");
        Ok(received
            .iter()
            .any(|one| shows(one, "Bearer second"))
            .then_some(()))
    })
    .await
}
