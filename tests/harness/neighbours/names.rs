//! A name server for one mesh. It knows the names of living hosts and never answers a question about another.
//!
//! A mount namespace of that one process points the system's resolver to it, so this machine resolves names
//! as before.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

use crate::mesh::Setup;

/// The name of a living host, which is this machine.
pub(super) const ALIVE: &str = "alive.mill.test";

/// Mounts the file `$1` where the system's resolver looks, and replaces itself by the rest of the arguments.
const MOUNTED: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";

/// How often the server checks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Names {
    address: Ipv4Addr,
    unanswered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

// === impl Names ===

impl Names {
    /// Starts one on an address of its own on this machine. `None`, with a remark, if that is not allowed and
    /// not required.
    pub(super) fn start() -> anyhow::Result<Option<Self>> {
        let Some((address, socket)) = bound()? else {
            return Ok(None);
        };
        if !can_mount()? {
            return Ok(None);
        }
        socket.set_read_timeout(Some(LOOK))?;
        let (unanswered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, is_over) = (unanswered.clone(), stop.clone());
        let serving = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                serve(&socket, &count);
            }
        });
        Ok(Some(Self {
            address,
            unanswered,
            stop,
            serving: Some(serving),
        }))
    }

    /// How many questions it left unanswered.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Makes the mesh ask this server, and no other.
    pub(super) fn around(&self, setup: Setup) -> anyhow::Result<Setup> {
        let file = setup.folder().join("resolv.conf");
        fs::write(&file, format!("nameserver {}\n", self.address))?;
        Ok(setup.before(before(&file.to_string_lossy())))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(serving) = self.serving.take() {
            // Its result is empty.
            let _ = serving.join();
        }
    }
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

/// Whether this machine lets a program have a resolver of its own. If not: a remark, or a failure where peers
/// are required.
fn can_mount() -> anyhow::Result<bool> {
    let file = tempfile::NamedTempFile::new()?;
    let before = before(&file.path().to_string_lossy());
    let tried = Command::new(&before[0]).args(&before[1..]).arg("true").output();
    let refused = match tried {
        Ok(output) if output.status.success() => return Ok(true),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    crate::peers::skip(&format!("no mount namespace can be made: {refused}"))?;
    Ok(false)
}

/// Handles one question, or none within a while.
fn serve(socket: &UdpSocket, unanswered: &AtomicU64) {
    let mut question = [0; 512];
    let Ok((length, from)) = socket.recv_from(&mut question) else {
        return;
    };
    match answer(&question[..length]) {
        // The asker may be gone.
        Ok(Some(answer)) => drop(socket.send_to(&answer, from)),
        Ok(None) | Err(_) => drop(unanswered.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The answer (RFC 1035) to a question for the living host; none for any other.
fn answer(message: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    const HEAD: usize = 12;
    const HOST: [u8; 2] = [0, 1];

    let mut at = HEAD;
    let mut name = Vec::new();
    loop {
        let length = usize::from(*message.get(at).context("no end of the name")?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length).context("a label that ends early")?;
        name.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = message.get(at..at + 2).context("no kind")?;
    if name.join(".") != ALIVE {
        return Ok(None);
    }
    let has_address = kind == HOST;
    let mut answer = message[..2].to_vec();
    // A response, recursion desired and available, no error; one question, one or no answer, nothing more.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(message.get(HEAD..at + 4).context("no class")?);
    if has_address {
        // The name of the question, a host address of the Internet, for a minute, of four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Ok(Some(answer))
}
