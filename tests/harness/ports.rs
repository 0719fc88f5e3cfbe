//! Ports for servers that must be told theirs before they start.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::ensure;

/// Below the range from which systems take ports for outgoing connections: what is free now stays free over a
/// restart, unless another server asks for it by number.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// So many different free ports of the loopback interface. Nothing holds them: a test that loses the race
/// starts again with others.
///
/// # Errors
/// When there are not as many.
pub fn free(count: usize) -> anyhow::Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..1_000 {
        if held.len() == count {
            break;
        }
        // Tests run side by side, so each looks elsewhere; what is found decides nothing that a test
        // observes.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))) {
            held.push(listener);
        }
    }
    ensure!(
        held.len() == count,
        "there are no {count} free ports in {RANGE:?}"
    );
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
