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
