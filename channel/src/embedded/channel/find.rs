//! Looks events up by id: in the log, and among the copies of events whose segment is gone.

use super::Embedded;
use super::read::log_fault;
use crate::embedded::blocking::blocking;
use crate::{ChannelError, Position};

/// Copies that one question to the state database looks at, so that others come in between.
const PAGE: usize = 1_000;
/// Copies looked at in all. There is no index of them: they are few unless very much is parked.
const MAX_COPIES: usize = 100_000;

// === impl Embedded ===

impl Embedded {
    /// The newest positions of events with that id and source, in order.
    pub(super) async fn find_by_id(
        &self,
        id: &str,
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Position>, ChannelError> {
        let _one = self.finding.lock().await;
        let (log, name, from) = (self.log.clone(), id.to_owned(), source.map(str::to_owned));
        let found = blocking(self.span.clone(), move || log.find(&name, from.as_deref(), limit)).await;
        let mut found = found.map_err(|_| ChannelError::Closed)?.map_err(log_fault)?;
        if found.len() < limit && self.state.copies() > 0 {
            let mut copied = self.find_copies(id, source).await?;
            copied.retain(|offset| !found.contains(offset));
            let surplus = (copied.len() + found.len()).saturating_sub(limit);
            copied.drain(..surplus.min(copied.len()));
            copied.append(&mut found);
            copied.sort_unstable();
            found = copied;
        }
        Ok(found
            .into_iter()
            .map(|offset| Position { partition: 0, offset })
            .collect())
    }

    async fn find_copies(&self, id: &str, source: Option<&str>) -> Result<Vec<u64>, ChannelError> {
        let (mut found, mut after, mut seen) = (Vec::new(), Some(-1), 0);
        while let Some(from) = after.filter(|_| seen < MAX_COPIES) {
            let (maybe, next) = self
                .state
                .copies_holding(id.as_bytes().to_vec(), from, PAGE)
                .await?;
            for offset in maybe {
                let copy = self.state.copy(offset).await?;
                let is_it = copy.is_some_and(|copy| {
                    copy.event.id() == id && source.is_none_or(|source| copy.event.source() == source)
                });
                found.extend(is_it.then_some(offset));
            }
            (after, seen) = (next, seen + PAGE);
        }
        Ok(found)
    }

    /// Makes the index of the next segment that has been sealed; says whether there was one.
    pub(super) async fn index_next(&self) -> bool {
        let log = self.log.clone();
        match blocking(self.span.clone(), move || log.index_next()).await {
            Ok(Ok(was_one)) => was_one,
            Ok(Err(error)) => {
                self.span.in_scope(|| tracing::debug!(%error, "a segment was not indexed; it is tried again when an event is looked up"));
                false
            }
            Err(_) => false,
        }
    }
}
