//! Everything that CI runs, in an order that finds the cheap faults first.
//!
//! The suites drive the `dev` build of the binary: its dependencies are compiled for the unit tests anyway,
//! and a second build with optimisation would cost more than the suites win by it.

mod pool;
mod programs;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::pool::Order;
use self::programs::Kind;
use crate::steps::Steps;
use crate::{fuzz, peers, tidy, tree};

/// How long each fuzz target runs with `--long`.
const FUZZ_SECONDS: u32 = 120;

const UNIT: Order<'_> = Order {
    at_once: 2,
    args: &["--quiet"],
    variables: &[],
    longest: Duration::from_secs(15 * 60),
};
/// Within a suite a few tests run at a time, because each starts servers.
const SUITES: Order<'_> = Order {
    args: &["--test-threads", "4"],
    ..UNIT
};
const MANY_TRIGGERS: Order<'_> = Order {
    at_once: 1,
    args: &["--nocapture", "--quiet"],
    ..UNIT
};
/// Their tests are ignored elsewhere. One at a time, because each is a whole cluster; what they measure is
/// shown.
const NODE: Order<'_> = Order {
    at_once: 1,
    args: &["--ignored", "--nocapture", "--test-threads", "1", "--quiet"],
    longest: Duration::from_secs(30 * 60),
    ..UNIT
};

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
    // Some tests of crates need them too.
    steps.step("peers", || peers::run(long))?;
    steps.command("build", cargo(&root).args(["build", "--package", "millrace"]))?;
    let mut built = Vec::new();
    steps.step("build of the tests", || {
        built = programs::build(&root, cargo(&root))?;
        Ok(())
    })?;
    let of = |kind| {
        built
            .iter()
            .filter(move |program| program.kind() == kind)
            .cloned()
            .collect()
    };
    steps.counted("unit and property tests", |count| {
        pool::run(of(Kind::Unit), &UNIT, count)
    })?;
    steps.tests(
        "tests in documentation",
        cargo(&root).args(["test", "--quiet", "--workspace", "--doc"]),
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
    let suites = if long { in_long_form(SUITES) } else { SUITES };
    steps.counted("suites", |count| pool::run(of(Kind::Suite), &suites, count))?;
    if long {
        steps.counted("a real node", |count| pool::run(of(Kind::Node), &NODE, count))?;
        let named = |name| {
            built
                .iter()
                .filter(move |program| program.name == name)
                .cloned()
                .collect()
        };
        // Once more and alone: what it measures is shown.
        steps.counted("2 000 Triggers", |count| {
            pool::run(
                named("tests/kubernetes_scale"),
                &in_long_form(MANY_TRIGGERS),
                count,
            )
        })?;
        steps.counted("schedules", |count| {
            pool::run(named("trigger-dispatcher/schedules"), &in_long_form(UNIT), count)
        })?;
        steps.step("fuzz", || fuzz::run(FUZZ_SECONDS))?;
    }
    steps.summary();
    Ok(())
}

/// The same, with tests that take their long form.
const fn in_long_form(order: Order<'_>) -> Order<'_> {
    Order {
        variables: &[("MILLRACE_LONG", "1")],
        longest: Duration::from_secs(90 * 60),
        ..order
    }
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
    // By itself: with the workspace the harness has features that it has not here.
    steps.command(
        "build of the benchmark",
        cargo(root).args(["check", "--quiet", "--package", "xtask-bench"]),
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

fn cargo(root: &Path) -> Command {
    // The cargo that runs us, so that a chosen toolchain stays chosen.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}
