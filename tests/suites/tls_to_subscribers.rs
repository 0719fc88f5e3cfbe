//! Promise: an https subscriber is trusted as curl would trust it, or as its own document says, and errors
//! are told in words. No proxy is used.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_tests::documents::{Documents, Trigger, vouched};
use millrace_tests::mesh::Setup;
use millrace_tests::tls::{self, Identity};
use millrace_tests::{Answer, Event, Mesh, Sink, named, wait_until, within};
use tokio::net::TcpListener;

const ONCE: &str = "{retry: 0}";

fn said(mesh: &Mesh) -> anyhow::Result<String> {
    Ok(fs::read_to_string(mesh.setup().folder().join("stderr"))?)
}

/// A mesh with a Trigger `shop/ship` for this subscriber. It trusts the certificates in the file.
async fn mesh(url: &str, trusted: &Path) -> anyhow::Result<Mesh> {
    let documents = Documents::broker().trigger(&Trigger::new("ship", url).delivery(ONCE));
    let setup = Setup::new(documents.text())?
        .environment("SSL_CERT_FILE", &trusted.to_string_lossy())
        .environment("SSL_CERT_DIR", "");
    setup.start().await
}

fn file(folder: &Path, identity: &Identity) -> anyhow::Result<PathBuf> {
    let file = folder.join("trusted.pem");
    fs::write(&file, &identity.certificate)?;
    Ok(file)
}

/// Why curl refuses the server at this address with the same file, if it does; `None` if there is no curl.
fn curl_refuses(address: SocketAddr, trusted: &Path) -> Option<String> {
    let url = format!("https://{address}/");
    let mut curl = Command::new("curl");
    curl.args(["-qsS", "--noproxy", "*", "--max-time", "20", "--data", "x", &url])
        .env_remove("CURL_CA_BUNDLE")
        .env_remove("SSL_CERT_DIR")
        .env("SSL_CERT_FILE", trusted);
    let output = curl.output().ok().filter(|output| !output.status.success())?;
    Some(format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_by_ssl_cert_file_as_by_curl() -> anyhow::Result<()> {
    for authority in [true, false] {
        let folder = tempfile::tempdir()?;
        let sink = Sink::start().await?;
        let identity = tls::self_signed(&["127.0.0.1"], authority)?;
        let address = tls::before(&sink, &identity).await?;
        let trusted = file(folder.path(), &identity)?;
        let refused = tokio::task::spawn_blocking({
            let trusted = trusted.clone();
            move || curl_refuses(address, &trusted)
        });
        assert_eq!(refused.await?, None, "curl, authority: {authority}");
        let mesh = mesh(&format!("https://{address}/ship"), &trusted).await?;
        mesh.send("shop/default", &[Event::new("1", "x")]).await?;
        sink.wait_for("/ship", 1).await?;
        mesh.until_settled().await?;
        assert_eq!(mesh.admin().trigger("shop/ship").await?["delivered"], 1);
        assert!(
            !said(&mesh)?.contains("SSL_CERT_FILE"),
            "nothing is wrong with it"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_trusted_is_refused_in_words() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sink = Sink::start().await?;
    let [own, another] = [
        tls::self_signed(&["127.0.0.1"], true)?,
        tls::self_signed(&["127.0.0.1"], true)?,
    ];
    let elsewhere = tls::self_signed(&["other.example"], false)?;
    for (shown, trusted, reason) in [
        (
            &own,
            &another,
            "the certificate is its own authority and is not trusted",
        ),
        (
            &elsewhere,
            &another,
            "the certificate is not signed by a trusted authority",
        ),
        (
            &elsewhere,
            &elsewhere,
            "the certificate is not for 127.0.0.1 but for other.example",
        ),
    ] {
        let address = tls::before(&sink, shown).await?;
        let mesh = mesh(&format!("https://{address}/ship"), &file(folder.path(), trusted)?).await?;
        mesh.send("shop/default", &[Event::new("1", "x")]).await?;
        let state = wait_until("the event to be parked", || async {
            let state = mesh.admin().trigger("shop/ship").await?;
            Ok(Some(state).filter(|state| state["parked"] == 1))
        })
        .await?;
        let told = state["lastFailure"]["reason"].as_str().unwrap_or_default();
        assert!(
            told.starts_with(&format!("the TLS handshake failed: {reason}")),
            "{told}"
        );
        for typed in ["InvalidCertificate", "DnsName", "OtherError", "{", "\""] {
            assert!(!told.contains(typed), "{typed} in {told}");
        }
    }
    assert_eq!(sink.count("/ship"), 0);
    Ok(())
}

#[tokio::test]
async fn subscriber_and_dead_letter_sink_are_trusted_as_their_documents_say_and_no_other_is()
-> anyhow::Result<()> {
    let (sink, folder) = (Sink::start().await?, tempfile::tempdir()?);
    let [(ship, of_ship), (dead, of_dead)] = [tls::signed()?, tls::signed()?];
    let [ship, dead] = [tls::before(&sink, &ship).await?, tls::before(&sink, &dead).await?];
    let reply = Event::new("reply", "answer");
    sink.answer("/ship", [Answer::reply(&reply)]);
    sink.answer("/refusing", [Answer::status(400)]);
    let delivery = |pem: &str| {
        let to = vouched(&format!("https://{dead}/dead"), pem);
        format!("{{retry: 0, deadLetterSink: {to}}}")
    };
    let of = |name: &str, wanted: &str, delivery: &str| {
        Trigger::new(name, &format!("https://{ship}/{name}"))
            .attributes(&format!("{{type: {wanted}}}"))
            .delivery(delivery)
    };
    let documents = Documents::broker()
        .trigger(&of("ship", "order", ONCE).authorities(&of_ship))
        .trigger(&of("again", "answer", ONCE).authorities(&of_ship))
        .trigger(&of("refusing", "order", &delivery(&of_dead)).authorities(&of_ship))
        // Who vouches for the subscriber does not vouch for its sink, nor for another Trigger's subscriber.
        .trigger(&of("parking", "refused", &delivery("")).authorities(&of_ship))
        .trigger(&of("distrusting", "order", ONCE))
        .trigger(&of("mistaken", "order", ONCE).authorities(&of_dead));
    sink.answer("/parking", [Answer::status(400)]);
    let none = file(folder.path(), &tls::self_signed(&["127.0.0.1"], true)?)?;
    let setup = Setup::new(documents.text())?
        .environment("SSL_CERT_FILE", &none.to_string_lossy())
        .environment("SSL_CERT_DIR", "");
    let mesh = setup.start().await?;
    mesh.send(
        "shop/default",
        &[Event::new("1", "order"), Event::new("2", "refused")],
    )
    .await?;
    sink.wait_for("/ship", 1).await?;
    sink.wait_for("/again", 1).await?;
    sink.wait_for("/dead", 1).await?;
    mesh.admin().until_parked(3).await?;
    for name in ["parking", "distrusting", "mistaken"] {
        let state = mesh.admin().trigger(&format!("shop/{name}")).await?;
        let told = state["lastFailure"]["reason"].as_str().unwrap_or_default();
        let expected = "the TLS handshake failed: the certificate is not signed by a trusted authority";
        assert!(told.starts_with(expected), "{name}: {told}");
    }
    assert_eq!(
        (sink.ids("/dead"), sink.ids("/again")),
        (vec!["1".to_owned()], vec!["reply".to_owned()])
    );
    assert_eq!((sink.count("/distrusting"), sink.count("/mistaken")), (0, 0));
    Ok(())
}

#[tokio::test]
async fn other_certificates_of_a_document_count_from_the_next_delivery_on() -> anyhow::Result<()> {
    let (sink, folder) = (Sink::start().await?, tempfile::tempdir()?);
    let [(identity, right), (_, wrong)] = [tls::signed()?, tls::signed()?];
    let address = tls::before(&sink, &identity).await?;
    let documents = |pem: &str| {
        let trigger = Trigger::new("ship", &format!("https://{address}/ship")).delivery(ONCE);
        Documents::broker().trigger(&trigger.authorities(pem))
    };
    let none = file(folder.path(), &tls::self_signed(&["127.0.0.1"], true)?)?;
    let setup = Setup::new(documents(&wrong).text())?
        .environment("SSL_CERT_FILE", &none.to_string_lossy())
        .environment("SSL_CERT_DIR", "");
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.admin().until_parked(1).await?;
    mesh.reload(documents(&right).text()).await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.wait_for("/ship", 1).await?;
    // The connection stays open, and is not used for deliveries that do not trust what it was made with.
    mesh.reload(documents(&wrong).text()).await?;
    mesh.send("shop/default", &[Event::new("3", "x")]).await?;
    mesh.admin().until_parked(2).await?;
    assert_eq!(sink.ids("/ship"), ["2"]);
    Ok(())
}

#[tokio::test]
async fn files_that_are_not_there_are_said_at_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "no certificate at all\n")?;
    for (file, expected) in [
        (
            &missing,
            format!("SSL_CERT_FILE names {}, which cannot be used", missing.display()),
        ),
        (
            &empty,
            "SSL_CERT_FILE and SSL_CERT_DIR name no certificate in PEM form".to_owned(),
        ),
        (
            &folder.path().to_owned(),
            "which cannot be used: it is not a file".to_owned(),
        ),
    ] {
        let mesh = mesh("http://127.0.0.1:9/", file).await?;
        let said = said(&mesh)?;
        assert_eq!(
            said.lines().filter(|line| line.contains(&expected)).count(),
            1,
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn proxies_are_not_used_and_that_is_said_at_start() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", proxy.local_addr()?);
    let api_server = TcpListener::bind("127.0.0.1:0").await?;
    let documents = Documents::broker().trigger(&Trigger::new("ship", &sink.url("/ship")).delivery(ONCE));
    let documents = format!(
        "{}{}",
        documents.text(),
        named::watch("cluster", "kubeconfig.yaml")
    );
    let mut setup = Setup::new(&documents)?;
    let server = api_server.local_addr()?.to_string();
    let kubeconfig = named::kubeconfig("", "").replace("127.0.0.1:1", &server);
    fs::write(setup.folder().join("kubeconfig.yaml"), kubeconfig)?;
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        // The value of an unused variable does not matter.
        let value = if name == "HTTPS_PROXY" { ":no url:" } else { &url };
        setup = setup.environment(name, value);
    }
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/ship", 1).await?;
    within("the API server to be called", api_server.accept()).await?;
    tokio::select! {
        biased;
        called = proxy.accept() => anyhow::bail!("the proxy was called: {called:?}"),
        () = std::future::ready(()) => {}
    }
    let said = said(&mesh)?;
    let told = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, http_proxy, https_proxy, all_proxy are set and not used";
    assert_eq!(
        said.lines().filter(|line| line.contains(told)).count(),
        1,
        "{said}"
    );
    Ok(())
}
