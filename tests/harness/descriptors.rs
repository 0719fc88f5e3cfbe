//! Limits of open files and connections: of a mesh from its start, of a running one, and of the test itself.

use std::fs;

use anyhow::Context as _;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::process::Process;

/// Sets limits by the shell command `$0`, then replaces itself by the rest of the arguments.
const LIMITED: &str = "eval \"$0\" && exec \"$@\"";

/// What starts a mesh ([`Setup::before`](crate::mesh::Setup::before)) with at most so many descriptors and no
/// right to raise that limit.
pub fn at_most(count: u32) -> Vec<String> {
    limited(&format!("ulimit -n {count}"))
}

/// What starts a mesh ([`Setup::before`](crate::mesh::Setup::before)) with limits that this shell command
/// sets.
pub fn limited(limits: &str) -> Vec<String> {
    ["sh", "-c", LIMITED, limits].map(str::to_owned).to_vec()
}

/// Lets the running process open no more of them. Returns the limit that it had, for [`set`].
///
/// # Errors
/// When the process is gone.
pub fn none_left(process: &Process) -> anyhow::Result<Rlimit> {
    let text = fs::read_to_string(format!("/proc/{}/limits", process.id()))?;
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let mut numbers = line.context("no limit of open files")?.split_whitespace().skip(3);
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    let before = Rlimit {
        current: next(),
        maximum: next(),
    };
    anyhow::ensure!(before.current.is_some(), "no numbers in {text}");
    let none = Rlimit {
        current: Some(4),
        ..before
    };
    set(process, none)?;
    Ok(before)
}

/// Sets this limit for the running process.
///
/// # Errors
/// When the process is gone.
pub fn set(process: &Process, limit: Rlimit) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(process.id())?);
    prlimit(pid, Resource::Nofile, limit)?;
    Ok(())
}

/// Raises the test's own limit as far as possible: both ends of each connection are open on this machine.
///
/// # Errors
/// When the system refuses it.
pub fn raise_our_own() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
