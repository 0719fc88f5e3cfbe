//! The rule of hops, which ends circles: an event that a subscriber sends back, or that one Broker sends to
//! another, carries how many Brokers it may still pass (`knativebrokerttl`, as Knative's Brokers do it).
//!
//! # Contract
//! Each Broker that takes an event in takes one off ([`pass`]), and refuses one that has nothing left. Who
//! sends an event on within the mesh, or stores a reply to it, writes the number down ([`onward`]). So does
//! who writes it into a topic, from which it may come back; a topic takes one off too ([`beyond`]). An event
//! without the attribute may pass 255. That number is not written into the event when it first comes in, so
//! that the usual event is stored as it came, without a copy. A value that is no number counts as none.
//! Subscribers and filters never see the attribute.

use crate::{Event, EventBuilder, Refusal, Value};

/// The attribute that counts hops.
pub const TTL: &str = "knativebrokerttl";
/// What an event without the attribute may pass.
const FULL: i32 = 255;

/// Takes one off what the events may still pass.
///
/// # Errors
/// [`Refusal::Looping`] if one of them has nothing left: a batch is refused as a whole.
pub fn pass(events: &mut [Event]) -> Result<(), Refusal> {
    for event in events {
        if let Some(passed) = pass_one(event)? {
            *event = passed;
        }
    }
    Ok(())
}

/// An edition of `event` that carries on how many Brokers `of` may still pass: the event itself where it is
/// sent on, or the event that it replies to.
pub fn onward(event: &Event, of: &Event) -> EventBuilder {
    let left = number(of).unwrap_or(FULL);
    event.edit().attribute(TTL, &left.to_string())
}

/// How many Brokers the event may still pass once it is in a topic.
///
/// # Errors
/// [`Refusal::Looping`] if it has nothing left.
pub fn beyond(event: &Event) -> Result<i32, Refusal> {
    let Some(left) = number(event) else {
        return Ok(FULL);
    };
    let left = left.saturating_sub(1);
    if left <= 0 {
        Err(Refusal::Looping)
    } else {
        Ok(left)
    }
}

fn number(event: &Event) -> Option<i32> {
    event.get(TTL)?.text.parse().ok()
}

/// The event with its lowered number; `None` when it carries no number.
fn pass_one(event: &Event) -> Result<Option<Event>, Refusal> {
    let (Some(value), Some(left)) = (event.get(TTL), number(event)) else {
        return Ok(None);
    };
    let left = left.saturating_sub(1);
    if left <= 0 {
        return Err(Refusal::Looping);
    }
    let text = left.to_string();
    let lowered = event
        .edit()
        .value(
            TTL,
            Value {
                kind: value.kind,
                text: &text,
            },
        )
        .build();
    Ok(Some(lowered.expect(
        "invariant: a valid event with a number in the place of a number is valid",
    )))
}

#[cfg(test)]
mod tests {
    use crate::{Kind, SpecVersion};

    use super::*;

    fn event(ttl: Option<Value<'_>>) -> Event {
        let mut builder = Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s");
        if let Some(ttl) = ttl {
            builder = builder.value(TTL, ttl);
        }
        builder
            .attribute("type", "t")
            .attribute("other", "kept")
            .build()
            .unwrap()
    }

    #[test]
    fn a_number_is_lowered_and_stops_the_event_at_zero() {
        let table = [
            ("300", Some("299")),
            ("255", Some("254")),
            ("2", Some("1")),
            ("1", None),
            ("0", None),
            ("-1", None),
            ("-2147483648", None),
            ("2147483647", Some("2147483646")),
            ("+7", Some("6")),
            ("007", Some("6")),
        ];
        for (came, left) in table {
            let mut events = [event(Some(Value {
                kind: Kind::String,
                text: came,
            }))];
            let passed = pass(&mut events);
            assert_eq!(passed.is_ok(), left.is_some(), "{came}");
            if let Some(left) = left {
                assert_eq!(events[0].get(TTL).unwrap().text, left, "{came}");
                assert_eq!(events[0].get("other").unwrap().text, "kept", "{came}");
            }
        }
    }

    #[test]
    fn the_type_of_the_number_is_kept() {
        let mut events = [event(Some(Value {
            kind: Kind::Integer,
            text: "9",
        }))];
        pass(&mut events).unwrap();
        assert_eq!(
            events[0].get(TTL),
            Some(Value {
                kind: Kind::Integer,
                text: "8"
            })
        );
    }

    #[test]
    fn without_a_number_the_event_is_stored_as_it_came() {
        for came in [None, Some("many"), Some("1.5"), Some("99999999999")] {
            let before = event(came.map(|text| Value {
                kind: Kind::String,
                text,
            }));
            let mut events = [before.clone()];
            pass(&mut events).unwrap();
            assert_eq!(
                events[0].stored().as_ptr(),
                before.stored().as_ptr(),
                "{came:?} was copied"
            );
        }
    }

    /// A value that admission takes for no number must not be one here: it would never be lowered, and a
    /// circle would have no end.
    #[test]
    fn what_is_sent_on_carries_a_number_that_every_broker_lowers() {
        for (came, carried) in [
            (None, "255"),
            (Some("7"), "7"),
            (Some("007"), "7"),
            (Some("many"), "255"),
            (Some("1.5"), "255"),
            (Some("2147483647"), "2147483647"),
            (Some("2147483648"), "255"),
            (Some("4294967295"), "255"),
        ] {
            let kind = Kind::String;
            let of = event(came.map(|text| Value { kind, text }));
            for of_another in [event(None), of.clone()] {
                let sent = onward(&of_another, &of).build().unwrap();
                assert_eq!(sent.get(TTL).unwrap().text, carried, "{came:?}");
                let mut taken = [sent];
                pass(&mut taken).unwrap();
                assert_ne!(taken[0].get(TTL).unwrap().text, carried, "{came:?}");
            }
        }
    }

    /// Also a circle of topics and sources without any Broker ends.
    #[test]
    fn a_topic_takes_one_off_and_takes_no_event_that_has_nothing_left() {
        for (came, left) in [
            (None, Ok(255)),
            (Some("255"), Ok(254)),
            (Some("2"), Ok(1)),
            (Some("1"), Err(Refusal::Looping)),
            (Some("-2147483648"), Err(Refusal::Looping)),
            (Some("many"), Ok(255)),
        ] {
            let kind = Kind::String;
            assert_eq!(
                beyond(&event(came.map(|text| Value { kind, text }))),
                left,
                "{came:?}"
            );
        }
    }

    #[test]
    fn one_event_that_loops_stops_its_batch() {
        let number = |text| {
            event(Some(Value {
                kind: Kind::String,
                text,
            }))
        };
        assert_eq!(
            pass(&mut [number("9"), number("1"), number("9")]),
            Err(Refusal::Looping)
        );
    }
}
