//! Promise: in a cluster an https subscriber is trusted as its document says, and by the trust bundles of
//! Millrace's own namespace, as Knative's conformance suite asks (row R23). Certificates that cannot be used
//! are said in the status. A Broker shows its own address by https with who vouches for it.

use millrace_tests::certificates::Authority;
use millrace_tests::kube::served::{EVENTING, broker, condition, object, of_class, service, trigger};
use millrace_tests::{Answer, Event, Kube, Mesh, Sink, tls, wait_until};
use serde_json::{Value, json};

const LABEL: &str = "networking.knative.dev/trust-bundle";

/// A trust bundle of the namespace of the login, which is that of Millrace.
fn bundle(name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {LABEL: "true"}},
        "data": {"whatever": pem},
    })
}

/// A mesh of the cluster that trusts nothing of this machine.
async fn serve(kube: &Kube) -> anyhow::Result<Mesh> {
    let setup = kube.served()?;
    let none = setup.folder().join("none.pem");
    std::fs::write(&none, tls::self_signed(&["nobody.example"], true)?.certificate)?;
    let setup = setup.environment("SSL_CERT_FILE", &none.to_string_lossy());
    setup.environment("SSL_CERT_DIR", "").start().await
}

/// A Trigger that makes one attempt.
fn once(name: &str, uri: &str) -> Value {
    let mut once = trigger(name, uri);
    once["spec"]["delivery"] = json!({"retry": 0});
    once
}

async fn parks(mesh: &Mesh, trigger: &str, parked: usize) -> anyhow::Result<String> {
    let state = wait_until("the event to be parked", || async {
        let state = mesh.admin().trigger(trigger).await?;
        Ok((state["parked"] == parked).then_some(state))
    })
    .await?;
    Ok(state["lastFailure"]["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[tokio::test]
async fn r23_a_tls_subscriber_with_ca_certs_gets_its_events_and_so_does_its_dead_letter_sink()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let [(ship, of_ship), (dead, of_dead)] = [tls::signed()?, tls::signed()?];
    let [ship, dead] = [tls::before(&sink, &ship).await?, tls::before(&sink, &dead).await?];
    sink.answer("/ship", [Answer::status(400)]);
    let mesh = serve(&kube).await?;
    let letters = json!({"uri": format!("https://{dead}/dead"), "CACerts": of_dead});
    let ready = kube
        .ready(&broker(
            "default",
            json!({"delivery": {"deadLetterSink": letters}}),
        ))
        .await?;
    assert_eq!(ready["status"]["deadLetterSinkCACerts"], of_dead);
    let mut t = trigger("t", &format!("https://{ship}/ship"));
    t["spec"]["subscriber"]["CACerts"] = json!(of_ship);
    let ready = kube.ready(&t).await?;
    assert_eq!(ready["status"]["subscriberCACerts"], of_ship);
    assert_eq!(ready["status"]["deadLetterSinkCACerts"], of_dead);
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/ship", 1).await?;
    sink.wait_for("/dead", 1).await?;
    // Who vouched is forgotten with the document.
    let untrusted = once("t", &format!("https://{ship}/ship"));
    let ready = kube.ready(&untrusted).await?;
    assert!(ready["status"]["subscriberCACerts"].is_null(), "{ready}");
    Ok(())
}

#[tokio::test]
async fn r23_a_tls_subscriber_is_trusted_by_a_trust_bundle_while_it_is_there() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (ship, of_ship) = tls::signed()?;
    let ship = tls::before(&sink, &ship).await?;
    let mut other = bundle("of-shop", &of_ship);
    other["metadata"]["namespace"] = json!("shop");
    let mut unlabelled = bundle("unlabelled", &of_ship);
    unlabelled["metadata"]["labels"] = json!({});
    kube.apply(&other).await?;
    kube.apply(&unlabelled).await?;
    let mesh = serve(&kube).await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.ready(&once("t", &format!("https://{ship}/t"))).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    let reason = parks(&mesh, "shop/t", 1).await?;
    assert!(
        reason.contains("is not signed by a trusted authority"),
        "{reason}"
    );

    let revision = || async { Ok::<_, anyhow::Error>(mesh.admin().get("mesh").await?["revision"].clone()) };
    let before = revision().await?;
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    kube.apply(&bundle("ours", &format!("{broken}{of_ship}"))).await?;
    wait_until("the bundle to be in effect", || async {
        Ok((revision().await? != before).then_some(()))
    })
    .await?;
    mesh.send("shop/default", &[Event::new("2", "t")]).await?;
    sink.wait_for("/t", 1).await?;

    let before = revision().await?;
    kube.delete(&bundle("ours", "")).await?;
    wait_until("the bundle to be gone", || async {
        Ok((revision().await? != before).then_some(()))
    })
    .await?;
    // A connection that was made while it was trusted goes on: a new Trigger makes one of its own.
    kube.ready(&once("late", &format!("https://{ship}/late"))).await?;
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    let reason = parks(&mesh, "shop/late", 1).await?;
    assert!(
        reason.contains("is not signed by a trusted authority"),
        "{reason}"
    );
    assert_eq!(sink.count("/late"), 0);
    Ok(())
}

#[tokio::test]
async fn a_trust_bundle_counts_after_a_restart_without_the_api_server() -> anyhow::Result<()> {
    let Some(mut kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (ship, of_ship) = tls::signed()?;
    let ship = tls::before(&sink, &ship).await?;
    kube.apply(&bundle("ours", &of_ship)).await?;
    let mut mesh = serve(&kube).await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.ready(&once("t", &format!("https://{ship}/t"))).await?;
    // It is written a moment after it is in effect.
    let file = mesh.setup().data_folder().join("mesh/accepted.json");
    wait_until("the Trigger and the bundle to be kept", || async {
        let text = std::fs::read_to_string(&file)?;
        Ok((text.contains("/t\"") && text.contains("BEGIN CERTIFICATE")).then_some(()))
    })
    .await?;
    kube.kill().await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/t", 1).await?;
    Ok(())
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_said_in_the_status() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let _mesh = serve(&kube).await?;
    kube.ready(&broker("default", json!({}))).await?;
    let mut t = trigger("t", "https://127.0.0.1:1/");
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    t["spec"]["subscriber"]["CACerts"] = json!(broken);
    kube.apply(&t).await?;
    let said = kube.until(&t, "Ready", "False InvalidSpec").await?;
    let conditions = said["status"]["conditions"].to_string();
    assert!(
        conditions.contains("spec.subscriber.CACerts: certificate 1 cannot be read (bad-certificate)"),
        "{conditions}"
    );
    Ok(())
}

#[tokio::test]
async fn the_address_of_the_name_is_called_and_trusted_as_its_object_says() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let (ship, of_ship) = tls::signed()?;
    let ship = tls::before(&sink, &ship).await?;
    // A Broker of another class is an Addressable that has a status to be written.
    let theirs = of_class(object(EVENTING, "Broker", "theirs", json!({})), "Other");
    kube.apply(&theirs).await?;
    let outer = json!({"name": "outer", "url": "https://127.0.0.1:1/"});
    let inner = json!({"name": "inner", "url": format!("https://{ship}/theirs"), "CACerts": of_ship});
    kube.set_status(&theirs, &json!({"address": outer, "addresses": [outer, inner]}))
        .await?;
    let mesh = serve(&kube).await?;
    kube.ready(&broker("default", json!({}))).await?;
    let to = |address: &str| {
        let reference =
            json!({"apiVersion": EVENTING, "kind": "Broker", "name": "theirs", "address": address});
        let spec = json!({"broker": "default", "subscriber": {"ref": reference}});
        object(EVENTING, "Trigger", "t", spec)
    };
    kube.apply(&to("innner")).await?;
    let lost = kube
        .until(&to("innner"), "Ready", "False AddressNotFound")
        .await?;
    let said = lost["status"]["conditions"].to_string();
    assert!(
        said.contains("no address of the name `innner`") && said.contains("it has `outer` and `inner`"),
        "{said}"
    );
    let ready = kube.ready(&to("inner")).await?;
    assert_eq!(ready["status"]["subscriberUri"], format!("https://{ship}/theirs"));
    assert_eq!(ready["status"]["subscriberCACerts"], of_ship);
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/theirs", 1).await?;
    Ok(())
}

/// A port of this machine that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

#[tokio::test]
async fn a_broker_shows_its_address_by_https_with_who_vouches_for_it_and_others_send_there()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), &format!("mill-{:x}", fastrand::u64(..)))?;
    let shown = folder.path().join("ca.crt");
    std::fs::copy(&authority.file, &shown)?;
    let port = free_port()?;
    let mut flags = authority.server("server")?.listening();
    flags[1] = format!("127.0.0.1:{port}");
    let by_https = format!("https://127.0.0.1:{port}");
    flags.extend(
        [
            "--public-url",
            "http://mill.example",
            "--public-url-tls",
            &by_https,
        ]
        .map(str::to_owned),
    );
    flags.extend(["--public-ca".to_owned(), shown.to_string_lossy().into_owned()]);
    let none = folder.path().join("none.pem");
    std::fs::write(&none, tls::self_signed(&["nobody.example"], true)?.certificate)?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let setup = kube.served()?.args(&flags).environment("SSL_CERT_DIR", "");
    let mesh = setup
        .environment("SSL_CERT_FILE", &none.to_string_lossy())
        .start()
        .await?;
    kube.ready(&broker("default", json!({}))).await?;
    let second = broker("second", json!({}));
    let status = kube.ready(&second).await?["status"].clone();
    let http = json!({"name": "http", "url": "http://mill.example/shop/second"});
    let pem = std::fs::read_to_string(&shown)?;
    let https = json!({"name": "https", "url": format!("{by_https}/shop/second"), "CACerts": pem});
    assert_eq!(status["address"], http);
    assert_eq!(status["addresses"], json!([https, http]));

    // Who takes the address from there reaches the Broker, and trusts what answers.
    let theirs = of_class(object(EVENTING, "Broker", "theirs", json!({})), "Other");
    kube.apply(&theirs).await?;
    let addresses = json!({"address": status["address"], "addresses": status["addresses"]});
    kube.set_status(&theirs, &addresses).await?;
    let sink = Sink::start().await?;
    let mut there = trigger("there", "");
    there["spec"]["subscriber"] =
        json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "theirs"}});
    kube.ready(&there).await?;
    let mut here = trigger("here", &sink.url("/here"));
    here["spec"]["broker"] = json!("second");
    kube.ready(&here).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/here", 1).await?;

    let another = Authority::make(folder.path(), &format!("next-{:x}", fastrand::u64(..)))?;
    std::fs::copy(&another.file, &shown)?;
    let pem = std::fs::read_to_string(&shown)?;
    wait_until("the new authority to be shown", || async {
        let found = kube.seen(&second).await?;
        Ok((found["status"]["addresses"][0]["CACerts"] == pem.as_str()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_service_for_which_somebody_vouches_is_called_by_https() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let (_, authority) = tls::signed()?;
    let _mesh = serve(&kube).await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.apply(&service("ship", &[80, 443])).await?;
    let mut t = trigger("t", "/in");
    t["spec"]["subscriber"]["ref"] = json!({"apiVersion": "v1", "kind": "Service", "name": "ship"});
    let plain = kube.ready(&t).await?;
    assert_eq!(
        plain["status"]["subscriberUri"],
        "http://ship.shop.svc.cluster.local/in"
    );
    t["spec"]["subscriber"]["CACerts"] = json!(authority);
    let secured = kube.ready(&t).await?;
    assert_eq!(
        secured["status"]["subscriberUri"],
        "https://ship.shop.svc.cluster.local/in"
    );
    assert_eq!(condition(&secured, "SubscriberResolved"), "True");
    Ok(())
}
