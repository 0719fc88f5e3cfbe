//! Why a record was not written, as a closed set: whoever writes decides by it whether to try again.

use std::fmt;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::ConnectionFault;
use crate::writer::BATCH_BYTES;

/// Why a record was not written. After [`NotWritten::NotInTime`] it may be there all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// The client's queue is full: Kafka was not asked.
    QueueFull,
    /// The record is larger than the client's queue of so many bytes.
    TooLargeForQueue(usize),
    /// The topic, or Kafka, does not take records so large.
    TooLarge,
    /// The topic does not take batches so large, and others were in it.
    BatchTooLarge,
    /// The topic does not take such a record: a compacted one takes none without a key.
    BadRecord(String),
    /// Kafka lets nobody have a topic of that name.
    BadTopic,
    /// There is no such topic.
    UnknownTopic,
    /// The login may not write to the topic.
    NotAllowed,
    /// No acknowledgement came in time; with what is wrong with the connection, if that is known.
    NotInTime(Option<String>),
    /// The client is of no use any more: another one has to be made.
    Broken(String),
    /// Something else, which passes.
    Other(String),
}

/// What becomes of a record that was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// Nothing was tried: it waits for room.
    Room,
    /// Another try may succeed.
    Again,
    /// No other try will.
    Never,
}

// === impl NotWritten ===

impl NotWritten {
    /// What an error means for a record of so many bytes. `fatal` is what broke the client, and `fault` what
    /// is wrong with the connections.
    pub(crate) fn of(
        error: &KafkaError,
        bytes: usize,
        fatal: Option<String>,
        fault: Option<ConnectionFault>,
    ) -> Self {
        use RDKafkaErrorCode as Code;

        if let Some(fatal) = fatal {
            return Self::Broken(fatal);
        }
        let Some(code) = error.rdkafka_error_code() else {
            return Self::Other(error.to_string());
        };
        match code {
            Code::QueueFull => Self::QueueFull,
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                if bytes > BATCH_BYTES {
                    Self::TooLarge
                } else {
                    Self::BatchTooLarge
                }
            }
            Code::InvalidRecord
            | Code::InvalidMessage
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat => Self::BadRecord(words(code)),
            Code::InvalidTopic => Self::BadTopic,
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopicId => Self::UnknownTopic,
            Code::TopicAuthorizationFailed => Self::NotAllowed,
            Code::MessageTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
                Self::NotInTime(fault.map(|fault| fault.to_string()))
            }
            Code::Fatal => Self::Broken(words(code)),
            code => Self::Other(words(code)),
        }
    }

    /// Whether it is this record that is not taken: other records of the same topic may be.
    pub fn is_about_record(&self) -> bool {
        matches!(
            self,
            Self::TooLargeForQueue(_) | Self::TooLarge | Self::BadRecord(_)
        )
    }

    /// What becomes of the record.
    pub fn prospect(&self) -> Prospect {
        match self {
            Self::QueueFull => Prospect::Room,
            Self::TooLargeForQueue(_)
            | Self::TooLarge
            | Self::BadRecord(_)
            | Self::BadTopic
            | Self::NotAllowed => Prospect::Never,
            Self::BatchTooLarge
            | Self::UnknownTopic
            | Self::NotInTime(_)
            | Self::Broken(_)
            | Self::Other(_) => Prospect::Again,
        }
    }
}

impl fmt::Display for NotWritten {
    /// A sentence for people: it ends up in parked events and dead letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue of the client is full"),
            Self::TooLargeForQueue(bytes) => {
                write!(f, "the record is larger than the {bytes} bytes that wait for Kafka at most")
            }
            Self::TooLarge => {
                f.write_str("Kafka takes no record so large (`max.message.bytes` of the topic)")
            }
            Self::BatchTooLarge => f.write_str(
                "Kafka takes no batch so large as the one that the record was in (`max.message.bytes` of the topic)",
            ),
            Self::BadRecord(why) => write!(
                f,
                "the topic does not take this record ({why}); a compacted topic takes none without a `partitionkey`"
            ),
            Self::BadTopic => f.write_str("Kafka takes no topic of that name"),
            Self::UnknownTopic => f.write_str("there is no such topic"),
            Self::NotAllowed => f.write_str("the login may not write to the topic"),
            Self::NotInTime(None) => f.write_str("Kafka has not acknowledged the record in time"),
            Self::NotInTime(Some(fault)) => {
                write!(f, "Kafka has not acknowledged the record in time: {fault}")
            }
            Self::Broken(why) => write!(f, "the client of Kafka broke, and another one is made: {why}"),
            Self::Other(why) => write!(f, "Kafka did not take the record: {why}"),
        }
    }
}

/// librdkafka's words for an error.
fn words(code: RDKafkaErrorCode) -> String {
    code.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectionFault;

    fn of(code: RDKafkaErrorCode, bytes: usize) -> NotWritten {
        NotWritten::of(&KafkaError::MessageProduction(code), bytes, None, None)
    }

    #[test]
    fn each_error_has_its_prospect() {
        use Prospect::{Again, Never, Room};
        use RDKafkaErrorCode as Code;

        for (code, bytes, expected) in [
            (Code::QueueFull, 1, Room),
            (Code::MessageSizeTooLarge, BATCH_BYTES + 1, Never),
            // Perhaps the others of its batch were at fault.
            (Code::MessageSizeTooLarge, BATCH_BYTES, Again),
            (Code::MessageBatchTooLarge, BATCH_BYTES + 1, Never),
            (Code::InvalidRecord, 1, Never),
            (Code::PolicyViolation, 1, Never),
            (Code::InvalidTopic, 1, Never),
            (Code::TopicAuthorizationFailed, 1, Never),
            (Code::UnknownTopic, 1, Again),
            (Code::UnknownTopicOrPartition, 1, Again),
            (Code::MessageTimedOut, 1, Again),
            (Code::Fatal, 1, Again),
            (Code::NotEnoughReplicas, 1, Again),
            (Code::KafkaStorageError, 1, Again),
        ] {
            assert_eq!(of(code, bytes).prospect(), expected, "{code}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_connection_is_said() {
        let fault = ConnectionFault {
            cause: None,
            text: "k:1: no".to_owned(),
        };
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let why = NotWritten::of(&error, 1, None, Some(fault));
        assert_eq!(
            why.to_string(),
            "Kafka has not acknowledged the record in time: k:1: no"
        );
        let why = NotWritten::of(&error, 1, Some("out of order".to_owned()), None);
        assert_eq!(why, NotWritten::Broken("out of order".to_owned()));
    }
}
