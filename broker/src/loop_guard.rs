//! The guard against circles: an event that a subscriber sends back, or that one broker sends to another,
//! carries how many brokers it may still pass (`knativebrokerttl`, as Knative's brokers do it).
//!
//! An event without that attribute may pass 255. This number is not written into the event when it first
//! comes in, so that the usual event is stored as it came, without a copy. The dispatcher writes it when it
//! sends the event on within the mesh, as a reply or to another broker. The same holds for a value that is no
//! number.

use millrace_event::{Event, Refusal, Value};

/// The attribute.
const TTL: &str = "knativebrokerttl";

/// Takes one off what the event may still pass. A batch is refused if one of its events is.
pub(crate) fn pass(events: &mut [Event]) -> Result<(), Refusal> {
    for event in events {
        if let Some(passed) = pass_one(event)? {
            *event = passed;
        }
    }
    Ok(())
}

/// The event with its lowered number; `None` when it carries no number.
fn pass_one(event: &Event) -> Result<Option<Event>, Refusal> {
    let Some(value) = event.get(TTL) else {
        return Ok(None);
    };
    let Ok(left) = value.text.parse::<i32>() else {
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
    use millrace_event::{Kind, SpecVersion};

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
