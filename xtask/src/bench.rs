//! `bench`: builds what is shipped and the benchmark, both with optimisation, and hands over.

use std::process::Command;

use crate::steps::succeed;
use crate::tree;

/// With which everything is built: that of what is shipped.
const PROFILE: &str = "dist";

/// Passes the options on; `xtask/bench/` documents them.
pub(crate) fn run(options: &[String]) -> anyhow::Result<()> {
    let root = tree::root()?;
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&root);
        command
    };
    let mut build = cargo();
    build.args(["build", "--profile", PROFILE, "--package", "xtask-bench"]);
    // Filters are measured without a mesh.
    let only_filters = matches!(options, [only, rest @ ..] if only == "filters" && rest.iter().all(|option| option == "--quick"));
    if !only_filters {
        build.args(["--package", "millrace"]);
    }
    succeed(&mut build)?;
    succeed(
        cargo()
            .args([
                "run",
                "--quiet",
                "--profile",
                PROFILE,
                "--package",
                "xtask-bench",
                "--",
            ])
            .args(options),
    )
}
