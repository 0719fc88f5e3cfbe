//! A mesh of two brokers (one of which is not ready) over a channel in memory, and raw HTTP to talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_broker::{
    Admission, AdmissionParts, Ingress, IngressConfig, IngressMetrics, IngressParts, Limits,
};
use millrace_channel::{
    AppendError, ChannelError, Class, Ends, Guarantees, Log, Logs, Position, Reader, Record,
};
use millrace_event::{Event, ObjectName, Timestamp};
use millrace_filter::Turns;
use millrace_model::{Broker, Mesh, OnFull, Retention};
use millrace_serve::{BodyBudget, Drained, Listener, ListenerMetrics, Part};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A channel that keeps what is appended in memory, fails when told to, and knows nothing else.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) appended: Mutex<Vec<(Event, Class)>>,
    pub(crate) appends: Mutex<usize>,
    pub(crate) failing: Mutex<Option<AppendError>>,
    /// What is wrong, as far as it tells.
    pub(crate) fault: Mutex<Option<String>>,
    /// Whether it says that it stores batches all or none.
    pub(crate) atomic: Mutex<bool>,
    /// Appends wait for a permit each; closed: they do not wait.
    pub(crate) gate: Semaphore,
    /// Gets a permit when an append has begun.
    pub(crate) begun: Semaphore,
}

/// A running ingress and what is behind it.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) admission: Arc<Admission>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) mesh: watch::Sender<Arc<Mesh>>,
    pub(crate) registry: Registry,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Drained>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        let gate = Semaphore::new(0);
        gate.close();
        Arc::new(Self {
            appended: Mutex::default(),
            appends: Mutex::default(),
            failing: Mutex::default(),
            fault: Mutex::default(),
            atomic: Mutex::new(true),
            gate,
            begun: Semaphore::new(0),
        })
    }

    /// The same, but every append waits for a permit of `gate`.
    pub(crate) fn gated() -> Arc<Self> {
        Arc::new(Self {
            appended: Mutex::default(),
            appends: Mutex::default(),
            failing: Mutex::default(),
            fault: Mutex::default(),
            atomic: Mutex::new(true),
            gate: Semaphore::new(0),
            begun: Semaphore::new(0),
        })
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.appended
            .lock()
            .iter()
            .map(|(event, _)| event.clone())
            .collect()
    }
}

#[async_trait::async_trait]
impl Log for Memory {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            atomic_batch: *self.atomic.lock(),
            atomic_commit: true,
            ordered: true,
        }
    }
    async fn append(&self, events: Vec<Event>, class: Class) -> Result<(), AppendError> {
        self.begun.add_permits(1);
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        if let Some(error) = self.failing.lock().clone() {
            return Err(error);
        }
        *self.appends.lock() += 1;
        self.appended
            .lock()
            .extend(events.into_iter().map(|event| (event, class)));
        Ok(())
    }
    fn ends(&self) -> Vec<Ends> {
        Vec::new()
    }
    fn reader(&self, _: Position) -> Box<dyn Reader> {
        panic!("nobody reads here")
    }
    async fn get_many(&self, at: &[Position]) -> Result<Vec<Option<Record>>, ChannelError> {
        Ok(vec![None; at.len()])
    }
    async fn position_at(&self, _: u32, _: Timestamp) -> Result<Position, ChannelError> {
        Ok(Position::default())
    }
    fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }
}

/// `shop/default`, whose channel is open, and `shop/unready`, whose is not.
pub(crate) fn mesh() -> Arc<Mesh> {
    let brokers = ["shop/default", "shop/unready"].map(|name| {
        let name: ObjectName = name.parse().unwrap();
        let broker = Broker {
            name: name.clone(),
            uid: None,
            backend: millrace_model::Backend::Embedded,
            retention: Retention::default(),
            backlog_bytes: None,
            on_full: OnFull::Refuse,
        };
        (name, Arc::new(broker))
    });
    Arc::new(Mesh {
        revision: 1,
        brokers: brokers.into_iter().collect(),
        ..Mesh::default()
    })
}

pub(crate) fn admission(memory: &Arc<Memory>) -> (Arc<Admission>, watch::Sender<Arc<Mesh>>, Registry) {
    let (parts, sender, registry) = parts(memory);
    let admission = Admission::new(parts);
    (Arc::new(admission), sender, registry)
}

/// What an admission that asks nobody who they are is made of.
pub(crate) fn parts(memory: &Arc<Memory>) -> (AdmissionParts, watch::Sender<Arc<Mesh>>, Registry) {
    let (sender, receiver) = watch::channel(mesh());
    let logs = Logs::default();
    logs.insert("shop/default".parse().unwrap(), memory.clone());
    let mut registry = Registry::default();
    let parts = AdmissionParts {
        gate: None,
        turns: Turns::new(1),
        mesh: receiver,
        logs,
        limits: Limits::default(),
        turned_away: None,
        metrics: IngressMetrics::new(&mut registry),
    };
    (parts, sender, registry)
}

pub(crate) fn start(memory: Arc<Memory>) -> Served {
    start_with(memory, |_| {})
}

pub(crate) fn start_with(memory: Arc<Memory>, change: impl FnOnce(&mut IngressConfig)) -> Served {
    let (admission, mesh, registry) = admission(&memory);
    let mut config = IngressConfig::default();
    change(&mut config);
    // The least that a part may have: two of the largest batch.
    let bodies = BodyBudget::new(Part::new(0, admission.limits().largest_body()));
    let metrics = ListenerMetrics::default();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let ingress = Ingress::build(
        &config,
        IngressParts {
            listener,
            admission: admission.clone(),
            webhooks: None,
            bodies,
            gate: None,
            metrics,
        },
    );
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(ingress.run(shutdown.clone()));
    Served {
        address,
        admission,
        memory,
        mesh,
        registry,
        shutdown,
        task,
    }
}

// === impl Served ===

impl Served {
    /// Sends bytes on a connection of its own and reads one answer.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        answer(&mut stream).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

/// Reads one answer, by its Content-Length.
pub(crate) async fn answer(stream: &mut TcpStream) -> Answer {
    let read = tokio::time::timeout(Duration::from_secs(60), read(stream)).await;
    read.expect("an answer within a minute")
}

async fn read(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await;
        head.push(byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&head))));
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let status = head[9..12].parse().unwrap();
    Answer {
        status,
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

/// A request with a body and its length.
pub(crate) fn request(line: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut text = format!("{line} HTTP/1.1\r\nhost: x\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut request = text.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The headers of a good binary event.
pub(crate) const BINARY: [&str; 5] = [
    "ce-specversion: 1.0",
    "ce-id: 1",
    "ce-source: /shop/orders",
    "ce-type: order.paid",
    "content-type: application/octet-stream",
];

pub(crate) const POST: &str = "POST /shop/default";
pub(crate) const STRUCTURED: &str = "content-type: application/cloudevents+json; charset=utf-8";
pub(crate) const BATCH: &str = "content-type: application/cloudevents-batch+json";

/// Asserts that the answer is a complete problem with that code.
pub(crate) fn problem(answer: &Answer, status: u16, code: &str) -> serde_json::Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(
        answer
            .head
            .contains("\r\ncontent-type: application/problem+json\r\n"),
        "{answer:?}"
    );
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(
        body["type"],
        format!("https://millrace.dev/errors/{code}"),
        "{body}"
    );
    assert!(
        body["title"].is_string() && !body["detail"].as_str().unwrap().is_empty(),
        "{body}"
    );
    body
}

pub(crate) fn structured(id: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{rest}}}"#)
}
