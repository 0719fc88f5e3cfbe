//! Promise: a request names one host and frames its body in one way. On a laptop the host is one of the
//! laptop's own names, so that no page in a browser can publish into its mesh through a name that points
//! there.

use std::net::SocketAddr;

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::process::Process;
use millrace_tests::raw::{Socket, exchange};
use millrace_tests::reload::sorted;
use millrace_tests::{Answered, Event, Mesh, Sink, wait_until};
use serde_json::Value;

/// The lines between the first line and the host, or behind it.
const EVENT: &str = "ce-specversion: 1.0\r\nce-source: /s\r\nce-type: hello\r\ncontent-length: 0\r\n";

async fn watched(args: &[&str]) -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Setup::new(documents.text())?.args(args).start().await?;
    Ok((mesh, sink))
}

/// Posts an event with this id and these header lines, on a connection of its own.
async fn post(address: SocketAddr, line: &str, id: &str, headers: &str) -> anyhow::Result<Answered> {
    let request = format!("{line}\r\n{EVENT}ce-id: {id}\r\n{headers}\r\n");
    let answer = exchange(address, request.as_bytes()).await?;
    answer.with_context(|| format!("no answer to {line} {headers:?}"))
}

fn code(answer: &Answered) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// Checks a table of lines, headers, statuses and codes; accepted events must arrive, and no others.
async fn check(mesh: &Mesh, sink: &Sink, cases: &[(&str, &str, u16, &str)]) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for (nth, (line, headers, status, expected)) in cases.iter().enumerate() {
        let id = format!("case-{nth}");
        let answer = post(mesh.listen(), line, &id, headers).await?;
        assert_eq!(
            (answer.status, &*code(&answer)),
            (*status, *expected),
            "{line} {headers:?}"
        );
        if *status == 202 {
            taken.push(id);
        }
    }
    nothing_else_came(mesh, sink, taken).await
}

/// Checks that the accepted events arrive, and an event that follows, and nothing else.
async fn nothing_else_came(mesh: &Mesh, sink: &Sink, mut taken: Vec<String>) -> anyhow::Result<()> {
    mesh.send("shop/default", &[Event::new("last", "x")]).await?;
    taken.push("last".to_owned());
    sink.wait_for("/all", taken.len()).await?;
    assert_eq!(sorted(sink.ids("/all")), sorted(taken));
    Ok(())
}

const NEW: &str = "POST /shop/default HTTP/1.1";
const OLD: &str = "POST /shop/default HTTP/1.0";

#[tokio::test]
async fn a_request_names_exactly_one_host() -> anyhow::Result<()> {
    let (mesh, sink) = watched(&[]).await?;
    let cases = [
        (NEW, "host: x\r\n", 202, ""),
        (NEW, "Host: millrace.example.:8080\r\n", 202, ""),
        (NEW, "host: [2001:db8::1]:8080\r\n", 202, ""),
        (OLD, "", 202, ""),
        (OLD, "host: x\r\n", 202, ""),
        ("POST http://y/shop/default HTTP/1.1", "host: x\r\n", 202, ""),
        (NEW, "", 400, "bad-host"),
        (NEW, "host:\r\n", 400, "bad-host"),
        (NEW, "host: x\r\nhost: x\r\n", 400, "bad-host"),
        (OLD, "host: x\r\nHost: y\r\n", 400, "bad-host"),
        (NEW, "host: x, y\r\n", 400, "bad-host"),
        (NEW, "host: a b\r\n", 400, "bad-host"),
        (NEW, "host: http://x\r\n", 400, "bad-host"),
        (NEW, "host: user@x\r\n", 400, "bad-host"),
        (NEW, "host: x:http\r\n", 400, "bad-host"),
        (NEW, "host: 2001:db8::1\r\n", 400, "bad-host"),
        (
            "POST http://u@y/shop/default HTTP/1.1",
            "host: x\r\n",
            400,
            "bad-host",
        ),
        // A folded header line: hyper's own answer, without a body.
        (NEW, "host: x\r\n y\r\n", 400, ""),
    ];
    check(&mesh, &sink, &cases).await
}

#[tokio::test]
async fn a_body_is_framed_in_one_way() -> anyhow::Result<()> {
    let (mesh, sink) = watched(&[]).await?;
    let head =
        "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\n";
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    let cases = [
        ("one", "transfer-encoding: chunked\r\n", 202, ""),
        ("any-case", "Transfer-Encoding: CHUNKED\r\n", 202, ""),
        (
            "coded",
            "transfer-encoding: gzip, chunked\r\n",
            501,
            "unsupported-transfer-encoding",
        ),
        (
            "twice",
            "transfer-encoding: chunked, chunked\r\n",
            501,
            "unsupported-transfer-encoding",
        ),
        (
            "two-lines",
            "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
            501,
            "unsupported-transfer-encoding",
        ),
        // hyper's own answers.
        ("not-last", "transfer-encoding: chunked, gzip\r\n", 400, ""),
        ("unknown", "transfer-encoding: gzip\r\n", 400, ""),
    ];
    for (id, framing, status, expected) in cases {
        let request = format!("{head}ce-id: {id}\r\n{framing}\r\n{chunks}");
        let mut socket = Socket::connect(mesh.listen()).await?;
        socket.write(request.as_bytes()).await?;
        let answer = socket
            .answer()
            .await?
            .with_context(|| format!("no answer to {id}"))?;
        assert_eq!((answer.status, &*code(&answer)), (status, expected), "{id}");
        if status != 202 {
            assert!(
                socket.answer().await?.is_none(),
                "{id}: what follows is no request"
            );
        }
    }
    nothing_else_came(&mesh, &sink, ["one", "any-case"].map(str::to_owned).to_vec()).await
}

#[tokio::test]
async fn with_allowed_hosts_a_mesh_is_called_by_these_and_its_own_address() -> anyhow::Result<()> {
    let (mesh, sink) = watched(&["--allowed-hosts", "millrace.example,tunnel:443"]).await?;
    let own = format!("host: {}\r\n", mesh.listen());
    let cases = [
        (NEW, own.as_str(), 202, ""),
        (NEW, "host: LOCALHOST\r\n", 202, ""),
        (NEW, "host: Millrace.Example:1234\r\n", 202, ""),
        (NEW, "host: tunnel:443\r\n", 202, ""),
        (OLD, "", 202, ""),
        (NEW, "host: tunnel\r\n", 403, "foreign-host"),
        (NEW, "host: a.localhost\r\n", 403, "foreign-host"),
        (NEW, "host: evil.example\r\n", 403, "foreign-host"),
        (
            NEW,
            "host: millrace.example.evil.example\r\n",
            403,
            "foreign-host",
        ),
        (
            "POST http://evil.example/shop/default HTTP/1.1",
            own.as_str(),
            403,
            "foreign-host",
        ),
        (
            "OPTIONS /shop/default HTTP/1.1",
            "host: evil.example\r\n",
            403,
            "foreign-host",
        ),
        (
            "POST /sources/shop/forge HTTP/1.1",
            "host: evil.example\r\n",
            403,
            "foreign-host",
        ),
    ];
    check(&mesh, &sink, &cases).await
}

#[tokio::test]
async fn a_rebound_name_publishes_nothing_on_a_laptop() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("millrace-test-").tempdir()?;
    let args = ["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let args = [args.as_slice(), &["--allowed-hosts", "tunnel.example"]].concat();
    let dev = Process::start(&args, folder.path(), &folder.path().join("stderr"))?;
    let address: SocketAddr = wait_until("the greeting", || async {
        let said = dev.stdout();
        let line = said
            .iter()
            .find_map(|line| line.trim().strip_prefix("broker   http://"));
        Ok(line.and_then(|line| line.split('/').next()?.parse().ok()))
    })
    .await?;
    let line = "POST /default/default HTTP/1.1";
    let port = address.port();
    for (id, host, status) in [
        ("rebound", format!("rebound.example:{port}"), 403),
        ("rebound-80", "rebound.example".to_owned(), 403),
        ("lan", format!("192.168.0.7:{port}"), 403),
        ("below", format!("localhost.rebound.example:{port}"), 403),
        ("address", address.to_string(), 202),
        ("name", format!("localhost:{port}"), 202),
        ("subdomain", format!("mesh.localhost:{port}"), 202),
        ("docker", format!("host.docker.internal:{port}"), 202),
        ("allowed", "tunnel.example".to_owned(), 202),
    ] {
        let answer = post(address, line, id, &format!("host: {host}\r\n")).await?;
        assert_eq!(answer.status, status, "{host}: {:?}", answer.body);
        assert_eq!(
            code(&answer),
            if status == 403 { "foreign-host" } else { "" },
            "{host}"
        );
    }
    Ok(())
}
