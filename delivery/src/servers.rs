//! Which servers a foreign client may connect to, one that connects by itself: their addresses are judged
//! before there is a client.
//!
//! Such a client looks the name up again when it connects, and cannot be
//! made to ask us then. So a name server that gives another answer the second time is not noticed.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};

use rustix::io::Errno;

use crate::guard::Guard;

/// Why a server is not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// One of its addresses is refused.
    Refused(String),
    /// It has no address now.
    NotFound(String),
    /// It cannot be judged now, for want of descriptors for example.
    Unknown(String),
}

/// Judges all addresses of a server, as it is unknown which of them a client uses. Looks the name up;
/// blocking.
///
/// # Errors
/// Why it is not connected to.
pub fn judge(guard: &Guard, host: &str, port: u16) -> Result<(), Unfit> {
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let found = (name.unwrap_or(host), port).to_socket_addrs();
    let found = found.and_then(|found| {
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(io::Error::other("it has no address"));
        }
        Ok(found)
    });
    let found = found.map_err(|error| Unfit::NotFound(format!("name not found: {host} ({error})")))?;
    for address in found {
        let refused = |refused| Unfit::Refused(format!("{host}:{port}: {refused}"));
        guard.check_host(host, address).map_err(refused)?;
        let is_own = is_of_this_machine(UdpSocket::bind((address.ip(), 0)));
        let is_own = is_own
            .map_err(|error| Unfit::Unknown(format!("{host}:{port}: it cannot be judged now ({error})")))?;
        if is_own {
            // A connection to an address of this machine comes from that same address.
            guard.check_connected(address, address).map_err(refused)?;
        }
    }
    Ok(())
}

/// Only an own address can be bound. An attempt that fails for another reason tells nothing.
fn is_of_this_machine(bound: io::Result<UdpSocket>) -> io::Result<bool> {
    match bound {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        // A machine without IPv6 has none of its addresses.
        Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::NotFound(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_its_addresses_in_every_dress() {
        let guard = Guard {
            refuse: vec!["0.0.0.0:9090".parse().expect("an address")],
            ..Guard::default()
        };
        for (host, port) in [
            ("169.254.169.254", 80),
            ("2852039166", 80),
            ("0xa9fea9fe", 80),
            ("[::ffff:169.254.169.254]", 80),
            ("[fd00:ec2::254]", 9092),
            ("[fe80::1]", 9092),
            ("0.0.0.0", 9092),
            ("127.0.0.1", 9090),
            ("localhost", 9090),
            ("127.1", 9090),
        ] {
            let verdict = judge(&guard, host, port).expect_err(host);
            assert!(
                matches!(&verdict, Unfit::Refused(why) if why.starts_with(&format!("{host}:{port}: connections to "))),
                "{verdict}"
            );
        }
        for host in ["127.0.0.1", "[::1]", "10.0.0.1", "localhost"] {
            assert_eq!(judge(&guard, host, 9092), Ok(()), "{host}");
        }
        let verdict = judge(&guard, "nowhere.invalid", 1).expect_err("there is none");
        assert!(matches!(verdict, Unfit::NotFound(_)), "{verdict}");
    }

    #[test]
    fn an_address_is_foreign_only_if_the_system_says_so() {
        let failed = |errno: Errno| is_of_this_machine(Err(errno.into()));
        for (ip, is_own) in [("127.0.0.1", true), ("127.3.4.5", true), ("192.0.2.1", false)] {
            let bound = UdpSocket::bind((ip, 0));
            assert_eq!(is_of_this_machine(bound).ok(), Some(is_own), "{ip}");
        }
        assert_eq!(failed(Errno::AFNOSUPPORT).ok(), Some(false));
        for shortage in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ACCESS,
        ] {
            assert!(failed(shortage).is_err(), "{shortage}");
        }
    }
}
