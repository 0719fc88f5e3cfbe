//! The real clients, servers and payloads that the suites use, in throw-away environments outside the
//! checkout.
//!
//! Each is pinned by a lock file in `tests/peers/` and made once, in the user's cache folder, so that a fresh
//! clone finds it again. An environment is made beside its place and renamed into it: one that is there is
//! whole.

mod recipes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::tree;

/// Something that the suites run against.
struct Peer {
    /// What people call it; begins the name of its environment.
    name: &'static str,
    /// Its lock file, in `tests/peers/`.
    lock: &'static str,
    /// What stands before its version in the lock file.
    version_after: &'static str,
    /// The programs that make and run it.
    tools: &'static [&'static str],
    /// How it is made.
    make: fn(&Order<'_>) -> anyhow::Result<()>,
}

/// What a recipe is told.
struct Order<'a> {
    /// The folder of the lock file.
    lock: &'a Path,
    version: &'a str,
    /// The empty folder to make it in.
    folder: &'a Path,
}

/// The cheap ones first: what somebody waits for is there early.
const PEERS: [Peer; 15] = [
    Peer {
        name: "python-cloudevents",
        lock: "python/requirements.txt",
        version_after: "cloudevents==",
        tools: &["python3"],
        make: recipes::python,
    },
    Peer {
        name: "node-cloudevents",
        lock: "node/package-lock.json",
        version_after: "\"cloudevents\": \"",
        tools: &["node", "npm"],
        make: recipes::node,
    },
    Peer {
        name: "python-standardwebhooks",
        lock: "standard-webhooks-python/requirements.txt",
        version_after: "standardwebhooks==",
        tools: &["python3"],
        make: recipes::python,
    },
    Peer {
        name: "python-botocore",
        lock: "botocore/requirements.txt",
        version_after: "botocore==",
        tools: &["python3"],
        make: recipes::python,
    },
    Peer {
        name: "node-standardwebhooks",
        lock: "standard-webhooks-node/package-lock.json",
        version_after: "\"standardwebhooks\": \"",
        tools: &["node", "npm"],
        make: recipes::node,
    },
    Peer {
        name: "node-jose",
        lock: "jose-node/package-lock.json",
        version_after: "\"jose\": \"",
        tools: &["node", "npm"],
        make: recipes::node,
    },
    Peer {
        name: "node-oidc-provider",
        lock: "oidc-node/package-lock.json",
        version_after: "\"oidc-provider\": \"",
        tools: &["node", "npm"],
        make: recipes::node,
    },
    Peer {
        name: "webhooks-examples",
        lock: "webhooks/package-lock.json",
        version_after: "\"@octokit/webhooks-examples\": \"",
        tools: &["node", "npm"],
        make: recipes::node,
    },
    Peer {
        name: "kafka",
        lock: "kafka/pom.xml",
        version_after: "<artifactId>kafka_2.13</artifactId>\n      <version>",
        tools: &["java", "mvn", "sha256sum"],
        make: recipes::kafka,
    },
    Peer {
        name: "nats-server",
        lock: "nats-server/go.mod",
        version_after: "github.com/nats-io/nats-server/v2 v",
        tools: &["go"],
        make: recipes::nats_server,
    },
    Peer {
        name: "etcd",
        lock: "etcd/go.mod",
        version_after: "go.etcd.io/etcd/server/v3 v",
        tools: &["go"],
        make: recipes::etcd,
    },
    Peer {
        name: "helm",
        lock: "helm/go.mod",
        version_after: "helm.sh/helm/v4 v",
        tools: &["go"],
        make: recipes::helm,
    },
    Peer {
        name: "helm-unittest",
        lock: "helm-unittest/go.mod",
        version_after: "github.com/helm-unittest/helm-unittest v",
        tools: &["go"],
        make: recipes::helm_unittest,
    },
    Peer {
        name: "kube-apiserver",
        lock: "kube-apiserver/go.mod",
        version_after: "k8s.io/kubernetes v",
        tools: &["go"],
        make: recipes::kube_apiserver,
    },
    Peer {
        name: "kube-controller-manager",
        lock: "kube-controller-manager/go.mod",
        version_after: "k8s.io/kubernetes v",
        tools: &["go"],
        make: recipes::kube_controller_manager,
    },
];

/// What a node needs that runs pods; only `--long` runs some.
const NODE: [Peer; 3] = [
    Peer {
        name: "container-runtime",
        lock: "container-runtime/SHA256SUMS",
        version_after: "containerd_",
        tools: &["apt-get", "dpkg-deb", "sha256sum"],
        make: recipes::container_runtime,
    },
    Peer {
        name: "coredns",
        lock: "coredns/go.mod",
        version_after: "github.com/coredns/coredns v",
        tools: &["go"],
        make: recipes::coredns,
    },
    Peer {
        name: "kubernetes-node",
        lock: "kubernetes-node/go.mod",
        version_after: "k8s.io/kubernetes v",
        tools: &["go", "cc"],
        make: recipes::kubernetes_node,
    },
];

/// Makes what is missing, with `long` also what only the long suites need. A peer that cannot be made is a
/// remark, or an error when peers are required.
pub(crate) fn run(long: bool) -> anyhow::Result<()> {
    let locks = tree::root()?.join("tests/peers");
    let cache = cache()?;
    let mut missing = Vec::new();
    let node = if long { &NODE[..] } else { &[] };
    for peer in PEERS.iter().chain(node) {
        match ensure(peer, &locks, &cache) {
            Ok(place) => println!("{}: {}", peer.name, place.display()),
            Err(error) => {
                println!("{}: not there: {error:#}", peer.name);
                missing.push(peer.name);
            }
        }
    }
    let required = std::env::var_os("MILLRACE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    if required && !missing.is_empty() {
        bail!("MILLRACE_REQUIRE_PEERS=1 and missing: {}", missing.join(", "));
    }
    Ok(())
}

/// `$XDG_CACHE_HOME/millrace/peers`, or the same below `~/.cache`. The suites' harness looks in the same
/// place.
fn cache() -> anyhow::Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("millrace/peers"))
}

fn ensure(peer: &Peer, locks: &Path, cache: &Path) -> anyhow::Result<PathBuf> {
    let lock = locks.join(peer.lock);
    let pinned = fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let version = version(&pinned, peer.version_after)
        .with_context(|| format!("{} names no version of {}", lock.display(), peer.name))?;
    let place = cache.join(format!("{}-{version}", peer.name));
    if is_current(&place, &pinned) {
        return Ok(place);
    }
    for tool in peer.tools {
        if !is_there(tool) {
            bail!("it needs `{tool}`, which is not on the PATH");
        }
    }
    let partial = cache.join(format!(".{}-{version}.{}", peer.name, std::process::id()));
    fs::create_dir_all(&partial)?;
    let order = Order {
        lock: lock.parent().context("invariant: a lock file lies in a folder")?,
        version,
        folder: &partial,
    };
    let made = make(peer, &order, &pinned).and_then(|()| put(&partial, &place, &pinned));
    if made.is_err() {
        // What is half made helps nobody; the error that counts is the first one.
        let _ = fs::remove_dir_all(&partial);
    }
    made.map(|()| place)
}

fn make(peer: &Peer, order: &Order<'_>, pinned: &str) -> anyhow::Result<()> {
    println!("{}: being made", peer.name);
    (peer.make)(order)?;
    fs::write(order.folder.join("LOCK"), pinned)?;
    Ok(())
}

/// Moves a whole environment into its place; when somebody else was faster, theirs is as good.
fn put(partial: &Path, place: &Path, pinned: &str) -> anyhow::Result<()> {
    if place.exists() && !is_current(place, pinned) {
        fs::remove_dir_all(place)?;
    }
    match fs::rename(partial, place) {
        Err(_) if is_current(place, pinned) => Ok(fs::remove_dir_all(partial)?),
        moved => moved.with_context(|| format!("moving the environment to {}", place.display())),
    }
}

fn is_current(place: &Path, pinned: &str) -> bool {
    fs::read_to_string(place.join("LOCK")).is_ok_and(|made_from| made_from == pinned)
}

fn is_there(tool: &str) -> bool {
    let version = if tool == "go" { "version" } else { "--version" };
    let quiet = Command::new(tool)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// The version that follows `after`, up to what cannot be part of one.
fn version<'a>(pinned: &'a str, after: &str) -> Option<&'a str> {
    let (_, rest) = pinned.split_once(after)?;
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .unwrap_or(rest.len());
    Some(&rest[..end]).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_lock_file() {
        let cases = [
            (
                "# x\ncloudevents==2.2.0 --hash=sha256:ab",
                "cloudevents==",
                Some("2.2.0"),
            ),
            (
                "\"cloudevents\": \"10.0.0\"\n",
                "\"cloudevents\": \"",
                Some("10.0.0"),
            ),
            ("nothing", "cloudevents==", None),
        ];
        for (pinned, after, expected) in cases {
            assert_eq!(version(pinned, after), expected, "{pinned}");
        }
    }

    #[test]
    fn every_peer_has_a_lock_file_that_names_its_version() {
        let locks = tree::root().expect("root").join("tests/peers");
        for peer in PEERS.iter().chain(&NODE) {
            let pinned = fs::read_to_string(locks.join(peer.lock)).expect("lock file");
            assert!(version(&pinned, peer.version_after).is_some(), "{}", peer.name);
        }
    }

    #[test]
    fn an_environment_made_from_another_lock_is_made_again() {
        let cache = tempfile::tempdir().expect("folder");
        let (old, new) = (cache.path().join("old"), cache.path().join("new"));
        for (folder, lock) in [(&old, "1"), (&new, "2")] {
            fs::create_dir(folder).expect("folder");
            fs::write(folder.join("LOCK"), lock).expect("lock");
        }
        put(&new, &old, "2").expect("moved");
        assert!(is_current(&old, "2") && !new.exists());
    }
}
