//! A test that needs a machine of its own: it runs again in a network, and with mounts, that no other process
//! sees.
//!
//! So limits of a whole machine (local ports, address families, name servers) can be reached beside other
//! tests.

use std::process::Command;

use anyhow::Context as _;

/// Set inside the namespace.
const INSIDE: &str = "MILLRACE_TEST_NAMESPACE";

/// Whether this is the run inside. Outside it runs the test of that name again, in a namespace set up by the
/// shell command `prepare`, and returns `false` once that run has passed. If the machine has no namespaces
/// and they are not required, it prints a remark and returns `false`.
///
/// # Errors
/// When the test fails inside.
pub async fn inside(test: &str, prepare: &str) -> anyhow::Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let start = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-Urnm", "sh", "-c", &format!("{prepare} && exec \"$@\""), "sh"]);
        command.args(args).env(INSIDE, "1");
        command
    };
    if !crate::peers::can(&mut start(&["true"]), "no namespace can be made")? {
        return Ok(false);
    }
    let binary = std::env::current_exe()?;
    let mut again = start(&[&binary.to_string_lossy(), "--exact", test, "--nocapture"]);
    let output = tokio::task::spawn_blocking(move || again.output())
        .await?
        .context("running the test in a namespace")?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(
        output.status.success() && said.contains("1 passed"),
        "in the namespace: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(false)
}
