//! The scripted server, and what every test needs to make an attempt at it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use millrace_delivery::{Connection, Connector, ConnectorOptions, Failure, Outcome, Request};
use millrace_event::http::Outgoing;
use millrace_event::{DataForm, Event, InnerSender, ObjectName, Origin, SpecVersion};
use millrace_model::Format;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What a server does on a connection, in order. At the end of its script it closes.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one whole request and records it.
    Request,
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Writes zeros until the peer goes away.
    Flood,
    /// Holds the connection open until the peer goes away.
    Hold,
}

/// A server that plays one script for each connection it accepts.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<String>,
}

pub(crate) const OK: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// Reads a request and writes this.
pub(crate) fn answer(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Request, Step::Write(bytes.as_ref().to_vec())]
}

/// Answers each request of the connection in turn, then holds it open.
pub(crate) fn answers(all: &[&str]) -> Vec<Step> {
    all.iter().flat_map(answer).chain([Step::Hold]).collect()
}

impl Server {
    /// A server on a free port of 127.0.0.1; connections beyond the scripts are closed at once.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let (sender, requests) = mpsc::unbounded_channel();
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut scripts = scripts.into_iter();
            while let Ok((tcp, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(tcp, scripts.next().unwrap_or_default(), sender.clone()));
            }
        });
        Self {
            address,
            accepted,
            requests,
        }
    }

    /// One that answers one request with these bytes and closes.
    pub(crate) async fn once(bytes: impl AsRef<[u8]>) -> Self {
        Self::start(vec![answer(bytes)]).await
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().expect("a URL")
    }

    /// How many connections were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The next recorded request: head in lower case up to the blank line, body as it came.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.expect("a request")
    }
}

/// Plays a script on a connection.
pub(crate) async fn play(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    script: Vec<Step>,
    requests: mpsc::UnboundedSender<String>,
) {
    for step in script {
        let went_on = match step {
            Step::Request => match read_request(&mut io).await {
                Some(request) => requests.send(request).is_ok(),
                None => false,
            },
            Step::Write(bytes) => io.write_all(&bytes).await.is_ok() && io.flush().await.is_ok(),
            Step::Flood => {
                while io.write_all(&[b'0'; 4096]).await.is_ok() {}
                false
            }
            Step::Hold => {
                let mut rest = [0; 1024];
                while matches!(io.read(&mut rest).await, Ok(1..)) {}
                false
            }
        };
        if !went_on {
            return;
        }
    }
    let _ = io.shutdown().await;
}

async fn read_request(io: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if io.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let lower = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = lower
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let length: usize = length?.parse().ok()?;
    while bytes.len() < head + length {
        if io.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let line_end = lower.find("\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..line_end]).into_owned();
    Some(format!(
        "{line}{}{}",
        &lower[line_end..],
        String::from_utf8_lossy(&bytes[head..])
    ))
}

/// An event to deliver.
pub(crate) fn event() -> Event {
    Event::builder(SpecVersion::V10)
        .attribute("id", "A-1")
        .attribute("source", "/shop/orders")
        .attribute("type", "order.paid")
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, br#"{"total":7}"#)
        .build()
        .expect("a valid event")
}

/// A request as the dispatcher makes it for a subscriber.
pub(crate) fn request(event: &Event) -> Request<'_> {
    Request {
        event,
        origin: Origin::Mesh(InnerSender::trigger(&ObjectName::new("shop", "t"))),
        outgoing: Outgoing::default(),
        format: Format::Binary,
        namespace: "shop",
        wants_reply: true,
        // Long enough never to be reached; tests of timeouts say their own.
        timeout: Duration::from_secs(60),
        sender: None,
    }
}

/// A slot of a connector without special options.
pub(crate) fn slot() -> Connection {
    Connector::new(ConnectorOptions::default()).slot()
}

/// One attempt, from a fresh slot, at a server that answers these bytes and closes.
pub(crate) async fn outcome_of(bytes: impl AsRef<[u8]>) -> Outcome {
    let server = Server::once(bytes).await;
    slot().attempt(&server.url("/"), &request(&event())).await
}

/// The failure of such an attempt.
#[track_caller]
pub(crate) fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        outcome => panic!("delivered: {outcome:?}"),
    }
}

/// The status, whether the body was odd, and the body, of a delivery.
#[track_caller]
pub(crate) fn done(outcome: Outcome) -> (u16, bool, String) {
    match outcome {
        Outcome::Done {
            status,
            odd_body,
            body,
        } => {
            let body = String::from_utf8_lossy(&body).into_owned();
            (status.expect("a status"), odd_body, body)
        }
        outcome => panic!("not simply delivered: {outcome:?}"),
    }
}
