//! `fuzz`: every fuzz target for a while, where the tools for it are there.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::steps::succeed;
use crate::tree;

/// Runs each target for `seconds`; says why when it cannot.
pub(crate) fn run(seconds: u32) -> anyhow::Result<()> {
    if let Some(reason) = missing() {
        println!("fuzzing is skipped: {reason}");
        return Ok(());
    }
    let root = tree::root()?;
    for target in targets()? {
        println!("--- {target}, {seconds} s");
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&root)
            .args(["+nightly", "fuzz", "run", &target, "--"]);
        succeed(cargo.arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}

/// What is not there and needed.
fn missing() -> Option<&'static str> {
    let works = |args: &[&str]| {
        let quiet = Command::new("cargo")
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        quiet.is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        return Some("it needs the nightly toolchain (rustup toolchain install nightly)");
    }
    if !works(&["+nightly", "fuzz", "--version"]) {
        return Some("it needs cargo-fuzz (cargo install cargo-fuzz)");
    }
    None
}

/// The names of the targets, from the files that hold them.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = tree::root()?.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
