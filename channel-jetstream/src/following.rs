//! A place in a stream and the consumer behind it: what is asked of the server, and what comes.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::message::Message as Delivered;
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use millrace_channel::ChannelError;
use tokio::sync::watch;

use crate::connect::jetstream;
use crate::error::storage;
use crate::raw::Raw;

/// How often a server says that it is there while there is nothing to send.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// When a server counts as silent.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a request for messages stands.
const STANDS: Duration = Duration::from_secs(30);
/// Messages of one request.
const AT_A_TIME: usize = 256;
/// Messages of one request for state, which has no bound of bytes: its messages may be of a time when the
/// servers took larger ones.
const STATE_AT_A_TIME: usize = 64;
/// Bytes of one request, where the largest message is not larger.
const BYTES_AT_A_TIME: usize = 2 << 20;

/// A place in a stream, and what was received from there on.
#[derive(Debug)]
pub(crate) struct Following {
    stream: String,
    pub(crate) at: u64,
    pub(crate) received: VecDeque<Raw>,
    /// Of what was received.
    pub(crate) bytes: usize,
    pub(crate) session: Option<Session>,
    /// Messages that one request may bring, and bytes.
    at_a_time: (usize, Option<usize>),
    /// The only subjects that are read; empty: all.
    filter: String,
    /// The client, where there is only one.
    client: Option<Client>,
}

/// A consumer on the server, and what is asked of it.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    /// Of the connection.
    pub(crate) number: u64,
    cuts: Option<watch::Receiver<u64>>,
    messages: Subscriber,
    inbox: String,
    next_subject: String,
    consumer_sequence: u64,
    /// Messages that the request of now may still bring.
    asked: usize,
    /// It has brought one.
    brought: bool,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    Message(Box<Raw>),
    /// Nothing to read: a heartbeat, or the end of a request.
    Sign,
    /// Something may have been missed.
    Broken,
}

// === impl Following ===

impl Following {
    pub(crate) fn new(stream: &str, at: u64, max_payload: usize) -> Self {
        Self {
            stream: stream.to_owned(),
            at,
            received: VecDeque::new(),
            bytes: 0,
            session: None,
            at_a_time: (AT_A_TIME, Some(BYTES_AT_A_TIME.max(2 * max_payload))),
            filter: String::new(),
            client: None,
        }
    }

    /// From the beginning of a stream of our own.
    pub(crate) fn of_state(client: Client, stream: &str) -> Self {
        Self {
            client: Some(client),
            at_a_time: (STATE_AT_A_TIME, None),
            ..Self::new(stream, 1, 0)
        }
    }

    /// Only of these subjects.
    pub(crate) fn only(self, filter: String) -> Self {
        Self { filter, ..self }
    }

    /// The next message of such a stream, up to this number, which is there. An error when something may have
    /// been missed.
    pub(crate) async fn up_to(&mut self, last: u64) -> Result<Option<Raw>, ChannelError> {
        if self.at > last {
            return Ok(None);
        }
        if self.session.is_none() {
            let client = self.client.clone().ok_or_else(|| storage("there is no client"))?;
            self.session = Some(self.begin(client, None, 0, self.at).await?);
        }
        loop {
            match self.receive().await {
                Came::Message(raw) if raw.sequence > last => {
                    self.at = raw.sequence;
                    return Ok(None);
                }
                Came::Message(raw) => {
                    self.at = raw.sequence + 1;
                    return Ok(Some(*raw));
                }
                Came::Sign => {}
                Came::Broken => return Err(storage("the state could not be read to its end")),
            }
        }
    }

    pub(crate) async fn begin(
        &self,
        client: Client,
        cuts: Option<watch::Receiver<u64>>,
        number: u64,
        at: u64,
    ) -> Result<Session, ChannelError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: at.max(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: self.filter.clone(),
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(60),
            ..pull::Config::default()
        };
        let made = jetstream(&client)
            .create_consumer_on_stream(config, &self.stream)
            .await;
        let consumer = made.map_err(storage)?.cached_info().name.clone();
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await.map_err(storage)?;
        Ok(Session {
            client,
            number,
            cuts,
            messages,
            inbox,
            next_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.stream),
            consumer_sequence: 0,
            asked: 0,
            brought: false,
        })
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Came {
        let at_a_time = self.at_a_time;
        let Some(session) = &mut self.session else {
            return Came::Broken;
        };
        if session.asked == 0 && !session.ask(at_a_time).await {
            return Came::Broken;
        }
        let came = tokio::select! {
            biased;
            message = session.messages.next() => message,
            () = cut(&mut session.cuts) => None,
            () = tokio::time::sleep(SILENCE) => None,
        };
        came.map_or(Came::Broken, |message| session.take(message))
    }

    /// What has come already.
    pub(crate) fn received_already(&mut self) -> Option<Came> {
        let session = self.session.as_mut()?;
        if session.asked == 0 {
            return None;
        }
        let message = session.messages.next().now_or_never()?;
        Some(message.map_or(Came::Broken, |message| session.take(message)))
    }

    pub(crate) fn keep(&mut self, raw: Raw) {
        self.bytes += raw.payload.len() + 512;
        self.received.push_back(raw);
    }
}

/// Ends when the connection is cut.
async fn cut(cuts: &mut Option<watch::Receiver<u64>>) {
    match cuts {
        Some(cuts) => {
            let _ = cuts.changed().await;
        }
        None => std::future::pending().await,
    }
}

// === impl Session ===

impl Session {
    /// Asks for more messages; `false`: that cannot be sent.
    async fn ask(&mut self, (messages, bytes): (usize, Option<usize>)) -> bool {
        let mut query = serde_json::json!({
            "batch": messages,
            "expires": STANDS.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        if let Some(bytes) = bytes {
            query["max_bytes"] = bytes.into();
        }
        let query = serde_json::to_vec(&query).unwrap_or_default();
        let (subject, inbox) = (self.next_subject.clone(), self.inbox.clone());
        // Noted first: if this is given up on its way, it may have been sent.
        (self.asked, self.brought) = (messages, false);
        let sent = self.client.publish_with_reply(subject, inbox, query.into()).await;
        sent.is_ok()
    }

    fn take(&mut self, message: Message) -> Came {
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::IDLE_HEARTBEAT) => return Came::Sign,
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => {
                self.asked = 0;
                return Came::Sign;
            }
            Some(StatusCode::REQUEST_TERMINATED) => {
                let text = message.description.as_deref().unwrap_or_default();
                // The request has brought as many bytes as it may. One that has brought nothing never will:
                // the next message is larger than all of it.
                let is_done = text.contains("Batch Completed") || (text.contains("MaxBytes") && self.brought);
                if !is_done {
                    return Came::Broken;
                }
                self.asked = 0;
                return Came::Sign;
            }
            Some(_) => return Came::Broken,
        }
        let delivered = Delivered {
            context: jetstream(&self.client),
            message,
        };
        let Ok(info) = delivered.info() else {
            return Came::Broken;
        };
        if info.consumer_sequence != self.consumer_sequence + 1 {
            return Came::Broken;
        }
        let (sequence, nanos) = (info.stream_sequence, info.published.unix_timestamp_nanos());
        self.consumer_sequence += 1;
        self.asked = self.asked.saturating_sub(1);
        self.brought = true;
        let Message {
            subject,
            headers,
            payload,
            ..
        } = delivered.message;
        Came::Message(Box::new(Raw::delivered(
            sequence,
            nanos,
            &subject,
            headers.as_ref(),
            payload,
        )))
    }
}
