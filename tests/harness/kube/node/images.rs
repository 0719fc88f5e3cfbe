//! The images on the node. There is no registry: each is made here, by what makes Millrace's own, and
//! imported.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

use super::Node;
use crate::process;

/// Millrace's image, without its tag.
const MILLRACE: &str = "docker.io/library/millrace";

// === impl Node ===

impl Node {
    /// Makes the image of this binary, as `cargo xtask image` makes it, and imports it as `millrace:<tag>`.
    ///
    /// # Errors
    /// When it cannot be made or imported.
    pub async fn millrace_image(&self, binary: &Path, tag: &str) -> anyhow::Result<()> {
        // Symbols for a debugger are most of a `dev` build, and nothing that runs.
        let stripped = self.folder.join(format!("millrace-{tag}"));
        let mut strip = Command::new("strip");
        strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(binary);
        succeed(strip).await?;
        self.image(&stripped, &format!("{MILLRACE}:{tag}")).await
    }

    /// Imports the image of the binary under test, with the tag that the chart takes.
    pub(super) async fn usual_images(&self) -> anyhow::Result<()> {
        let pause = self.programs.kubernetes.join("pause");
        self.image(&pause, "localhost/pause:1").await?;
        self.image(&self.programs.coredns, "localhost/coredns:1").await?;
        self.millrace_image(&process::binary()?, super::VERSION).await
    }

    async fn image(&self, program: &Path, name: &str) -> anyhow::Result<()> {
        let archive = self.folder.join("image.tar");
        let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut make = Command::new(cargo);
        make.current_dir(checkout);
        make.args(["run", "--quiet", "--package", "xtask", "--", "image", "--binary"]);
        make.arg(program).args(["--name", name, "--output"]).arg(&archive);
        succeed(make).await?;
        let mut import = self.ctr();
        import.args(["images", "import"]).arg(&archive);
        succeed(import).await.map(drop)
    }
}

/// Runs a program to its end, which is a success; gives what it said.
pub(super) async fn succeed(mut command: Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
