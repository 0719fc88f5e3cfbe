//! What an error of a client is about, and so who has to hear of it.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The client itself: librdkafka does not get over it.
    Client,
    /// The whole cluster: it cannot be reached, or does not let us in.
    Cluster,
    /// Some topics: they are missing, or we may not read them.
    Topics,
    /// Something else, which librdkafka gets over by itself.
    Other,
}

// === impl Concern ===

impl Concern {
    /// What an error that a poll gave is about.
    pub fn of(error: &KafkaError) -> Self {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Self::Client;
        }
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SSL,
            ) => Self::Cluster,
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Self::Topics,
            _ => Self::Other,
        }
    }
}

/// Whether it is an error of a connection or a login, and not a server's answer to something else. The log
/// tells more of such an error ([`crate::ClientLog::fault`]).
pub fn is_of_connection(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_client_a_cluster_and_topics_are_told_apart() {
        for (code, expected) in [
            (RDKafkaErrorCode::AllBrokersDown, Concern::Cluster),
            (RDKafkaErrorCode::SaslAuthenticationFailed, Concern::Cluster),
            (RDKafkaErrorCode::GroupAuthorizationFailed, Concern::Cluster),
            (RDKafkaErrorCode::UnknownTopic, Concern::Topics),
            (RDKafkaErrorCode::TopicAuthorizationFailed, Concern::Topics),
            (RDKafkaErrorCode::BrokerTransportFailure, Concern::Other),
            (RDKafkaErrorCode::NotLeaderForPartition, Concern::Other),
        ] {
            assert_eq!(
                Concern::of(&KafkaError::MessageConsumption(code)),
                expected,
                "{code}"
            );
            let fatal = KafkaError::MessageConsumptionFatal(code);
            assert_eq!(Concern::of(&fatal), Concern::Client, "{code}");
        }
    }

    #[test]
    fn only_errors_of_connections_and_logins_are_explained_by_the_log() {
        for (code, expected) in [
            (RDKafkaErrorCode::AllBrokersDown, true),
            (RDKafkaErrorCode::BrokerTransportFailure, true),
            (RDKafkaErrorCode::OperationTimedOut, true),
            (RDKafkaErrorCode::Authentication, true),
            (RDKafkaErrorCode::SaslAuthenticationFailed, true),
            (RDKafkaErrorCode::GroupAuthorizationFailed, false),
            (RDKafkaErrorCode::LeaderNotAvailable, false),
        ] {
            for error in [
                KafkaError::MessageConsumption(code),
                KafkaError::MetadataFetch(code),
            ] {
                assert_eq!(is_of_connection(&error), expected, "{error}");
            }
        }
    }
}
