//! The shape of the topics: how they are made, and what is refused of one that is there already.

use std::collections::BTreeMap;

use millrace_channel::Durability as Told;

use crate::options::{Durability, Options};

/// The settings of a topic by name.
pub(crate) type Settings = BTreeMap<&'static str, String>;

/// The longest record that a topic is made for: an event of 1 MiB with its attributes, and the parts of a
/// record of state.
const MOST_BYTES: u64 = 2 << 20;
/// The least that a record of a topic may have: less would split every row into many.
const LEAST_BYTES: u64 = 256 << 10;
/// How long a removed record of state has to stay: longer than reading the state takes.
const LEAST_REMOVED_MS: u64 = 10 * 60_000;

/// A topic that is there.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) partitions: usize,
    pub(crate) replicas: usize,
    /// Those of its settings that count here.
    pub(crate) settings: BTreeMap<String, String>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The events: nothing expires by itself.
    Events,
    /// The state: the last record of each key counts.
    State,
}

// === impl Kind ===

impl Kind {
    /// The settings that a topic is made with.
    pub(crate) fn settings(self, options: &Options) -> Settings {
        let mut all = Settings::from([
            ("max.message.bytes", MOST_BYTES.to_string()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("min.insync.replicas", in_sync(options.replicas).to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ]);
        match self {
            Self::Events => all.extend([
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", "-1".to_owned()),
                ("retention.bytes", "-1".to_owned()),
                // What is settled and old goes by whole segments.
                ("segment.bytes", (128 << 20).to_string()),
                ("segment.ms", 3_600_000.to_string()),
            ]),
            // Small segments, compacted soon: a new owner reads all of it.
            Self::State => all.extend([
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", (32 << 20).to_string()),
                ("segment.ms", 300_000.to_string()),
                ("max.compaction.lag.ms", 900_000.to_string()),
                ("min.cleanable.dirty.ratio", "0.1".to_owned()),
                ("delete.retention.ms", 86_400_000.to_string()),
            ]),
        }
        all
    }

    /// How a topic differs from what is needed; `None` when it can be used.
    pub(crate) fn difference(self, is: &Topic, options: &Options) -> Option<String> {
        let mut found = Vec::new();
        let mut refuse = |is_wrong: bool, what: String| {
            if is_wrong {
                found.push(what);
            }
        };
        let number = |name: &str| is.number(name);
        refuse(
            is.partitions != 1,
            format!("it has {} partitions, and one is needed", is.partitions),
        );
        let policy = is.text("cleanup.policy");
        let wanted = match self {
            Self::Events => "delete",
            Self::State => "compact",
        };
        refuse(
            policy != wanted,
            format!("its cleanup.policy is `{policy}` instead of `{wanted}`"),
        );
        if self == Self::Events {
            for name in ["retention.ms", "retention.bytes"] {
                let text = is.text(name);
                refuse(
                    text != "-1",
                    format!(
                        "Kafka would delete events that nobody has read ({name} is {text} instead of -1)"
                    ),
                );
            }
        }
        let kept = number("delete.retention.ms");
        refuse(
            self == Self::State && kept.is_some_and(|kept| kept < LEAST_REMOVED_MS),
            "its delete.retention.ms is less than 10 minutes: removed records could come back".to_owned(),
        );
        let time = is.text("message.timestamp.type");
        refuse(
            self == Self::Events && time != "LogAppendTime",
            format!(
                "its records have the time of their producers (message.timestamp.type is `{time}` instead of `LogAppendTime`)"
            ),
        );
        let bytes = number("max.message.bytes");
        refuse(
            bytes.is_some_and(|bytes| bytes < LEAST_BYTES),
            "its max.message.bytes is less than 256 KiB".to_owned(),
        );
        let (replicas, wanted) = (is.replicas, options.replicas as usize);
        refuse(
            replicas < wanted,
            format!("it has {replicas} replicas, and the config says {wanted}"),
        );
        let in_sync = is.in_sync();
        refuse(
            in_sync < self::in_sync(options.replicas) as usize,
            format!(
                "its min.insync.replicas is {in_sync}, and {} is needed with {wanted} replicas",
                self::in_sync(options.replicas)
            ),
        );
        refuse(
            in_sync > replicas,
            format!(
                "its min.insync.replicas is {in_sync}, and it has {replicas} replicas: it takes no record"
            ),
        );
        (!found.is_empty()).then(|| found.join("; "))
    }
}

/// How many replicas have to be in sync where there are so many.
fn in_sync(replicas: u32) -> u32 {
    if replicas >= 3 { 2 } else { 1 }
}

// === impl Topic ===

impl Topic {
    fn text(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    fn in_sync(&self) -> usize {
        let in_sync = self.number("min.insync.replicas").unwrap_or(1);
        usize::try_from(in_sync).unwrap_or(usize::MAX)
    }

    /// What a 202 rests on with a topic like this one, as far as it can be seen, and what that means for
    /// people.
    pub(crate) fn durability(&self) -> (Durability, &'static str) {
        let is_unclean = self.text("unclean.leader.election.enable") == "true";
        match (self.replicas, self.in_sync()) {
            (0..=1, _) => (
                Durability::SingleCopy,
                "one Kafka server has an accepted event; what its operating system has not written when the \
                 machine stops is lost, and when the server syncs cannot be seen from here",
            ),
            (_, 0..=1) => (
                Durability::SingleCopy,
                "the leader of the topic may be the only Kafka server that has an accepted event \
                 (min.insync.replicas is 1); when servers sync cannot be seen from here",
            ),
            _ if is_unclean => (
                Durability::SingleCopy,
                "at least two Kafka servers have an accepted event, but one that has not may become the leader \
                 (unclean.leader.election.enable), and then it is lost",
            ),
            (2, _) => (
                Durability::SingleCopy,
                "both Kafka servers have an accepted event, and none is accepted while one of them is away; two \
                 are no majority that outlives the loss of one",
            ),
            _ => (
                Durability::Replicated,
                "at least two Kafka servers have an accepted event; when each of them syncs it to its disk cannot \
                 be seen from here",
            ),
        }
    }

    /// As the status tells it.
    pub(crate) fn told(&self) -> Told {
        let (durability, meaning) = self.durability();
        Told {
            word: durability.as_str(),
            meaning,
        }
    }
}

/// Why a topic like this one is not enough for the document.
pub(crate) fn falls_short(wanted: Option<Durability>, topic: &Topic) -> Option<String> {
    let (is, meaning) = topic.durability();
    match (wanted?, is) {
        (Durability::Synced, _) => Some(
            "`durability: synced` cannot be verified: Kafka does not tell its clients when it syncs; demand \
             `replicated`, or nothing"
                .to_owned(),
        ),
        (Durability::Replicated, Durability::SingleCopy) => Some(format!(
            "`durability: replicated` needs three replicas and min.insync.replicas of 2: {meaning}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use millrace_event::{Clock, ObjectName};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::options::Judge;

    fn options(replicas: u32) -> Options {
        Options {
            broker: ObjectName::new("shop", "default"),
            mesh: "millrace".to_owned(),
            servers: Vec::new(),
            access: Arc::default(),
            judge: Judge::none(),
            replicas,
            retention_age: Duration::from_secs(1),
            durability: None,
            rebuild_state: false,
            clock: Clock::System,
            ending: CancellationToken::new(),
        }
    }

    fn made(kind: Kind, replicas: u32) -> Topic {
        let settings = kind.settings(&options(replicas)).into_iter();
        Topic {
            partitions: 1,
            replicas: replicas as usize,
            settings: settings.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    #[test]
    fn what_we_make_is_what_we_take() {
        for kind in [Kind::Events, Kind::State] {
            for replicas in [1, 3] {
                let topic = made(kind, replicas);
                assert_eq!(kind.difference(&topic, &options(replicas)), None);
                let mut larger = topic.clone();
                larger.replicas += 1;
                larger
                    .settings
                    .insert("max.message.bytes".to_owned(), "9000000".to_owned());
                let told = kind.difference(&larger, &options(replicas));
                assert_eq!(told, None, "operators may change these");
            }
        }
    }

    #[test]
    fn each_other_shape_is_told() {
        for (kind, name, value) in [
            (Kind::Events, "retention.ms", "604800000"),
            (Kind::Events, "retention.bytes", "5"),
            (Kind::Events, "cleanup.policy", "compact"),
            (Kind::Events, "message.timestamp.type", "CreateTime"),
            (Kind::Events, "max.message.bytes", "1000"),
            (Kind::Events, "min.insync.replicas", "4"),
            (Kind::Events, "min.insync.replicas", "1"),
            (Kind::State, "cleanup.policy", "compact,delete"),
            (Kind::State, "delete.retention.ms", "1000"),
        ] {
            let mut is = made(kind, 3);
            is.settings.insert(name.to_owned(), value.to_owned());
            let told = kind.difference(&is, &options(3)).unwrap_or_default();
            assert!(told.contains(name), "{name}: {told}");
        }
        let mut is = made(Kind::Events, 3);
        is.partitions = 8;
        is.replicas = 2;
        let told = Kind::Events.difference(&is, &options(3)).unwrap_or_default();
        assert!(
            told.contains("8 partitions") && told.contains("2 replicas"),
            "{told}"
        );
    }

    #[test]
    fn what_cannot_be_verified_is_not_promised() {
        let [one, three] = [1, 3].map(|replicas| made(Kind::Events, replicas));
        assert_eq!(three.durability().0, Durability::Replicated);
        assert_eq!(falls_short(None, &one), None);
        assert_eq!(falls_short(Some(Durability::Replicated), &three), None);
        assert!(falls_short(Some(Durability::Replicated), &one).is_some());
        assert!(falls_short(Some(Durability::Synced), &three).is_some());
        for (name, value) in [
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "true"),
        ] {
            let mut is = three.clone();
            is.settings.insert(name.to_owned(), value.to_owned());
            let told = falls_short(Some(Durability::Replicated), &is).unwrap_or_default();
            assert!(
                told.contains(name) && is.told().word == "single-copy",
                "{name}: {told}"
            );
        }
    }
}
