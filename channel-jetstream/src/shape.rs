//! The shape of the streams: how they are made, and what is refused of one that is there already.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType, SubjectTransform,
};

use crate::names::Names;
use crate::options::{Durability, Options};

/// The key under which a stream tells its Broker.
const BROKER: &str = "millrace-broker";
/// The key under which a stream tells how many partitions its Broker has; without it, one.
const PARTITIONS: &str = "millrace-partitions";
/// The state's part of what the events may have, in bytes: one of so many.
const PART_OF_STATE: u64 = 4;
/// The least share of the state.
const LEAST_OF_STATE: u64 = 64 << 20;
/// What the state stream may have where the account demands a bound: so many of its shares.
const SHARES_OF_BOUND: u64 = 4;
/// What members and leases may have.
const BYTES_OF_OWNERS: u64 = 4 << 20;

/// The stream of the events: nothing expires by itself, and a full one refuses.
pub(crate) fn events(names: &Names, options: &Options) -> Config {
    let intake = names.intake();
    Config {
        name: names.events.clone(),
        description: Some(format!("Events of the Millrace Broker {}", names.broker)),
        subjects: [names.stored()].into_iter().chain(intake.clone()).collect(),
        subject_transform: intake.map(|source| SubjectTransform {
            source,
            destination: names.transformed(),
        }),
        max_bytes: bytes(of_partition(names, options)),
        deny_delete: true,
        ..common(names, options)
    }
}

/// The stream of the state: the last message of each subject counts. It has no bound of its own: a full
/// stream refuses every change, also one that makes room. Producers are refused before (`known`).
pub(crate) fn state(names: &Names, options: &Options) -> Config {
    Config {
        name: names.state.clone(),
        description: Some(format!("State of the Millrace Broker {}", names.broker)),
        subjects: vec![names.all_state()],
        max_messages_per_subject: 1,
        max_bytes: -1,
        ..common(names, options)
    }
}

/// The same, where the account takes no stream without a bound.
pub(crate) fn bounded_state(names: &Names, options: &Options) -> Config {
    let shares = share_of_state(names, options).saturating_mul(SHARES_OF_BOUND);
    Config {
        max_bytes: bytes(shares),
        ..state(names, options)
    }
}

/// The bytes that one partition's state is to have.
pub(crate) fn share_of_state(names: &Names, options: &Options) -> u64 {
    (of_partition(names, options) / PART_OF_STATE).max(LEAST_OF_STATE)
}

/// The stream of members and leases: each goes by itself when it is not renewed.
pub(crate) fn owners(names: &Names, options: &Options) -> Config {
    Config {
        name: names.owners.clone(),
        description: Some(format!("Who serves the Millrace Broker {}", names.broker)),
        subjects: vec![names.all_owners()],
        max_messages_per_subject: 1,
        max_bytes: bytes(BYTES_OF_OWNERS),
        allow_message_ttl: true,
        ..common(names, options)
    }
}

/// The bytes of one partition's events.
fn of_partition(names: &Names, options: &Options) -> u64 {
    options.max_bytes / u64::from(names.partitions.max(1))
}

fn common(names: &Names, options: &Options) -> Config {
    let mut metadata = HashMap::from([(BROKER.to_owned(), names.broker.clone())]);
    if names.partitions > 1 {
        metadata.insert(PARTITIONS.to_owned(), names.partitions.to_string());
    }
    Config {
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        storage: StorageType::File,
        num_replicas: options.replicas,
        // Nothing is sent twice under one id, and the server keeps each id for that long.
        duplicate_window: Duration::from_millis(100),
        allow_direct: true,
        allow_atomic_publish: true,
        metadata,
        ..Config::default()
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The number of partitions that the Broker of a stream was made with, if it is that Broker's stream.
pub(crate) fn partitions(is: &Config, names: &Names) -> Option<u32> {
    (is.metadata.get(BROKER) == Some(&names.broker)).then(|| {
        let told = is.metadata.get(PARTITIONS);
        told.and_then(|told| told.parse().ok()).unwrap_or(1)
    })
}

/// How a stream differs from the wanted one; `None` when it can be used.
pub(crate) fn difference(is: &Config, wanted: &Config) -> Option<String> {
    let mut found = Vec::new();
    let mut refuse = |is_wrong: bool, what: &str| {
        if is_wrong {
            found.push(what.to_owned());
        }
    };
    refuse(
        is.metadata.get(BROKER) != wanted.metadata.get(BROKER),
        "its metadata do not name this Broker (`millrace-broker`)",
    );
    let sorted = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects
    };
    refuse(sorted(is) != sorted(wanted), "its subjects are others");
    let transform = |config: &Config| {
        let transform = config.subject_transform.clone();
        transform.map(|transform| (transform.source, transform.destination))
    };
    refuse(
        transform(is) != transform(wanted),
        "its subject transform is another",
    );
    refuse(is.retention != wanted.retention, "its retention is not `limits`");
    refuse(
        is.discard != wanted.discard,
        "it discards old messages when it is full",
    );
    refuse(!is.max_age.is_zero(), "its messages expire (max_age)");
    refuse(is.max_messages > 0, "it has a bound of messages (max_msgs)");
    refuse(
        is.max_messages_per_subject.max(0) != wanted.max_messages_per_subject.max(0),
        "its messages per subject are bounded otherwise",
    );
    refuse(is.discard_new_per_subject, "it refuses messages per subject");
    refuse(is.storage != wanted.storage, "it is kept in memory");
    refuse(is.no_ack, "it acknowledges nothing (no_ack)");
    refuse(is.sealed, "it is sealed");
    refuse(is.mirror.is_some(), "it is a mirror");
    refuse(
        is.sources.as_ref().is_some_and(|sources| !sources.is_empty()),
        "it has sources",
    );
    refuse(is.deny_purge, "it cannot be purged (deny_purge)");
    refuse(
        is.persist_mode == Some(PersistenceMode::Async),
        "it acknowledges before it has written (persist_mode async)",
    );
    refuse(
        is.allow_rollup
            || (is.allow_message_ttl && !wanted.allow_message_ttl)
            || is.allow_message_schedules
            || is.allow_message_counter,
        "a producer could delete or replace messages in it (rollup, TTL, schedules or counters)",
    );
    refuse(
        !is.allow_atomic_publish,
        "it takes no atomic batches (allow_atomic)",
    );
    refuse(
        wanted.allow_message_ttl && !is.allow_message_ttl,
        "its messages have no time to live (allow_msg_ttl)",
    );
    (!found.is_empty()).then(|| found.join("; "))
}

/// What a 202 rests on with streams like this one, as far as it can be seen.
pub(crate) fn durability(replicas: usize) -> Durability {
    match replicas {
        0..=2 => Durability::SingleCopy,
        _ => Durability::Replicated,
    }
}

/// Why streams with so many replicas are not enough for the document.
pub(crate) fn falls_short(wanted: Option<Durability>, replicas: usize) -> Option<String> {
    match (wanted?, durability(replicas)) {
        (Durability::Synced, _) => Some(
            "`durability: synced` cannot be verified: NATS does not tell its clients when it syncs; demand \
             `replicated`, or nothing"
                .to_owned(),
        ),
        (Durability::Replicated, Durability::SingleCopy) => Some(format!(
            "`durability: replicated` needs three replicas, and the streams have {replicas}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use millrace_event::{Clock, ObjectName};
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn both() -> [Config; 2] {
        let broker = ObjectName::new("shop", "default");
        let names = Names::of("millrace", &broker, 0, 1);
        let options = Options {
            broker,
            mesh: "millrace".to_owned(),
            servers: Vec::new(),
            login: None,
            tls: None,
            partitions: 1,
            replicas: 1,
            max_bytes: 1 << 30,
            retention_age: Duration::from_secs(1),
            durability: None,
            rebuild_state: false,
            clock: Clock::System,
            ending: CancellationToken::new(),
        };
        [events(&names, &options), state(&names, &options)]
    }

    #[test]
    fn what_we_make_is_what_we_take() {
        for config in both() {
            assert_eq!(difference(&config, &config), None);
            let larger = Config {
                max_bytes: 5,
                num_replicas: 3,
                ..config.clone()
            };
            assert_eq!(difference(&larger, &config), None, "operators may change these");
        }
    }

    #[test]
    fn each_other_shape_is_told() {
        type Spoil = fn(&mut Config);
        let changes: [(Spoil, &str); 8] = [
            (|config| config.max_age = Duration::from_secs(9), "max_age"),
            (|config| config.discard = DiscardPolicy::Old, "discards old"),
            (
                |config| config.retention = RetentionPolicy::WorkQueue,
                "retention",
            ),
            (|config| config.storage = StorageType::Memory, "memory"),
            (|config| config.metadata.clear(), "metadata"),
            (|config| config.subjects.push("other".to_owned()), "subjects"),
            (|config| config.allow_message_ttl = true, "TTL"),
            (|config| config.allow_atomic_publish = false, "allow_atomic"),
        ];
        for wanted in both() {
            for (change, word) in changes {
                let mut is = wanted.clone();
                change(&mut is);
                let told = difference(&is, &wanted).unwrap_or_default();
                assert!(told.contains(word), "{word}: {told}");
            }
        }
    }

    #[test]
    fn what_cannot_be_verified_is_not_promised() {
        assert_eq!(falls_short(None, 1), None);
        assert_eq!(falls_short(Some(Durability::Replicated), 3), None);
        assert!(falls_short(Some(Durability::Replicated), 1).is_some());
        assert!(falls_short(Some(Durability::Synced), 3).is_some());
    }
}
