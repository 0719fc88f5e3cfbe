//! What a slot holds, or waits for, before its next attempt can connect.

use crate::outgoing::{Owner, Short};
use crate::permits::{Pending, Permit};
use crate::resolve::{Lookup, Resolved};

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
    /// A permit for a connection; `None`: the slot now waits in line for one.
    pub(crate) fn permit(&mut self, owner: &Owner) -> Option<Permit> {
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
    pub(crate) fn give_permit_up(&mut self) {
        (self.permit, self.in_line) = (None, None);
    }
}
