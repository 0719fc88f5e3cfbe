//! A name server of the test's own, on a machine where it is the only one. It leaves names unanswered as long
//! as the test likes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

/// Answers `alive….example` with 127.0.0.1, `missing….example` with "no such name", and no other question at
/// all.
#[derive(Debug)]
pub struct NameServer {
    ends: Arc<AtomicBool>,
}

/// Where a query's name begins.
const HEAD: usize = 12;
/// The type of an IPv4 address.
const A: u16 = 1;

// === impl NameServer ===

impl NameServer {
    /// Serves on the only port that a resolver asks; must be called inside a [namespace](crate::namespace).
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:53").context("the port of name servers")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                answer(&socket, &query[..length], from);
            }
        });
        Ok(Self { ends })
    }

    /// The shell command for [`crate::namespace::inside`] that makes this server the machine's name server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn mounted(folder: &Path) -> anyhow::Result<String> {
        let file: PathBuf = folder.join("resolv.conf");
        std::fs::write(&file, "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")?;
        Ok(format!(
            "ip link set lo up && mount --bind {} /etc/resolv.conf",
            file.display()
        ))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn answer(socket: &UdpSocket, query: &[u8], from: SocketAddr) {
    let Some((name, end)) = name(query) else { return };
    let Some(&[high, low, _, _]) = query.get(end..end + 4) else {
        return;
    };
    let (found, code) = match name.as_str() {
        name if name.starts_with("alive") => (u16::from_be_bytes([high, low]) == A, 0),
        name if name.starts_with("missing") => (false, 3),
        _ => return,
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    reply.extend(&query[HEAD..end + 4]);
    if found {
        // The name of the question; type, class, 0 s to live, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(Ipv4Addr::LOCALHOST.octets());
    }
    let _ = socket.send_to(&reply, from);
}

/// The name in a question, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEAD);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
}
