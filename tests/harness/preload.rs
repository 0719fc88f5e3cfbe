//! Our own library, loaded before libc in the processes of one mesh. It does what the test writes into a
//! file.
//!
//! It serves for what no machine does on demand: clocks that jump, a kernel without memory. The rest of the
//! machine is not touched.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::mesh::Setup;

/// The variable that tells the library where the file is.
const TOLD: &str = "MILLRACE_TEST_PRELOAD";

/// The library, built, and the file that it reads.
#[derive(Debug)]
pub(crate) struct Preload {
    folder: TempDir,
    told: File,
}

// === impl Preload ===

impl Preload {
    /// Builds the library, and writes these bytes into the file. `None`, with a remark that names what is
    /// skipped, if there is no C compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub(crate) fn new(source: &str, told: &[u8]) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("millrace-preload-").tempdir()?;
        let file = folder.path().join("shim.c");
        fs::write(&file, source)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&folder.path().join("shim.so"), &file])
            .output();
        let Ok(compiled) = compiled else {
            crate::peers::skip("there is no C compiler `cc` for a library that is loaded before libc")?;
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&compiled.stderr);
        ensure!(
            compiled.status.success(),
            "the library that is loaded before libc: {said}"
        );
        let file = File::create_new(folder.path().join("told"))?;
        let preload = Self { folder, told: file };
        preload.tell(told)?;
        Ok(Some(preload))
    }

    /// The setup, with processes that load the library.
    ///
    /// # Errors
    /// When the folder's name is not valid text.
    pub(crate) fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        let path = |name: &str| -> anyhow::Result<String> {
            let path = self.folder.path().join(name);
            Ok(path.to_str().context("the folder's name is no text")?.to_owned())
        };
        Ok(setup
            .environment("LD_PRELOAD", &path("shim.so")?)
            .environment(TOLD, &path("told")?))
    }

    /// Writes what the library is to do from now on; always as many bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn tell(&self, told: &[u8]) -> anyhow::Result<()> {
        Ok(self.told.write_all_at(told, 0)?)
    }
}
