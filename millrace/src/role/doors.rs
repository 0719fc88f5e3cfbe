//! The doors of a process, opened: its addresses are bound, and secured if they speak https.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use millrace_access::Gate;
use millrace_event::Clock;
use millrace_serve::{Listener, Tls};

use super::config::Doors;
use super::rereads::{Reader, RereadMetrics};

/// The bound listeners, and what secures them.
pub(super) struct OpenDoors {
    pub(super) ingress: Listener,
    pub(super) admin: Listener,
    pub(super) probes: Option<Listener>,
    pub(super) tls: Option<Reader<Tls>>,
    pub(super) gate: Option<Reader<Gate>>,
}

// === impl OpenDoors ===

impl OpenDoors {
    /// Reads the certificate and who may call, and binds the addresses.
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
        let gate = doors.access.as_ref().map(|file| {
            Reader::begin(vec![file.clone()], metrics.clone(), || {
                Gate::load(file, Clock::System)
            })
        });
        let gate = gate.transpose().context("the access file cannot be used")?;
        check_logins(doors, gate.as_ref().map(Reader::what).as_deref())?;
        let shared = tls.as_ref().map(Reader::what);
        if let Some(tls) = &shared {
            metrics.certificate(tls);
        }
        remark_clear_text(doors, gate.as_ref().map(Reader::what).as_deref());
        let bind = |plain, secured: Option<SocketAddr>| {
            let secured = secured.zip(shared.clone() as Option<Arc<Tls>>);
            Listener::bind_all(plain, secured)
        };
        Ok(Self {
            ingress: bind(doors.listen, doors.listen_tls)?,
            admin: bind(doors.admin_listen, doors.admin_listen_tls)?,
            probes: doors.probe_listen.map(Listener::bind).transpose()?,
            tls,
            gate,
        })
    }

    /// The addresses that nothing may be delivered to.
    pub(super) fn admin_addresses(&self) -> Vec<SocketAddr> {
        let listeners = [Some(&self.admin), self.probes.as_ref()];
        let addresses = listeners.into_iter().flatten().flat_map(Listener::addresses);
        addresses.map(|address| address.socket).collect()
    }
}

/// An access file that lost its `authentication` must not open the doors.
fn check_logins(doors: &Doors, gate: Option<&Gate>) -> anyhow::Result<()> {
    anyhow::ensure!(
        doors.allow_anonymous || gate.is_none_or(Gate::asks_who_calls),
        "the access file has no `authentication`, so that anybody could call. If anybody may, add \
         --allow-anonymous"
    );
    Ok(())
}

/// Says where tokens can be read on their way.
fn remark_clear_text(doors: &Doors, gate: Option<&Gate>) {
    if !gate.is_some_and(Gate::asks_who_calls) {
        return;
    }
    let plain = [("--listen", doors.listen), ("--admin-listen", doors.admin_listen)];
    for (flag, address) in plain {
        let open = address.filter(|address| !address.ip().is_loopback());
        if let Some(address) = open {
            tracing::warn!(
                "{flag} {address} takes tokens in clear text: whoever can listen to the network can use them. \
                 {flag}-tls speaks https"
            );
        }
    }
}
