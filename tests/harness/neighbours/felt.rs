//! What an attack visibly does, so that no test passes because nothing was done.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Mesh;

use super::rows::Attack;

/// The counts that the hostile tenant keeps.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages answered with 202.
    pub(super) accepted: AtomicU64,
    /// Messages answered otherwise, or not at all.
    pub(super) refused: AtomicU64,
    /// Held connections opened so far, reopened ones included.
    pub(super) opened: AtomicU64,
    /// Held connections open now.
    pub(super) open: AtomicU64,
}

/// What is visible of an attack now.
#[derive(Clone, Copy, Debug)]
pub struct Felt {
    /// Hostile messages answered with 202.
    pub accepted: u64,
    /// Hostile messages answered otherwise, or not at all.
    pub refused: u64,
    /// Held connections opened so far; if more than are open, the mesh has ended some.
    pub opened: u64,
    /// Held connections that are open at this end.
    pub open: u64,
    /// Events that came to the hostile subscriber.
    pub received: u64,
    /// Questions that the name server left without an answer.
    pub unanswered: u64,
    /// Bytes of the memory budget that attempts and replies hold; nearly all of them are hostile.
    pub held: u64,
    /// Descriptors that the mesh has open.
    pub descriptors: usize,
    /// Events of hostile Brokers that were routed, whatever their outcome.
    pub routed: u64,
    /// Debts of orphans that were dropped.
    pub dropped_debts: f64,
}

// === impl Felt ===

impl Felt {
    pub(super) async fn now(mesh: &Mesh, attack: &Attack, counts: &Counts) -> anyhow::Result<Self> {
        let admin = mesh.admin();
        let routed = admin.series("millrace_dispatch_routed_events_total").await?;
        let hostile = routed
            .iter()
            .filter(|(labels, _)| !labels.contains("broker=\"default\""));
        let received = attack.subscribers.iter().map(|subscriber| subscriber.received());
        Ok(Self {
            accepted: counts.accepted.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            opened: counts.opened.load(Ordering::Relaxed),
            open: counts.open.load(Ordering::Relaxed),
            received: received.sum(),
            unanswered: attack.names.as_ref().map_or(0, |names| names.unanswered()),
            held: admin.memory("in-flight").await? + admin.memory("replies").await?,
            descriptors: mesh.running().descriptors()?,
            routed: hostile.map(|(_, value)| *value as u64).sum(),
            dropped_debts: admin.metric("millrace_dispatch_dropped_debts_total").await?,
        })
    }
}
