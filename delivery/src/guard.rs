//! The guard on outgoing connections (design §6): checked after DNS, on each connection.

use std::net::{IpAddr, SocketAddr};

/// Which addresses deliveries may go to.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Refuse loopback (role `dispatcher`).
    pub refuse_loopback: bool,
    /// Addresses never to connect to, beside link-local and metadata addresses: Millrace's own admin listener.
    pub refuse: Vec<SocketAddr>,
}

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connections to {address} are refused: {reason}")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// A sentence for people.
    pub reason: &'static str,
}
