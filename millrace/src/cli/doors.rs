//! The flags that say where a process can be called, and by whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use millrace_serve::{ClientCertificates, TlsFiles};

use crate::cli::values::{MaybeAddress, parse_address, parse_address_or_off};
use crate::role::config::Doors;

/// Where events, origins and operators call.
#[derive(Args, Clone, Debug)]
pub(crate) struct DoorArgs {
    /// Where events and the calls of origins come in by http; port 0 takes any free one, `off` turns http
    /// off
    #[arg(long, value_name = "ADDR", env = "MILLRACE_LISTEN", default_value = "127.0.0.1:8080", value_parser = parse_address_or_off)]
    listen: MaybeAddress,
    /// Where they come in by https
    #[arg(long, value_name = "ADDR", env = "MILLRACE_LISTEN_TLS", value_parser = parse_address)]
    listen_tls: Option<SocketAddr>,
    /// Where the admin API, health and metrics are by http; port 0 takes any free one, `off` turns http off
    #[arg(long, value_name = "ADDR", env = "MILLRACE_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_parser = parse_address_or_off)]
    admin_listen: MaybeAddress,
    /// Where they are by https
    #[arg(long, value_name = "ADDR", env = "MILLRACE_ADMIN_LISTEN_TLS", value_parser = parse_address)]
    admin_listen_tls: Option<SocketAddr>,
    /// Where /healthz, /readyz and /metrics, and nothing else, are answered beside the admin listener, to
    /// whoever can connect: for the probes of a pod
    #[arg(long, value_name = "ADDR", env = "MILLRACE_PROBE_LISTEN", value_parser = parse_address)]
    probe_listen: Option<SocketAddr>,
    /// The certificate for https with those of its authorities, in PEM form. It is read again when it
    /// changes
    #[arg(long, value_name = "FILE", env = "MILLRACE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM form
    #[arg(long, value_name = "FILE", env = "MILLRACE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authorities whose client certificates are taken, in PEM form
    #[arg(
        long,
        value_name = "FILE",
        env = "MILLRACE_TLS_CLIENT_CA",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate
    #[arg(long, value_enum, env = "MILLRACE_TLS_CLIENTS", requires = "tls_client_ca")]
    tls_clients: Option<ClientsArg>,
    /// Who may call, what they may do, and how much. It is read again when it changes; `millrace access`
    /// makes its entries
    #[arg(long, value_name = "FILE", env = "MILLRACE_ACCESS")]
    access: Option<PathBuf>,
    /// Let anybody call: listen where other machines can connect although clients do not have to log in, or
    /// take an access file that only limits
    #[arg(long)]
    allow_anonymous: bool,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientsArg {
    /// It may show one
    Optional,
    /// It must show one
    Required,
}

// === impl DoorArgs ===

impl DoorArgs {
    /// The configuration that they make.
    ///
    /// # Errors
    /// A sentence, when they do not go together.
    pub(super) fn doors(&self) -> Result<Doors, String> {
        let (listen, admin_listen) = (self.listen.0, self.admin_listen.0);
        let all = [
            ("--listen", listen),
            ("--listen-tls", self.listen_tls),
            ("--admin-listen", admin_listen),
            ("--admin-listen-tls", self.admin_listen_tls),
        ];
        let given: Vec<_> = all
            .iter()
            .filter_map(|(flag, address)| Some((*flag, (*address)?)))
            .collect();
        self.check_logins(&given)?;
        each_its_own(&given)?;
        for (flag, plain, secured) in [
            ("--listen", listen, self.listen_tls),
            ("--admin-listen", admin_listen, self.admin_listen_tls),
        ] {
            if plain.is_none() && secured.is_none() {
                return Err(format!(
                    "{flag} is off, and {flag}-tls is not given: one of them is needed"
                ));
            }
        }
        let needs_tls = self.listen_tls.is_some() || self.admin_listen_tls.is_some();
        Ok(Doors {
            listen,
            listen_tls: self.listen_tls,
            admin_listen,
            admin_listen_tls: self.admin_listen_tls,
            probe_listen: self.probe_listen,
            access: self.access.clone(),
            allow_anonymous: self.allow_anonymous,
            anonymous: self.allow_anonymous || only_here([listen, self.listen_tls]),
            tls: self.tls(needs_tls)?,
        })
    }

    /// Clients of other machines have to log in, unless it is said that they need not.
    fn check_logins(&self, given: &[(&str, SocketAddr)]) -> Result<(), String> {
        let open = given.iter().find(|(_, address)| !address.ip().is_loopback());
        match open {
            Some((flag, address)) if !self.allow_anonymous && self.access.is_none() => Err(format!(
                "{flag} {address} can be reached from other machines, and clients do not have to log in: \
                 --access says who may call. If anybody may, add --allow-anonymous; else listen on 127.0.0.1 \
                 or [::1]"
            )),
            _ => Ok(()),
        }
    }

    fn tls(&self, is_needed: bool) -> Result<Option<TlsFiles>, String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) if is_needed => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: self.tls_client_ca.clone(),
                clients: match self.tls_clients {
                    Some(ClientsArg::Required) => ClientCertificates::Required,
                    Some(ClientsArg::Optional) | None => ClientCertificates::Optional,
                },
            })),
            (Some(_), _) => Err("--tls-cert is for https: add --listen-tls or --admin-listen-tls".to_owned()),
            _ if is_needed => Err("https needs --tls-cert and --tls-key".to_owned()),
            _ => Ok(None),
        }
    }
}

/// Whether no other machine can connect to these.
fn only_here(addresses: [Option<SocketAddr>; 2]) -> bool {
    addresses
        .iter()
        .flatten()
        .all(|address| address.ip().is_loopback())
}

fn each_its_own(given: &[(&str, SocketAddr)]) -> Result<(), String> {
    for (nth, (flag, address)) in given.iter().enumerate() {
        let same = given[..nth]
            .iter()
            .find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = same {
            return Err(format!(
                "{other} and {flag} are both {address}; each needs its own"
            ));
        }
    }
    Ok(())
}
