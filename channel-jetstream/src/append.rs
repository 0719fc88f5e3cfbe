//! Appending: each event is a message, and several are one atomic batch.

use std::time::Duration;

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_EXPECTED_STREAM};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::Bytes;
use millrace_channel::{AppendError, Class};
use millrace_event::{Event, nats};

use crate::connect::REQUEST;
use crate::partition::Inner;

/// When a producer may come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The error of a server whose stream has no room.
const STORE_FAILED: u64 = 10_077;
/// Errors of a server that has not the resources now.
const SHORT_OF: [u64; 3] = [10_023, 10_028, 10_047];

/// A message to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// Why a message was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unstored {
    /// It is not known whether it was stored.
    Unknown(String),
    /// The server has refused it.
    Refused {
        /// The server's number for it.
        code: u64,
        /// In its words.
        reason: String,
    },
}

// === impl Draft ===

impl Draft {
    /// The message of an event.
    pub(crate) fn of(event: &Event, subject: &str, stream: &str) -> Self {
        let message = nats::encode(event);
        let mut headers = HeaderMap::new();
        for (name, value) in message.headers {
            headers.append(name, value);
        }
        headers.insert(NATS_EXPECTED_STREAM, stream);
        Self {
            subject: subject.to_owned(),
            headers,
            payload: message.payload,
        }
    }

    /// About how many bytes it takes on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values
                .iter()
                .map(move |value| name.len() + value.as_str().len() + 4)
        });
        self.payload.len() + headers.sum::<usize>() + 64
    }
}

// === impl Inner ===

impl Inner {
    /// The messages of events.
    pub(crate) fn drafts(&self, events: &[Event]) -> Vec<Draft> {
        let subject = self.names.stored();
        let each = events.iter();
        each.map(|event| Draft::of(event, &subject, &self.names.events))
            .collect()
    }

    /// Refuses what would not be stored, as far as that is known here.
    pub(crate) fn takes(&self, drafts: &[Draft], class: Class) -> Result<(), AppendError> {
        if !self.is_connected() {
            return Err(AppendError::Away {
                reason: "the NATS servers cannot be reached".to_owned(),
                retry_after: RETRY_AFTER,
            });
        }
        if class == Class::Producer
            && let Some(reason) = self.known.is_full()
        {
            return Err(AppendError::Full {
                code: "backlog-full",
                reason,
                retry_after: RETRY_AFTER,
            });
        }
        let largest = drafts.iter().map(Draft::bytes).max().unwrap_or(0);
        // What a batch adds to a message.
        if largest + 256 > self.max_payload {
            return Err(AppendError::TooLarge(format!(
                "the event has {largest} bytes as a message, and the NATS server takes {} (max_payload)",
                self.max_payload
            )));
        }
        Ok(())
    }
}

/// Stores the messages, all or none; gives the number of the last.
pub(crate) async fn store(client: &Client, mut drafts: Vec<Draft>) -> Result<u64, Unstored> {
    if drafts.len() > 1 {
        mark(&mut drafts);
    }
    let Some(last) = drafts.pop() else {
        return Err(Unstored::Unknown("there is nothing to store".to_owned()));
    };
    for (n, draft) in drafts.into_iter().enumerate() {
        let Draft {
            subject,
            headers,
            payload,
        } = draft;
        // The first is answered, so that a server which takes no batch says so before it gets the rest.
        if n == 0 {
            let answer = ask(client, subject, headers, payload).await?;
            if !answer.payload.is_empty() {
                acknowledged(&answer)?;
            }
            continue;
        }
        let sent = client.publish_with_headers(subject, headers, payload).await;
        sent.map_err(|error| Unstored::Unknown(error.to_string()))?;
    }
    acknowledged(&ask(client, last.subject, last.headers, last.payload).await?)
}

/// Makes one atomic batch of the messages.
fn mark(drafts: &mut [Draft]) {
    let id = format!("{:032x}", fastrand::u128(..));
    let count = drafts.len();
    for (n, draft) in drafts.iter_mut().enumerate() {
        draft.headers.insert(NATS_BATCH_ID, id.as_str());
        draft
            .headers
            .insert(NATS_BATCH_SEQUENCE, (n + 1).to_string().as_str());
        if n + 1 == count {
            draft.headers.insert(NATS_BATCH_COMMIT, "1");
        }
    }
}

async fn ask(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Message, Unstored> {
    let answer = client.request_with_headers(subject, headers, payload);
    let answer = tokio::time::timeout(REQUEST, answer).await;
    let answer = answer.map_err(|_| Unstored::Unknown("no answer in time".to_owned()))?;
    answer.map_err(|error| Unstored::Unknown(error.to_string()))
}

fn acknowledged(answer: &Message) -> Result<u64, Unstored> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Unstored::Unknown(
            "there is no such stream, or it has no leader".to_owned(),
        ));
    }
    let read: Result<Response<PublishAck>, _> = serde_json::from_slice(&answer.payload);
    match read {
        Ok(Response::Ok(ack)) => Ok(ack.sequence),
        Ok(Response::Err { error }) => Err(Unstored::Refused {
            code: error.error_code().0,
            reason: error.to_string(),
        }),
        Err(error) => Err(Unstored::Unknown(format!(
            "an answer that cannot be read: {error}"
        ))),
    }
}

// === impl Unstored ===

impl Unstored {
    /// Whether the stream has another end than was expected: somebody else has written.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE.0)
    }

    /// As a producer is told.
    pub(crate) fn for_producers(self) -> AppendError {
        match self {
            Self::Refused { code, reason } if code == STORE_FAILED || SHORT_OF.contains(&code) => {
                AppendError::Full {
                    code: "backlog-full",
                    reason: format!("the NATS server has no room for events: {reason}"),
                    retry_after: RETRY_AFTER,
                }
            }
            Self::Refused { reason, .. } => {
                AppendError::Storage(format!("the NATS server has refused it: {reason}"))
            }
            Self::Unknown(reason) => AppendError::Away {
                reason: format!("the NATS servers do not answer: {reason}"),
                retry_after: RETRY_AFTER,
            },
        }
    }
}

impl Unstored {
    /// For people.
    pub(crate) fn in_words(&self) -> &str {
        match self {
            Self::Unknown(reason) | Self::Refused { reason, .. } => reason,
        }
    }
}
