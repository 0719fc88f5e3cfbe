//! What can be wrong with the secrets of a client. The words follow the name of a field, and repeat no value.

/// Why librdkafka cannot be given a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// It is no text.
    #[error("is not UTF-8")]
    NotText,
    /// librdkafka's settings are C strings.
    #[error("holds a zero byte")]
    ZeroByte,
    /// There is no such login.
    #[error("is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")]
    UnknownMechanism,
}
