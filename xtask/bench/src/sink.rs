//! The sink: a subscriber that does as little as one can. It counts requests and the distinct numbers of
//! events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};

/// How long nothing may arrive before a run counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sink on a thread of its own; it has its port from the start, and listens once it is told to.
pub(crate) struct Sink {
    address: SocketAddr,
    counts: Arc<Counts>,
    socket: Option<TcpSocket>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    distinct: AtomicU64,
    /// A bit for each number of an event that came.
    seen: Mutex<Vec<u64>>,
}

impl Sink {
    /// A port on which nobody listens: connections are refused.
    pub(crate) fn down() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        Ok(Self {
            address: socket.local_addr()?,
            counts: Arc::default(),
            socket: Some(socket),
            serving: None,
        })
    }

    /// A sink that listens.
    pub(crate) fn up() -> anyhow::Result<Self> {
        let mut sink = Self::down()?;
        sink.listen()?;
        Ok(sink)
    }

    /// Begins to listen on the port that it has had all the time.
    pub(crate) fn listen(&mut self) -> anyhow::Result<()> {
        let socket = self.socket.take().context("it listens already")?;
        let counts = self.counts.clone();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let outcome = serve(socket, counts, stopped, &ready);
            if let Err(error) = outcome {
                eprintln!("sink: {error:#}");
            }
        });
        is_ready.recv().context("the sink does not listen")?;
        self.serving = Some((stop, thread));
        Ok(())
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Distinct numbers of events so far.
    pub(crate) fn distinct(&self) -> u64 {
        self.counts.distinct.load(Ordering::Relaxed)
    }

    /// Waits until `count` gives at least `expected`; fails when nothing arrives any more.
    pub(crate) fn wait(&self, expected: u64, count: impl Fn(&Self) -> u64) -> anyhow::Result<()> {
        let mut last = (count(self), Instant::now());
        while last.0 < expected {
            std::thread::sleep(Duration::from_millis(1));
            let now = count(self);
            if now > last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > PATIENCE {
                bail!(
                    "{now} of {expected} arrived, and nothing more for {} s",
                    PATIENCE.as_secs()
                );
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.serving.take() {
            // When it has ended by itself it has said why.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn serve(
    socket: TcpSocket,
    counts: Arc<Counts>,
    stopped: oneshot::Receiver<()>,
    ready: &std::sync::mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = socket.listen(1024)?;
        ready.send(())?;
        tokio::select! {
            outcome = accept(listener, counts) => outcome,
            _ = stopped => Ok(()),
        }
    })
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        while connections.try_join_next().is_some() {}
        let counts = counts.clone();
        connections.spawn_local(async move {
            if let Err(error) = connection(stream, &counts).await {
                eprintln!("sink: {error:#}");
            }
        });
    }
}

/// One connection: requests in, 202 out, until the other side closes.
async fn connection(mut stream: TcpStream, counts: &Counts) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        // Killing a contender resets its connections; that is no failure of the sink.
        let Ok(read) = stream.read(&mut buffer[filled..]).await else {
            return Ok(());
        };
        if read == 0 {
            return Ok(());
        }
        filled += read;
        while let Some((length, number)) = parse(&buffer[..filled])? {
            counts.add(number);
            buffer.copy_within(length..filled, 0);
            filled -= length;
            if stream
                .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                .await
                .is_err()
            {
                return Ok(());
            }
        }
    }
}

/// The length of a whole request and the number of its event, or nothing while it is not whole.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(usize, u64)>> {
    let (mut at, mut length, mut number) = (0, 0, None);
    while let Some(end) = bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|end| at + end)
    {
        let line = bytes[at..end].trim_ascii_end();
        at = end + 1;
        if line.is_empty() {
            let number = number.context("a delivery without a number")?;
            return Ok(Some((at + length, number)).filter(|_| bytes.len() >= at + length));
        }
        if let Some(value) = value(line, b"content-length:") {
            length = std::str::from_utf8(value)?.parse()?;
        } else if let Some(value) = value(line, b"ce-id:") {
            number = Some(std::str::from_utf8(value)?.parse()?);
        } else if value_is_chunked(line) {
            bail!("a delivery in chunks");
        }
    }
    Ok(None)
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (before, value) = line.split_at_checked(name.len())?;
    before.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn value_is_chunked(line: &[u8]) -> bool {
    value(line, b"transfer-encoding:").is_some()
}

impl Counts {
    fn add(&self, number: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), number % 64);
        let mut seen = self.seen.lock();
        if seen.len() <= word {
            seen.resize(word + 1024, 0);
        }
        if seen[word] & (1 << bit) == 0 {
            seen[word] |= 1 << bit;
            self.distinct.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_it_is_whole() {
        let request = b"POST /0 HTTP/1.1\r\nContent-Length: 2\r\nce-id: 000000000042\r\n\r\n{}POST";
        let whole = request.len() - 4;
        assert_eq!(parse(request).expect("parsed"), Some((whole, 42)));
        assert_eq!(parse(&request[..whole - 1]).expect("parsed"), None);
        assert_eq!(parse(&request[..30]).expect("parsed"), None);
    }

    #[test]
    fn repeats_do_not_count_as_distinct() {
        let counts = Counts::default();
        for number in [0, 1, 1, 70_000] {
            counts.add(number);
        }
        assert_eq!(
            (counts.requests.into_inner(), counts.distinct.into_inner()),
            (4, 3)
        );
    }
}
