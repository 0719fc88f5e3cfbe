//! Why a server cannot be reached or does not let us in. Only librdkafka's log tells.

use std::fmt;

/// A line of the log about a connection that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFault {
    /// The kind of fault; `None`: one that has no name here.
    pub cause: Option<Cause>,
    /// librdkafka's words without its internals.
    pub text: String,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name lookup gave no address.
    NameNotFound,
    /// Nothing listens there.
    ConnectionRefused,
    /// The server does not know the mechanism of the login.
    MechanismNotSupported,
    /// The server refuses user and password.
    LoginRefused,
    /// TLS was not agreed on: no trust, or the other side speaks something else.
    EncryptionFailed,
    /// Nothing came in time.
    NoAnswer,
    /// The network leads nowhere.
    NoRoute,
}

/// What a line contains, and what that means. The first that is found counts.
const SIGNS: [(&str, Cause); 9] = [
    ("Failed to resolve", Cause::NameNotFound),
    ("Connection refused", Cause::ConnectionRefused),
    ("mechanism handshake failed", Cause::MechanismNotSupported),
    ("SASL authentication error", Cause::LoginRefused),
    ("SSL handshake failed", Cause::EncryptionFailed),
    ("SSL", Cause::EncryptionFailed),
    ("timed out", Cause::NoAnswer),
    ("No route to host", Cause::NoRoute),
    ("unreachable", Cause::NoRoute),
];

// === impl ConnectionFault ===

impl ConnectionFault {
    /// What a line of the facility `FAIL` tells.
    pub(crate) fn of(line: &str) -> Self {
        let text = match line.strip_prefix("[thrd:") {
            Some(rest) => rest.split_once("]: ").map_or(line, |(_, rest)| rest),
            None => line,
        };
        let text = text.split_once(" (after ").map_or(text, |(text, _)| text);
        let text = text.replace("/bootstrap: ", ": ");
        let lower = text.to_ascii_lowercase();
        // librdkafka writes *timed out* and *Timed out*.
        let is_there = |sign: &str| text.contains(sign) || (sign == "timed out" && lower.contains(sign));
        let cause = SIGNS.iter().find(|(sign, _)| is_there(sign));
        Self {
            cause: cause.map(|&(_, cause)| cause),
            text,
        }
    }
}

impl fmt::Display for ConnectionFault {
    /// The kind of fault, and librdkafka's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Some(cause) => write!(f, "{cause}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

// === impl Cause ===

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameNotFound => "name not found",
            Self::ConnectionRefused => "connection refused",
            Self::MechanismNotSupported => "the mechanism of the login is not supported",
            Self::LoginRefused => "the login is refused",
            Self::EncryptionFailed => "encryption failed",
            Self::NoAnswer => "no answer",
            Self::NoRoute => "no route",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        for (line, expected) in [
            (
                "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "connection refused: 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                "[thrd:sasl_plaintext://k:1/bootstrap]: sasl_plaintext://k:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 3ms in state AUTH_REQ)",
                "the login is refused: sasl_plaintext://k:1: SASL authentication error: Authentication failed: Invalid username or password",
            ),
            (
                "[thrd:k]: k:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 3ms in state AUTH_HANDSHAKE)",
                "the mechanism of the login is not supported: k:1/1: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512",
            ),
            (
                "[thrd:k]: ssl://k:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed (after 9ms in state SSL_HANDSHAKE)",
                "encryption failed: ssl://k:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
            ),
            (
                "[thrd:k]: k:1/bootstrap: Failed to resolve 'k:1': Name or service not known (after 1ms in state CONNECT)",
                "name not found: k:1: Failed to resolve 'k:1': Name or service not known",
            ),
            (
                "[thrd:k]: k:1/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10",
                "no answer: k:1/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(ConnectionFault::of(line).to_string(), expected);
        }
    }
}
