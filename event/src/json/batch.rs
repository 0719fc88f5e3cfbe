//! A JSON array becomes several events: all of them, or the first fault and where it is.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::members::not_json;
use super::{Passed, read};
use crate::http::Limits;
use crate::invalid::Fault;
use crate::{Event, Invalid};

/// The events of the array that `text` is.
pub(super) fn events(
    text: &str,
    body: &Bytes,
    limits: &Limits,
    passed: &Passed<'_>,
) -> Result<Vec<Event>, Invalid> {
    let elements = Elements {
        most: limits.batch_events,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let list = elements
        .deserialize(&mut deserializer)
        .and_then(|list| deserializer.end().map(|()| list))
        .map_err(|error| not_json(&error, "a JSON array of events"))?;
    let Some(list) = list else {
        let message = format!("the batch has more than {} events", limits.batch_events);
        return Err(Invalid::new(Fault::BatchTooLarge, message));
    };
    let mut events: Vec<Event> = Vec::with_capacity(list.len());
    for (index, element) in list.into_iter().enumerate() {
        let at = |invalid: Invalid| invalid.within(&format!("[{index}]."));
        let event = read::event(element.get(), body, limits, passed).map_err(at)?;
        if events
            .first()
            .is_some_and(|first| first.specversion() != event.specversion())
        {
            let message = "the events of a batch must all be of one specversion";
            return Err(at(Invalid::of(Fault::MixedBatch, "specversion", message)));
        }
        events.push(event);
    }
    Ok(events)
}

/// The elements of an array as text, or `None` if there are more than `most`.
struct Elements {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        let mut too_many = false;
        while let Some(element) = array.next_element()? {
            if list.len() < self.most {
                list.push(element);
            } else {
                too_many = true;
            }
        }
        Ok((!too_many).then_some(list))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::Limits;
    use crate::invalid::Fault;
    use crate::json::decode_batch;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1]}"#;

    fn read(body: &str) -> Result<usize, (Fault, Option<String>)> {
        let limits = Limits {
            batch_events: 3,
            event_bytes: 8,
            ..Limits::default()
        };
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        decode_batch(&body, &limits)
            .map(|events| events.len())
            .map_err(|invalid| (invalid.fault, invalid.field))
    }

    #[test]
    fn a_batch_is_all_of_its_events() {
        assert_eq!(read("[]"), Ok(0));
        assert_eq!(read(&format!(" [ {EVENT} ,{EVENT}]\n")), Ok(2));
    }

    #[test]
    fn the_first_fault_is_told_with_its_place() {
        let table = [
            (
                EVENT.replace(r#""id":"1""#, r#""id":"""#),
                Fault::BadAttributeValue,
                "[1].id",
            ),
            (
                EVENT.replace(r#""id":"1","#, ""),
                Fault::MissingAttribute,
                "[1].id",
            ),
            (EVENT.replace("1.0", "0.3"), Fault::MixedBatch, "[1].specversion"),
            (
                EVENT.replace("[1]", "\"more than eight\""),
                Fault::EventTooLarge,
                "[1].data",
            ),
            ("1".to_owned(), Fault::BadJson, "[1]"),
        ];
        for (second, fault, field) in table {
            assert_eq!(
                read(&format!("[{EVENT},{second}]")),
                Err((fault, Some(field.to_owned()))),
                "{second}"
            );
        }
    }

    #[test]
    fn a_body_that_is_not_an_array_is_refused() {
        for body in ["", "{}", EVENT, "[", "[] []", "[1,]"] {
            assert_eq!(read(body), Err((Fault::BadJson, None)), "{body}");
        }
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        assert_eq!(read(&format!("[{EVENT},{EVENT},{EVENT}]")), Ok(3));
        assert_eq!(
            read(&format!("[{EVENT},{EVENT},{EVENT},{EVENT}]")),
            Err((Fault::BatchTooLarge, None))
        );
    }
}
