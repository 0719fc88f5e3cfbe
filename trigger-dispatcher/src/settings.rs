//! What a lane needs of its trigger, with targets resolved for this process.

use std::sync::Arc;

use millrace_delivery::own_ingress::{OwnIngress, own_broker};
use millrace_delivery::{Auth, Connector};
use millrace_model::{Auth as Spec, NoTarget, Target, Trigger};

/// A trigger as its lane uses it. Replaced as a whole when the trigger changes.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) trigger: Arc<Trigger>,
    pub(crate) subscriber: Result<NamedTarget, NoTarget>,
    pub(crate) dead_letter: Option<Result<NamedTarget, NoTarget>>,
    pub(crate) bounds: Bounds,
}

/// One partition's part of what the trigger may have, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) parallelism: u32,
    pub(crate) deferred: u32,
    pub(crate) parked: u32,
}

/// A target with its text, which is needed for each attempt.
#[derive(Debug)]
pub(crate) struct NamedTarget {
    pub(crate) target: Target,
    pub(crate) name: Box<str>,
    /// What deliveries there show.
    pub(crate) auth: Option<Arc<Auth>>,
}

// === impl Settings ===

impl Settings {
    /// The settings of a trigger in one of so many partitions. A URL of our own ingress counts as the Broker
    /// it names, so that its events keep their loop counter.
    pub(crate) fn new(
        trigger: Arc<Trigger>,
        partitions: u32,
        own_ingress: OwnIngress,
        connector: &Connector,
    ) -> Self {
        let named = |target: Target, auth: &Option<Arc<Spec>>| {
            let target = own_broker(target, own_ingress);
            let name = target.to_string().into();
            let auth = auth.as_ref().map(|auth| connector.auth(auth));
            NamedTarget { target, name, auth }
        };
        let subscriber = |target| named(target, &trigger.subscriber_auth);
        let sink = |target| named(target, &trigger.dead_letter_auth);
        Self {
            subscriber: trigger.subscriber.clone().map(subscriber),
            dead_letter: trigger.dead_letter.clone().map(|found| found.map(sink)),
            bounds: Bounds::of(&trigger, partitions),
            trigger,
        }
    }

    /// Whether there is a dead-letter sink of which something has not been looked up yet: a dead letter waits
    /// for that.
    pub(crate) fn awaits_sink(&self) -> bool {
        matches!(&self.dead_letter, Some(Err(why)) if why.is_pending())
    }

    /// The settings of a trigger in a test, which delivers nothing.
    #[cfg(test)]
    pub(crate) fn alone(trigger: Trigger) -> Self {
        let connector = Connector::new(millrace_delivery::ConnectorOptions::default());
        Self::new(Arc::new(trigger), 1, OwnIngress::default(), &connector)
    }

    /// The subscriber as its document names it, for dead letters and failures; empty if it is not known.
    pub(crate) fn documented_subscriber(&self) -> String {
        let subscriber = self.trigger.subscriber.as_ref();
        subscriber.map_or_else(|_| String::new(), Target::to_string)
    }
}

// === impl Bounds ===

impl Bounds {
    fn of(trigger: &Trigger, partitions: u32) -> Self {
        let part = |of_all: u32| of_all.div_ceil(partitions.max(1));
        Self {
            parallelism: part(trigger.parallelism),
            deferred: part(trigger.max_deferred),
            parked: part(trigger.max_parked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_step::tests::settings;

    #[test]
    fn partitions_share_what_a_trigger_may_have() {
        let mut trigger = (*settings(0, None).trigger).clone();
        (trigger.parallelism, trigger.max_deferred, trigger.max_parked) = (10, 1_000, 3);
        let bounds = |partitions| {
            let Bounds {
                parallelism,
                deferred,
                parked,
            } = Bounds::of(&trigger, partitions);
            (parallelism, deferred, parked)
        };
        assert_eq!(bounds(1), (10, 1_000, 3));
        assert_eq!(bounds(8), (2, 125, 1), "each has at least one");
        trigger.parallelism = 1;
        assert_eq!(Bounds::of(&trigger, 8).parallelism, 1);
    }
}
