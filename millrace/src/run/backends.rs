//! A Broker stays where its channel is, on the local disk or on servers: what its Triggers are owed would be
//! left behind. Files that say otherwise are refused; of a cluster that Broker alone stays as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_model::{Backend, Broker, Mesh};
use parking_lot::Mutex;

use super::effect::Effect;

/// The Brokers whose channels are not kept as their documents say, and why.
pub(super) type Refused = Arc<Mutex<BTreeMap<ObjectName, String>>>;

// === impl Effect ===

impl Effect {
    /// Refuses a mesh that would leave events behind.
    pub(super) fn check_backends(&self, mesh: &Mesh) -> anyhow::Result<()> {
        let (before, on_disk) = (self.desired.borrow().clone(), self.store.brokers()?);
        for broker in mesh.brokers.values() {
            let is_on_disk = on_disk.contains(&broker.name);
            let had = before.brokers.get(&broker.name);
            if let Some(why) = conflict(broker, had.map(|had| &had.backend), is_on_disk) {
                anyhow::bail!("{why}");
            }
        }
        Ok(())
    }

    /// Has each Broker stay where it is whose document says otherwise, or of which nobody knows for now where
    /// it is to be: what serves is not taken down for that. One that was deleted and made anew is another.
    pub(super) fn settle_backends(&self, mut mesh: Mesh) -> anyhow::Result<Mesh> {
        let (before, on_disk) = (self.desired.borrow().clone(), self.store.brokers()?);
        let mut refused = BTreeMap::new();
        for broker in mesh.brokers.values_mut() {
            let is_on_disk = on_disk.contains(&broker.name);
            let had = before.brokers.get(&broker.name);
            let had = had.filter(|had| had.uid == broker.uid && had.backend.lack().is_none());
            let had = had.map(|had| &had.backend);
            let lack = broker.backend.lack();
            let is_lacking = lack.is_some();
            let Some(why) = lack.or_else(|| conflict(broker, had, is_on_disk)) else {
                continue;
            };
            let stays = match had {
                Some(had) => Some(had.clone()),
                None if is_on_disk => Some(Backend::Embedded),
                // It says itself why it cannot be opened.
                None if is_lacking => None,
                None => Some(Backend::Unknown(why.clone())),
            };
            if let Some(backend) = stays {
                let settled = Broker {
                    backend,
                    ..(**broker).clone()
                };
                *broker = Arc::new(settled);
            }
            refused.insert(broker.name.clone(), why);
        }
        let mut known = self.refused.lock();
        for (broker, why) in refused
            .iter()
            .filter(|(broker, why)| known.get(*broker) != Some(why))
        {
            tracing::error_span!("broker", %broker).in_scope(|| {
                tracing::error!(why, "the broker's channel is not kept as its config says");
            });
        }
        *known = refused;
        Ok(mesh)
    }
}

/// Why a Broker cannot be where its document says; it `had` this place before.
fn conflict(broker: &Broker, had: Option<&Backend>, is_on_disk: bool) -> Option<String> {
    let (name, backend) = (&broker.name, broker.backend.as_str());
    let is_there = match broker.backend {
        Backend::Embedded | Backend::Unknown(_) => true,
        Backend::JetStream(_) => cfg!(feature = "jetstream"),
        Backend::Kafka(_) => cfg!(feature = "kafka"),
    };
    if !is_there {
        return Some(format!(
            "the broker {name} is on {backend}, which this build has not (feature `{backend}`)"
        ));
    }
    if let Some(has) = had
        && has.as_str() == backend
        && has.partitions() != broker.backend.partitions()
    {
        return Some(format!(
            "the broker {name} has {} partition(s), and its config says {}: the number cannot be changed, since it \
             decides in which partition each key has its events. Give the new broker another name",
            has.partitions(),
            broker.backend.partitions()
        ));
    }
    let there = match had {
        Some(Backend::JetStream(_)) if backend != "jetstream" => "on NATS servers",
        Some(Backend::Kafka(_)) if backend != "kafka" => "on Kafka",
        _ if !broker.backend.is_embedded() && is_on_disk => "on the local disk",
        _ => return None,
    };
    Some(format!(
        "the broker {name} is kept {there}, and its config says `{backend}`: its events would be left behind. Give \
         the new one another name, or remove the old one from the documents first (one on the disk is then forgotten \
         by `millrace brokers forget {name}`)"
    ))
}

#[cfg(test)]
mod tests {
    use millrace_model::{JetStream, OnFull, Retention};

    use super::*;

    fn on_nats(partitions: u32) -> Backend {
        Backend::JetStream(Box::new(JetStream {
            servers: vec!["nats://a:4222".to_owned()],
            partitions,
            replicas: 1,
            max_bytes: JetStream::MAX_BYTES,
            durability: None,
            secrets: BTreeMap::new(),
            missing: None,
        }))
    }

    #[test]
    fn a_broker_stays_where_it_is() {
        let broker = |backend| Broker {
            name: ObjectName::new("shop", "default"),
            uid: None,
            backend,
            retention: Retention::default(),
            backlog_bytes: None,
            on_full: OnFull::Refuse,
        };
        let unknown = || Backend::Unknown("nobody knows".to_owned());
        for (now, had, is_on_disk, wrong) in [
            (Backend::Embedded, None, false, ""),
            (Backend::Embedded, Some(Backend::Embedded), true, ""),
            (Backend::Embedded, Some(on_nats(1)), false, "kept on NATS servers"),
            (on_nats(1), Some(on_nats(1)), false, ""),
            (
                on_nats(2),
                Some(on_nats(1)),
                false,
                "has 1 partition(s), and its config says 2",
            ),
            (on_nats(1), None, true, "kept on the local disk"),
            (on_nats(1), None, false, ""),
            (unknown(), None, false, ""),
        ] {
            if cfg!(feature = "jetstream") {
                let why = conflict(&broker(now.clone()), had.as_ref(), is_on_disk).unwrap_or_default();
                assert_eq!(why.is_empty(), wrong.is_empty(), "{now:?} {had:?}: {why}");
                assert!(why.contains(wrong), "{why}");
            }
        }
    }
}
