//! Connections that one process cannot make, for want of what no test can take from the kernel: a library of ours
//! (`connects/shim.c`) stands before libc in it.

use rustix::io::Errno;

use crate::mesh::Setup;
use crate::preload::Preload;

const SHIM: &str = include_str!("connects/shim.c");

/// What becomes of new connections that the processes of one [`Setup`] make.
#[derive(Debug)]
pub struct Connects(Preload);

// === impl Connects ===

impl Connects {
    /// They are made. `None`, with a remark that says what is skipped, where there is no C compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn new() -> anyhow::Result<Option<Self>> {
        Ok(Preload::new(SHIM, &0_i32.to_ne_bytes())?.map(Self))
    }

    /// The setup, whose processes make connections so.
    ///
    /// # Errors
    /// When the folder has a name that is no text.
    pub fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        self.0.of(setup)
    }

    /// From now on they fail with this error; with `None` they are made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fail(&self, error: Option<Errno>) -> anyhow::Result<()> {
        self.0.tell(&error.map_or(0, Errno::raw_os_error).to_ne_bytes())
    }
}
