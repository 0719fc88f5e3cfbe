//! A trigger as it should be.

use std::sync::Arc;

use millrace_event::ObjectName;
use millrace_filter::{Compiled, Filter};

use crate::status::LaneName;
use crate::{Auth, DeliveryPolicy, NoTarget, Target};

/// A trigger: which events of a broker go to which subscriber, and how.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name; in the same namespace as its broker.
    pub name: ObjectName,
    /// The uid that Kubernetes gave it; `None` from a file.
    pub uid: Option<String>,
    /// It takes over the place of the last Trigger of its name (`millrace.dev/resume`, false). Only where
    /// there are uids: without one the name is the identity.
    pub resume: bool,
    /// The broker it reads.
    pub broker: ObjectName,
    /// The filters as written: two triggers with equal filters decide alike.
    pub filters: Vec<Filter>,
    /// The filters ready to run.
    pub compiled: Arc<Compiled>,
    /// Where events go, or why that is not known (then the trigger is not ready and its events wait).
    pub subscriber: Result<Target, NoTarget>,
    /// What deliveries to the subscriber show (`millrace.dev/subscriber-auth`).
    pub subscriber_auth: Option<Arc<Auth>>,
    /// Where events go that were given up on: the trigger's own or its broker's. An unresolved one is kept as
    /// its reason.
    pub dead_letter: Option<Result<Target, NoTarget>>,
    /// What deliveries to the dead-letter sink show: as the document says that names the sink
    /// (`millrace.dev/dead-letter-auth`).
    pub dead_letter_auth: Option<Arc<Auth>>,
    /// Retries, backoff and timeouts, after defaults and precedence.
    pub delivery: DeliveryPolicy,
    /// Attempts in flight at once (`millrace.dev/parallelism`, 32).
    pub parallelism: u32,
    /// Events waiting for another attempt from which the lane reads no further (`millrace.dev/max-deferred`,
    /// 10 000).
    pub max_deferred: u32,
    /// Parked events from which the lane reads no further (`millrace.dev/max-parked`, 10 000).
    pub max_parked: u32,
}

// === impl Trigger ===

impl Trigger {
    /// Its lane: on the broker that it reads.
    pub fn lane(&self) -> LaneName {
        LaneName {
            trigger: self.name.clone(),
            broker: self.broker.clone(),
        }
    }
}

/// Two triggers are equal when they behave alike; the compiled filter follows from the written one.
impl PartialEq for Trigger {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            uid,
            resume,
            broker,
            filters,
            compiled: _,
            subscriber,
            subscriber_auth,
            dead_letter,
            dead_letter_auth,
            delivery,
            parallelism,
            max_deferred,
            max_parked,
        } = self;
        *name == other.name
            && *uid == other.uid
            && *resume == other.resume
            && *broker == other.broker
            && *filters == other.filters
            && *subscriber == other.subscriber
            && *subscriber_auth == other.subscriber_auth
            && *dead_letter == other.dead_letter
            && *dead_letter_auth == other.dead_letter_auth
            && *delivery == other.delivery
            && *parallelism == other.parallelism
            && *max_deferred == other.max_deferred
            && *max_parked == other.max_parked
    }
}
