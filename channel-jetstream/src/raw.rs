//! A stored message as it is, without the client's view of its headers: anybody may have written it.

use async_nats::HeaderMap;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use async_nats::jetstream::{Context, ErrorCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millrace_channel::ChannelError;
use millrace_channel::remote::Entry;
use millrace_event::http::Limits;
use millrace_event::{Timestamp, nats};
use serde::Deserialize;

use crate::error::storage;

/// A stored message.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    /// Nanoseconds since 1970.
    pub(crate) nanos: i128,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) payload: Bytes,
}

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// There is no such stream.
    #[error("the stream {0} is gone")]
    Gone(String),
    /// The servers do not answer, or have refused it.
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug, Deserialize)]
struct Got {
    message: RawMessage,
}

/// A message of a stream, as the stream's leader tells it; `None` when there is none.
pub(crate) async fn stored(
    context: &Context,
    stream: &str,
    query: &serde_json::Value,
) -> Result<Option<Raw>, Unread> {
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Response<Got> = context.request(subject, query).await.map_err(Unread::of)?;
    match answer {
        Response::Ok(got) => Raw::told(got.message).map(Some).map_err(Unread::of),
        Response::Err { error } => match error.error_code() {
            ErrorCode::NO_MESSAGE_FOUND => Ok(None),
            ErrorCode::STREAM_NOT_FOUND => Err(Unread::Gone(stream.to_owned())),
            _ => Err(Unread::of(error)),
        },
    }
}

// === impl Unread ===

impl Unread {
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Unread> for ChannelError {
    fn from(unread: Unread) -> Self {
        storage(unread)
    }
}

// === impl Raw ===

impl Raw {
    /// A message that a reader got.
    pub(crate) fn delivered(
        sequence: u64,
        nanos: i128,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Self {
        let all = headers.into_iter().flat_map(HeaderMap::iter);
        let each = all.flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            let values = values.iter();
            values.map(move |value| (name.to_owned(), value.as_str().as_bytes().to_vec()))
        });
        Self {
            sequence,
            subject: subject.to_owned(),
            nanos,
            headers: each.collect(),
            payload,
        }
    }

    /// A message as the server's API tells it. What is wrong with its headers is no error here.
    pub(crate) fn told(message: RawMessage) -> Result<Self, base64::DecodeError> {
        let headers = STANDARD.decode(message.headers.unwrap_or_default())?;
        Ok(Self {
            sequence: message.sequence,
            subject: message.subject,
            nanos: message.time.unix_timestamp_nanos(),
            headers: split(&headers),
            payload: STANDARD.decode(message.payload)?.into(),
        })
    }

    /// The value of a header as text.
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        str::from_utf8(&found?.1).ok()
    }

    /// Tells it from another message that has its number after a loss.
    pub(crate) fn print(&self) -> u64 {
        let content = u64::from(crc32c::crc32c(&self.payload)) << 32;
        let time = u64::try_from(self.nanos).unwrap_or(0);
        content ^ time.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// What stands in the log, and why it is no event, if it is none.
    pub(crate) fn entry(&self, limits: &Limits) -> (Entry, Option<String>) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (event, reason) = match nats::decode(&headers, &self.payload, limits) {
            Ok(Some(event)) => (Some(event), None),
            Ok(None) => (None, Some("it bears no mark of a CloudEvent".to_owned())),
            Err(invalid) => (None, Some(invalid.to_string())),
        };
        let entry = Entry {
            number: self.sequence,
            appended: Timestamp(i64::try_from(self.nanos / 1_000_000).unwrap_or(i64::MAX)),
            print: self.print(),
            event,
        };
        (entry, reason)
    }
}

/// The headers of a message's head: lines of a name and a value, whatever octets they have.
fn split(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    for line in head.split(|octet| *octet == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_split_whatever_octets_it_has() {
        let head = b"NATS/1.0\r\nCe-Id: 1 \r\nbroken\r\nCE-Odd:\xff\rx\r\n\r\n";
        let expected = vec![
            ("Ce-Id".to_owned(), b"1".to_vec()),
            ("CE-Odd".to_owned(), b"\xff\rx".to_vec()),
        ];
        assert_eq!(split(head), expected);
        assert_eq!(split(b""), []);
    }

    #[test]
    fn a_message_with_odd_headers_is_no_event_and_says_why() {
        let raw = Raw {
            sequence: 7,
            subject: "s".to_owned(),
            nanos: 5_000_000,
            headers: split(b"NATS/1.0\r\nce-specversion: 1.0\r\nce-id: \xff\x01\r\n\r\n"),
            payload: Bytes::new(),
        };
        let (entry, reason) = raw.entry(&Limits::default());
        assert_eq!(
            (entry.number, entry.appended, entry.event),
            (7, Timestamp(5), None)
        );
        assert!(reason.is_some_and(|reason| !reason.is_empty()));
    }
}
