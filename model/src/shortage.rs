//! What Millrace itself can run out of. A delivery that meets such a shortage waits; this is never a failed
//! attempt.

use std::fmt;

/// Something of this process or this machine that is used up for now; the subscriber is not at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// All outgoing connections that may be open are in use, or kept for Triggers that have fewer.
    Connections,
    /// The process, or the machine, has no file descriptor left.
    Descriptors,
    /// The machine has no local port left for a connection to that address.
    Ports,
    /// The kernel has no memory left for a connection.
    Memory,
    /// All name lookups that may run at one time are running.
    Lookups,
    /// The events in flight use all that the memory budget has for them.
    Budget,
    /// What waits to be written to a cluster of Kafka fills the queue of the client.
    KafkaQueue,
}

// === impl Shortage ===

impl Shortage {
    /// All of them, in the order of their metrics.
    pub const ALL: [Self; 7] = [
        Self::Connections,
        Self::Descriptors,
        Self::Ports,
        Self::Memory,
        Self::Lookups,
        Self::Budget,
        Self::KafkaQueue,
    ];

    /// A stable word: the label `of` in metrics, and the member `shortage` of a Trigger in the admin API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Ports => "ports",
            Self::Memory => "memory",
            Self::Lookups => "lookups",
            Self::Budget => "budget",
            Self::KafkaQueue => "kafka-queue",
        }
    }
}

impl fmt::Display for Shortage {
    /// A sentence for people: what is waited for, and which setting changes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => {
                "waiting for a connection: those that may be open are in use (--max-outgoing-connections)"
            }
            Self::Descriptors => {
                "waiting for a file descriptor: the process has none left (the limit is `ulimit -n`)"
            }
            Self::Ports => {
                "waiting for a local port: the machine has none left for that address \
                 (net.ipv4.ip_local_port_range)"
            }
            Self::Memory => "waiting for memory: the kernel has none left for a connection",
            Self::Lookups => "waiting for a name lookup: those that may run at one time are running",
            Self::Budget => "waiting for memory: what is in flight uses all that --memory-budget has for it",
            Self::KafkaQueue => {
                "waiting for room: what waits to be written to Kafka fills the queue of the client (16 MiB a cluster)"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_shortage_has_a_word_and_a_sentence_of_its_own() {
        let words: HashSet<_> = Shortage::ALL.iter().map(|shortage| shortage.code()).collect();
        let sentences: HashSet<_> = Shortage::ALL.iter().map(ToString::to_string).collect();
        assert_eq!((words.len(), sentences.len()), (7, 7));
        assert!(
            sentences
                .iter()
                .all(|sentence| sentence.starts_with("waiting for "))
        );
    }
}
