//! The subscriber: a server that records every request and answers as it was told, path by path.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::{Event, wait_until};

/// A recording subscriber. Dropping it closes it.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    state: Arc<State>,
    serving: Mutex<Option<AbortHandle>>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When it had arrived.
    pub at: Instant,
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
    gate: Option<Gate>,
    delay: Duration,
    closes: bool,
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

type Script = Box<dyn FnMut(&Received, usize) -> Answer + Send>;

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    scripts: Mutex<HashMap<String, (usize, Script)>>,
}

// === impl Sink ===

impl Sink {
    /// A subscriber on a free port of this machine that answers 200 to everything.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST).await
    }

    /// The same, on a free port of that address.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_on(address: Ipv4Addr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let sink = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
            serving: Mutex::default(),
        };
        sink.serve(listener);
        Ok(sink)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers requests to `path` with these, in order; the last one stays.
    pub fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers: Vec<Answer> = answers.into_iter().collect();
        self.decide(path, move |_, nth| {
            answers
                .get(nth)
                .or(answers.last())
                .cloned()
                .unwrap_or_else(Answer::ok)
        });
    }

    /// Answers requests to `path` as `decide` says; it gets the request and how many came before it.
    pub fn decide(&self, path: &str, decide: impl FnMut(&Received, usize) -> Answer + Send + 'static) {
        self.state
            .scripts
            .lock()
            .insert(path.to_owned(), (0, Box::new(decide)));
    }

    /// Everything that came to `path` so far, in order of arrival.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.state
            .received
            .lock()
            .iter()
            .filter(|received| received.path == path)
            .cloned()
            .collect()
    }

    /// The ids of the events that came to `path` so far, in order of arrival, repeats and all.
    pub fn ids(&self, path: &str) -> Vec<String> {
        self.received(path)
            .iter()
            .map(|received| received.event().id().to_owned())
            .collect()
    }

    /// How many requests came to `path` so far.
    pub fn count(&self, path: &str) -> usize {
        self.state
            .received
            .lock()
            .iter()
            .filter(|received| received.path == path)
            .count()
    }

    /// Waits until at least `count` requests came to `path`; gives all of them.
    ///
    /// # Errors
    /// When fewer come before the deadline.
    pub async fn wait_for(&self, path: &str, count: usize) -> anyhow::Result<Vec<Received>> {
        let what = format!("{count} requests at {path}");
        let waited = wait_until(&what, || async {
            Ok(Some(()).filter(|()| self.count(path) >= count))
        });
        waited
            .await
            .with_context(|| format!("{} came", self.count(path)))?;
        Ok(self.received(path))
    }

    /// Waits until each of these ids has come to a path; repeats and others may have come too.
    ///
    /// # Errors
    /// When they have not before the deadline.
    pub async fn until_all(&self, path: &str, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
        wait_until("every event to arrive", || async {
            let found: BTreeSet<String> = self.ids(path).into_iter().collect();
            let missing: Vec<_> = wanted.difference(&found).collect();
            let (count, some) = (missing.len(), &missing[..missing.len().min(5)]);
            ensure!(count == 0, "{count} of {} are missing: {some:?}", wanted.len());
            Ok(Some(()))
        })
        .await
    }

    /// Takes everything that came to `path` so far out of the record.
    pub fn take(&self, path: &str) -> Vec<Received> {
        let mut received = self.state.received.lock();
        let (taken, kept) = std::mem::take(&mut *received)
            .into_iter()
            .partition(|received| received.path == path);
        *received = kept;
        taken
    }

    /// Goes away: no listener, every connection cut.
    pub fn down(&self) {
        if let Some(serving) = self.serving.lock().take() {
            serving.abort();
        }
    }

    /// Comes back on the same port.
    ///
    /// # Errors
    /// When somebody else has the port now.
    pub async fn up(&self) -> anyhow::Result<()> {
        self.down();
        let listener = wait_until("the port", || async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(self.address)?;
            Ok(Some(socket.listen(1024)?))
        });
        self.serve(listener.await?);
        Ok(())
    }

    fn serve(&self, listener: TcpListener) {
        let serving = tokio::spawn(accept(listener, self.state.clone()));
        *self.serving.lock() = Some(serving.abort_handle());
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.down();
    }
}

/// Accepts until it is aborted; the connections end with it.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(|request| state.serve(request));
            // A sender that goes away is no failure of the sink.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

// === impl State ===

impl State {
    async fn serve(&self, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let received = Received {
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
            at: Instant::now(),
        };
        let answer = self.decide(&received);
        self.received.lock().push(received);
        if let Some(gate) = &answer.gate {
            gate.passed().await;
        }
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        anyhow::ensure!(!answer.closes, "told to close");
        let mut response = Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name.as_str(), http::HeaderValue::from_bytes(value.as_bytes())?);
        }
        Ok(response.body(Full::new(answer.body))?)
    }

    fn decide(&self, received: &Received) -> Answer {
        match self.scripts.lock().get_mut(&received.path) {
            None => Answer::ok(),
            Some((nth, script)) => {
                *nth += 1;
                script(received, *nth - 1)
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("received", &self.received.lock().len())
            .finish_non_exhaustive()
    }
}

// === impl Received ===

impl Received {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The event, read as binary mode.
    pub fn event(&self) -> Event {
        Event::from_binary(&self.headers, &self.body)
    }
}

// === impl Answer ===

impl Answer {
    /// 200 without a body.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            gate: None,
            delay: Duration::ZERO,
            closes: false,
        }
    }

    /// No answer: the connection is closed once the request has arrived.
    pub fn close() -> Self {
        Self {
            closes: true,
            ..Self::ok()
        }
    }

    /// 200 with an event in binary mode.
    pub fn reply(event: &Event) -> Self {
        let message = event.binary();
        Self {
            headers: message.headers,
            body: message.body,
            ..Self::ok()
        }
    }

    /// The same with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same, but only once the gate is open.
    #[must_use]
    pub fn after(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The same, but from a subscriber that takes so long for it.
    #[must_use]
    pub fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

// === impl Gate ===

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens it for everybody who waits and for everybody who comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // The sender lives in the gate itself, so this cannot fail while somebody waits.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
