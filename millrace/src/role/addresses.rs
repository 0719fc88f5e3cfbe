//! Where a process can be called, once its addresses are bound.

use std::net::SocketAddr;

use millrace_delivery::own_ingress::OwnIngress;
use millrace_serve::Listener;

/// The addresses, as the first line on the standard output names them.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Addresses {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_tls: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_tls: Option<SocketAddr>,
}

// === impl Addresses ===

impl Addresses {
    /// The addresses of the two listeners.
    pub(super) fn of(ingress: &Listener, admin: &Listener) -> Self {
        Self {
            listen: ingress.plain(),
            listen_tls: ingress.secured(),
            admin: admin.plain(),
            admin_tls: admin.secured(),
        }
    }

    /// Which URLs lead back into this process.
    pub(crate) fn own_ingress(self) -> OwnIngress {
        OwnIngress {
            plain: self.listen,
            secured: self.listen_tls,
        }
    }

    /// Where events go in, by http if that is on.
    pub(crate) fn ingress_url(self) -> String {
        url(self.listen, self.listen_tls)
    }

    /// Where the admin API is, by http if that is on.
    pub(crate) fn admin_url(self) -> String {
        url(self.admin, self.admin_tls)
    }
}

fn url(plain: Option<SocketAddr>, secured: Option<SocketAddr>) -> String {
    let secured = secured.map(|address| format!("https://{address}"));
    let plain = plain.map(|address| format!("http://{address}"));
    // Every listener has one of them.
    plain.or(secured).unwrap_or_default()
}
