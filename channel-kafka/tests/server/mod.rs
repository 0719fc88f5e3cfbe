//! A real Kafka server for one test, in a folder of its own: one node, which is also its controller.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millrace_channel_kafka::{Judge, Options};
use millrace_event::{Clock, ObjectName};
use rdkafka::ClientConfig;
use tokio::sync::OnceCell;
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

/// The files of a folder.
type Files = Vec<(OsString, Vec<u8>)>;

/// An empty data folder, as Kafka formats it. It is the same for all servers of this process, and making it
/// takes Java a second.
static FORMATTED: OnceCell<Files> = OnceCell::const_new();
/// How often a start is tried: another process may have taken a port.
const TRIES: usize = 3;
/// How long a start may take. Far longer than it takes: a slow machine is no failure.
const PATIENT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

impl Server {
    /// Starts one; `None`, with a remark, where the peer is missing and not required.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let lib = program(test)?;
        for _ in 0..TRIES {
            let mut server = Self::begin(&lib).await;
            if server.answers().await {
                return Some(server);
            }
        }
        panic!("Kafka does not answer");
    }

    async fn begin(lib: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [port, controller] = [free(), free()];
        let mut settings = SETTINGS.to_owned();
        let at = folder.path().display();
        writeln!(
            settings,
            "log.dirs={at}/data\nlisteners=PLAIN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAIN://127.0.0.1:{port}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}"
        )
        .expect("a text takes it");
        std::fs::write(folder.path().join("server.properties"), settings).expect("the settings");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        for (name, content) in FORMATTED.get_or_init(|| format(lib, folder.path())).await {
            std::fs::write(data.join(name), content).expect("a file");
        }
        let child = java(lib, folder.path())
            .args(["kafka.Kafka", "server.properties"])
            .spawn()
            .expect("java starts");
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        }
    }

    /// Waits until it does; whether it has not ended instead.
    async fn answers(&mut self) -> bool {
        let mut left = PATIENT;
        while !left.is_zero() {
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
            left = left.saturating_sub(PAUSE);
        }
        false
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

/// Lets Kafka format the data folder, and gives the files that it has made.
async fn format(lib: &Path, folder: &Path) -> Files {
    let mut format = java(lib, folder);
    format.args(["kafka.tools.StorageTool", "format", "-t"]);
    format.args(["bWlsbHJhY2UtdGVzdHMtMQ", "-c", "server.properties"]);
    let formatted = tokio::task::spawn_blocking(move || format.status()).await;
    let formatted = formatted.expect("it ends").expect("java starts");
    assert!(formatted.success(), "the data folder is formatted");
    let files = std::fs::read_dir(folder.join("data")).expect("the folder");
    let files = files.map(|entry| {
        let entry = entry.expect("an entry");
        (entry.file_name(), std::fs::read(entry.path()).expect("a file"))
    });
    files.collect()
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
