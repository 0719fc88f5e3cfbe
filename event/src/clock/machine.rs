//! The machine's clocks: one set for the whole process.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::Timestamp;

/// CLOCK_BOOTTIME counts while the machine is suspended; on systems other than Linux, CLOCK_MONOTONIC comes
/// closest to it.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// What the process knows of the machine's clocks.
struct Machine {
    /// The wall time at which the steady clock began to count. Adding what it has counted since gives the
    /// steady time.
    began: i64,
    /// By how much the wall time is ahead of the steady time, as last noticed.
    ahead: AtomicI64,
    moves: watch::Sender<u64>,
}

static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine {
    began: wall().0.saturating_sub(counted()),
    ahead: AtomicI64::new(0),
    moves: watch::Sender::new(0),
});

/// What the wall clock shows. A time before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp(super::millis(since))
}

pub(super) fn steady() -> Timestamp {
    Timestamp(MACHINE.began.saturating_add(counted()))
}

pub(super) fn ahead() -> i64 {
    MACHINE.ahead.load(Ordering::Acquire)
}

pub(super) fn moves() -> watch::Receiver<u64> {
    MACHINE.moves.subscribe()
}

/// Notes a jump or a sleep: waiting tasks look again.
pub(super) fn moved(ahead: i64) {
    MACHINE.ahead.store(ahead, Ordering::Release);
    MACHINE.moves.send_modify(|count| *count += 1);
}

/// Milliseconds that the steady clock has counted since the machine started.
fn counted() -> i64 {
    let time = clock_gettime(STEADY);
    time.tv_sec
        .saturating_mul(1_000)
        .saturating_add(time.tv_nsec / 1_000_000)
}
