//! A served admin listener and a client that speaks plain HTTP to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use millrace_admin::{Admin, BrokerKeeper, LogFilter, NotForgotten, ReloadState, TailFeed};
use millrace_channel::embedded::Embedded;
use millrace_channel::{Channel, Logs, Ownership};
use millrace_event::{Clock, ObjectName, Timestamp};
use millrace_model::{Mesh, StatusBoard};
use millrace_serve::{Drained, Listener, ListenerMetrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A served admin listener, and the ends of what it reads.
pub(crate) struct Served {
    /// Where probes are answered.
    pub(crate) probed: SocketAddr,
    pub(crate) address: SocketAddr,
    pub(crate) mesh: watch::Sender<Arc<Mesh>>,
    pub(crate) reload: watch::Sender<ReloadState>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) logs: Logs,
    pub(crate) owned: Ownership,
    pub(crate) feed: TailFeed,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Drained>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// The time on the listener's clock, which stands still: 2025-12-17T19:33:20Z.
pub(crate) const NOW: Timestamp = Timestamp(1_766_000_000_000);

/// A log filter that takes anything but `nonsense`.
#[derive(Debug)]
struct TestLog(Mutex<String>);

impl LogFilter for TestLog {
    fn current(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn initial(&self) -> String {
        "info".to_owned()
    }

    fn set(&self, filter: &str) -> Result<(), String> {
        if filter == "nonsense" {
            return Err("it is nonsense".to_owned());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

/// Forgets `shop/old`, fails at `shop/stuck`, and never ends with `shop/slow`.
#[derive(Debug)]
struct TestKeeper;

#[async_trait::async_trait]
impl BrokerKeeper for TestKeeper {
    async fn forget(&self, broker: &ObjectName) -> Result<(), NotForgotten> {
        match broker.name() {
            "old" => Ok(()),
            "default" => Err(NotForgotten::InUse),
            "stuck" => Err(NotForgotten::Failed(
                "could not move the folder: no space".to_owned(),
            )),
            "slow" => std::future::pending().await,
            "late" => Err(NotForgotten::NotReady),
            _ => Err(NotForgotten::Unknown),
        }
    }
}

pub(crate) fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

pub(crate) async fn serve() -> Served {
    let (mesh, mesh_receiver) = watch::channel(Arc::new(Mesh::default()));
    let (reload, reload_receiver) = watch::channel(ReloadState::default());
    let (ready, ready_receiver) = watch::channel(false);
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    registry.register("millrace_test", "A test", counter.clone());
    counter.inc();
    let admin = Admin {
        mesh: mesh_receiver,
        reload: reload_receiver,
        board: Arc::default(),
        logs: Logs::default(),
        owned: Ownership::default(),
        keeper: Some(Arc::new(TestKeeper)),
        clock: Clock::manual(NOW),
        feed: TailFeed::default(),
        turns: millrace_filter::Turns::new(1),
        log_filter: Arc::new(TestLog(Mutex::new("info".to_owned()))),
        read_filter: |text| Err(format!("no filter is read here: {text}")),
        registry: Arc::new(registry),
        ready: ready_receiver,
        version: "0.0.0-test",
        allowed_hosts: vec!["allowed.example".to_owned()],
        login: None,
        max_connections: 64,
        shutdown: CancellationToken::new(),
    };
    let bind = || Listener::bind("127.0.0.1:0".parse().unwrap()).expect("a free port");
    let (listener, probes) = (bind(), bind());
    let probed = probes.address();
    tokio::spawn(admin.clone().serve_probes(probes, ListenerMetrics::default()));
    Served {
        address: listener.address(),
        probed,
        mesh,
        reload,
        ready,
        board: admin.board.clone(),
        logs: admin.logs.clone(),
        owned: admin.owned.clone(),
        feed: admin.feed.clone(),
        shutdown: admin.shutdown.clone(),
        task: tokio::spawn(admin.serve(listener, ListenerMetrics::default())),
    }
}

impl Served {
    /// Makes the channel of a broker known.
    pub(crate) fn open(&self, broker: &str, channel: &Arc<Embedded>) {
        self.logs.insert(name(broker), channel.clone());
        self.owned
            .gain([(name(broker), channel.clone() as Arc<dyn Channel>)]);
    }

    pub(crate) async fn raw(&self, request: String) -> Answer {
        self.raw_at(self.address, request).await
    }

    pub(crate) async fn raw_at(&self, address: SocketAddr, request: String) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = self.address;
        self.raw(format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub(crate) async fn change(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, "millrace-request: 1\r\n").await
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts that it is a problem of this status and code.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&json!(status), &json!(code)),
            "{self:?}"
        );
        assert!(
            problem["detail"].is_string() && problem["title"].is_string(),
            "{self:?}"
        );
    }
}
