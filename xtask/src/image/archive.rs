//! A folder as an image of one layer: an OCI layout in a tar, and beside it the index that older Dockers
//! read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::steps::succeed;

/// What the image says of itself.
#[derive(Debug)]
pub(super) struct Config<'a> {
    /// The program that is started.
    pub(super) program: String,
    pub(super) version: &'a str,
    /// The full name, with a tag.
    pub(super) name: &'a str,
    /// Who runs it: `uid:gid`.
    pub(super) user: &'a str,
}

/// A file of the layout that is named by its digest.
struct Blob {
    digest: String,
    size: u64,
}

/// The archive of the folder `root`, made in `work`.
pub(super) fn make(work: &Path, root: &Path, config: &Config<'_>) -> anyhow::Result<PathBuf> {
    let layout = work.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let layer = work.join("layer.tar");
    tar(root, &layer)?;
    let unpacked = digest(&layer)?;
    // `-n`: neither a name nor a time in it.
    succeed(Command::new("gzip").arg("-n").arg(&layer))?;
    let layer = file_blob(&layout, &work.join("layer.tar.gz"))?;

    let image = json_blob(work, &layout, &image(config, &unpacked))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(&image, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(&layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    let manifest = json_blob(work, &layout, &manifest)?;
    write(
        &layout.join("oci-layout"),
        &json!({"imageLayoutVersion": "1.0.0"}),
    )?;
    write(&layout.join("index.json"), &index(config, &manifest))?;
    write(&layout.join("manifest.json"), &for_docker(config, &image, &layer))?;
    let archive = work.join("image.tar");
    tar(&layout, &archive)?;
    Ok(archive)
}

/// The processor, by the name that images use.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How the program is run.
fn image(config: &Config<'_>, layer: &str) -> Value {
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": config.user,
            "Env": ["PATH=/usr/local/bin"],
            "Entrypoint": [config.program],
            "WorkingDir": "/",
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                "org.opencontainers.image.title": "millrace",
                "org.opencontainers.image.version": config.version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
    })
}

fn index(config: &Config<'_>, manifest: &Blob) -> Value {
    let mut described = described(manifest, "application/vnd.oci.image.manifest.v1+json");
    described["platform"] = json!({"architecture": architecture(), "os": "linux"});
    described["annotations"] = json!({
        // containerd and Docker name the image by this one, Podman by the other.
        "io.containerd.image.name": config.name,
        "org.opencontainers.image.ref.name": config.name,
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    })
}

/// What `docker load` reads where it does not know the layout.
fn for_docker(config: &Config<'_>, image: &Blob, layer: &Blob) -> Value {
    let name = config
        .name
        .strip_prefix("docker.io/library/")
        .unwrap_or(config.name);
    json!([{ "Config": place(image), "RepoTags": [name], "Layers": [place(layer)] }])
}

fn described(blob: &Blob, kind: &str) -> Value {
    json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size })
}

/// Where a blob lies in the layout.
fn place(blob: &Blob) -> String {
    format!("blobs/{}", blob.digest.replace(':', "/"))
}

fn json_blob(work: &Path, layout: &Path, content: &Value) -> anyhow::Result<Blob> {
    let file = work.join("blob.json");
    write(&file, content)?;
    file_blob(layout, &file)
}

fn write(file: &Path, content: &Value) -> anyhow::Result<()> {
    Ok(fs::write(file, content.to_string())?)
}

/// Moves a file to the place that its digest names.
fn file_blob(layout: &Path, file: &Path) -> anyhow::Result<Blob> {
    let blob = Blob {
        digest: digest(file)?,
        size: fs::metadata(file)?.len(),
    };
    fs::rename(file, layout.join(place(&blob)))?;
    Ok(blob)
}

pub(super) fn digest(file: &Path) -> anyhow::Result<String> {
    let output = Command::new("sha256sum").arg("--").arg(file).output();
    let output = output.context("starting sha256sum")?;
    if !output.status.success() {
        bail!("sha256sum: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8(output.stdout)?;
    let sum = said.split(' ').next().unwrap_or_default();
    Ok(format!("sha256:{sum}"))
}

/// What is in `folder` as a tar, the same for the same files: sorted, and without times and owners.
fn tar(folder: &Path, archive: &Path) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--format=ustar",
        "--sort=name",
        "--mtime=@0",
        "--mode=u+rw,go-w",
    ]);
    tar.args(["--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg("--file").arg(archive).arg("--directory").arg(folder);
    succeed(tar.arg("--").args(names))
}
