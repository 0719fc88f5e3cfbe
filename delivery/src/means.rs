//! What a slot holds, or waits for, before its next attempt can connect.

use std::time::Duration;

use http::Uri;
use millrace_model::Shortage;

use crate::connect::{self, connect};
use crate::connector::Shared;
use crate::endpoint::Endpoint;
use crate::exchange::Open;
use crate::no_answer::Unmade;
use crate::outgoing::{Owner, Short};
use crate::permits::{Pending, Permit};
use crate::resolve::{Lookup, Resolved, Resolver};
use crate::tls::Terms;

/// What the next attempt needs before it can connect, as far as the slot has it.
#[derive(Debug, Default)]
pub(crate) struct Means {
    pub(crate) permit: Option<Permit>,
    pub(crate) in_line: Option<Pending>,
    pub(crate) lookup: Option<Lookup>,
    pub(crate) resolved: Option<Resolved>,
    pub(crate) short: Option<Short>,
}

// === impl Means ===

impl Means {
    /// A new connection. The name is looked up before a permit is asked for, so that no permit is held
    /// meanwhile.
    pub(crate) async fn connect(
        &mut self,
        shared: &Shared,
        owner: &Owner,
        uri: &Uri,
        timeout: Duration,
        terms: Terms<'_>,
    ) -> Result<Box<Open>, Unmade> {
        let endpoint = Endpoint::of(uri)?;
        // The addresses stay valid until the permit is there: another lookup would begin from the start.
        let resolved = match self.resolved.take().filter(|resolved| resolved.is_of(&endpoint)) {
            Some(resolved) => resolved,
            None => {
                if !Resolver::knows(&endpoint) {
                    self.give_permit_up();
                }
                let resolver = &shared.resolver;
                resolver.addresses(owner.id, &endpoint, &mut self.lookup).await?
            }
        };
        let addresses = resolved.with_port(endpoint.port);
        let Some(permit) = self.permit(owner) else {
            self.resolved = Some(resolved);
            return Err(Unmade::Short(Shortage::Connections));
        };
        let limit = timeout.min(connect::LIMIT);
        let (guard, tls) = (&shared.options.guard, &shared.tls);
        let wire = connect(&endpoint, &addresses, guard, (tls, terms), limit).await?;
        shared.metrics.connections.inc();
        Ok(Box::new(Open::new(endpoint, terms, wire, permit).await?))
    }

    /// A permit for a connection; `None`: the slot now waits in line for one.
    fn permit(&mut self, owner: &Owner) -> Option<Permit> {
        if self.permit.is_none() {
            match &mut self.in_line {
                Some(pending) => self.permit = pending.granted(),
                None => match owner.ask() {
                    Ok(permit) => self.permit = Some(permit),
                    Err(pending) => self.in_line = Some(pending),
                },
            }
        }
        let permit = self.permit.take()?;
        self.in_line = None;
        Some(permit)
    }

    /// Gives the permit up for others, while this slot waits for something else.
    fn give_permit_up(&mut self) {
        (self.permit, self.in_line) = (None, None);
    }
}
