//! The clocks of one process, moved while it runs: our own library (`clocks/shim.c`) is loaded before libc in
//! that process.
//!
//! The machine's own clocks are never touched. libfaketime does not help here: it also moves the clock of
//! timers, and it allocates memory when the allocator asks for the time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::mesh::Setup;

const SHIM: &str = include_str!("clocks/shim.c");

/// The clocks of the processes of one [`Setup`].
#[derive(Debug)]
pub struct Clocks {
    folder: TempDir,
    ahead: File,
}

// === impl Clocks ===

impl Clocks {
    /// Clocks that show the machine's time. `None`, with a remark that names what is skipped, if there is no
    /// C compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn new() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("millrace-clocks-").tempdir()?;
        let source = folder.path().join("shim.c");
        fs::write(&source, SHIM)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&folder.path().join("shim.so"), &source])
            .output();
        let Ok(compiled) = compiled else {
            crate::peers::skip("there is no C compiler `cc` for the library that moves the clocks")?;
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&compiled.stderr);
        ensure!(
            compiled.status.success(),
            "the library that moves the clocks: {said}"
        );
        let ahead = File::create_new(folder.path().join("ahead"))?;
        let clocks = Self { folder, ahead };
        clocks.write(0, 0)?;
        Ok(Some(clocks))
    }

    /// The setup, with processes that use these clocks.
    ///
    /// # Errors
    /// When the folder's name is not valid text.
    pub fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        let path = |name: &str| -> anyhow::Result<String> {
            let path = self.folder.path().join(name);
            Ok(path.to_str().context("the folder's name is no text")?.to_owned())
        };
        Ok(setup
            .environment("LD_PRELOAD", &path("shim.so")?)
            .environment("MILLRACE_TEST_CLOCKS", &path("ahead")?))
    }

    /// Sets the wall clock to so many seconds ahead of the machine's (below zero: behind it).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&self, wall: i64) -> anyhow::Result<()> {
        self.write(wall, 0)
    }

    /// Moves the clocks as if the machine had slept for so many seconds. The process must be stopped
    /// meanwhile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sleep(&self, seconds: i64) -> anyhow::Result<()> {
        self.write(seconds, seconds)
    }

    fn write(&self, wall: i64, boot: i64) -> anyhow::Result<()> {
        let both = [wall.to_ne_bytes(), boot.to_ne_bytes()].concat();
        Ok(self.ahead.write_all_at(&both, 0)?)
    }
}
