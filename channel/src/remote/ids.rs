//! Finds events by their id: an index in memory, made when somebody asks, and kept up when somebody asks
//! again. What nobody asks costs nothing.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use super::servers::{Entry, Servers};
use crate::ChannelError;

/// Numbers that are indexed: the newest.
const KEPT: u64 = 500_000;
/// Entries read at a time, and their bytes.
const AT_A_TIME: (usize, usize) = (512, 4 << 20);

/// The index.
#[derive(Debug, Default)]
pub(super) struct Ids {
    hashes: RandomState,
    /// By the number; the hash of the id.
    by_number: BTreeMap<u64, u64>,
    /// Where to read on.
    next: u64,
}

// === impl Ids ===

impl Ids {
    /// The numbers of events that may have that id, in order, once everything up to the log's end is indexed.
    pub(super) async fn find(&mut self, servers: &dyn Servers, id: &str) -> Result<Vec<u64>, ChannelError> {
        self.follow(servers).await?;
        let wanted = self.hashes.hash_one(id);
        let all = self.by_number.iter();
        Ok(all
            .filter(|(_, hash)| **hash == wanted)
            .map(|(number, _)| *number)
            .collect())
    }

    async fn follow(&mut self, servers: &dyn Servers) -> Result<(), ChannelError> {
        let ends = servers.ends();
        let first = ends.start.max(ends.end.saturating_sub(KEPT));
        self.by_number = self.by_number.split_off(&first);
        self.next = self.next.max(first);
        if self.next >= ends.end {
            return Ok(());
        }
        let mut reader = servers.reader(self.next, None);
        while reader.number() < ends.end {
            let read = reader.next(AT_A_TIME.0, AT_A_TIME.1, false).await?;
            for Entry { number, event, .. } in &read.entries {
                if let Some(event) = event {
                    self.by_number.insert(*number, self.hashes.hash_one(event.id()));
                }
            }
            let is_at_end = self.next == read.next;
            self.next = read.next;
            if is_at_end {
                break;
            }
        }
        Ok(())
    }
}
