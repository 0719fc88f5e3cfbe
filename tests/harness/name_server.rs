//! A name server of the test's own. It leaves names unanswered as long as the test likes.
//!
//! It is the only one on a machine of the test's own ([`crate::namespace`]), or the only one for one mesh,
//! which then runs in a mount namespace of its own. This machine resolves names as before.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

use crate::mesh::Setup;

/// Mounts the file `$1` where the system's resolver looks, then replaces itself by the rest of the arguments.
const MOUNTED: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
/// How often the server checks whether it must end.
const LOOK: Duration = Duration::from_millis(100);
/// Where the name in a question begins.
const HEAD: usize = 12;
/// The type of an IPv4 address.
const A: u16 = 1;

/// Answers `alive…` with 127.0.0.1, `missing…` with "no such name", and no other question at all. Dropping it
/// ends it.
#[derive(Debug)]
pub struct NameServer {
    address: Ipv4Addr,
    unanswered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

// === impl NameServer ===

impl NameServer {
    /// Serves where [`Self::mounted`] says: to be called inside of a [namespace](crate::namespace).
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn start() -> anyhow::Result<Self> {
        let address = Ipv4Addr::LOCALHOST;
        let socket = UdpSocket::bind((address, 53)).context("the port of name servers")?;
        Self::serve(address, socket)
    }

    /// The shell command for [`crate::namespace::inside`] that makes this server the machine's name server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn mounted(folder: &Path) -> anyhow::Result<String> {
        let file = resolver(folder, Ipv4Addr::LOCALHOST)?;
        Ok(format!(
            "ip link set lo up && mount --bind {} /etc/resolv.conf",
            file.display()
        ))
    }

    /// Serves one mesh ([`Self::around`]), at an address of its own on this machine. `None`, with a remark,
    /// if that is not allowed and not required.
    ///
    /// # Errors
    /// When it is not allowed and required.
    pub fn of_one_mesh() -> anyhow::Result<Option<Self>> {
        let Some((address, socket)) = bound()? else {
            return Ok(None);
        };
        let file = tempfile::NamedTempFile::new()?;
        let before = before(&file.path().to_string_lossy());
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).arg("true");
        if !crate::peers::can(&mut command, "no mount namespace can be made")? {
            return Ok(None);
        }
        Self::serve(address, socket).map(Some)
    }

    /// The setup, with a mesh that asks this server and no other.
    ///
    /// # Errors
    /// When the file that says so cannot be written.
    pub fn around(&self, setup: Setup) -> anyhow::Result<Setup> {
        let file = resolver(setup.folder(), self.address)?;
        Ok(setup.before(before(&file.to_string_lossy())))
    }

    /// How many questions it left unanswered.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    fn serve(address: Ipv4Addr, socket: UdpSocket) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        let (unanswered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, is_over) = (unanswered.clone(), stop.clone());
        let serving = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else {
                    continue;
                };
                if answer(&socket, &question[..length], from).is_none() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            address,
            unanswered,
            stop,
            serving: Some(serving),
        })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(serving) = self.serving.take() {
            // It has nothing to say.
            let _ = serving.join();
        }
    }
}

/// A file that tells the system's resolver of a name server.
fn resolver(folder: &Path, address: Ipv4Addr) -> anyhow::Result<PathBuf> {
    let file = folder.join("resolv.conf");
    fs::write(
        &file,
        format!("nameserver {address}\noptions timeout:5 attempts:2\n"),
    )?;
    Ok(file)
}

fn before(file: &str) -> Vec<String> {
    ["unshare", "-Urm", "sh", "-c", MOUNTED, "sh", file]
        .map(str::to_owned)
        .to_vec()
}

/// The port of a name server is fixed, so each test takes an address of its own.
fn bound() -> anyhow::Result<Option<(Ipv4Addr, UdpSocket)>> {
    let mut refused = String::new();
    for _ in 0..20 {
        let address = Ipv4Addr::new(127, 53, fastrand::u8(..), fastrand::u8(1..255));
        match UdpSocket::bind((address, 53)) {
            Ok(socket) => return Ok(Some((address, socket))),
            Err(error) => refused = error.to_string(),
        }
    }
    crate::peers::skip(&format!(
        "the port of a name server cannot be had, which takes root: {refused}"
    ))?;
    Ok(None)
}

/// Answers (RFC 1035) a question for a known name; `None`: it left the question unanswered.
fn answer(socket: &UdpSocket, question: &[u8], from: SocketAddr) -> Option<()> {
    let (name, end) = name(question)?;
    let &[high, low, _, _] = question.get(end..end + 4)? else {
        return None;
    };
    let (found, code) = match name.as_str() {
        name if name.starts_with("alive") => (u16::from_be_bytes([high, low]) == A, 0),
        name if name.starts_with("missing") => (false, 3),
        _ => return None,
    };
    let mut reply = question[..2].to_vec();
    // A response, recursion desired and available; one question, one or no answer, nothing more.
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    reply.extend(&question[HEAD..end + 4]);
    if found {
        // The name of the question; type, class, 0 s to live, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(Ipv4Addr::LOCALHOST.octets());
    }
    // Whoever asked may be gone.
    let _ = socket.send_to(&reply, from);
    Some(())
}

/// The name in a question, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEAD);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
