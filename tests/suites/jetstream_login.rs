//! Promise: a Broker's channel gets onto a NATS server by the login and the certificates of a Secret, shows
//! them nowhere, and goes to no server that documents may not name.

use std::fs;
use std::path::Path;

use millrace_tests::certificates::{Authority, Pair};
use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all, until_accepted};
use millrace_tests::{Event, Mesh, Nats, Sink};

#[tokio::test]
async fn a_server_at_an_address_that_no_document_may_name_is_refused() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let documents = nats
        .broker(PATIENT, &[])
        .text()
        .replace(&nats.url(), "nats://169.254.169.254:4222");
    let mesh = Mesh::start(&documents).await?;
    let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 503);
    assert!(said.contains("169.254.169.254:4222: connections to"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_login_comes_from_a_secret_and_is_shown_nowhere() -> anyhow::Result<()> {
    let Some(nats) = Nats::start_with(&["--user", "till", "--pass", "hunter2"]).await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let secret = |password: &str| {
        let documents = nats
            .broker(PATIENT, &["auth-secret: for-nats"])
            .trigger(&all(&sink));
        let secret = format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: for-nats, namespace: shop}}\nstringData: {{user: \
             till, password: \"{password}\"}}\n"
        );
        format!("{}{secret}", documents.text())
    };
    let mesh = Mesh::start(&secret("wrong-one")).await?;
    let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
    assert_eq!(refused.status, 503);
    assert!(!String::from_utf8_lossy(&refused.body).contains("wrong-one"));
    mesh.reload(&secret("hunter2")).await?;
    until_accepted(&mesh, "2").await?;
    sink.wait_for("/all", 1).await?;
    assert!(!mesh.running().stderr().contains("hunter2"));
    Ok(())
}

#[tokio::test]
async fn by_tls_only_the_right_server_and_the_right_client_meet() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "ca")?;
    let (server, client) = (
        authority.server("server")?,
        authority.client("client", &["client"])?,
    );
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (cert, key, ca) = (
        path(&server.certificate),
        path(&server.key),
        path(&authority.file),
    );
    let tls = [
        "--tlsverify",
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
        "--tlscacert",
        &ca,
    ];
    let Some(nats) = Nats::start_with(&tls).await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = nats
        .broker(PATIENT, &["auth-secret: for-nats"])
        .trigger(&all(&sink));
    let by = |authority: &Path, shown: Option<&Pair>| {
        let pem = |path: &Path| anyhow::Ok(serde_json::to_string(&fs::read_to_string(path)?)?);
        let mut entries = format!("ca.crt: {}", pem(authority)?);
        if let Some(pair) = shown {
            entries += &format!(
                ", tls.crt: {}, tls.key: {}",
                pem(&pair.certificate)?,
                pem(&pair.key)?
            );
        }
        anyhow::Ok(format!(
            "{}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: for-nats, namespace: shop}}\nstringData: {{{entries}}}\n",
            documents.text()
        ))
    };
    let stranger = Authority::make(folder.path(), "stranger")?;
    let mesh = Mesh::start(&by(&stranger.file, Some(&client))?).await?;
    for wrong in [by(&stranger.file, Some(&client))?, by(&authority.file, None)?] {
        mesh.setup().write(&wrong)?;
        let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
        assert_eq!(refused.status, 503);
    }
    mesh.reload(&by(&authority.file, Some(&client))?).await?;
    until_accepted(&mesh, "2").await?;
    sink.wait_for("/all", 1).await?;
    Ok(())
}
