//! A real NATS server for one test, in a folder of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The server. It ends with this.
pub(crate) struct Server {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one; `None`, with a remark, where the peer is missing and not required.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let program = program(test)?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("its address").port()
        };
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        let server = Self {
            child,
            url: format!("nats://127.0.0.1:{port}"),
            _folder: folder,
        };
        for _ in 0..200 {
            if async_nats::connect(&server.url).await.is_ok() {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nats-server does not answer");
    }

    /// Its address for clients.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "what is not tested must be seen")]
fn skip(test: &str, program: &std::path::Path) {
    println!("skipped: {test}: there is no {}", program.display());
}

/// The program of the pinned version, where `cargo xtask peers` put it.
fn program(test: &str) -> Option<PathBuf> {
    const LOCK: &str = include_str!("../../../tests/peers/nats-server/go.mod");
    let version = LOCK.split("github.com/nats-io/nats-server/v2 v").nth(1);
    let version = version.and_then(|rest| rest.split_whitespace().next());
    let version = version.expect("the lock names a version");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let peers = cache.or_else(home)?.join("millrace/peers");
    let program = peers.join(format!("nats-server-{version}/nats-server"));
    if program.exists() {
        return Some(program);
    }
    let required = std::env::var_os("MILLRACE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(
        !required,
        "{} is missing: run `cargo xtask peers`",
        program.display()
    );
    skip(test, &program);
    None
}
