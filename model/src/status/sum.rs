//! The status of one Broker or Trigger, put together from its partitions.
//!
//! Positions are added like counts: a difference of two sums (a backlog) is that of all partitions together.
//! The state is that of the partition that is worst off.

use super::{BrokerStatus, TriggerStatus};

// === impl TriggerStatus ===

impl TriggerStatus {
    /// Adds the status of the same trigger in another partition.
    pub(super) fn add(&mut self, other: Self) {
        if other.state > self.state {
            (self.state, self.reason) = (other.state, other.reason);
        }
        self.shortage = self.shortage.or(other.shortage);
        self.last_failure = self.last_failure.take().max(other.last_failure);
        let sums = [
            (&mut self.cursor, other.cursor),
            (&mut self.reads_at, other.reads_at),
            (&mut self.backlog, other.backlog),
            (&mut self.queued, other.queued),
            (&mut self.deferred, other.deferred),
            (&mut self.parked, other.parked),
            (&mut self.delivered, other.delivered),
            (&mut self.failed_attempts, other.failed_attempts),
            (&mut self.dead_lettered, other.dead_lettered),
            (&mut self.too_much_work, other.too_much_work),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
    }
}

// === impl BrokerStatus ===

impl BrokerStatus {
    /// Adds the status of another partition.
    pub(super) fn add(&mut self, other: Self) {
        if other.state > self.state {
            (self.state, self.reason) = (other.state, other.reason);
        }
        self.refusing = self.refusing.take().or(other.refusing);
        self.head += other.head;
        self.oldest += other.oldest;
        self.log_bytes += other.log_bytes;
        self.dropped += other.dropped;
        self.forgotten += other.forgotten;
        self.parked += other.parked;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_event::{ObjectName, Timestamp};

    use super::*;
    use crate::status::{StatusBoard, Statuses};
    use crate::{BrokerState, TriggerState};

    /// A partition with so many positions.
    struct Part(u64, BrokerState, TriggerState);

    fn ship() -> ObjectName {
        ObjectName::new("shop", "ship")
    }

    impl Statuses for Part {
        fn broker(&self) -> BrokerStatus {
            BrokerStatus {
                state: self.1,
                reason: Some(format!("{:?}", self.1)),
                head: self.0,
                ..BrokerStatus::default()
            }
        }

        fn triggers(&self, wanted: &dyn Fn(&ObjectName) -> bool) -> Vec<(ObjectName, TriggerStatus)> {
            let status = TriggerStatus {
                state: self.2,
                reads_at: self.0 / 2,
                backlog: self.0 / 2,
                last_failure: Some((Timestamp(0), self.0.to_string())),
                ..TriggerStatus::default()
            };
            let gone = TriggerStatus::default();
            let all = [(ship(), gone), (ship(), status)].into_iter();
            all.filter(|(name, _)| wanted(name)).collect()
        }
    }

    #[test]
    fn partitions_are_shown_as_one_in_the_state_of_the_worst() {
        let (board, broker) = (StatusBoard::default(), ObjectName::new("shop", "default"));
        board.attach(
            &broker,
            0,
            Arc::new(Part(10, BrokerState::Ready, TriggerState::Blocked)),
        );
        let worse = Part(4, BrokerState::NotReady, TriggerState::Behind);
        board.attach(&broker, 1, Arc::new(worse));
        board.attach(
            &ObjectName::new("shop", "other"),
            0,
            Arc::new(Part(1, BrokerState::Ready, TriggerState::Live)),
        );
        let all = board.brokers();
        assert_eq!(all.len(), 2);
        let told = &all[&broker];
        assert_eq!((told.head, told.state), (14, BrokerState::NotReady));
        assert_eq!(told.reason.as_deref(), Some("NotReady"));
        assert_eq!(board.broker(&broker).as_ref(), Some(told));
        assert_eq!(board.broker(&ObjectName::new("shop", "none")), None);
        let triggers = board.triggers_of(&broker, &|_| true);
        let told = &triggers[&ship()];
        assert_eq!(
            (told.state, told.reads_at, told.backlog),
            (TriggerState::Blocked, 7, 7)
        );
        assert_eq!(told.last_failure, Some((Timestamp(0), "4".to_owned())));
        assert_eq!(board.triggers().len(), 2, "one for each broker");
        board.detach(&broker, 1);
        assert_eq!(board.brokers()[&broker].head, 10);
    }
}
