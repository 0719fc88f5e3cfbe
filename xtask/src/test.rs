//! Everything that CI runs, in an order that finds the cheap faults first.
//!
//! The suites drive the `dev` build of the binary: its dependencies are compiled for the unit tests anyway,
//! and a second build with optimisation would cost more than the suites win by it.

use std::path::Path;
use std::process::Command;

use crate::steps::Steps;
use crate::{fuzz, peers, tidy, tree};

/// How long each fuzz target runs with `--long`.
const FUZZ_SECONDS: u32 = 120;

/// What shows faults without running a test: for the moment before a commit. Stops at the first fault.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut steps = Steps::new();
    checks(&tree::root()?, &mut steps)?;
    steps.summary();
    Ok(())
}

/// Runs all steps; stops at the first that fails.
pub(crate) fn run(long: bool) -> anyhow::Result<()> {
    let root = tree::root()?;
    let mut steps = Steps::new();
    checks(&root, &mut steps)?;
    steps.tests(
        "unit and property tests",
        cargo(&root).args([
            "test",
            "--quiet",
            "--workspace",
            "--exclude",
            "millrace-tests",
            "--no-fail-fast",
        ]),
    )?;
    steps.tests(
        "documents without Kafka",
        cargo(&root).args([
            "test",
            "--quiet",
            "--package",
            "millrace-crds",
            "--no-default-features",
            "--test",
            "kafka_sink",
        ]),
    )?;
    steps.step("peers", || peers::run(long))?;
    steps.command("build", cargo(&root).args(["build", "--package", "millrace"]))?;
    steps.tests("suites", &mut suites(cargo(&root), long))?;
    if long {
        steps.tests("a real node", &mut node(cargo(&root)))?;
        steps.tests("2 000 Triggers", &mut many_triggers(cargo(&root)))?;
        steps.tests(
            "schedules",
            cargo(&root)
                .args([
                    "test",
                    "--quiet",
                    "--package",
                    "millrace-trigger-dispatcher",
                    "--test",
                    "schedules",
                ])
                .env("MILLRACE_LONG", "1"),
        )?;
        steps.step("fuzz", || fuzz::run(FUZZ_SECONDS))?;
    }
    steps.summary();
    Ok(())
}

fn checks(root: &Path, steps: &mut Steps) -> anyhow::Result<()> {
    steps.command("format", cargo(root).args(["fmt", "--all", "--check"]))?;
    steps.step("tidy", tidy::run)?;
    steps.command(
        "lints",
        cargo(root).args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    steps.command(
        "build without Kafka",
        cargo(root).args([
            "check",
            "--quiet",
            "--package",
            "millrace",
            "--no-default-features",
        ]),
    )?;
    steps.command(
        "documentation",
        cargo(root)
            .args([
                "doc",
                "--quiet",
                "--no-deps",
                "--workspace",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// The end-to-end suites, one after the other; within a suite a few tests at a time, because each starts
/// servers.
fn suites(mut cargo: Command, long: bool) -> Command {
    cargo.args([
        "test",
        "--package",
        "millrace-tests",
        "--no-fail-fast",
        "--",
        "--test-threads",
        "4",
    ]);
    if long {
        cargo.env("MILLRACE_LONG", "1");
    }
    cargo
}

/// The suites that run pods, whose tests are ignored elsewhere. One at a time, because each is a whole
/// cluster; what they measure is shown.
fn node(mut cargo: Command) -> Command {
    cargo.args(["test", "--quiet", "--package", "millrace-tests"]);
    cargo.args(["--test", "node", "--test", "node_conformance", "--no-fail-fast"]);
    cargo.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]);
    cargo
}

/// The suite that measures what many Triggers of a cluster cost, once more and alone: what it measures is
/// shown.
fn many_triggers(mut cargo: Command) -> Command {
    cargo.args(["test", "--quiet", "--package", "millrace-tests"]);
    cargo.args(["--test", "kubernetes_scale", "--", "--nocapture"]);
    cargo.env("MILLRACE_LONG", "1");
    cargo
}

fn cargo(root: &Path) -> Command {
    // The cargo that runs us, so that a chosen toolchain stays chosen.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}
