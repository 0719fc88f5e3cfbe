//! The clocks of one process, moved while it runs: our own library (`clocks/shim.c`) is loaded before libc in
//! that process.
//!
//! The machine's own clocks are never touched. libfaketime does not help here: it also moves the clock of
//! timers, and it allocates memory when the allocator asks for the time.

use crate::mesh::Setup;
use crate::preload::Preload;
use crate::{Mesh, wait_until};

/// Spans by which clocks are set, in seconds.
pub const HOUR: i64 = 3_600;
/// A day.
pub const DAY: i64 = 24 * HOUR;
/// A year without a leap day.
pub const YEAR: i64 = 365 * DAY;

const SHIM: &str = include_str!("clocks/shim.c");

/// The clocks of the processes of one [`Setup`].
#[derive(Debug)]
pub struct Clocks(Preload);

/// Waits until the mesh has noticed at least so many jumps; returns the last one in seconds.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_jumps(mesh: &Mesh, jumps: u64) -> anyhow::Result<f64> {
    wait_until(&format!("{jumps} jumps of the clock are shown"), || async {
        let clock = mesh.admin().get("mesh").await?["clock"].clone();
        anyhow::ensure!(clock["jumps"].as_u64() >= Some(jumps), "{clock}");
        Ok(clock["lastJump"]["seconds"].as_f64())
    })
    .await
}

// === impl Clocks ===

impl Clocks {
    /// Clocks that show the machine's time. `None`, with a remark that names what is skipped, if there is no
    /// C compiler and none is required.
    ///
    /// # Errors
    /// When the library cannot be built, or there is no compiler although `MILLRACE_REQUIRE_PEERS=1`.
    pub fn new() -> anyhow::Result<Option<Self>> {
        Ok(Preload::new(SHIM, &ahead(0, 0))?.map(Self))
    }

    /// The setup, with processes that use these clocks.
    ///
    /// # Errors
    /// When the folder's name is not valid text.
    pub fn of(&self, setup: Setup) -> anyhow::Result<Setup> {
        self.0.of(setup)
    }

    /// Sets the wall clock to so many seconds ahead of the machine's (below zero: behind it).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&self, wall: i64) -> anyhow::Result<()> {
        self.0.tell(&ahead(wall, 0))
    }

    /// Moves the clocks as if the machine had slept for so many seconds. The process must be stopped
    /// meanwhile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sleep(&self, seconds: i64) -> anyhow::Result<()> {
        self.0.tell(&ahead(seconds, seconds))
    }
}

/// What the library reads: by how many seconds the wall clock and CLOCK_BOOTTIME are ahead.
fn ahead(wall: i64, boot: i64) -> Vec<u8> {
    [wall.to_ne_bytes(), boot.to_ne_bytes()].concat()
}
