//! What a reader has received, and the client that receives it.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use millrace_channel::ChannelError;
use millrace_channel::remote::Entry;
use millrace_event::kafka::Decoder;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use crate::connect::{Connect, Dropped, Quiet};
use crate::end;
use crate::error::storage;
use crate::fence::is_passing;
use crate::known::Known;
use crate::raw;

/// Reads a topic on from a number.
#[derive(Debug)]
pub(crate) struct Following {
    topic: String,
    partition: i32,
    /// The number that is given out next.
    pub(crate) at: u64,
    /// Each with its bytes, in order.
    pub(crate) received: VecDeque<(Entry, usize)>,
    /// Of what was received and not given out.
    pub(crate) bytes: usize,
    /// Below this number nothing comes any more but what was received.
    pub(crate) through: u64,
    pub(crate) session: Option<Session>,
    decoder: Decoder,
}

/// A client that receives.
#[derive(Debug)]
pub(crate) struct Session {
    reader: Dropped<StreamConsumer<Quiet>>,
    /// Below it everything was decided when the client began: an end below shows nothing.
    decided: u64,
    /// It has come to the end, and to nothing else since.
    pub(crate) is_at_end: bool,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A record, which was kept.
    Record,
    /// The end of the log.
    End,
    /// An error that passes, or an end that is none.
    Sign,
    /// The client cannot go on at its place.
    Broken,
}

// === impl Following ===

impl Following {
    pub(crate) fn new(topic: &str, partition: i32, at: u64, decoder: Decoder) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            at,
            received: VecDeque::new(),
            bytes: 0,
            through: 0,
            session: None,
            decoder,
        }
    }

    /// Receives from behind what was received. `decided`: nothing below it is open any more.
    pub(crate) fn begin(&mut self, connect: &Connect, decided: u64) -> Result<(), ChannelError> {
        let reader = connect.reader::<StreamConsumer<Quiet>>()?;
        let from = i64::try_from(self.next()).unwrap_or(i64::MAX);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.partition, Offset::Offset(from))
            .map_err(storage)?;
        reader.assign(&list).map_err(storage)?;
        self.session = Some(Session {
            reader,
            decided,
            is_at_end: false,
        });
        Ok(())
    }

    /// The number that is received next.
    pub(crate) fn next(&self) -> u64 {
        let last = self.received.back();
        let next = last.map_or(self.at, |(last, _)| last.number + 1);
        next.max(self.at)
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self, known: &Known) -> Came {
        let Some(session) = &self.session else {
            return Came::Broken;
        };
        match session.reader.recv().await {
            Ok(message) => {
                let came = take(&message, &mut self.decoder, known, &self.topic);
                drop(message);
                self.keep(came)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// What has come already.
    pub(crate) fn received_already(&mut self, known: &Known) -> Option<Came> {
        self.receive(known).now_or_never()
    }

    fn keep(&mut self, (entry, bytes): (Entry, usize)) -> Came {
        if let Some(session) = &mut self.session {
            session.is_at_end = false;
        }
        if entry.number < self.next() {
            return Came::Sign;
        }
        self.bytes += bytes;
        self.received.push_back((entry, bytes));
        Came::Record
    }

    fn failed(&mut self, error: &KafkaError) -> Came {
        match error {
            KafkaError::PartitionEOF(_) => self.ended(),
            error if is_passing(error) => Came::Sign,
            _ => Came::Broken,
        }
    }

    /// The client tells an end. Only what is no record may stand between what was received and what was
    /// decided when it began, and the client must have gone past that: the end of a leader that does not know
    /// yet how far records are committed lies below, and what is missing follows.
    fn ended(&mut self) -> Came {
        let next = self.next();
        let Some(session) = &mut self.session else {
            return Came::Broken;
        };
        session.is_at_end = true;
        if next >= session.decided {
            return Came::End;
        }
        self.through = self.through.max(end::passed(&session.reader));
        match self.through >= session.decided {
            true => Came::End,
            false => Came::Sign,
        }
    }
}

/// What a message is in the log, and its bytes. One that is no event is told.
fn take(message: &BorrowedMessage<'_>, decoder: &mut Decoder, known: &Known, topic: &str) -> (Entry, usize) {
    let (entry, reason, bytes) = raw::entry(message, decoder);
    if let Some(reason) = reason {
        known.say_unreadable(entry.number, topic, &reason);
    }
    known.read(bytes);
    (entry, bytes + 256)
}
