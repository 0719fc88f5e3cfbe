//! Bytes on a socket, for what no proper client would send.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answered, connect};
use crate::within;

/// A connection on which nothing is checked.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

/// Sends `bytes` on a connection of its own and gives the answer; `None` when the server closed it without
/// one.
///
/// # Errors
/// When there is no connection, or no end before the deadline.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> anyhow::Result<Option<Answered>> {
    let mut socket = Socket::connect(address).await?;
    // A server that has seen enough may answer and close while we still write.
    let _ = socket.write(bytes).await;
    socket.answer().await
}

/// A connection from another address of this machine, so that the server sees another peer than the test.
///
/// # Errors
/// When the server does not accept it.
pub async fn stranger(address: SocketAddr) -> anyhow::Result<TcpStream> {
    connect(address, Some(Ipv4Addr::new(127, 0, 0, 2).into())).await
}

// === impl Socket ===

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = within("a connection", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// Writes.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        within("bytes to be taken", self.stream.write_all(bytes)).await
    }

    /// Says that nothing more comes, and stays to read.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        within("the end to be taken", self.stream.shutdown()).await
    }

    /// Reads one answer with a length (or without a body); `None` when the server closes before one.
    ///
    /// # Errors
    /// When what comes is no HTTP, or nothing comes before the deadline.
    pub async fn answer(&mut self) -> anyhow::Result<Option<Answered>> {
        loop {
            if let Some(answer) = self.parsed()? {
                return Ok(Some(answer));
            }
            let mut chunk = [0; 4096];
            // A reset is an end, too: the server closes without reading what we still had to say.
            let read = within("an answer or the end", async {
                anyhow::Ok(self.stream.read(&mut chunk).await.unwrap_or_default())
            });
            match read.await? {
                0 if self.read.is_empty() => return Ok(None),
                0 => bail!("the answer ends early: {:?}", String::from_utf8_lossy(&self.read)),
                length => self.read.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Takes a whole answer from what was read.
    fn parsed(&mut self) -> anyhow::Result<Option<Answered>> {
        let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8(self.read[..end].to_vec())?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok());
        let status: u16 = status.with_context(|| format!("not an answer: {head:?}"))?;
        let mut headers = http::HeaderMap::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("not a header: {line:?}"))?;
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes())?,
                value.trim().parse()?,
            );
        }
        let length = headers
            .get("content-length")
            .map(|value| value.to_str().unwrap_or_default().parse::<usize>());
        let length = length.transpose()?.unwrap_or(0);
        if self.read.len() < end + 4 + length {
            return Ok(None);
        }
        let body = Bytes::copy_from_slice(&self.read[end + 4..end + 4 + length]);
        self.read.drain(..end + 4 + length);
        Ok(Some(Answered {
            status,
            headers,
            body,
        }))
    }
}
