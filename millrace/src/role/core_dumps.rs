//! No core dumps: the memory of a process that crashes holds the secrets of all its tenants, and a core file
//! is often readable by others, kept for long, or sent to a service.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Sets the limit for core files to 0, soft and hard: what this process starts cannot raise it again.
///
/// # Caveats
/// A program that the kernel pipes dumps to (`kernel.core_pattern`) gets them whatever the limit is.
/// systemd-coredump reads the limit and keeps nothing.
pub(crate) fn forbid() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be turned off: a crash may write secrets to disk");
    }
}
