//! What one delivery costs the client: CPU time per attempt on keep-alive connections, beside a bare hyper
//! connection that is driven by a task of its own. `cargo run --release -p millrace-delivery --example cost`.
//!
//! The sink is a thread per connection that answers without looking; only the client's thread is measured.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement, not the product"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use millrace_delivery::{Connector, ConnectorOptions, Outcome, Request};
use millrace_event::http::Outgoing;
use millrace_event::{DataForm, Event, InnerSender, ObjectName, Origin, SpecVersion};
use millrace_model::Format;

const CONNECTIONS: usize = 64;
const EACH: usize = 5_000;

fn main() {
    let address = sink();
    println!("CPU of the client's thread for each delivery, in us: user and system");
    for round in 1..=5 {
        let (bare, attempt) = (cpu(bare(address)), cpu(attempts(address)));
        println!(
            "round {round}: bare hyper {:.1} + {:.1}, attempt {:.1} + {:.1}",
            bare.0, bare.1, attempt.0, attempt.1
        );
    }
}

/// Microseconds of this thread's CPU for each delivery of the work: in the process, and in the kernel.
fn cpu(work: impl Future<Output = ()>) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = ticks();
    runtime.block_on(work);
    let after = ticks();
    let each = |ticks: u64| ticks as f64 * 10_000.0 / (CONNECTIONS * EACH) as f64;
    (each(after.0 - before.0), each(after.1 - before.1))
}

/// `utime` and `stime` of proc(5), in ticks of 10 ms.
fn ticks() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let mut fields = text
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .skip(11)
        .map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

async fn attempts(address: SocketAddr) {
    let connector = Connector::new(ConnectorOptions::default());
    let uri: http::Uri = format!("http://{address}/ship").parse().unwrap();
    let event = event();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (mut slot, uri, event) = (connector.slot(), uri.clone(), event.clone());
            tokio::spawn(async move {
                let request = Request {
                    event: &event,
                    origin: Origin::Mesh(InnerSender::trigger(&ObjectName::new("shop", "t"))),
                    outgoing: Outgoing::default(),
                    format: Format::Binary,
                    namespace: "shop",
                    wants_reply: true,
                    timeout: Duration::from_secs(30),
                    sender: None,
                };
                for _ in 0..EACH {
                    let outcome = slot.attempt(&uri, &request).await;
                    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn bare(address: SocketAddr) {
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(bare_connection(address)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn bare_connection(address: SocketAddr) {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(driver);
    let event = event();
    let body = event.data().unwrap();
    for _ in 0..EACH {
        let mut request = http::Request::post("/ship")
            .body(Full::<Bytes>::new(body.clone()))
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("host", "127.0.0.1".try_into().unwrap());
        headers.insert("prefer", "reply".try_into().unwrap());
        headers.insert("kn-namespace", "shop".try_into().unwrap());
        millrace_event::http::write_binary(&event, &Outgoing::default(), headers);
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
}

fn event() -> Event {
    Event::builder(SpecVersion::V10)
        .attribute("id", "3b1f1c4e-5d2b-4e0c-9f5e-0d8a6f1c2b3a")
        .attribute("source", "/shop/orders")
        .attribute("type", "order.paid")
        .attribute("time", "2026-11-22T20:31:00Z")
        .attribute("datacontenttype", "application/json")
        .data(DataForm::Bytes, &[b'x'; 1024])
        .build()
        .unwrap()
}

fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            tcp.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                // A request is one write of less than the buffer, so one read is one request.
                while matches!(tcp.read(&mut buffer), Ok(1..)) {
                    if tcp
                        .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}
