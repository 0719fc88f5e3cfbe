//! Whether an error concerns the target, or tells that this process or machine has run out of something.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use millrace_model::Shortage;
use rustix::io::Errno;

/// The shortage behind this error, wherever the error came from.
pub(crate) fn of(error: &io::Error) -> Option<Shortage> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Shortage::Descriptors),
        Errno::NOBUFS | Errno::NOMEM => Some(Shortage::Memory),
        _ => None,
    }
}

/// The shortage behind this error of connecting to `address`.
///
/// "Cannot assign requested address" means two things. If the machine has no address of that family at all,
/// the target cannot be reached from here, which is a failed attempt. Otherwise its local ports are used up,
/// which passes.
pub(crate) fn while_connecting(error: &io::Error, address: SocketAddr) -> Option<Shortage> {
    if error.kind() != io::ErrorKind::AddrNotAvailable {
        return of(error);
    }
    match has_local_address_for(address) {
        Ok(()) => Some(Shortage::Ports),
        Err(error) => of(&error),
    }
}

/// Whether descriptors are short. A resolver library that gets none reports the name as unknown.
pub(crate) fn of_descriptors() -> Option<Shortage> {
    let spare = || std::fs::File::open("/dev/null");
    spare()
        .and_then(|first| Ok((first, spare()?)))
        .err()
        .as_ref()
        .and_then(of)
}

/// Connecting a datagram socket sends nothing and takes no TCP port: it only chooses the address to send
/// from.
fn has_local_address_for(address: SocketAddr) -> io::Result<()> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any)?.connect(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn only_what_is_ours_is_a_shortage() {
        let cases = [
            (Errno::MFILE, Some(Shortage::Descriptors)),
            (Errno::NFILE, Some(Shortage::Descriptors)),
            (Errno::NOBUFS, Some(Shortage::Memory)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::CONNREFUSED, None),
            (Errno::HOSTUNREACH, None),
            (Errno::NETUNREACH, None),
            (Errno::TIMEDOUT, None),
            (Errno::ACCESS, None),
            (Errno::AFNOSUPPORT, None),
        ];
        let loopback = "127.0.0.1:9".parse().expect("an address");
        for (errno, expected) in cases {
            assert_eq!(of(&error(errno)), expected, "{errno}");
            assert_eq!(while_connecting(&error(errno), loopback), expected, "{errno}");
        }
        assert_eq!(of(&io::Error::other("no number")), None);
    }

    #[test]
    fn an_address_that_cannot_be_assigned_is_a_shortage_only_where_the_machine_has_one() {
        let unassignable = error(Errno::ADDRNOTAVAIL);
        let here = "127.0.0.1:9".parse().expect("an address");
        assert_eq!(while_connecting(&unassignable, here), Some(Shortage::Ports));
        // No socket can be connected to this address: there is no interface with that number.
        let nowhere = "[fe80::1%4294967295]:9".parse().expect("an address");
        assert_eq!(while_connecting(&unassignable, nowhere), None);
    }

    #[test]
    fn descriptors_are_not_short_here() {
        assert_eq!(of_descriptors(), None);
    }
}
