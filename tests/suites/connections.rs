//! Promise: descriptors have shares. However many connections one client opens, events of others come in and
//! go out, files are written, and the admin side answers.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::stranger;
use millrace_tests::{Answer, Event, Mesh, Sink, descriptors};
use tokio::io::AsyncWriteExt as _;

async fn mesh(limits: &str, args: &[&str]) -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let setup = Setup::new(documents.text())?
        .before(descriptors::limited(limits))
        .args(args);
    Ok((setup.start().await?, sink))
}

/// Producers on connections of their own, each of which sends a few events; all must be accepted and arrive.
async fn honest(mesh: &Mesh, sink: &Sink) -> anyhow::Result<()> {
    let mut sent = BTreeSet::new();
    for producer in 0..20 {
        let events: Vec<_> = (0..5)
            .map(|nth| Event::new(&format!("honest-{producer}-{nth}"), "x"))
            .collect();
        sent.extend(events.iter().map(|event| event.id().to_owned()));
        mesh.send("shop/default", &events).await?;
    }
    sink.until_all("/all", &sent).await?;
    assert_eq!(sink.ids("/all").len(), sent.len(), "none came twice");
    mesh.admin().until_parked(0).await?;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(mesh.admin().ask(&Method::GET, path).await?.status, 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() -> anyhow::Result<()> {
    descriptors::raise_our_own()?;
    let (mesh, sink) = mesh("ulimit -n 512", &[]).await?;
    let mut idle = Vec::new();
    for nth in 0..1000 {
        let mut stream = stranger(mesh.listen()).await?;
        match nth % 3 {
            // Some send nothing, some begin a header, some have had an answer; those closed meanwhile do not
            // count.
            0 => {}
            1 => drop(stream.write_all(b"POST /shop/default HTTP/1.1\r\n").await),
            _ => drop(
                stream
                    .write_all(b"OPTIONS /shop/default HTTP/1.1\r\nhost: x\r\n\r\n")
                    .await,
            ),
        }
        idle.push(stream);
    }
    honest(&mesh, &sink).await?;
    let admin = mesh.admin();
    assert_eq!(admin.metric("millrace_descriptors_limit").await? as u64, 512);
    let open = admin.metric("millrace_descriptors_open").await?;
    assert!(open <= 384.0, "a quarter is left for files and state: {open}");
    assert!(admin.metric("millrace_http_connections_made_room_total").await? > 0.0);
    Ok(())
}

#[tokio::test]
async fn half_sent_bodies_keep_the_admin_side_and_files_alive() -> anyhow::Result<()> {
    descriptors::raise_our_own()?;
    let (mesh, sink) = mesh("ulimit -n 256", &[]).await?;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = stranger(mesh.listen()).await?;
        let head = "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-id: s\r\nce-source: /s\r\n\
                    ce-type: t\r\ncontent-length: 100\r\n\r\na";
        let _ = stream.write_all(head.as_bytes()).await;
        slow.push(stream);
    }
    // Requests in hand are not given up for others, but they end, because they are slow.
    honest(&mesh, &sink).await
}

#[tokio::test]
async fn the_soft_limit_is_raised_and_flags_are_bounded_by_it() -> anyhow::Result<()> {
    let (mesh, sink) = mesh("ulimit -S -n 64; ulimit -H -n 4096", &["--max-connections", "50"]).await?;
    let admin = mesh.admin();
    assert_eq!(admin.metric("millrace_descriptors_limit").await? as u64, 4096);
    // The ingress has begun to serve once it has answered.
    honest(&mesh, &sink).await?;
    let text = admin.ask(&Method::GET, "/metrics").await?.body;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        text.contains("millrace_http_connections_limit{listener=\"ingress\"} 50\n"),
        "{text}"
    );
    Ok(())
}

/// Each Broker has files open. Connections leave room for them, also while both kinds are at their limits.
#[tokio::test]
async fn connections_leave_room_for_the_files_of_many_brokers() -> anyhow::Result<()> {
    const BROKERS: usize = 30;
    descriptors::raise_our_own()?;
    let sink = Sink::start().await?;
    sink.decide("/hangs", |_, _| Answer::ok().slow(Duration::from_secs(600)));
    let mut documents = Documents::broker()
        .trigger(&Trigger::new("all", &sink.url("/all")))
        .and_broker("hangs", "{}");
    for nth in 0..8 {
        let name = format!("hangs-{nth}");
        documents = documents.trigger(&Trigger::new(&name, &sink.url("/hangs")).on("hangs"));
    }
    for nth in 0..BROKERS {
        documents = documents.and_broker(&format!("b{nth}"), "{}");
    }
    let setup = Setup::new(documents.text())?.before(descriptors::at_most(512));
    let mesh = setup.start().await?;
    let hanging: Vec<_> = (0..40)
        .map(|nth| Event::new(&format!("hangs-{nth}"), "x"))
        .collect();
    mesh.send("shop/hangs", &hanging).await?;
    sink.wait_for("/hangs", 50).await?;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(stranger(mesh.listen()).await?);
    }
    // Twice: what each Broker needs is open after its first event.
    for round in 0..2 {
        for nth in 0..BROKERS {
            let event = Event::new(&format!("{round}"), "x");
            mesh.send(&format!("shop/b{nth}"), &[event]).await?;
        }
    }
    honest(&mesh, &sink).await?;
    assert!(mesh.admin().metric("millrace_descriptors_open").await? < 512.0);
    Ok(())
}
