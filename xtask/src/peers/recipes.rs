//! How each peer is made: the tools of its own ecosystem, told to take exactly what the lock file names.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::Order;
use crate::steps::succeed;

pub(super) fn python(order: &Order<'_>) -> anyhow::Result<()> {
    let made = succeed(Command::new("python3").args([
        OsStr::new("-m"),
        OsStr::new("venv"),
        order.folder.as_os_str(),
    ]));
    made.context("python3 cannot make environments (Debian keeps that in the package python3-venv)")?;
    let mut pip = Command::new(order.folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--requirement",
    ]);
    succeed(pip.arg(order.lock.join("requirements.txt")))
}

pub(super) fn node(order: &Order<'_>) -> anyhow::Result<()> {
    for file in ["package.json", "package-lock.json"] {
        fs::copy(order.lock.join(file), order.folder.join(file))?;
    }
    succeed(Command::new("npm").current_dir(order.folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))
}

/// The broker and all that it needs as files in `lib/`. Maven knows no lock file, so their contents are
/// checked here; a file that is not in the list is refused too, since `java` would load it.
pub(super) fn kafka(order: &Order<'_>) -> anyhow::Result<()> {
    let lib = order.folder.join("lib");
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]);
    maven.arg(order.lock.join("pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    let mut output = std::ffi::OsString::from("-DoutputDirectory=");
    output.push(&lib);
    succeed(maven.arg(output))?;
    let sums = order.lock.join("SHA256SUMS");
    let known = fs::read_to_string(&sums)?.lines().count();
    let came = fs::read_dir(&lib)?.count();
    anyhow::ensure!(known == came, "{came} files came and {known} are known");
    succeed(
        Command::new("sha256sum")
            .current_dir(&lib)
            .args(["--check", "--strict", "--quiet"])
            .arg(sums),
    )
}

pub(super) fn nats_server(order: &Order<'_>) -> anyhow::Result<()> {
    go(order, "github.com/nats-io/nats-server/v2", "nats-server", "-s -w")
}

pub(super) fn etcd(order: &Order<'_>) -> anyhow::Result<()> {
    go(order, "go.etcd.io/etcd/server/v3", "etcd", "-s -w")
}

/// Built without its version, it says that it is not released.
pub(super) fn helm(order: &Order<'_>) -> anyhow::Result<()> {
    let flags = format!(
        "-s -w -X helm.sh/helm/v4/internal/version.version=v{}",
        order.version
    );
    go(order, "helm.sh/helm/v4/cmd/helm", "helm", &flags)
}

/// It is a plugin of Helm, and runs without Helm.
pub(super) fn helm_unittest(order: &Order<'_>) -> anyhow::Result<()> {
    let package = "github.com/helm-unittest/helm-unittest/cmd/helm-unittest";
    go(order, package, "helm-unittest", "-s -w")
}

pub(super) fn kube_apiserver(order: &Order<'_>) -> anyhow::Result<()> {
    kubernetes(order, "kube-apiserver")
}

pub(super) fn kube_controller_manager(order: &Order<'_>) -> anyhow::Result<()> {
    kubernetes(order, "kube-controller-manager")
}

/// What makes a machine a node, beside the container runtime; with Kubernetes' own program for the container
/// that holds the namespaces of a pod.
pub(super) fn kubernetes_node(order: &Order<'_>) -> anyhow::Result<()> {
    for program in ["kubelet", "kube-proxy", "kube-scheduler"] {
        kubernetes(order, program)?;
    }
    let mut list = Command::new("go");
    list.current_dir(order.lock).env("GOWORK", "off");
    list.args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]);
    let sources = list.output().context("starting go")?.stdout;
    let sources = String::from_utf8(sources)?;
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-static", "-DVERSION=1", "-o"])
        .arg(order.folder.join("pause"));
    succeed(cc.arg(Path::new(sources.trim()).join("build/pause/linux/pause.c")))
}

pub(super) fn coredns(order: &Order<'_>) -> anyhow::Result<()> {
    go(order, ".", "coredns", "-s -w")
}

/// Packages of Debian 12, unpacked and not installed: containerd, runc, the network's plugins, and nft. They
/// are a matter of C libraries, which Go's module files do not pin.
pub(super) fn container_runtime(order: &Order<'_>) -> anyhow::Result<()> {
    let packages = order.folder.join("packages");
    fs::create_dir(&packages)?;
    let sums = order.lock.join("SHA256SUMS");
    let names = fs::read_to_string(&sums)?;
    let files: Vec<&str> = names
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let mut download = Command::new("apt-get");
    download
        .current_dir(&packages)
        .args(["download", "--quiet=2", "--option=APT::Sandbox::User=root"]);
    for file in &files {
        // `name_version_architecture.deb`; a colon in a version is `%3a` there.
        let mut parts = file.split('_');
        let (name, version) = parts
            .next()
            .zip(parts.next())
            .context("a package has a version")?;
        download.arg(format!("{name}={}", version.replace("%3a", ":")));
    }
    succeed(&mut download).context("the packages of Debian 12 cannot be had here")?;
    succeed(
        Command::new("sha256sum")
            .current_dir(&packages)
            .args(["--check", "--strict", "--quiet"])
            .arg(&sums),
    )?;
    for file in files {
        let package = packages.join(file);
        succeed(Command::new("dpkg-deb").arg("-x").arg(package).arg(order.folder))?;
    }
    Ok(fs::remove_dir_all(&packages)?)
}

/// A program of Kubernetes. Its version is what clients ask it for; built without it, it says 0.0.
fn kubernetes(order: &Order<'_>, program: &str) -> anyhow::Result<()> {
    let mut parts = order.version.split('.');
    let (major, minor) = parts.next().zip(parts.next()).context("a version has parts")?;
    let name = "-X k8s.io/component-base/version.git";
    let flags = format!(
        "-s -w {name}Version=v{} {name}Major={major} {name}Minor={minor}",
        order.version
    );
    go(
        order,
        &format!("k8s.io/kubernetes/cmd/{program}"),
        program,
        &flags,
    )
}

/// Compiles one Go program. It takes minutes of all processors, which others may need: it gives way to them.
fn go(order: &Order<'_>, package: &str, program: &str, flags: &str) -> anyhow::Result<()> {
    let mut go = Command::new("nice");
    go.current_dir(order.lock)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .args([
            "go",
            "build",
            "-mod=readonly",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
        ]);
    succeed(go.arg(Path::new(order.folder).join(program)).arg(package))
}
