//! An HTTP client with one connection that it keeps, so that a suite decides how many connections there are.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use crate::event::Message;
use crate::within;

/// One connection at a time; opened when first needed, and again when the server has closed it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    /// The local address, which the server sees; chosen by the system if unset.
    peer: Option<IpAddr>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

// === impl Client ===

impl Client {
    /// A client of the server at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            peer: None,
            connection: None,
        }
    }

    /// The same client, seen by the server as this peer; it must be an address of this machine.
    #[must_use]
    pub fn of_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Closes the connection; the next request opens another one.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Posts a message.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&mut self, path: &str, message: &Message) -> anyhow::Result<Answered> {
        self.send(&Method::POST, path, message).await
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the server cannot be reached, closes the connection without an answer, or does not answer before
    /// the deadline.
    pub async fn send(&mut self, method: &Method, path: &str, message: &Message) -> anyhow::Result<Answered> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string());
        for (name, value) in &message.headers {
            request = request.header(name.as_str(), http::HeaderValue::from_bytes(value.as_bytes())?);
        }
        let request = request.body(Full::new(message.body.clone()))?;
        let connection = self.connected().await?;
        let outcome = within("an answer", async {
            let (head, body) = connection.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answered {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        });
        let outcome = outcome.await.with_context(|| format!("{method} {path}"));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let is_usable = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            let stream = connect(self.address, self.peer).await?;
            let (sender, driver) = handshake(TokioIo::new(stream)).await?;
            // Ends when the connection does; what went wrong is seen by the request.
            tokio::spawn(driver);
            self.connection = Some(sender);
        }
        self.connection.as_mut().context("invariant: just connected")
    }
}

/// Connects to a server from `peer`, or from the address that the system chooses.
///
/// # Errors
/// When there is no connection before the deadline.
pub(crate) async fn connect(address: SocketAddr, peer: Option<IpAddr>) -> anyhow::Result<TcpStream> {
    let connected = async {
        let socket = TcpSocket::new_v4()?;
        if let Some(peer) = peer {
            socket.bind((peer, 0).into())?;
        }
        socket.connect(address).await
    };
    let stream = within("a connection", connected).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Answered ===

impl Answered {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "{}: not JSON: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// The stable code of a problem+json answer.
    ///
    /// # Errors
    /// When it is none, or lacks what every problem of Millrace has.
    pub fn code(&self) -> anyhow::Result<String> {
        let content_type = self.header("content-type").unwrap_or_default();
        anyhow::ensure!(
            content_type.starts_with("application/problem+json"),
            "content type {content_type:?}"
        );
        let problem = self.json()?;
        anyhow::ensure!(
            problem["status"] == self.status,
            "status {} in {problem}",
            self.status
        );
        anyhow::ensure!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "no detail in {problem}"
        );
        problem["code"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no code in {problem}"))
    }
}
