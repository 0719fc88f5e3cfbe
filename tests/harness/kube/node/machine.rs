//! The machine of the node: a network, mounts and processes that the rest of this machine does not see.
//!
//! The test runs again inside. When that run ends, however it ends, the kernel ends every process that it
//! left, and mounts and interfaces go with them. What the programs write outside of the node's folder is
//! written into the folder instead. Only empty cgroups stay, and are removed here.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::ADDRESS;
use crate::peers;

/// Set inside: the node's folder.
const INSIDE: &str = "MILLRACE_TEST_NODE";

/// Makes a shell command end with the thread that started it, and what it leaves with it.
const ALONE: [&str; 11] = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--net",
    "--uts",
    "--ipc",
    "--pid",
    "--kill-child",
    "--mount-proc",
];

/// Prepares the machine for a node in the folder `$1` with the address `$2`, and runs the rest of the
/// arguments on it, as the child of a shell that takes care of orphans.
///
/// The kubelet writes settings of the kernel that hold for all of this machine. It leaves them alone where
/// they are what it wants, so it finds files that say so.
const PREPARED: &str = r#"
set -e
folder=$1 address=$2
shift 2
mount --make-rshared /
mount -t tmpfs millrace-node /run
mount -t tmpfs millrace-node /var/log
mkdir "$folder/lib" "$folder/lib.work"
mount -t overlay millrace-node -o "lowerdir=/var/lib,upperdir=$folder/lib,workdir=$folder/lib.work" /var/lib
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$folder/$(echo "${setting%=*}" | tr / _)
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
ip address add "$address/32" dev lo
ip link add up0 type bridge
ip address add 192.168.78.1/24 dev up0
ip link set up0 up
ip route add default via 192.168.78.2 dev up0
"$@"
"#;

/// The node's folder, if this is the run inside. Outside it runs the test of that name again inside, shows
/// what that says, and gives `None` once it has passed. Where a peer or a right is missing and not required,
/// it says so and gives `None`.
///
/// # Errors
/// When the test fails inside.
pub async fn inside(test: &'static str) -> anyhow::Result<Option<PathBuf>> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Ok(Some(PathBuf::from(folder)));
    }
    if peers::kubernetes_node()?.is_none() || !can_be()? {
        return Ok(None);
    }
    tokio::task::spawn_blocking(move || outside(test)).await??;
    Ok(None)
}

/// Whether this machine lets somebody run containers: that takes root.
fn can_be() -> anyhow::Result<bool> {
    let mut command = Command::new(ALONE[0]);
    command
        .args(&ALONE[1..])
        .args(["sh", "-c", "mount -t tmpfs millrace-node /run"]);
    peers::can(&mut command, "no node can be here, which takes root")
}

fn outside(test: &str) -> anyhow::Result<()> {
    // Deleted when everything in it is dead.
    let folder = tempfile::Builder::new().prefix("millrace-node-").tempdir()?;
    let _cgroups = Cgroups;
    let mut command = Command::new(ALONE[0]);
    command.args(&ALONE[1..]).args(["sh", "-c", PREPARED, "sh"]);
    command.arg(folder.path()).arg(ADDRESS);
    command
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--ignored", "--nocapture"]);
    command
        .env(INSIDE, folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("starting the machine of the node")?;
    let stdout = child.stdout.take().context("invariant: stdout is piped")?;
    let mut passed = false;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match line.as_str() {
            // The run outside says it too.
            "" | "running 1 test" => {}
            result if result.starts_with("test result: ") => passed = result.contains("1 passed"),
            said => println!("{said}"),
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(
        status.success() && passed,
        "on the node {test} ended with {status}"
    );
    Ok(())
}

/// The cgroups that containerd made. Dropping it removes those in which no process is.
struct Cgroups;

impl Drop for Cgroups {
    fn drop(&mut self) {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        let hierarchies = hierarchies.map(|hierarchy| hierarchy.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            remove(&hierarchy.join("k8s.io"));
        }
    }
}

/// Removes a cgroup and those below it. The kernel refuses it for one that is in use, which stays.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
