//! A limit as the access file has it.
//!
//! ```yaml
//! limits:
//!   default: {eventsPerSecond: 50}
//!   brokers:
//!     - {broker: shop/default, eventsPerSecond: 1000, eventsAtOnce: 5000, bytesPerSecond: 10Mi}
//! ```

use std::sync::Arc;

use millrace_model::quantity;
use serde::Deserialize;

use super::rate::{LONGEST_BURST, MOST};
use super::{Limit, Rate};
use crate::grants::BrokerPattern;

/// The most entries of `brokers`.
const MAX_BROKERS: usize = 1_000;
/// The most events a second. More is no limit.
const MOST_EVENTS: u64 = 1_000_000;
/// The most requests at one time. No listener has more connections.
const MOST_REQUESTS: u32 = 1_000_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLimits {
    default: Option<WireLimit>,
    #[serde(default)]
    brokers: Vec<WireBroker>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct WireLimit {
    events_per_second: Option<u64>,
    events_at_once: Option<u64>,
    bytes_per_second: Option<Bytes>,
    bytes_at_once: Option<Bytes>,
    requests_in_hand: Option<u32>,
}

/// As [`WireLimit`], with a name: flattening would lose the refusal of unknown fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireBroker {
    broker: String,
    events_per_second: Option<u64>,
    events_at_once: Option<u64>,
    bytes_per_second: Option<Bytes>,
    bytes_at_once: Option<Bytes>,
    requests_in_hand: Option<u32>,
}

/// A number, or a text such as `64Mi`.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a number of bytes is expected, such as 1048576, 64Mi or 1Gi"
)]
enum Bytes {
    Number(u64),
    Text(String),
}

/// The limits of a file.
#[derive(Debug, Default)]
pub(crate) struct FileLimits {
    /// That of each sender whose entry has none.
    pub(crate) default: Option<Arc<Limit>>,
    /// Those of Brokers. The first that fits counts.
    pub(crate) brokers: Vec<(BrokerPattern, Arc<Limit>)>,
}

// === impl WireLimits ===

impl WireLimits {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence, with the place.
    pub(crate) fn read(self) -> Result<FileLimits, String> {
        let default = self.default.map(WireLimit::read).transpose();
        let default = default.map_err(|why| format!("default.{why}"))?;
        if self.brokers.len() > MAX_BROKERS {
            return Err(format!("brokers: there are more than {MAX_BROKERS}"));
        }
        let brokers = self.brokers.into_iter().enumerate().map(|(nth, entry)| {
            let at = |why: String| format!("brokers[{nth}].{why}");
            let pattern: Result<BrokerPattern, _> = entry.broker.parse();
            let pattern = pattern.map_err(|error| at(format!("broker: {error}")))?;
            let limit = WireLimit {
                events_per_second: entry.events_per_second,
                events_at_once: entry.events_at_once,
                bytes_per_second: entry.bytes_per_second,
                bytes_at_once: entry.bytes_at_once,
                requests_in_hand: entry.requests_in_hand,
            };
            Ok((pattern, limit.read().map_err(at)?))
        });
        Ok(FileLimits {
            default,
            brokers: brokers.collect::<Result<_, String>>()?,
        })
    }
}

// === impl WireLimit ===

impl WireLimit {
    /// Reads it.
    ///
    /// # Errors
    /// A sentence, with the place.
    pub(crate) fn read(self) -> Result<Arc<Limit>, String> {
        let bytes = |field, text: Option<Bytes>| text.map(|text| text.read(field)).transpose();
        let (per_second, at_once) = (
            bytes("bytesPerSecond", self.bytes_per_second)?,
            bytes("bytesAtOnce", self.bytes_at_once)?,
        );
        let requests = self.requests_in_hand;
        if requests.is_some_and(|most| most == 0 || most > MOST_REQUESTS) {
            return Err(format!(
                "requestsInHand: a number from 1 to {MOST_REQUESTS} is expected"
            ));
        }
        Ok(Arc::new(Limit {
            requests,
            events: rate("events", self.events_per_second, self.events_at_once, MOST_EVENTS)?,
            bytes: rate("bytes", per_second, at_once, MOST)?,
        }))
    }
}

// === impl Bytes ===

impl Bytes {
    fn read(self, field: &str) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => quantity::parse(&text).map_err(|error| format!("{field}: {error}")),
        }
    }
}

fn rate(
    what: &str,
    per_second: Option<u64>,
    at_once: Option<u64>,
    most: u64,
) -> Result<Option<Rate>, String> {
    let Some(per_second) = per_second else {
        return match at_once {
            None => Ok(None),
            Some(_) => Err(format!("{what}AtOnce: it says nothing without `{what}PerSecond`")),
        };
    };
    if per_second == 0 {
        return Err(format!(
            "{what}PerSecond: 0 would let nothing through; to keep somebody out, take the entry out"
        ));
    }
    if per_second > most {
        return Err(format!("{what}PerSecond: a number from 1 to {most} is expected"));
    }
    let rate = Rate::new(per_second, at_once.unwrap_or(per_second));
    rate.map(Some).ok_or_else(|| {
        format!(
            "{what}AtOnce: a number from 1 to that of an hour ({}) is expected",
            per_second * LONGEST_BURST
        )
    })
}

#[cfg(test)]
pub(super) fn parsed(text: &str) -> Result<Arc<Limit>, String> {
    let wire: WireLimit = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    wire.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_a_second_and_one_at_once() {
        let read = |text: &str| parsed(text).expect(text);
        assert!(read("{}").is_none());
        assert_eq!(
            *read("{eventsPerSecond: 5, bytesPerSecond: 1Ki}"),
            Limit {
                events: Rate::new(5, 5),
                bytes: Rate::new(1024, 1024),
                requests: None,
            }
        );
        assert_eq!(
            *read("{eventsPerSecond: 5, eventsAtOnce: 100, bytesPerSecond: 1000, bytesAtOnce: 1MB}"),
            Limit {
                events: Rate::new(5, 100),
                bytes: Rate::new(1000, 1_000_000),
                requests: None,
            }
        );
        assert_eq!(
            *read("{requestsInHand: 7}"),
            Limit {
                requests: Some(7),
                ..Limit::default()
            }
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let table = [
            (
                "{eventsPerSecond: 0}",
                "eventsPerSecond: 0 would let nothing through",
            ),
            ("{bytesPerSecond: 0}", "bytesPerSecond: 0"),
            ("{eventsPerSecond: -1}", ""),
            ("{eventsPerSecond: 1.5}", ""),
            ("{eventsPerSecond: many}", ""),
            ("{eventsPerSecond: 1000001}", "eventsPerSecond"),
            ("{eventsPerSecond: 18446744073709551615}", "eventsPerSecond"),
            ("{eventsPerSecond: 99999999999999999999999}", ""),
            ("{eventsPerSecond: 1, eventsAtOnce: 0}", "eventsAtOnce"),
            ("{eventsPerSecond: 1, eventsAtOnce: 3601}", "eventsAtOnce"),
            ("{eventsAtOnce: 5}", "eventsAtOnce"),
            ("{bytesPerSecond: 2Ti}", "bytesPerSecond"),
            ("{bytesPerSecond: fast}", "bytesPerSecond"),
            ("{bytesPerSecond: 1Ki, bytesAtOnce: 4Mi}", "bytesAtOnce"),
            ("{bytesAtOnce: 4Mi}", "bytesAtOnce"),
            ("{eventsPerMinute: 5}", ""),
            ("{requestsInHand: 0}", "requestsInHand"),
            ("{requestsInHand: 1000001}", "requestsInHand"),
            ("{requestsInHand: 5000000000}", ""),
        ];
        for (text, expected) in table {
            let said = parsed(text).expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
