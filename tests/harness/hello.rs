//! A ClientHello of TLS 1.2 written byte by byte, for what no proper client would offer, and what a server
//! says to it.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::within;

/// What a client offers.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The highest version: 0x0303 is TLS 1.2.
    pub version: u16,
    /// Cipher suites.
    pub suites: Vec<u16>,
    /// Methods of compression: 0 is none, 1 is DEFLATE.
    pub compression: Vec<u8>,
    /// Named groups, above all curves.
    pub groups: Vec<u16>,
    /// Signature algorithms.
    pub signatures: Vec<u16>,
    /// Other extensions, by number.
    pub more: Vec<(u16, Vec<u8>)>,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It goes on, by these choices.
    Chosen(Chosen),
    /// It ends the handshake with this alert.
    Alert(u8),
    /// It closes the connection without a word.
    Closed,
}

/// What a server has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The version.
    pub version: u16,
    /// The end of its random bytes, where a downgrade is marked.
    pub random_end: [u8; 8],
    /// The cipher suite.
    pub suite: u16,
    /// The compression.
    pub compression: u8,
    /// The numbers of its extensions.
    pub extensions: Vec<u16>,
}

/// Secure renegotiation (RFC 5746).
pub const RENEGOTIATION_INFO: u16 = 0xff01;
/// A master secret bound to the handshake (RFC 7627).
pub const EXTENDED_MASTER_SECRET: u16 = 23;

// === impl Hello ===

impl Default for Hello {
    /// One that every server takes which has a certificate of P-256.
    fn default() -> Self {
        Self {
            version: 0x0303,
            suites: vec![0xc02b, 0xc02c],
            compression: vec![0],
            groups: vec![29, 23],
            signatures: vec![0x0403],
            more: Vec::new(),
        }
    }
}

impl Hello {
    /// Says it to a server on a connection of its own.
    ///
    /// # Errors
    /// When there is no connection, or no answer before the deadline, or one that is no TLS.
    pub async fn say(&self, to: SocketAddr) -> anyhow::Result<Said> {
        within("what a server says to a ClientHello", async {
            let mut stream = TcpStream::connect(to).await?;
            stream.write_all(&self.record()).await?;
            let mut head = [0; 5];
            if stream.read_exact(&mut head).await.is_err() {
                return Ok(Said::Closed);
            }
            let [kind, _, _, high, low] = head;
            let mut body = vec![0; usize::from(u16::from_be_bytes([high, low]))];
            stream.read_exact(&mut body).await?;
            match (kind, body.as_slice()) {
                (21, [_, alert]) => Ok(Said::Alert(*alert)),
                (22, [2, ..]) => Ok(Said::Chosen(Chosen::read(&body).context("a broken ServerHello")?)),
                _ => bail!("neither an alert nor a ServerHello: {head:?} {body:?}"),
            }
        })
        .await
    }

    fn record(&self) -> Vec<u8> {
        let mut extensions = vec![
            (10, sized(&numbers(&self.groups))),
            (11, vec![1, 0]),
            (13, sized(&numbers(&self.signatures))),
            (EXTENDED_MASTER_SECRET, Vec::new()),
            (RENEGOTIATION_INFO, vec![0]),
        ];
        extensions.extend(self.more.iter().cloned());
        let extensions = extensions.iter().flat_map(|(number, content)| {
            let number: [u8; 2] = u16::to_be_bytes(*number);
            [&number, sized(content).as_slice()].concat()
        });
        let extensions: Vec<u8> = extensions.collect();
        let mut hello = self.version.to_be_bytes().to_vec();
        hello.extend([7; 32]);
        // No session to resume.
        hello.push(0);
        hello.extend(sized(&numbers(&self.suites)));
        hello.push(self.compression.len().to_be_bytes()[7]);
        hello.extend(&self.compression);
        hello.extend(sized(&extensions));
        let handshake = [&[1, 0], sized(&hello).as_slice()].concat();
        [&[22, 3, 1], sized(&handshake).as_slice()].concat()
    }
}

// === impl Chosen ===

impl Chosen {
    /// Reads a ServerHello; `None` if it ends too early. More messages may stand behind it.
    fn read(messages: &[u8]) -> Option<Self> {
        let (head, rest) = messages.split_first_chunk::<4>()?;
        let [_, _, high, low] = *head;
        let mut rest = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
        let version = number(&mut rest)?;
        let random = take(&mut rest, 32)?;
        let session = usize::from(*take(&mut rest, 1)?.first()?);
        take(&mut rest, session)?;
        let suite = number(&mut rest)?;
        let compression = *take(&mut rest, 1)?.first()?;
        let mut extensions = Vec::new();
        if !rest.is_empty() {
            number(&mut rest)?;
        }
        while !rest.is_empty() {
            extensions.push(number(&mut rest)?);
            let length = number(&mut rest)?;
            take(&mut rest, usize::from(length))?;
        }
        Some(Self {
            version,
            random_end: random.last_chunk().copied()?,
            suite,
            compression,
            extensions,
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn numbers(all: &[u16]) -> Vec<u8> {
    all.iter().flat_map(|one| one.to_be_bytes()).collect()
}

/// Bytes behind their length, of two bytes.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let [.., high, low] = bytes.len().to_be_bytes();
    [&[high, low], bytes].concat()
}
