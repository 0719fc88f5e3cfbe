//! How the channels of Brokers stand, for the condition `ChannelReady`.
//!
//! # Contract
//! True only for a Broker whose channel is kept as its document says, is open, and takes events as far as is
//! known. The message says what a 202 rests on.

use std::collections::BTreeMap;

use millrace_crds::{ConditionStatus, Configured, Draft};
use millrace_model::status::ChannelStatus;
use millrace_model::{Backend, ConfigLack, NoConfig, ObjectName};

use crate::condition::Shown;
use crate::objects::Entry;
use crate::status::Scene;

/// The condition.
const TYPE: &str = "ChannelReady";

/// The channels of all Brokers that are in effect.
#[derive(Debug, Default)]
pub(crate) struct Channels(BTreeMap<ObjectName, ChannelStatus>);

// === impl Channels ===

impl Channels {
    /// Takes in how all channels stand; says whether that is news.
    pub(crate) fn observe(&mut self, all: BTreeMap<ObjectName, ChannelStatus>) -> bool {
        let is_new = self.0 != all;
        self.0 = all;
        is_new
    }

    /// How the channel of that Broker stands; nothing before it was looked at.
    fn of(&self, entry: &Entry) -> Option<&ChannelStatus> {
        let found = self.0.get(&entry.key.name)?;
        (found.broker.uid.as_ref() == Some(&entry.uid)).then_some(found)
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// Says how the channel of a Broker stands, where its document lacks nothing; and how to permit what is
    /// forbidden.
    pub(crate) fn say_channel(
        &self,
        conditions: &mut [Shown],
        configured: &Configured,
        draft: &Draft,
        entry: &Entry,
    ) {
        match configured {
            Configured::NoSecret(missing) => self.say_command(conditions, std::slice::from_ref(missing)),
            Configured::NoConfig(NoConfig {
                config,
                why: ConfigLack::Forbidden,
            }) => {
                let command = self.command("config", "configmaps", config);
                let found = conditions.iter_mut().find(|one| one.ty == TYPE);
                found
                    .into_iter()
                    .for_each(|condition| condition.message.push_str(&command));
            }
            Configured::NoConfig(_) | Configured::Ignored(_) | Configured::AsWritten => {}
        }
        let found = conditions.iter_mut().find(|one| one.ty == TYPE);
        if let Some(condition) = found.filter(|one| one.status == ConditionStatus::True) {
            *condition = self.channel(configured, draft, entry);
        }
    }

    fn channel(&self, configured: &Configured, draft: &Draft, entry: &Entry) -> Shown {
        let plane = self.plane(TYPE, "Open", draft, entry);
        if plane.status != ConditionStatus::True {
            return plane;
        }
        let Some(found) = self.channels.of(entry) else {
            return Shown::unknown(TYPE, "Opening", "the channel has not been looked at yet");
        };
        if let Some(why) = &found.refused {
            return Shown::unmet(TYPE, "KeptElsewhere", why);
        }
        if let Some(why) = &found.fault {
            return Shown::unmet(TYPE, "NotOpen", why);
        }
        let reason = match found.broker.backend {
            Backend::Embedded => "Embedded",
            Backend::JetStream(_) => "JetStream",
            Backend::Kafka(_) => "Kafka",
            Backend::Unknown(_) => return Shown::unknown(TYPE, "Opening", "the channel is not open yet"),
        };
        let mut shown = Shown::met(TYPE, reason);
        if let Some((word, meaning)) = found.durability {
            shown.message = format!("{word}: {meaning}");
        }
        if let Configured::Ignored(why) = configured {
            shown.message = format!("{why}. {}", shown.message);
        }
        shown
    }
}
