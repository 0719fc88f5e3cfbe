//! Promise: an HTTP/2 client costs a bounded amount. Its streams, headers and resets have limits; one that
//! goes beyond them loses its connection, which is counted, and disturbs no other client.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use http::Method;
use millrace_tests::certificates::Authority;
use millrace_tests::documents::Documents;
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, tls, wait_until, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The settings that are tested, by their number in RFC 9113 §6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_HEADER_LIST_SIZE: u16 = 6;

struct Secured {
    mesh: Mesh,
    listen: SocketAddr,
    authority: PathBuf,
    _folder: tempfile::TempDir,
}

/// A connection that speaks HTTP/2 frame by frame.
struct Frames(TlsStream<TcpStream>);

/// One frame that came.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Secured {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::make(folder.path(), "ca")?;
        let pair = authority.server("server")?;
        let mesh = Setup::new(Documents::broker().text())?
            .args(&pair.listening())
            .args(&["--admin-listen-tls", "127.0.0.1:0"])
            .start()
            .await?;
        Ok(Self {
            listen: mesh.address("listenTls")?,
            mesh,
            authority: authority.file,
            _folder: folder,
        })
    }

    async fn frames(&self) -> anyhow::Result<Frames> {
        self.frames_to(self.listen).await
    }

    async fn frames_to(&self, address: SocketAddr) -> anyhow::Result<Frames> {
        let mut frames = Frames(tls::connect(address, &self.authority, &["h2"]).await?);
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        frames.send(&frame(SETTINGS, 0, 0, &[])).await?;
        Ok(frames)
    }

    /// Waits until so many connections to this listener have been ended for this reason.
    async fn until_counted(&self, listener: &str, reason: &str, count: u64) -> anyhow::Result<()> {
        let name =
            format!("millrace_http_connections_abused_total{{listener=\"{listener}\",reason=\"{reason}\"}} ");
        wait_until(&format!("{count} ended by {reason}"), || async {
            let answer = self.mesh.admin().ask(&Method::GET, "/metrics").await?;
            let text = String::from_utf8(answer.body.to_vec())?;
            let value = text.lines().find_map(|line| line.strip_prefix(&name));
            let value: u64 = value.and_then(|value| value.parse().ok()).unwrap_or(0);
            Ok((value == count).then_some(()))
        })
        .await
    }
}

impl Frames {
    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        within("frames to be taken", async {
            self.0.write_all(bytes).await?;
            anyhow::Ok(self.0.flush().await?)
        })
        .await
    }

    /// The next frame; `None` when the server has closed.
    async fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        within("a frame or the end", async {
            let mut head = [0; 9];
            if self.0.read_exact(&mut head).await.is_err() {
                return anyhow::Ok(None);
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length)?];
            if self.0.read_exact(&mut payload).await.is_err() {
                return Ok(None);
            }
            Ok(Some(Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            }))
        })
        .await
    }

    /// Reads until the server closes; gives the error code that it said goodbye with, if it did.
    async fn end(&mut self) -> anyhow::Result<Option<u32>> {
        let mut code = None;
        while let Some(frame) = self.next().await? {
            if frame.kind == GOAWAY && frame.payload.len() >= 8 {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into()?));
            }
        }
        Ok(code)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap_or_default());
        block.extend(text.as_bytes());
    }
}

/// A header that does not end.
fn endless() -> Vec<u8> {
    let mut bytes = frame(HEADERS, 0, 1, &block("endless"));
    let mut piece = Vec::new();
    literal(&mut piece, "x", "y");
    for _ in 0..10_000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &piece));
    }
    bytes
}

/// The header block of a POST of an event, in HPACK without a table.
fn block(id: &str) -> Vec<u8> {
    // :method POST and :scheme https are in the static table.
    let mut block = vec![0x83, 0x87];
    for (name, value) in [
        (":path", "/shop/default"),
        (":authority", "localhost"),
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-source", "/s"),
        ("ce-id", id),
    ] {
        literal(&mut block, name, value);
    }
    block
}

/// The ids of the streams of a client.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|nth| 2 * nth + 1)
}

#[tokio::test]
async fn the_limits_are_told_and_a_request_is_answered() -> anyhow::Result<()> {
    let secured = Secured::start().await?;
    let mut frames = secured.frames().await?;
    frames
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("one")))
        .await?;
    let (mut told, mut answered) = (Vec::new(), false);
    while told.is_empty() || !answered {
        let Some(frame) = frames.next().await? else {
            anyhow::bail!("closed");
        };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            let settings = frame.payload.chunks_exact(6);
            told = settings
                .map(|one| {
                    let value = u32::from_be_bytes([one[2], one[3], one[4], one[5]]);
                    (u16::from_be_bytes([one[0], one[1]]), value)
                })
                .collect();
        }
        // The first byte of a header block that begins with `:status 202` by name from the static table.
        answered |= frame.kind == HEADERS && frame.stream == 1;
    }
    for limit in [
        (MAX_CONCURRENT_STREAMS, 64),
        (INITIAL_WINDOW_SIZE, 64 * 1024),
        (MAX_HEADER_LIST_SIZE, 64 * 1024),
    ] {
        ensure!(told.contains(&limit), "{limit:?} in {told:?}");
    }
    let brokers = secured.mesh.admin().get("brokers").await?;
    assert_eq!(brokers[0]["head"], 1, "{brokers}");
    Ok(())
}

#[tokio::test]
async fn floods_end_their_connection_and_are_counted() -> anyhow::Result<()> {
    let secured = Secured::start().await?;
    let mut beside = secured.frames().await?;

    // Rapid reset: streams that are cancelled as soon as they are opened.
    let mut rapid = secured.frames().await?;
    let mut bytes = Vec::new();
    for stream in streams(2_000) {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &block("reset")));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // The server may close while we still write.
    let _ = rapid.send(&bytes).await;
    rapid.end().await?;

    let mut unfinished = secured.frames().await?;
    let _ = unfinished.send(&endless()).await;
    unfinished.end().await?;
    secured.until_counted("ingress", "flood", 2).await?;

    // The connection beside them is served on.
    beside
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("beside")))
        .await?;
    loop {
        let Some(frame) = beside.next().await? else {
            anyhow::bail!("it was closed too");
        };
        if frame.kind == HEADERS && frame.stream == 1 {
            break;
        }
    }
    secured
        .mesh
        .send("shop/default", &[Event::new("plain", "t")])
        .await?;
    let brokers = secured.mesh.admin().get("brokers").await?;
    assert_eq!(
        brokers[0]["head"], 2,
        "what was cancelled or not finished is not stored: {brokers}"
    );
    Ok(())
}

#[tokio::test]
async fn a_flood_of_the_admin_listener_ends_its_connection_alone() -> anyhow::Result<()> {
    let secured = Secured::start().await?;
    let admin = secured.mesh.address("adminTls")?;
    let mut beside = secured.frames_to(admin).await?;
    let mut unfinished = secured.frames_to(admin).await?;
    // The server may close while we still write.
    let _ = unfinished.send(&endless()).await;
    unfinished.end().await?;
    secured.until_counted("admin", "flood", 1).await?;
    secured.until_counted("ingress", "flood", 0).await?;

    // The connection beside it is served on. :method GET and :scheme https are in the static table.
    let mut health = vec![0x82, 0x87];
    literal(&mut health, ":path", "/healthz");
    literal(&mut health, ":authority", &admin.to_string());
    beside
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &health))
        .await?;
    loop {
        let Some(frame) = beside.next().await? else {
            anyhow::bail!("it was closed too");
        };
        if frame.kind == HEADERS && frame.stream == 1 {
            // `:status 200` of the static table.
            assert_eq!(frame.payload.first(), Some(&0x88), "{:?}", frame.payload);
            return Ok(());
        }
    }
}

#[tokio::test]
async fn who_cancels_nearly_everything_loses_the_connection() -> anyhow::Result<()> {
    let secured = Secured::start().await?;
    let mut patient = secured.frames().await?;
    // Each request is in hand, waiting for its body, before it is cancelled: an answered ping proves it.
    for stream in streams(102) {
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &block("patient"));
        bytes.extend(frame(DATA, 0, stream, b"x"));
        bytes.extend(frame(PING, 0, 0, &u64::from(stream).to_be_bytes()));
        if patient.send(&bytes).await.is_err() {
            break;
        }
        loop {
            match patient.next().await? {
                Some(frame) if frame.kind == PING && frame.flags & ACK != 0 => break,
                Some(_) => {}
                None => break,
            }
        }
        let _ = patient
            .send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
            .await;
    }
    patient.end().await?;
    secured.until_counted("ingress", "resets", 1).await?;
    Ok(())
}
