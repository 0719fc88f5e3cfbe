//! What `send` makes of its flags, against a server that answers as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SendArgs,
}

fn args(line: &[&str]) -> SendArgs {
    Line::try_parse_from([&["send"], line].concat())
        .unwrap_or_else(|error| panic!("{error}"))
        .args
}

/// The URL that the flags say, without a broker.
fn base(line: &[&str]) -> http::Uri {
    let reached = Reach::default().ingress(args(line).url.as_deref());
    reached.expect("a URL").base
}

/// Answers the n-th connection with the n-th answer, the last one for ever; counts connections.
async fn server(answers: &'static [&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(answers[n.min(answers.len() - 1)].as_bytes())
                .await;
        }
    });
    (address, count)
}

async fn sent(answers: &'static [&'static str], more: &[&str]) -> (Exit, usize) {
    let (address, count) = server(answers).await;
    let url = format!("http://{address}");
    let line = [&["--type", "a", "--url", &url], more].concat();
    let exit = send(args(&line), Reach::default(), Output::Json)
        .await
        .expect("an answer or none");
    (exit, count.load(Ordering::SeqCst))
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 20\r\n\r\n{\"detail\":\"it hurts\"}";

#[tokio::test]
async fn the_exit_code_says_what_the_answer_means() {
    assert_eq!(sent(&[ACCEPTED], &[]).await, (Exit::Ok, 1));
    assert_eq!(sent(&[BAD], &["--retry", "3"]).await, (Exit::Failed, 1));
    assert_eq!(sent(&[BUSY], &[]).await, (Exit::Failed, 1));
    assert_eq!(
        sent(&[""], &["--retry", "3"]).await,
        (Exit::Unreachable, 1),
        "what may have been stored is not sent again"
    );
    assert_eq!(
        sent(&[ACCEPTED], &["--ext", "Not-A-Name=1"]).await,
        (Exit::Usage, 0)
    );
}

#[tokio::test]
async fn a_busy_broker_is_asked_again_as_often_as_was_said() {
    assert_eq!(sent(&[BUSY, ACCEPTED], &["--retry", "2"]).await, (Exit::Ok, 2));
    assert_eq!(sent(&[BUSY], &["--retry", "1"]).await, (Exit::Failed, 2));
}

#[tokio::test]
async fn where_nobody_listens_the_exit_code_says_so() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let exit = send(
        args(&["--type", "a", "--url", &format!("http://{free}")]),
        Reach::default(),
        Output::Table,
    )
    .await;
    assert_eq!(exit.expect("no answer"), Exit::Unreachable);
}

#[test]
fn a_url_with_a_path_is_the_address_of_a_broker() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "http://127.0.0.1:8080/default/default"),
        (&["--broker", "shop/b"], "http://127.0.0.1:8080/shop/b"),
        (&["--url", "http://a:1/"], "http://a:1/default/default"),
        (&["--url", "http://a:1/shop/b"], "http://a:1/shop/b"),
        (
            &["--url", "http://a:1/below", "--broker", "shop/b"],
            "http://a:1/below/shop/b",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(
            address(&args(line), base(line)).expect("an address").to_string(),
            *expected,
            "{line:?}"
        );
    }
}

#[test]
fn an_event_from_flags_is_written_in_each_mode() {
    let flags = [
        "--type",
        "order.paid",
        "--source",
        "/shop",
        "--id",
        "7",
        "--subject",
        "s",
        "--data",
        "{\"a\":1}",
        "--ext",
        "colour=red",
    ];
    let binary = Message::new(&args(&flags)).expect("an event");
    assert_eq!(binary.headers["ce-type"], "order.paid");
    assert_eq!(binary.headers["ce-colour"], "red");
    assert_eq!(binary.headers["content-type"], "application/json");
    assert_eq!(
        (&binary.body[..], &binary.ids[..]),
        (&b"{\"a\":1}"[..], &["7".to_owned()][..])
    );
    for (mode, media_type) in [
        ("structured", "application/cloudevents+json"),
        ("batch", "application/cloudevents-batch+json"),
    ] {
        let message = Message::new(&args(&[&flags[..], &["--mode", mode]].concat())).expect("an event");
        let value: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
        let event = if mode == "batch" { &value[0] } else { &value };
        assert_eq!(
            (&event["type"], &event["data"]["a"], &event["colour"]),
            (&"order.paid".into(), &1.into(), &"red".into())
        );
        assert!(
            message.headers["content-type"]
                .to_str()
                .is_ok_and(|value| value.starts_with(media_type))
        );
    }
    let generated = [
        Message::new(&args(&["--type", "a"])),
        Message::new(&args(&["--type", "a"])),
    ]
    .map(|m| m.expect("an event").ids);
    assert_ne!(generated[0], generated[1]);
}

#[test]
fn data_may_begin_with_a_hyphen_or_be_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data.json");
    std::fs::write(&path, "{\"a\": 1}\n").expect("written");
    let file = format!("@{}", path.display());
    let of = |data: &str| Message::new(&args(&["--type", "a", "--data", data])).map(|message| message.body);
    assert_eq!(of("-5").expect("an event"), "-5");
    assert_eq!(of("--").expect("an event"), "--");
    assert_eq!(of(&file).expect("an event"), "{\"a\": 1}\n");
    for missing in ["@", "@/no/such/file"] {
        let error = crate::reasons::reasons(&of(missing).expect_err("no file"));
        assert!(error.starts_with(&format!("--data {missing}: ")), "{error}");
    }
}

#[test]
fn an_event_from_a_file_goes_out_as_it_is_unless_another_mode_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("event.json");
    let one = r#" {"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"x" : 1}}"#;
    let file = path.to_str().expect("a path");
    std::fs::write(&path, one).expect("written");
    let message = Message::new(&args(&[file])).expect("an event");
    assert_eq!(
        (&message.body[..], &message.ids[..]),
        (one.as_bytes(), &["1".to_owned()][..])
    );
    let binary = Message::new(&args(&[file, "--mode", "binary"])).expect("an event");
    assert_eq!(
        (&binary.body[..], &binary.headers["ce-id"]),
        (&br#"{"x" : 1}"#[..], &http::HeaderValue::from_static("1"))
    );
    let batch = Message::new(&args(&[file, "--mode", "batch"])).expect("an event");
    assert_eq!(batch.body, format!("[{one}]"));
    std::fs::write(&path, format!("[{one},{one}]")).expect("written");
    assert_eq!(Message::new(&args(&[file])).expect("a batch").ids.len(), 2);
    assert!(Message::new(&args(&[file, "--mode", "binary"])).is_err());
    std::fs::write(&path, "<event/>").expect("written");
    assert!(Message::new(&args(&[file])).is_err());
}
