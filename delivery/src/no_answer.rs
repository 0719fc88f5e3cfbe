//! Why an attempt ended without an answer, in words for people, and whether it is worth another one.

use std::io;
use std::time::Duration;

use http::Uri;
use millrace_model::Shortage;

use crate::guard::Refused;
use crate::metrics::Class;
use crate::outcome::{Failure, Verdict};
use crate::shortage;

/// Why there was no answer. The texts end up in parked events and dead letters.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("`{0}` is not an absolute http or https URL with a valid port")]
    BadUrl(Uri),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    NoToken(String),
    #[error("nothing was sent, since it could not be proven who sends it: {0}")]
    NoCredentials(String),
    #[error("name not found: {name} ({cause})")]
    Name { name: String, cause: String },
    #[error("no answer to the lookup of {name} within {}", seconds(*.limit))]
    NameLate { name: String, limit: Duration },
    #[error("{}", connecting(.0))]
    Connect(io::Error),
    #[error("no connection within {}", seconds(*.0))]
    NotConnected(Duration),
    #[error("no root certificates were found on this machine: {0}")]
    NoRoots(String),
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    #[error("the connection was closed before an answer came")]
    Closed,
    #[error("the connection was closed in the middle of the answer")]
    ClosedMidway,
    #[error("the answer's header is too large")]
    HeaderTooLarge,
    #[error("the answer is not valid HTTP: {0}")]
    NotHttp(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the reply stalled while others waited for its memory (--memory-budget)")]
    SlowReply,
    #[error(
        "{cause}, after the reply had waited {} for memory (--memory-budget)",
        seconds(*.waited)
    )]
    AfterPause { cause: Box<NoAnswer>, waited: Duration },
    #[error("no answer within {}", seconds(*.0))]
    Late(Duration),
    #[error("the answer was not complete within {}", seconds(*.0))]
    LateMidway(Duration),
}

/// Why an attempt had no answer: it failed, or was not made at all.
#[derive(Debug)]
pub(crate) enum Unmade {
    /// Something of our own was short: this was no attempt.
    Short(Shortage),
    /// It was made, and there was no answer.
    Failed(NoAnswer),
}

// === impl Unmade ===

impl<E: Into<NoAnswer>> From<E> for Unmade {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

// === impl NoAnswer ===

impl NoAnswer {
    /// What hyper says went wrong; `answered`: bytes of an answer had come already.
    pub(crate) fn from_hyper(error: &hyper::Error, answered: bool) -> Self {
        let cause = innermost(error);
        if error.is_parse_too_large() {
            Self::HeaderTooLarge
        } else if error.is_parse() {
            Self::NotHttp(cause)
        } else if error.is_incomplete_message()
            || error.is_canceled()
            || error.is_closed()
            || was_closed(error)
        {
            if answered {
                Self::ClosedMidway
            } else {
                Self::Closed
            }
        } else {
            Self::Broken(cause)
        }
    }

    /// The same failure, where the reply had to wait before: the target may have lost patience with us.
    pub(crate) fn after_pause(self, waited: Option<Duration>) -> Self {
        match (self, waited) {
            (cause @ (Self::ClosedMidway | Self::NotHttp(_) | Self::Broken(_)), Some(waited)) => {
                Self::AfterPause {
                    cause: Box::new(cause),
                    waited: Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)),
                }
            }
            (error, _) => error,
        }
    }

    /// A URL that is none and an address that we refuse stay so; names, machines and certificates come back.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::BadUrl(_) | Self::Refused(_) => Verdict::Final,
            _ => Verdict::Again,
        }
    }

    /// What it is counted as.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::BadUrl(_) | Self::Refused(_) => Class::NotAllowed,
            Self::Name { .. }
            | Self::NameLate { .. }
            | Self::Connect(_)
            | Self::NoRoots(_)
            | Self::Tls(_) => Class::Unreachable,
            Self::NoCredentials(_) | Self::NoToken(_) => Class::NoCredentials,
            Self::NotConnected(_) | Self::SlowReply | Self::Late(_) | Self::LateMidway(_) => Class::TimedOut,
            Self::AfterPause { cause, .. } => cause.class(),
            Self::Closed | Self::ClosedMidway | Self::HeaderTooLarge | Self::NotHttp(_) | Self::Broken(_) => {
                Class::Broken
            }
        }
    }

    /// As the dispatcher gets it.
    pub(crate) fn failure(&self) -> Failure {
        Failure::without_answer(self.verdict(), self.to_string())
    }
}

fn connecting(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no connection: the host did not answer".to_owned(),
        _ => format!("no connection: {error}"),
    }
}

fn was_closed(error: &hyper::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|io| {
        matches!(
            io.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        )
    })
}

/// The shortage of our own behind a broken connection, if there was one.
pub(crate) fn shortage_of(error: &hyper::Error) -> Option<Shortage> {
    let source = std::error::Error::source(error)?;
    shortage::of(source.downcast_ref::<io::Error>()?)
}

/// The last error of the chain says what happened; those above it say where.
fn innermost(error: &hyper::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// `30 s`, `1.5 s`, `250 ms`.
fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_plain_sentences() {
        let io = |kind| NoAnswer::Connect(io::Error::from(kind));
        for (error, expected) in [
            (io(io::ErrorKind::ConnectionRefused), "connection refused"),
            (io(io::ErrorKind::NetworkUnreachable), "host unreachable"),
            (NoAnswer::Late(Duration::from_secs(30)), "no answer within 30 s"),
            (
                NoAnswer::Late(Duration::from_millis(250)),
                "no answer within 250 ms",
            ),
            (
                NoAnswer::Late(Duration::from_millis(1_500)),
                "no answer within 1.5 s",
            ),
            (
                NoAnswer::Closed,
                "the connection was closed before an answer came",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn only_what_stays_so_is_final() {
        let refused = Refused {
            address: "169.254.169.254".parse().expect("an address"),
            reason: "of a test",
        };
        assert_eq!(NoAnswer::Refused(refused).verdict(), Verdict::Final);
        assert_eq!(NoAnswer::BadUrl(Uri::from_static("/x")).verdict(), Verdict::Final);
        let name = NoAnswer::Name {
            name: "a.example".to_owned(),
            cause: "no such name".to_owned(),
        };
        assert_eq!(name.verdict(), Verdict::Again);
        assert_eq!(NoAnswer::Tls("expired".to_owned()).verdict(), Verdict::Again);
        assert_eq!(NoAnswer::Late(Duration::ZERO).verdict(), Verdict::Again);
    }
}
