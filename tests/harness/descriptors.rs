//! How many files and connections a process may have open: that of a mesh from its start, that of a running one, our own.

use std::fs;

use anyhow::Context as _;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::process::Process;

/// Becomes the rest of the arguments with limits that the shell command `$0` sets.
const LIMITED: &str = "eval \"$0\" && exec \"$@\"";

/// Starts a mesh (`Setup::before`) with at most so many, which it cannot raise either.
pub fn at_most(count: u32) -> Vec<String> {
    limited(&format!("ulimit -n {count}"))
}

/// Starts a mesh (`Setup::before`) with limits that this shell command sets.
pub fn limited(limits: &str) -> Vec<String> {
    ["sh", "-c", LIMITED, limits].map(str::to_owned).to_vec()
}

/// Lets the running process open none more; gives the limit that it had, for [`set`].
///
/// # Errors
/// When it is gone.
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

/// Gives the running process this limit.
///
/// # Errors
/// When it is gone.
pub fn set(process: &Process, limit: Rlimit) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(process.id())?);
    prlimit(pid, Resource::Nofile, limit)?;
    Ok(())
}

/// Allows the test itself as many as it may have: both ends of a connection are open on this machine.
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
