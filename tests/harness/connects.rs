//! Connections that one process cannot make, with errors of the kernel that no test can provoke: our own
//! library (`connects/shim.c`) is loaded before libc in that process.

use rustix::io::Errno;

use crate::mesh::Setup;
use crate::preload::Preload;

const SHIM: &str = include_str!("connects/shim.c");

/// Decides whether the processes of one [`Setup`] can make connections.
#[derive(Debug)]
pub struct Connects(Preload);

// === impl Connects ===

impl Connects {
    /// Connections that can be made. `None`, with a remark that names what is skipped, if there is no C
    /// compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn new() -> anyhow::Result<Option<Self>> {
        Ok(Preload::new(SHIM, &0_i32.to_ne_bytes())?.map(Self))
    }

    /// The setup, with processes that obey.
    ///
    /// # Errors
    /// When the folder's name is not valid text.
    pub fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        self.0.of(setup)
    }

    /// Lets all new connections fail with this error; with `None` they can be made again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fail(&self, error: Option<Errno>) -> anyhow::Result<()> {
        self.0.tell(&error.map_or(0, Errno::raw_os_error).to_ne_bytes())
    }
}
