//! Promise: events can be watched as they happen, filtered, and the mesh never waits for a watcher.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::process::Process;
use millrace_tests::{Answer, Event, Mesh, Sink, redacted, wait_until, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `millrace tail` at work; it has begun when this returns.
async fn tail(mesh: &Mesh, args: &[&str]) -> anyhow::Result<Process> {
    let admin = format!("http://{}", mesh.admin().address());
    let all = [&["tail", "--output", "json", "--admin", &admin], args].concat();
    let folder = mesh.setup().folder();
    let mut process = Process::start(&all, folder, &folder.join("tail-stderr"))?;
    let first: Value = serde_json::from_str(&process.first_line().await?)?;
    anyhow::ensure!(first["kind"] == "following", "{first}");
    Ok(process)
}

/// Waits until it has said so many lines; gives them, without the first.
async fn said(tail: &Process, lines: usize) -> anyhow::Result<Vec<Value>> {
    wait_until(&format!("{lines} lines"), || async {
        let all = tail.stdout();
        anyhow::ensure!(all.len() > lines, "{all:?}");
        let parsed: Result<Vec<Value>, _> = all[1..].iter().map(|line| serde_json::from_str(line)).collect();
        Ok(Some(parsed?))
    })
    .await
}

async fn shipping(sink: &Sink) -> anyhow::Result<Mesh> {
    let ship = Trigger::new("ship", &sink.url("/ship"))
        .attributes("{type: order.paid}")
        .delivery("{retry: 1, backoffDelay: PT0.01S}");
    Mesh::start(Documents::broker().trigger(&ship).text()).await
}

#[tokio::test]
async fn each_event_and_each_outcome_is_a_line() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(503), Answer::status(202)]);
    let mesh = shipping(&sink).await?;
    let tail = tail(&mesh, &[]).await?;
    let (paid, other) = (Event::new("1", "order.paid"), Event::new("2", "other"));
    mesh.send("shop/default", std::slice::from_ref(&paid)).await?;
    let lines = said(&tail, 3).await?;
    assert_eq!(
        lines[0],
        json!({"kind": "event", "broker": "shop/default", "position": "0", "event": paid.json(), "triggers": ["shop/ship"]})
    );
    let outcomes: Vec<_> = lines[1..]
        .iter()
        .map(|line| (&line["kind"], &line["outcome"], &line["said"], &line["attempt"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (
                &json!("outcome"),
                &json!("failed"),
                &json!("503 Service Unavailable"),
                &json!(1)
            ),
            (&json!("outcome"), &json!("delivered"), &json!("202"), &json!(2)),
        ]
    );
    mesh.send("shop/default", &[other]).await?;
    assert_eq!(said(&tail, 4).await?[3]["triggers"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_filter_and_a_broker_leave_the_rest_out() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("ship", &sink.url("/ship")));
    let mesh = Mesh::start(documents.text()).await?;
    let by_prefix = tail(
        &mesh,
        &[
            "--filter",
            "type=order.*",
            "--filter",
            "{exact: {source: /tests}}",
        ],
    )
    .await?;
    let by_broker = tail(&mesh, &["--broker", "shop/other"]).await?;
    let (a, b) = (Event::new("a", "order.paid"), Event::new("b", "other"));
    mesh.send("shop/default", &[b.clone(), a.clone().with("source", "/else"), a])
        .await?;
    mesh.send("shop/other", &[b]).await?;
    let ids = |lines: &[Value]| {
        lines
            .iter()
            .map(|line| line["event"]["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&said(&by_prefix, 2).await?), ["a", "a"]);
    let lines = said(&by_broker, 1).await?;
    assert_eq!(
        (ids(&lines), &lines[0]["broker"]),
        (vec![json!("b")], &json!("shop/other"))
    );
    assert!(
        said(&by_prefix, 2)
            .await?
            .iter()
            .all(|line| line["event"]["source"] == "/tests")
    );

    for (query, code) in [
        ("?filter=%7Bexakt:%20%7Btype:%20a%7D%7D", "bad-filter"),
        ("?broker=shop", "bad-query"),
        ("?what=x", "bad-query"),
    ] {
        let answer = mesh
            .admin()
            .ask(&http::Method::GET, &format!("/api/v1/tail{query}"))
            .await?;
        assert_eq!((answer.status, answer.code()?), (400, code.to_owned()), "{query}");
    }
    let args = ["tail", "--broker", "shop/none"];
    assert_eq!(mesh.millrace(&args).await?.status.code(), Some(1));
    Ok(())
}

/// Asks for the tail on a connection of its own and reads nothing yet.
async fn raw_tail(mesh: &Mesh) -> anyhow::Result<TcpStream> {
    let address = mesh.admin().address();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /api/v1/tail?whole=true HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut begin = [0; 12];
    within("the answer", stream.read_exact(&mut begin)).await?;
    // From here on it follows.
    anyhow::ensure!(&begin == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&begin));
    Ok(stream)
}

#[tokio::test]
async fn who_does_not_read_misses_lines_and_holds_up_nobody() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = shipping(&sink).await?;
    let mut silent = raw_tail(&mesh).await?;
    // More than the sockets' buffers and the ring hold together. They are few, since each is synced: whoever
    // has not read for 30 seconds is cut off.
    let large = vec![b'x'; 900 << 10];
    let events: Vec<Event> = (0..40)
        .map(|n| Event::new(&n.to_string(), "order.paid").data("text/plain", large.clone()))
        .collect();
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/ship", events.len()).await?;
    mesh.until_settled().await?;
    // Only now it reads: what was pushed out is counted.
    let missed = wait_for_missed(&mut silent).await?;
    assert!(missed > 0);
    Ok(())
}

/// Reads until a line says how many were missed.
async fn wait_for_missed(stream: &mut TcpStream) -> anyhow::Result<u64> {
    let mut rest = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = within("more of the tail", stream.read(&mut buffer)).await?;
        anyhow::ensure!(read > 0, "the tail ended");
        rest.extend_from_slice(&buffer[..read]);
        let mut begin = 0;
        while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
            // Between the lines stand the lengths of chunks, which are no JSON of ours.
            if let Ok(line) = serde_json::from_slice::<Value>(&rest[begin..begin + length])
                && line["kind"] == "missed"
            {
                return Ok(line["lines"].as_u64().unwrap_or_default());
            }
            begin += length + 1;
        }
        rest.drain(..begin);
    }
}

#[tokio::test]
async fn as_many_may_follow_as_are_bounded_and_a_stop_ends_them() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = shipping(&sink).await?;
    let mut followers = Vec::new();
    for _ in 0..16 {
        followers.push(raw_tail(&mesh).await?);
    }
    let answer = mesh.admin().ask(&http::Method::GET, "/api/v1/tail").await?;
    assert_eq!(
        (answer.status, answer.code()?),
        (503, "too-many-followers".to_owned())
    );
    // One goes, and its place is free as soon as that is noticed.
    followers.pop();
    let _again = wait_until("a free place", || async { Ok(Some(raw_tail(&mesh).await?)) }).await?;
    assert!(mesh.stop().await?.success(), "followers do not hold up the end");
    Ok(())
}

#[tokio::test]
async fn people_get_a_line_in_words() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = shipping(&sink).await?;
    let admin = format!("http://{}", mesh.admin().address());
    let folder = mesh.setup().folder();
    let tail = Process::start(&["tail", "--admin", &admin], folder, &folder.join("tail-stderr"))?;
    wait_until("the tail", || async {
        Ok(Some(()).filter(|()| tail.stderr().contains("Following")))
    })
    .await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    let lines = wait_until("two lines", || async {
        Ok(Some(tail.stdout()).filter(|lines| lines.len() == 2))
    })
    .await?;
    assert_eq!(
        redacted(&lines[0]),
        "event order.paid id 1 of /tests in shop/default: shop/ship"
    );
    let outcome = redacted(&lines[1]);
    let begins = "delivered order.paid id 1 for shop/ship: 200 from http://HOST/ship in ";
    assert!(outcome.starts_with(begins), "{outcome}");
    Ok(())
}

/// Data as people write it: in many lines, and with JSON that few programs can read.
const ODD: &str = "{\r\n  \"n\" : 1e400,\n\t\"half\": \"a  b\\n\\ud800\",\n  \"big\": 123456789012345678901234567890, \"p\": 1.10\n}\n";
/// The same in one line, with every token as it was.
const ONE_LINE: &str = r#"{"n":1e400,"half":"a  b\n\ud800","big":123456789012345678901234567890,"p":1.10}"#;

/// A mesh that has parked an event with that data, and one that came in a structured event.
async fn odd_data() -> anyhow::Result<(Mesh, Sink)> {
    let sink = Sink::start().await?;
    sink.answer("/ship", [Answer::status(400)]);
    let ship = Trigger::new("ship", &sink.url("/ship")).delivery("{retry: 0}");
    let mesh = Mesh::start(Documents::broker().trigger(&ship).text()).await?;
    Ok((mesh, sink))
}

async fn send_odd(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.send(
        "shop/default",
        &[Event::new("binary", "odd").data("application/json", ODD)],
    )
    .await?;
    let mut structured = Event::new("x", "x").structured();
    let head = r#"{"specversion": "1.0", "id": "structured", "source": "/tests", "type": "odd", "data": "#;
    structured.body = format!("{head}{ODD}}}").into();
    assert_eq!(mesh.post("shop/default", &structured).await?.status, 202);
    Ok(())
}

#[tokio::test]
async fn a_line_is_one_document_whatever_newlines_and_numbers_the_data_has() -> anyhow::Result<()> {
    let (mesh, _sink) = odd_data().await?;
    let tail = tail(&mesh, &[]).await?;
    send_odd(&mesh).await?;
    mesh.admin().until_parked(2).await?;
    // Two events and two outcomes; each line holds one of them completely.
    wait_until("four lines", || async {
        Ok((tail.stdout().len() > 4).then_some(()))
    })
    .await?;
    let answer = mesh
        .admin()
        .ask(&http::Method::GET, "/api/v1/events?broker=shop/default")
        .await?;
    let events = String::from_utf8(answer.body.to_vec())?;
    let told = tail.stdout();
    assert_eq!((told.len(), events.lines().count()), (5, 3), "{told:?} {events}");
    let of_events = events.lines().take(2).map(str::to_owned);
    for line in told[1..].iter().cloned().chain(of_events) {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        assert!(line.contains(&format!("\"data\":{ONE_LINE}")), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_parked_event_and_a_dry_run_show_data_as_it_is_written() -> anyhow::Result<()> {
    let (mesh, _sink) = odd_data().await?;
    send_odd(&mesh).await?;
    for parked in mesh.admin().until_parked(2).await? {
        let id = parked["id"].as_str().unwrap_or_default();
        let table = mesh.millrace(&["parked", "show", id]).await?;
        let table = String::from_utf8(table.stdout)?;
        for shown in ["1e400", r"a  b\n\ud800", "123456789012345678901234567890", "1.10"] {
            assert!(table.contains(shown), "{shown} in {table}");
        }
        let json = mesh.millrace(&["parked", "show", id, "--output", "json"]).await?;
        assert!(json.status.success(), "{json:?}");
        let json = String::from_utf8(json.stdout)?;
        let tokens: String = json.lines().map(str::trim).collect();
        assert!(tokens.replace("\": ", "\":").contains(ONE_LINE), "{json}");
    }
    let file = mesh.setup().folder().join("new.yaml");
    let new = Trigger::new("new", "http://127.0.0.1:9/")
        .filters("[{jsonpath: {$.big: 123456789012345678901234567890}}]");
    std::fs::write(&file, Documents::default().trigger(&new).text())?;
    let file = file.to_string_lossy().into_owned();
    let output = mesh
        .millrace(&["explain", "--trigger", &file, "--over", "1h", "--output", "json"])
        .await?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&said["events"], &said["matched"]),
        (&json!(2), &json!(2)),
        "{said}"
    );
    assert_eq!(
        said["matches"][0]["because"],
        json!("$.big is 123456789012345678901234567890")
    );
    let args = ["explain", "--broker", "shop/default", "--id", "structured"];
    let output = mesh.millrace(&args).await?;
    assert!(output.status.success(), "{output:?}");
    let output = mesh
        .millrace(&[&args[..], &["--output", "json"]].concat())
        .await?;
    let json = String::from_utf8(output.stdout)?;
    assert!(json.contains("1e400"), "{json}");
    Ok(())
}
