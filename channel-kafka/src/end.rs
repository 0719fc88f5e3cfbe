//! What the end of a log shows.
//!
//! A client tells an end whenever it has come as far as the leader's last answer says that records are
//! committed. A new leader learns that only from the replicas that follow it: for a while it names an end
//! below what the leader before it has acknowledged, and readers get the rest afterwards. So an end does not
//! show that nothing stands at its number. It shows only that everything below the client's place was passed
//! on. That place goes over the markers of transactions too, which have numbers and are never seen.

use rdkafka::Offset;
use rdkafka::consumer::{Consumer as _, StreamConsumer};

use crate::connect::Quiet;

/// Everything below this number has come from the reader of one partition, so far as it asked for it: 0
/// before anything has come. This asks librdkafka, and no server.
pub(crate) fn passed(reader: &StreamConsumer<Quiet>) -> u64 {
    let places = reader.position();
    let place = places
        .iter()
        .flat_map(|places| places.elements())
        .next()
        .map(|place| place.offset());
    match place {
        Some(Offset::Offset(next)) => u64::try_from(next).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use millrace_channel::remote::State;
    use millrace_event::http::Limits;
    use millrace_event::kafka::Decoder;
    use millrace_event::{Clock, ObjectName};
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use crate::connect::Connect;
    use crate::fence::Store;
    use crate::following::{Came, Following};
    use crate::known::Known;
    use crate::lookup::Lookup;
    use crate::names::Names;
    use crate::options::{Judge, Options};
    use crate::partition::PARTITION;
    use crate::state::{Draft, Parts};

    const PATIENT: Duration = Duration::from_secs(30);
    /// How long something has to come that must not.
    const WHILE: Duration = Duration::from_secs(2);

    /// A leader that does not know yet how far records are committed: it has those that were written, and
    /// whoever reads was told more by the leader before it. What is written later is what it learns.
    struct Leader {
        _cluster: MockCluster<'static, DefaultProducerContext>,
        names: Names,
        connect: Connect,
        producer: BaseProducer,
    }

    impl Leader {
        fn new() -> Self {
            let cluster = MockCluster::new(1).expect("a simulated cluster");
            let options = Options {
                broker: ObjectName::new("shop", "default"),
                mesh: "millrace".to_owned(),
                servers: vec![cluster.bootstrap_servers()],
                access: std::sync::Arc::default(),
                judge: Judge::none(),
                replicas: 1,
                retention_age: PATIENT,
                durability: None,
                rebuild_state: false,
                clock: Clock::System,
                ending: CancellationToken::new(),
            };
            let names = Names::of(&options.mesh, &options.broker);
            for topic in [&names.events, &names.state] {
                cluster.create_topic(topic, 1, 1).expect("a topic");
            }
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers());
            Self {
                connect: Connect::new(&options, &names),
                names,
                producer: config.create().expect("a client"),
                _cluster: cluster,
            }
        }

        fn write(&self, topic: &str, key: &str, value: &[u8]) {
            let sent = self.producer.send(BaseRecord::to(topic).key(key).payload(value));
            sent.map_err(|(error, _)| error).expect("it is queued");
            self.producer.flush(PATIENT).expect("it is written");
        }

        fn write_events(&self, many: usize) {
            for _ in 0..many {
                self.write(&self.names.events, "k", b"x");
            }
        }

        fn write_state(&self, drafts: &[Draft]) {
            for draft in drafts {
                let value = draft.value.as_deref().expect("a value");
                self.write(&self.names.state, &draft.key, value);
            }
        }
    }

    fn decoder() -> Decoder {
        Decoder::new(Limits::default())
    }

    async fn receive(following: &mut Following, known: &Known, until: impl Fn(&Following, Came) -> bool) {
        let receiving = async {
            loop {
                let came = following.receive(known).await;
                assert_ne!(came, Came::Broken);
                if until(following, came) {
                    return;
                }
            }
        };
        timeout(PATIENT, receiving).await.expect("it comes");
    }

    #[tokio::test]
    async fn an_end_below_what_was_decided_lets_no_record_be_passed_by() {
        let (leader, known) = (Leader::new(), Known::default());
        leader.write_events(5);
        let mut following = Following::new(&leader.names.events, PARTITION, 0, decoder());
        following.begin(&leader.connect, 8).expect("it begins");
        let is_at_end = |following: &Following, came| {
            assert_ne!(came, Came::End);
            following
                .session
                .as_ref()
                .is_some_and(|session| session.is_at_end)
        };
        receive(&mut following, &known, is_at_end).await;
        assert_eq!((following.next(), following.through), (5, 5));
        leader.write_events(3);
        receive(&mut following, &known, |_, came| came == Came::End).await;
        let numbers: Vec<_> = following.received.iter().map(|(entry, _)| entry.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn an_end_at_a_number_does_not_say_that_nothing_stands_there() {
        let leader = Leader::new();
        leader.write_events(5);
        let lookup = Lookup::new(leader.connect.clone(), &leader.names.events, PARTITION, decoder());
        let ends = 0..8;
        let mut looking = pin!(lookup.get([4, 5], &ends));
        let early = timeout(WHILE, &mut looking).await;
        assert!(early.is_err(), "it was told more: {early:?}");
        leader.write_events(3);
        let found = timeout(PATIENT, looking).await.expect("an answer");
        let found = found.expect("what was asked for");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [4, 5]);
    }

    #[tokio::test]
    async fn the_state_is_read_as_far_as_it_was_told_to_go() {
        let leader = Leader::new();
        let (connect, names) = (leader.connect.clone(), leader.names.clone());
        let asking = [connect.asking(), connect.asking_for_all()];
        let store = Store {
            connect,
            names,
            partition: PARTITION,
            asking: asking.map(|asking| asking.expect("a client")),
            ending: CancellationToken::new(),
            fence: std::sync::Arc::default(),
        };
        leader.write_state(&Draft::of_chunk(&[State::new(7).progress()], &mut Parts::new()));
        leader.write_state(&[Draft::of_owner("a", 1)]);
        let mut loading = pin!(store.load_between((0, 4)));
        let early = timeout(WHILE, &mut loading).await;
        assert!(early.is_err(), "it was told more: {early:?}");
        leader.write_state(&Draft::of_chunk(&[State::new(9).progress()], &mut Parts::new()));
        leader.write_state(&[Draft::of_owner("a", 2)]);
        let loaded = timeout(PATIENT, loading).await.expect("an answer");
        let loaded = loaded.expect("the state");
        assert_eq!(loaded.owner.commit, 2);
        assert_eq!(loaded.state.expect("a state").epochs().position(9), 9);
    }
}
