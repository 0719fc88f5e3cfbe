//! The load: so many connections, each with one request under way at any time, made before and only numbered
//! while it runs.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aws_lc_rs::hmac;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::{JoinSet, LocalSet};

use crate::brokers::BUSY;
use crate::caller::Caller;

/// Connections of the load, and so requests under way.
const CONNECTIONS: usize = 64;

/// Bytes of an event's data.
const DATA: usize = 1024;

/// Digits of an event's id.
const ID: &str = "000000000000";

/// What ends the load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After so long.
    Time(Duration),
    /// When so many were accepted (and those that were under way then).
    Count(u64),
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An event in binary mode, to the Broker `bench/default`.
    Event,
    /// The same, each connection to a Broker of its own, one of the busy ones of `brokers`.
    EventToMany,
    /// The same as `Event`, with each connection coming from a peer of its own: an address of this machine.
    EventOfMany,
    /// A push as GitHub calls with it, signed with [`SECRET`], to the source `bench/github`. Its data is as
    /// large.
    Push,
}

/// The secret that calls are signed with.
pub(crate) const SECRET: &str = "the secret of the benchmark";

/// What became of the load.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Requests answered with 202.
    pub(crate) accepted: u64,
    /// Requests answered with 503.
    pub(crate) refused: u64,
    /// How long each accepted request took, in microseconds, in order of size.
    pub(crate) micros: Vec<u32>,
    /// How long it all took.
    pub(crate) took: Duration,
}

/// What the connections share. They run on one thread.
struct Shared {
    address: SocketAddr,
    caller: Caller,
    shape: Shape,
    until: Until,
    began: Instant,
    next: Cell<u64>,
    accepted: Cell<u64>,
}

/// Posts what `shape` says, numbered from `first`, to `address`.
pub(crate) fn run(address: SocketAddr, shape: Shape, until: Until, first: u64) -> anyhow::Result<Loaded> {
    run_as(Caller::default(), address, shape, until, first)
}

/// The same by that caller.
pub(crate) fn run_as(
    caller: Caller,
    address: SocketAddr,
    shape: Shape,
    until: Until,
    first: u64,
) -> anyhow::Result<Loaded> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, all(caller, address, shape, until, first))
}

async fn all(
    caller: Caller,
    address: SocketAddr,
    shape: Shape,
    until: Until,
    first: u64,
) -> anyhow::Result<Loaded> {
    let began = Instant::now();
    let shared = Rc::new(Shared {
        address,
        caller,
        shape,
        until,
        began,
        next: Cell::new(first),
        accepted: Cell::new(0),
    });
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        connections.spawn_local(one(shared.clone(), number));
    }
    let mut loaded = Loaded::default();
    while let Some(part) = connections.join_next().await {
        let part = part??;
        loaded.accepted += part.accepted;
        loaded.refused += part.refused;
        loaded.micros.extend(part.micros);
    }
    loaded.micros.sort_unstable();
    loaded.took = began.elapsed();
    Ok(loaded)
}

/// One connection: a request, its answer, the next.
async fn one(shared: Rc<Shared>, number: usize) -> anyhow::Result<Loaded> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((shared.shape.peer(number), 0).into())?;
    let connected = socket.connect(shared.address).await;
    let stream = connected.context("the load cannot connect")?;
    stream.set_nodelay(true)?;
    match &shared.caller.tls {
        None => talk(&shared, number, stream).await,
        Some(tls) => talk(&shared, number, tls.connect(stream).await?).await,
    }
}

async fn talk(
    shared: &Shared,
    number: usize,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> anyhow::Result<Loaded> {
    let (mut request, id) = request(shared.address, &shared.caller, shared.shape, number)?;
    let mut buffer = vec![0; 4096];
    let mut loaded = Loaded::default();
    while shared.goes_on() {
        let number = shared.next.replace(shared.next.get() + 1);
        write_number(&mut request[id..id + ID.len()], number);
        let began = Instant::now();
        stream.write_all(&request).await?;
        stream.flush().await?;
        match answer(&mut stream, &mut buffer).await? {
            202 => {
                loaded.accepted += 1;
                shared.accepted.set(shared.accepted.get() + 1);
                loaded
                    .micros
                    .push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            503 => {
                loaded.refused += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            status => bail!("the load got {status}"),
        }
    }
    Ok(loaded)
}

impl Shape {
    /// The local address of the connection with this number.
    fn peer(self, number: usize) -> Ipv4Addr {
        let last = match self {
            Self::Event | Self::EventToMany | Self::Push => 1,
            Self::EventOfMany => u8::try_from(number + 1).expect("invariant: few connections"),
        };
        Ipv4Addr::new(127, 0, 0, last)
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        match self.until {
            Until::Time(time) => self.began.elapsed() < time,
            Until::Count(count) => self.accepted.get() < count,
        }
    }
}

/// A request of the connection with this number, and where the number of an event stands in it.
fn request(
    address: SocketAddr,
    caller: &Caller,
    shape: Shape,
    connection: usize,
) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut data = b"{\"ref\":\"refs/heads/main\",\"text\":\"".to_vec();
    data.resize(DATA - 2, b'x');
    data.extend_from_slice(b"\"}");
    let (path, headers) = match shape {
        Shape::Event | Shape::EventOfMany | Shape::EventToMany => (
            if shape == Shape::EventToMany { format!("b{}", connection % BUSY) } else { "default".to_owned() },
            "ce-specversion: 1.0\r\nce-source: /bench\r\nce-type: bench.t0\r\nce-time: 2026-11-22T20:00:00Z\r\nce-id: ".to_owned(),
        ),
        Shape::Push => {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &data);
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            ("github".to_owned(), format!("x-github-event: push\r\nx-hub-signature-256: sha256={hex}\r\nx-github-delivery: "))
        }
    };
    let room = if shape == Shape::Push { "/sources" } else { "" };
    let who = caller.line();
    let head = format!(
        "POST {room}/bench/{path} HTTP/1.1\r\nhost: {address}\r\n{who}content-type: application/json\r\ncontent-length: {DATA}\r\n{headers}{ID}\r\n\r\n"
    );
    let id = head.rfind(ID).context("invariant: the head holds the id")?;
    Ok(([head.into_bytes(), data].concat(), id))
}

fn write_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("invariant: a digit");
        number /= 10;
    }
}

/// Reads one whole answer; gives its status.
async fn answer(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> anyhow::Result<u16> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        let Some(end) = buffer[..filled]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>())
        });
        if filled >= end + 4 + length.transpose()?.unwrap_or(0) {
            return head
                .get(9..12)
                .context("not an answer")?
                .parse()
                .context("not a status");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_numbered_in_place() {
        for (shape, name) in [(Shape::Event, "ce-id"), (Shape::Push, "x-github-delivery")] {
            let (mut bytes, id) = request(
                "127.0.0.1:1".parse().expect("address"),
                &Caller::default(),
                shape,
                0,
            )
            .expect("request");
            write_number(&mut bytes[id..id + ID.len()], 1_234_567);
            let text = String::from_utf8(bytes).expect("text");
            assert!(
                text.contains(&format!("{name}: 000001234567\r\n\r\n{{\"ref\"")),
                "{text}"
            );
            let data = text.split_once("\r\n\r\n").map(|(_, data)| data.len());
            assert_eq!(data, Some(DATA));
        }
    }
}
