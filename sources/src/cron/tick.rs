//! What is sent for a tick: always the same event for the same instant.

use std::time::Duration;

use millrace_event::{DataForm, Event, ObjectName, SpecVersion, Timestamp};
use millrace_model::source::Cron;

use crate::SourceError;

/// As Knative's PingSource.
const TYPE: &str = "dev.knative.sources.ping";

/// The event of a tick. Its id is the scheduled instant and nothing else: a tick that is repeated is the same
/// event, also after its schedule or data were edited.
pub(super) fn event(name: &ObjectName, spec: &Cron, tick: Timestamp) -> Result<Event, SourceError> {
    let time = rfc3339(tick);
    let source = format!(
        "/apis/v1/namespaces/{}/cronsources/{}",
        name.namespace(),
        name.name()
    );
    let mut event = Event::builder(SpecVersion::V10)
        .attribute("id", &time)
        .attribute("source", &source)
        .attribute("type", TYPE)
        .attribute("time", &time);
    if let Some(content_type) = &spec.content_type {
        event = event.attribute("datacontenttype", content_type);
    }
    if let Some(data) = &spec.data {
        event = event.data(DataForm::Bytes, data);
    }
    event
        .build()
        .map_err(|invalid| SourceError::Unusable(format!("its event is invalid: {invalid}")))
}

/// How long after its time a tick is sent: less than `jitter`, by chance that is the same whenever one asks,
/// and another for each source.
pub(super) fn delay(name: &ObjectName, tick: Timestamp, jitter: Duration) -> Duration {
    let millis = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return Duration::ZERO;
    }
    let bytes = [
        name.namespace().as_bytes(),
        b"/",
        name.name().as_bytes(),
        &tick.0.to_be_bytes(),
    ];
    // FNV-1a, then the finish of splitmix64, which spreads neighbours.
    let mut hash = bytes
        .iter()
        .copied()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_millis((hash ^ (hash >> 31)) % millis)
}

/// An instant as events have it.
pub(super) fn rfc3339(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{} ms", time.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_the_same_for_the_same_tick_and_spread_over_ticks_and_sources() {
        let (a, b) = (ObjectName::new("shop", "a"), ObjectName::new("shop", "b"));
        let jitter = Duration::from_secs(60);
        let delays = |name: &ObjectName| -> Vec<Duration> {
            (0..1_000)
                .map(|n| delay(name, Timestamp(n * 60_000), jitter))
                .collect()
        };
        assert_eq!(delays(&a), delays(&a));
        assert_ne!(delays(&a), delays(&b));
        let late = delays(&a).iter().filter(|delay| **delay >= jitter / 2).count();
        assert!((400..600).contains(&late), "{late}");
        assert!(delays(&a).iter().all(|delay| *delay < jitter));
        assert_eq!(delay(&a, Timestamp(0), Duration::ZERO), Duration::ZERO);
    }
}
