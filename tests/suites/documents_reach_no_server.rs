//! Promise: a document sends no secret to a server before the operator's rule allows the secret and the guard
//! allows the server. A source whose servers are refused reports it in words.

use std::fs;

use millrace_tests::Mesh;
use millrace_tests::kafka::{Kafka, source as kafka_source};
use millrace_tests::mesh::Setup;
use millrace_tests::named::{
    BROKER, HUSH, MESH, assert_silent_and_stop, kubeconfig, until_ready, until_refused, watch,
};

#[tokio::test]
async fn a_login_goes_to_no_server_before_it_is_allowed() -> anyhow::Result<()> {
    let outside = tempfile::tempdir()?;
    let hush = outside.path().join("hush");
    fs::write(&hush, HUSH)?;
    // This server would be sent the login.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let server = listener.local_addr()?.to_string();
    let login = |user: &str, password: &str| {
        format!("net: {{sasl: {{enable: true, user: {user}, password: {password}}}}}")
    };
    let file = format!("{{file: \"{}\"}}", hush.display());
    let setup = Setup::new(MESH)?.environment("HUSH", HUSH);
    let rows = [
        (
            "user",
            login(&file, "{env: MILLRACE_SECRET_HOOK}"),
            "`net.sasl.user`: the file",
        ),
        (
            "password",
            login("me", "{env: HUSH}"),
            "`net.sasl.password`: the variable",
        ),
        (
            "authority",
            format!("net: {{tls: {{enable: true, caCert: {file}}}}}"),
            "`net.tls.caCert`: the file",
        ),
    ];
    let text: String = rows
        .iter()
        .map(|(name, net, _)| kafka_source(&server, name, BROKER, net))
        .collect();
    setup.write(&format!("{MESH}{text}"))?;
    let mut mesh = setup.start().await?;
    for (name, _, reason) in &rows {
        until_refused(&mesh, name, reason).await?;
    }
    let called = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "a client was made");
    assert_silent_and_stop(&mut mesh).await
}

#[tokio::test]
async fn a_server_is_judged_by_its_addresses() -> anyhow::Result<()> {
    let mut mesh = Mesh::start(MESH).await?;
    let admin = mesh.admin().address();
    let own = format!("localhost:{}", admin.port());
    let rows = [
        ("metadata", "169.254.169.254:80"),
        ("number", "2852039166:80"),
        ("dressed", "[::ffff:169.254.169.254]:80"),
        ("admin", own.as_str()),
    ];
    let mut text = MESH.to_owned();
    for (name, server) in rows {
        text += &kafka_source(server, name, BROKER, "net: {}");
    }
    let clusters = [
        ("cluster", "https://169.254.169.254"),
        ("dressed-cluster", "http://[::ffff:169.254.169.254]/"),
        ("admin-cluster", &format!("http://{own}")),
    ];
    for (name, server) in clusters {
        let config = kubeconfig("", "").replace("http://127.0.0.1:1", server);
        fs::write(mesh.setup().folder().join(name), config)?;
        text += &watch(name, name);
    }
    mesh.reload(&text).await?;
    for (name, _) in clusters {
        until_refused(&mesh, name, "the `server` of the kubeconfig: ").await?;
    }
    for (name, server) in rows {
        until_refused(
            &mesh,
            name,
            &format!("`bootstrapServers`: {server}: connections to "),
        )
        .await?;
    }
    until_refused(&mesh, "admin", "Millrace's own admin listener").await?;
    assert_silent_and_stop(&mut mesh).await
}

#[tokio::test]
async fn a_broker_that_the_others_name_is_judged_whenever_it_comes() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.create_topic("orders", 1).await?;
    let text = format!(
        "{MESH}{}",
        kafka_source(&kafka.bootstrap(), "orders", BROKER, "net: {}")
    );
    let mut mesh = Mesh::start(&text).await?;
    until_ready(&mesh, "orders").await?;
    // It returns with another address, while the source is a member of its group.
    kafka.advertise("169.254.169.254:9092").await?;
    let reason =
        "a broker that the others name: 169.254.169.254:9092: connections to 169.254.169.254 are refused";
    until_refused(&mesh, "orders", reason).await?;
    // The address is there before the source has read anything.
    mesh.kill().await?;
    mesh.restart().await?;
    until_refused(&mesh, "orders", reason).await?;
    assert_silent_and_stop(&mut mesh).await
}
