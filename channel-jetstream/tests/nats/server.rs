//! A real NATS server for one test, in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_channel_jetstream::Options;
use millrace_event::{Clock, ObjectName};
use tokio_util::sync::CancellationToken;

/// The server. It ends with this.
pub(crate) struct Server {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

/// How often a start is tried: another process may have taken the port.
const TRIES: usize = 3;
/// How long a start may take. Far longer than it takes: a slow machine is no failure.
const PATIENT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

impl Server {
    /// Starts one; `None`, with a remark, where the peer is missing and not required.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "").await
    }

    /// The same, with a config of its own.
    pub(crate) async fn start_with(test: &str, config: &str) -> Option<Self> {
        let program = program(test)?;
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().expect("a folder");
            let port = free();
            let mut server = Self {
                child: run(&program, port, folder.path(), config),
                url: format!("nats://127.0.0.1:{port}"),
                folder,
            };
            if server.answers().await {
                return Some(server);
            }
        }
        panic!("nats-server does not answer");
    }

    /// Stops it, and starts it again with another config.
    pub(crate) async fn restart(&mut self, test: &str, config: &str) {
        self.stop();
        let (_, port) = self.url.rsplit_once(':').expect("a port");
        let port = port.parse().expect("a number");
        self.child = run(
            &program(test).expect("the program"),
            port,
            self.folder.path(),
            config,
        );
        assert!(self.answers().await, "nats-server does not answer");
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it does; whether it has not ended instead.
    async fn answers(&mut self) -> bool {
        let mut left = PATIENT;
        while !left.is_zero() {
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            if async_nats::connect(&self.url).await.is_ok() {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
            left = left.saturating_sub(PAUSE);
        }
        false
    }

    /// Its address for clients.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// A free port below the range from which systems take ports for outgoing connections: those would take it
/// again before the server has it.
fn free() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs it on the streams of a folder.
fn run(program: &Path, port: u16, folder: &Path, config: &str) -> Child {
    let file = folder.join("server.conf");
    fs::write(&file, config).expect("the config is written");
    Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(folder)
        .arg("-c")
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts")
}

/// A Broker on it.
pub(crate) fn options(url: &str, broker: &ObjectName) -> Options {
    Options {
        broker: broker.clone(),
        mesh: "millrace".to_owned(),
        servers: vec![url.to_owned()],
        login: None,
        tls: None,
        partitions: 1,
        replicas: 1,
        max_bytes: 64 << 20,
        retention_age: Duration::from_secs(3_600),
        durability: None,
        rebuild_state: false,
        clock: Clock::System,
        ending: CancellationToken::new(),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::print_stdout, reason = "what is not tested must be seen")]
fn skip(test: &str, program: &Path) {
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
