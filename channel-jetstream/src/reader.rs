//! Readers: from a position on, without acknowledgements, and without trust.
//!
//! A server never sends a message twice to such a reader, so a reader begins anew at its position whenever a
//! message may have been missed: a number of the consumer is missing, a heartbeat fails to come, what is
//! there does not come, or the connection was cut. If that does not help, it asks for the one message at its
//! position: it may be one that no client can take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_channel::ChannelError;
use millrace_channel::remote::{Entries, Entry, Read};

use crate::connect::Connection;
use crate::error::storage;
use crate::following::{Came, Following};
use crate::partition::Inner;

/// How long a reader that was told not to wait waits for what is there.
const ANSWERS: Duration = Duration::from_secs(10);
/// How long a read waits for messages that are stored and have not come yet, once it has one.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// How long heartbeats alone are taken while there is something to send.
const SILENT: Duration = Duration::from_secs(10);
/// The pauses before a reader begins anew.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A reader of the event stream.
#[derive(Debug)]
pub(crate) struct Reader {
    inner: Arc<Inner>,
    following: Following,
    failures: u32,
    /// Since when nothing has come of what is there.
    silent: Option<Instant>,
    /// Number and fingerprint of what was read last: the log must still have it when the reader begins anew.
    last: Option<(u64, u64)>,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(inner: Arc<Inner>, from: u64, below: Option<(u64, u64)>) -> Self {
        let following = Following::new(&inner.names.events, from, inner.max_payload);
        Self {
            inner,
            following,
            failures: 0,
            silent: None,
            last: below,
        }
    }

    /// Receives at least one message, however often it has to begin anew.
    async fn receive(&mut self) -> Result<(), ChannelError> {
        loop {
            if self.inner.known.has_lost() {
                return Err(storage("the log has lost its end"));
            }
            if self.following.session.is_none() && !self.begin().await? {
                continue;
            }
            if !self.following.received.is_empty() {
                return Ok(());
            }
            match self.following.receive().await {
                Came::Message(raw) => {
                    (self.failures, self.silent) = (0, None);
                    self.following.keep(*raw);
                    return Ok(());
                }
                Came::Sign if self.is_missing_some() => self.give_up(),
                Came::Sign => {}
                Came::Broken => self.give_up(),
            }
        }
    }

    /// Whether the consumer is alive and does not send what is there, as on a replica that stalls.
    fn is_missing_some(&mut self) -> bool {
        let known = &self.inner.known;
        let ends = known.ends();
        if self.following.at.max(ends.start) >= ends.end || known.is_away() {
            self.silent = None;
            return false;
        }
        self.silent.get_or_insert_with(Instant::now).elapsed() > SILENT
    }

    fn give_up(&mut self) {
        self.failures += 1;
        self.silent = None;
        if let Some(session) = self.following.session.take() {
            self.inner.readers.give_up(session.number);
        }
    }

    /// Begins anew behind what was received; `false`: not this time.
    async fn begin(&mut self) -> Result<bool, ChannelError> {
        if self.failures > 0 {
            let pause = PAUSES.0 * 2u32.saturating_pow(self.failures.min(8));
            tokio::time::sleep(pause.min(PAUSES.1)).await;
        }
        // Before anything is read: what comes may be something else than what was there.
        if let Err(error) = self.check_last().await {
            self.failures += 1;
            return if self.inner.known.has_lost() {
                Err(error)
            } else {
                Ok(false)
            };
        }
        if self.failures > 1 && self.following.received.is_empty() && self.look_alone().await {
            return Ok(true);
        }
        let Ok(connection) = self.inner.readers.connection().await else {
            self.failures += 1;
            return Ok(false);
        };
        let Connection { client, cuts, number } = connection.clone();
        let mut cuts = cuts;
        cuts.mark_unchanged();
        // What was received already counts, so this begins behind it.
        let received = self.following.received.back();
        let at = received.map_or(self.following.at, |last| last.sequence + 1);
        match self.following.begin(client, Some(cuts), number, at).await {
            Ok(session) => {
                self.following.session = Some(session);
                Ok(true)
            }
            Err(_) => self.failed(&connection),
        }
    }

    fn failed(&mut self, connection: &Connection) -> Result<bool, ChannelError> {
        self.failures += 1;
        self.inner.readers.give_up(connection.number);
        Ok(false)
    }

    /// What was read last must still be there, unless it was deleted since.
    async fn check_last(&self) -> Result<(), ChannelError> {
        let Some((sequence, print)) = self.last else {
            return Ok(());
        };
        let found = self.inner.stored(sequence).await?;
        let is_it = match &found {
            Some(raw) => raw.print() == print,
            None => self.inner.look().await?.state.first_sequence > sequence,
        };
        if is_it {
            return Ok(());
        }
        self.inner.known.lose();
        Err(storage("the log has lost its end"))
    }

    /// Asks for the one message at the reader's place: it may be the one that breaks clients. `true`: it has
    /// come.
    async fn look_alone(&mut self) -> bool {
        let at = self.following.at;
        match self.inner.stored(at).await {
            Ok(Some(raw)) => {
                self.following.keep(raw);
                self.failures = 0;
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Gives out what was received, up to the next number that is missing.
    fn give(&mut self, max_entries: usize, max_bytes: usize) -> Read {
        let following = &mut self.following;
        let first = following
            .received
            .front()
            .map_or(following.at, |raw| raw.sequence);
        let deleted = (first > following.at).then_some(following.at..first);
        following.at = following.at.max(first);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(raw) = following.received.front() {
            let is_full = !entries.is_empty() && (entries.len() >= max_entries || bytes >= max_bytes);
            if is_full || raw.sequence > following.at {
                break;
            }
            let Some(raw) = following.received.pop_front() else {
                break;
            };
            following.bytes = following.bytes.saturating_sub(raw.payload.len() + 512);
            if raw.sequence < following.at {
                continue;
            }
            bytes += raw.payload.len();
            entries.push(self.inner.entry(&raw));
            following.at = raw.sequence + 1;
        }
        if let Some(Entry { number, print, .. }) = entries.last() {
            self.last = Some((*number, *print));
            self.inner.known.saw(*number);
        }
        Read {
            entries,
            next: self.following.at,
            deleted,
        }
    }

    /// Takes what has come meanwhile, and waits a little for what is on its way, so that a read gives more
    /// than one.
    async fn take_more(&mut self, max_entries: usize, max_bytes: usize) {
        let until = tokio::time::Instant::now() + ON_ITS_WAY;
        while self.following.received.len() < max_entries && self.following.bytes < max_bytes {
            let last = self.following.received.back().map_or(0, |last| last.sequence);
            let is_more = last + 1 < self.inner.known.ends().end && self.following.session.is_some();
            let came = match self.following.received_already() {
                Some(came) => came,
                None if is_more => match tokio::time::timeout_at(until, self.following.receive()).await {
                    Ok(came) => came,
                    Err(_) => return,
                },
                None => return,
            };
            match came {
                Came::Message(raw) => self.following.keep(*raw),
                Came::Sign => {}
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
        if self.following.received.is_empty() {
            if !waits && self.following.at >= end {
                return Ok(Read {
                    next: self.following.at,
                    ..Read::default()
                });
            }
            if waits {
                self.receive().await?;
            } else {
                let received = tokio::time::timeout(ANSWERS, self.receive()).await;
                received.map_err(|_| storage("the servers do not answer"))??;
            }
        }
        self.take_more(max_entries, max_bytes).await;
        Ok(self.give(max_entries, max_bytes))
    }

    fn number(&self) -> u64 {
        self.following.at
    }

    fn read_ahead(&self) -> usize {
        self.following.bytes
    }
}
