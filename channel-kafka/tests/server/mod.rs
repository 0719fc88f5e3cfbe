//! A real Kafka server for one test, in a folder of its own: one node, which is also its controller.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_channel_kafka::{Judge, Options};
use millrace_event::{Clock, ObjectName};
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

/// The server. It ends with this.
pub(crate) struct Server {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
file.delete.delay.ms=0
";

static BROKERS: AtomicU32 = AtomicU32::new(0);

/// A Broker that no other test has.
pub(crate) fn new_broker() -> ObjectName {
    let number = BROKERS.fetch_add(1, Ordering::Relaxed);
    ObjectName::new("conformance", format!("b{number}"))
}

impl Server {
    /// Starts one; `None`, with a remark, where the peer is missing and not required.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let lib = program(test)?;
        let folder = tempfile::tempdir().expect("a folder");
        let [port, controller] = [free(), free()];
        let mut settings = SETTINGS.to_owned();
        let at = folder.path().display();
        writeln!(
            settings,
            "log.dirs={at}/data\nlisteners=PLAIN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAIN://127.0.0.1:{port}\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}"
        )
        .expect("a text takes it");
        std::fs::write(folder.path().join("server.properties"), settings).expect("the settings");
        let formatted = java(&lib, folder.path())
            .args(["kafka.tools.StorageTool", "format", "--standalone", "-t"])
            .args(["bWlsbHJhY2UtdGVzdHMtMQ", "-c", "server.properties"])
            .status()
            .expect("java starts");
        assert!(formatted.success(), "the data folder is formatted");
        let child = java(&lib, folder.path())
            .args(["kafka.Kafka", "server.properties"])
            .spawn()
            .expect("java starts");
        let server = Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        for _ in 0..600 {
            if std::net::TcpStream::connect(&server.address).is_ok() {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Kafka does not answer");
    }

    /// What a client of others needs to connect.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// How a Broker is kept there.
    pub(crate) fn options(&self, broker: &ObjectName) -> Options {
        Options {
            broker: broker.clone(),
            mesh: "millrace".to_owned(),
            servers: vec![self.address.clone()],
            access: std::sync::Arc::default(),
            judge: Judge::none(),
            replicas: 1,
            retention_age: Duration::from_secs(3_600),
            durability: None,
            rebuild_state: false,
            clock: Clock::System,
            ending: CancellationToken::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("its address").port()
}

fn java(lib: &Path, folder: &Path) -> Command {
    let mut java = Command::new("java");
    // A quick start counts for more here than what the optimizing compiler and the big collector bring.
    java.current_dir(folder)
        .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
        .arg(lib.join("*"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    java
}

#[expect(clippy::print_stdout, reason = "what is not tested must be seen")]
fn skip(test: &str, program: &Path) {
    println!("skipped: {test}: there is no {}", program.display());
}

/// The jars of the pinned version, where `cargo xtask peers` put them.
fn program(test: &str) -> Option<PathBuf> {
    const LOCK: &str = include_str!("../../../tests/peers/kafka/pom.xml");
    let version = LOCK
        .split("<artifactId>kafka_2.13</artifactId>\n      <version>")
        .nth(1);
    let version = version.and_then(|rest| rest.split('<').next());
    let version = version.expect("the lock names a version");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let peers = cache.or_else(home)?.join("millrace/peers");
    let program = peers.join(format!("kafka-{version}/lib"));
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
