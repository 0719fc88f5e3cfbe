//! Promise: the image of `cargo xtask image` has all that Millrace needs: as a plain user, on a root that is
//! nothing else, it serves events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use millrace_tests::process::{self, Process};
use millrace_tests::{Client, Event, peers};
use rustix::process::Signal;
use serde_json::Value;

/// Makes `$1` read-only, with `$2` at its `/data`, and becomes the rest of the arguments in it, as the user
/// of the image. It is what a container runtime does, done with namespaces, so that none has to be here.
const INSIDE: &str = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && mount --bind "$2" "$1/data" \
    && root="$1" && shift 2 && exec unshare --user --map-user=65532 --map-group=65532 --root="$root" "$@""#;

const BROKER: &str =
    "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default, namespace: shop}\n";

#[tokio::test]
async fn a_plain_user_runs_it_on_a_root_that_nobody_can_write() -> anyhow::Result<()> {
    if !peers::can(
        Command::new("unshare").args(["-Urm", "true"]),
        "no mount namespace can be made",
    )? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let root = root(folder.path())?;
    let data = folder.path().join("volume");
    fs::create_dir(&data)?;
    fs::create_dir(root.join("data"))?;
    fs::write(data.join("mesh.yaml"), BROKER)?;

    let mut command = Command::new("unshare");
    command
        .args(["-Urm", "sh", "-c", INSIDE, "sh"])
        .arg(&root)
        .arg(&data);
    command.args([
        "/usr/local/bin/millrace",
        "run",
        "-f",
        "/data/mesh.yaml",
        "--data",
        "/data/kept",
    ]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut running = Process::spawn("millrace", command, &folder.path().join("stderr"))?;
    let ready: Value = serde_json::from_str(&running.first_line().await?)?;
    let listen = ready["listen"].as_str().context("no address")?.parse()?;
    let answer = Client::new(listen)
        .post("/shop/default", &Event::new("1", "x").binary())
        .await?;
    assert_eq!(answer.status, 202);
    let status = fs::read_to_string(format!("/proc/{}/status", running.id()))?;
    ensure!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(data.join("kept/FORMAT").is_file());

    running.signal(Signal::TERM)?;
    assert!(running.ended().await?.success());
    Ok(())
}

/// Runs a program to its end, which is a success.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

/// The image of the binary under test, unpacked: what a container sees as `/`.
fn root(folder: &Path) -> anyhow::Result<PathBuf> {
    let archive = folder.join("image.tar");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "image", "--binary"]);
    succeed(cargo.arg(process::binary()?).arg("--output").arg(&archive))?;

    let (layout, root) = (folder.join("layout"), folder.join("root"));
    fs::create_dir(&layout)?;
    fs::create_dir(&root)?;
    succeed(
        Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(&layout),
    )?;
    let read = |file: &str| anyhow::Ok(serde_json::from_slice::<Value>(&fs::read(layout.join(file))?)?);
    let manifest = read(&blob(&read("index.json")?["manifests"][0]))?;
    let config = read(&blob(&manifest["config"]))?;
    ensure!(config["config"]["User"] == "65532:65532", "{config}");
    ensure!(
        config["config"]["Entrypoint"][0] == "/usr/local/bin/millrace",
        "{config}"
    );
    let layer = layout.join(blob(&manifest["layers"][0]));
    succeed(Command::new("tar").arg("-xzf").arg(layer).arg("-C").arg(&root))?;
    Ok(root)
}

/// Where the blob of a descriptor lies.
fn blob(described: &Value) -> String {
    let digest = described["digest"].as_str().unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}
