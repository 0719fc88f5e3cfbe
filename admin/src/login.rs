//! Who asks, and whether their role lets them.

use std::sync::Arc;

use http::{Extensions, HeaderMap, Request};
use millrace_access::{Gate, Identity, Refusal, Role};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::audit;

/// Who may ask the admin listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Login {
    gate: Arc<Gate>,
    refused: Family<CodeLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// What anybody may ask: whether the process lives and is ready.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

// === impl Login ===

impl Login {
    /// By this gate. Registers what is counted.
    pub fn new(gate: Arc<Gate>, registry: &mut Registry) -> Self {
        let refused = Family::default();
        registry.register(
            "millrace_admin_requests_refused",
            "Requests to the admin listener of somebody who is not known, or has not the role",
            refused.clone(),
        );
        Self { gate, refused }
    }

    /// Who asks, if they must say; and whether they may.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<Option<Identity>, Refusal> {
        if OPEN.contains(&request.uri().path()) && audit::reads(request.method()) {
            return Ok(None);
        }
        let role = if audit::reads(request.method()) {
            Role::Read
        } else {
            Role::Operate
        };
        self.known(request.headers(), request.extensions(), role)
            .map(Some)
            .inspect_err(|refusal| {
                let code = refusal.code();
                self.refused.get_or_create_owned(&CodeLabel { code }).inc();
            })
    }

    /// Whether who shows this may read (still), for answers that have no end.
    pub(crate) fn may_read(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        self.known(headers, extensions, Role::Read).is_ok()
    }

    fn known(&self, headers: &HeaderMap, extensions: &Extensions, role: Role) -> Result<Identity, Refusal> {
        let who = self.gate.identify(headers, extensions)?;
        who.has_role(role).map(|()| who)
    }
}
