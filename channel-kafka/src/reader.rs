//! Readers: from a position on, without acknowledgements, and without trust.
//!
//! A reader begins anew at its position when its client cannot go on there, and when nothing comes although
//! something is there. Before it does it looks whether what it read last still is what it was: a topic that
//! has lost its end gives other records the same numbers.

use std::sync::Arc;
use std::time::Duration;

use millrace_channel::ChannelError;
use millrace_channel::remote::{Entries, Entry, Read};
use tokio::time::{Instant, timeout};

use crate::error::storage;
use crate::following::{Came, Following};
use crate::partition::{Inner, PARTITION};

/// How long a reader that was told not to wait waits for what is there.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long a read waits for records that are stored and have not come yet, once it has one.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// How often a reader that waits looks whether something should have come, and after how long that is a
/// fault.
const SILENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The pauses before a reader begins anew.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A reader of the topic of the events.
#[derive(Debug)]
pub(crate) struct Reader {
    inner: Arc<Inner>,
    following: Following,
    failures: u32,
    /// Since when nothing has come.
    silent: Instant,
    /// Number and fingerprint of what was read last: the log must still have it when the reader begins anew.
    last: Option<(u64, u64)>,
    /// Numbers that were deleted before they were read.
    deleted: Option<std::ops::Range<u64>>,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(inner: Arc<Inner>, from: u64, below: Option<(u64, u64)>) -> Self {
        let following = Following::new(&inner.names.events, PARTITION, from, inner.decoder());
        Self {
            inner,
            following,
            failures: 0,
            silent: Instant::now(),
            last: below,
            deleted: None,
        }
    }

    /// Whether there is something to give.
    fn has_some(&self) -> bool {
        !self.following.received.is_empty()
            || self.following.through > self.following.at
            || self.deleted.is_some()
    }

    /// Receives until there is something to give, however often it has to begin anew. The end that a client
    /// tells may lie behind by now.
    async fn receive(&mut self) -> Result<(), ChannelError> {
        loop {
            if self.inner.known.has_lost() {
                return Err(storage("the log has lost its end"));
            }
            if self.has_some() {
                return Ok(());
            }
            if self.following.session.is_none() {
                self.begin().await?;
                continue;
            }
            match timeout(SILENT.0, self.following.receive(&self.inner.known)).await {
                Ok(Came::Record | Came::End) => self.failures = 0,
                Ok(Came::Sign) => {}
                Ok(Came::Broken) => self.give_up(),
                Err(_) => {
                    if self.is_missing_some() {
                        self.give_up();
                    }
                }
            }
        }
    }

    /// Whether something should have come. Behind the end that was told a transaction of somebody else may
    /// have ended, which has a number too: whoever begins anew sees that nothing stands there.
    fn is_missing_some(&self) -> bool {
        let Some(session) = &self.following.session else {
            return false;
        };
        let is_more = self.following.next() < self.inner.known.stable();
        let patience = if session.is_at_end { SILENT.0 } else { SILENT.1 };
        is_more && !self.inner.known.is_away() && self.silent.elapsed() > patience
    }

    fn give_up(&mut self) {
        self.failures += 1;
        self.following.session = None;
    }

    /// Begins anew behind what was received, if Kafka answers.
    async fn begin(&mut self) -> Result<(), ChannelError> {
        if self.failures > 0 {
            let pause = PAUSES.0 * 2u32.saturating_pow(self.failures.min(8));
            tokio::time::sleep(pause.min(PAUSES.1)).await;
        }
        // Before anything is read: what comes may be something else than what was there.
        if let Err(error) = self.check().await {
            self.failures += 1;
            return match self.inner.known.has_lost() {
                true => Err(error),
                false => Ok(()),
            };
        }
        let decided = self.inner.known.stable();
        if self.following.begin(&self.inner.connect, decided).is_err() {
            self.failures += 1;
        }
        self.silent = Instant::now();
        Ok(())
    }

    /// What was read last must still be there, unless it was deleted since.
    async fn check(&mut self) -> Result<(), ChannelError> {
        self.inner.look().await?;
        let ends = self.inner.known.ends();
        if let Some((number, print)) = self.last {
            let found = self.inner.lookup.get([number], &ends).await?.remove(&number);
            let is_it = found.map_or(number < ends.start, |entry| entry.print == print);
            if !is_it {
                self.inner.known.lose();
                return Err(storage("the log has lost its end"));
            }
        }
        if self.following.next() < ends.start {
            let from = self.following.at;
            if self.following.received.is_empty() {
                self.following.at = ends.start;
                self.deleted = Some(from..ends.start);
            }
        }
        Ok(())
    }

    /// Gives out what was received.
    fn give(&mut self, max_entries: usize, max_bytes: usize) -> Read {
        let following = &mut self.following;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some((_, size)) = following.received.front() {
            let is_full = !entries.is_empty() && (entries.len() >= max_entries || bytes + size > max_bytes);
            if is_full {
                break;
            }
            let Some((entry, size)) = following.received.pop_front() else {
                break;
            };
            following.bytes = following.bytes.saturating_sub(size);
            bytes += size;
            following.at = entry.number + 1;
            entries.push(entry);
        }
        if following.received.is_empty() {
            following.at = following.at.max(following.through);
        }
        if let Some(Entry { number, print, .. }) = entries.last() {
            self.last = Some((*number, *print));
            self.inner.known.saw(*number);
        }
        Read {
            entries,
            next: self.following.at,
            deleted: self.deleted.take(),
        }
    }

    /// Takes what has come meanwhile, and waits a little for what is on its way, so that a read gives more
    /// than one.
    async fn take_more(&mut self, max_entries: usize, max_bytes: usize) {
        let until = Instant::now() + ON_ITS_WAY;
        while self.following.received.len() < max_entries && self.following.bytes < max_bytes {
            let is_more =
                self.following.next() < self.inner.known.ends().end && self.following.session.is_some();
            let known = &self.inner.known;
            let came = match self.following.received_already(known) {
                Some(came) => came,
                None if is_more => {
                    match tokio::time::timeout_at(until, self.following.receive(known)).await {
                        Ok(came) => came,
                        Err(_) => return,
                    }
                }
                None => return,
            };
            match came {
                Came::Record | Came::Sign => {}
                Came::End => return,
                Came::Broken => return self.give_up(),
            }
        }
    }
}

#[async_trait::async_trait]
impl Entries for Reader {
    async fn next(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        waits: bool,
    ) -> Result<Read, ChannelError> {
        let end = self.inner.known.ends().end;
        if self.following.at > end || self.inner.known.has_lost() {
            return Err(storage(
                "the log ends before what was read already: it has lost its end",
            ));
        }
        if !self.has_some() {
            if !waits && self.following.at >= end {
                return Ok(Read {
                    next: self.following.at,
                    ..Read::default()
                });
            }
            self.silent = Instant::now();
            if waits {
                self.receive().await?;
            } else {
                let received = timeout(ANSWERS, self.receive()).await;
                received.map_err(|_| storage("the servers do not answer"))??;
            }
        }
        if !self.following.received.is_empty() {
            self.take_more(max_entries, max_bytes).await;
        }
        Ok(self.give(max_entries, max_bytes))
    }

    fn number(&self) -> u64 {
        self.following.at
    }

    fn read_ahead(&self) -> usize {
        self.following.bytes
    }
}
