//! Takes in how what runs stands: the statuses then say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_crds::Kind;
use millrace_model::status::{LaneName, SinkStatus, SourceStatus, TriggerStatus};
use millrace_model::{KafkaSink, ObjectName, Source, SourceKey, TriggerState};

use super::Controller;

impl Controller {
    /// Looks whether producers log in otherwise than before, or others vouch for the address; statuses then
    /// say so.
    pub fn see_doors(&mut self) {
        let doors = self.index.options.doors();
        if self.doors != doors {
            self.doors = doors;
            self.write();
        }
    }

    /// Says how the sources run; their statuses then say so.
    pub fn observe(&mut self, sources: &BTreeMap<SourceKey, (Arc<Source>, SourceStatus)>) {
        if self.running.observe(sources) {
            self.write();
        }
    }

    /// Says how the sinks of Kafka stand; their statuses then say so.
    pub fn observe_sinks(&mut self, sinks: &BTreeMap<ObjectName, (Arc<KafkaSink>, SinkStatus)>) {
        if self.sinks.observe(sinks) {
            self.write();
        }
    }

    /// Says how the lanes stand; the statuses of their Triggers then say so.
    pub fn observe_lanes(&mut self, lanes: &BTreeMap<LaneName, TriggerStatus>) {
        let of_triggers = lanes
            .iter()
            .filter(|(_, status)| status.state != TriggerState::Orphaned);
        let known = of_triggers.filter_map(|(lane, status)| {
            let trigger = self.in_effect.triggers.get(&lane.trigger)?;
            let uid = trigger.uid.as_deref().filter(|_| trigger.broker == lane.broker)?;
            let entry = self.index.objects.get(Kind::Trigger, &lane.trigger)?;
            (entry.uid == uid).then_some((uid, status, entry.status()))
        });
        if self.lanes.observe(known) {
            self.write();
        }
    }
}
