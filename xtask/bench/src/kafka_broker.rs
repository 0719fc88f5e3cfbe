//! A Kafka broker of one node for the benchmark, from the jars that `cargo xtask peers` has fetched.
//!
//! The suites start theirs in `tests/harness/kafka/`; this one is told less, and has more memory.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// A running broker. Dropping it ends it and deletes its data.
pub(crate) struct KafkaBroker {
    child: Child,
    _folder: TempDir,
    pub(crate) address: String,
}

// === impl KafkaBroker ===

impl KafkaBroker {
    /// Starts a broker with its data below `base`.
    pub(crate) fn start(base: &Path) -> anyhow::Result<Self> {
        let lib = jars()?;
        fs::create_dir_all(base)?;
        let folder = tempfile::Builder::new().prefix("kafka-").tempdir_in(base)?;
        let (client, controller) = (free_port()?, free_port()?);
        let address = format!("127.0.0.1:{client}");
        let properties = properties(&folder.path().join("data"), &address, controller);
        fs::write(folder.path().join("server.properties"), properties)?;
        let format = java(&lib, folder.path())
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            .args(["-t", "bWlsbHJhY2UtYmVuY2gtMQ", "-c", "server.properties"])
            .output()
            .context("starting java")?;
        ensure!(
            format.status.success(),
            "formatting Kafka's data: {}",
            String::from_utf8_lossy(&format.stderr)
        );
        let said = folder.path().join("log");
        let log = fs::File::create(&said)?;
        let child = java(&lib, folder.path())
            .args(["kafka.Kafka", "server.properties"])
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        let mut broker = Self {
            child,
            _folder: folder,
            address,
        };
        broker.until_ready(&said)?;
        Ok(broker)
    }

    fn until_ready(&mut self, said: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(said)?;
            if text.contains("Kafka Server started") {
                return Ok(());
            }
            if began.elapsed() > START || self.child.try_wait()?.is_some() {
                bail!("Kafka does not start: {text}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn properties(data: &Path, address: &str, controller: u16) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://{address}\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nauto.create.topics.enable=true\nnum.partitions=4\n",
        data.display()
    )
}

fn java(lib: &Path, folder: &Path) -> Command {
    let mut java = Command::new("java");
    java.current_dir(folder)
        .args(["-Xmx768m", "-cp"])
        .arg(lib.join("*"));
    java
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder of the jars, as `xtask/src/peers/` makes it; of several versions the last.
fn jars() -> anyhow::Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("millrace/peers");
    let is_kafka = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("kafka-") && path.join("LOCK").exists()
    };
    let entries = fs::read_dir(&cache).with_context(|| format!("reading {}", cache.display()))?;
    let found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_kafka)
        .max();
    Ok(found
        .context("there is no Kafka: `cargo xtask peers` fetches it")?
        .join("lib"))
}
