//! The doors of a process, opened: its addresses are bound, and secured if they speak https.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use millrace_serve::{Listener, Tls};

use super::config::Doors;
use super::rereads::{Reader, RereadMetrics};

/// The bound listeners, and what secures them.
pub(super) struct OpenDoors {
    pub(super) ingress: Listener,
    pub(super) admin: Listener,
    pub(super) probes: Option<Listener>,
    pub(super) tls: Option<Reader<Tls>>,
}

// === impl OpenDoors ===

impl OpenDoors {
    /// Reads the certificate, and binds the addresses.
    pub(super) fn bind(doors: &Doors, metrics: &RereadMetrics) -> anyhow::Result<Self> {
        let tls = doors.tls.as_ref().map(|files| {
            let paths = [
                Some(&files.certificate),
                Some(&files.key),
                files.client_authorities.as_ref(),
            ];
            let paths = paths.into_iter().flatten().cloned().collect();
            Reader::begin(paths, metrics.clone(), || Tls::load(files.clone()))
        });
        let tls = tls
            .transpose()
            .context("the certificate for https cannot be used")?;
        let shared = tls.as_ref().map(Reader::what);
        if let Some(tls) = &shared {
            metrics.certificate(tls);
        }
        let bind = |plain, secured: Option<SocketAddr>| {
            let secured = secured.zip(shared.clone() as Option<Arc<Tls>>);
            Listener::bind_all(plain, secured)
        };
        Ok(Self {
            ingress: bind(doors.listen, doors.listen_tls)?,
            admin: bind(doors.admin_listen, doors.admin_listen_tls)?,
            probes: doors.probe_listen.map(Listener::bind).transpose()?,
            tls,
        })
    }

    /// The addresses that nothing may be delivered to.
    pub(super) fn admin_addresses(&self) -> Vec<SocketAddr> {
        let listeners = [Some(&self.admin), self.probes.as_ref()];
        let addresses = listeners.into_iter().flatten().flat_map(Listener::addresses);
        addresses.map(|address| address.socket).collect()
    }
}
