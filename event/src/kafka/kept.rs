//! A record that gives its event back byte for byte: for a topic in which events are kept.
//!
//! To everybody else it is a CloudEvent in binary mode. What binary mode cannot say (the order and types of
//! attributes, whether the data was JSON in a JSON event, headers to pass on) stands in headers of our own.

use bytes::Bytes;

use super::{CONTENT_TYPE, Header, PREFIX, is_attribute, write_structured};
use crate::attribute::{SpecVersion, Value};
use crate::builder::EventBuilder;
use crate::event::{DataForm, Event, JSON};
use crate::exact::{Order, form, form_of};
use crate::hops::TTL;
use crate::http::{Outgoing, percent};
use crate::rules::media;

/// The attributes in their order.
const ATTRIBUTES: &str = "millrace-attributes";
/// What the data is.
const DATA: &str = "millrace-data";
/// A header to pass on: its name, and its value with percent signs.
const PASSED: &str = "millrace-passed";

/// The headers and the value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The value; `None` where the event has no data.
    pub value: Option<Bytes>,
}

// === impl Kept ===

impl Kept {
    /// The record of an event. Data whose media type is one of CloudEvents' own leaves in structured mode,
    /// which does not say all: in binary mode a reader would take the event in the data for this one.
    pub fn of(event: &Event) -> Self {
        let mut headers = Vec::new();
        let mut add = |name: String, value: &str| headers.push((name, value.to_owned()));
        let media = event.get("datacontenttype").map(|value| value.text);
        if media.is_some_and(media::is_cloudevents) {
            let outgoing = Outgoing {
                ttl: event.get(TTL).map(|ttl| ttl.text),
                ..Outgoing::default()
            };
            let value = write_structured(event, &outgoing, &mut |name, value| add(name.to_owned(), value));
            return Self { headers, value };
        }
        add(format!("{PREFIX}specversion"), event.specversion().as_str());
        let mut order = Order::default();
        for (name, value) in event.attributes().filter(|(name, _)| *name != "specversion") {
            order.add(name, value.kind);
            match name {
                "datacontenttype" => add(CONTENT_TYPE.to_owned(), value.text),
                name => add(format!("{PREFIX}{name}"), value.text),
            }
        }
        if media.is_none() && event.data_form() == DataForm::Json {
            add(CONTENT_TYPE.to_owned(), JSON);
        }
        add(ATTRIBUTES.to_owned(), &order.0);
        let data = event.data_ref().map_or("none", |_| form(event.data_form()));
        add(DATA.to_owned(), data);
        for (name, value) in event.headers() {
            let text: String = value.iter().copied().map(char::from).collect();
            add(PASSED.to_owned(), &format!("{name} {}", percent::encode(&text)));
        }
        Self {
            headers,
            value: event.data(),
        }
    }
}

/// The event as it was before [`Kept::of`]; `None` when the record is another's, or was changed.
pub fn kept(headers: &[Header<'_>], value: Option<&[u8]>) -> Option<Event> {
    let find = |wanted: &str| {
        let mut found = headers.iter().filter(|(name, _)| *name == wanted);
        let first = found.next()?.1?;
        let text = str::from_utf8(first).ok()?;
        found.next().is_none().then_some(text)
    };
    let order = find(ATTRIBUTES)?;
    let mut builder = EventBuilder::new(SpecVersion::from_wire(find("ce_specversion")?).ok()?);
    let mut known = 1;
    for named in Order::read(order) {
        let (name, kind) = named?;
        let text = match name {
            "datacontenttype" => find(CONTENT_TYPE)?,
            name => {
                known += 1;
                find(&format!("{PREFIX}{name}"))?
            }
        };
        if builder.get(name).is_some() {
            return None;
        }
        builder.add(name, Value { kind, text }).ok()?;
    }
    let all = headers.iter().filter(|(name, _)| is_attribute(name)).count();
    if all != known {
        return None;
    }
    for (_, passed) in headers.iter().filter(|(name, _)| *name == PASSED) {
        let (name, value) = str::from_utf8((*passed)?).ok()?.split_once(' ')?;
        let (_, value) = percent::decode(value.as_bytes()).ok()?;
        let octets: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
        builder.add_header(name, &octets.ok()?);
    }
    let builder = match (find(DATA)?, value) {
        ("none", None) => builder,
        ("none", Some(_)) => return None,
        (text, value) => builder.data(form_of(text)?, value.unwrap_or_default()),
    };
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attribute::Kind;
    use crate::exact::testing;
    use crate::http::Limits;
    use crate::kafka::Decoder;

    fn headers(of: &Kept) -> Vec<Header<'_>> {
        let headers = of.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect()
    }

    fn read(of: &Kept) -> Option<Event> {
        kept(&headers(of), of.value.as_deref())
    }

    proptest! {
        #[test]
        fn an_event_comes_back_byte_for_byte(event in testing::events()) {
            prop_assert_eq!(read(&Kept::of(&event)), Some(event));
        }

        #[test]
        fn any_record_is_read_without_panic(
            headers in prop::collection::vec(("(ce_[a-z]{0,3}|content-type|millrace-(attributes|data|passed))", prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..6),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let _ = kept(&headers, value.as_deref());
        }
    }

    #[test]
    fn json_data_and_text_stay_what_they_were_and_others_read_the_same_event() {
        for event in testing::of_json() {
            let record = Kept::of(&event);
            assert_eq!(read(&record).as_ref(), Some(&event));
            let mut decoder = Decoder::new(Limits::default());
            let others = decoder.decode(&headers(&record), record.value.as_deref(), &[]);
            let others = others.unwrap().expect("a CloudEvent");
            assert_eq!((others.id(), others.data()), (event.id(), event.data()));
        }
    }

    #[test]
    fn an_event_within_an_event_keeps_its_hops_and_is_read_by_others_for_what_it_is() {
        let event = Event::builder(SpecVersion::V10).attribute("id", "outer");
        let event = event.attribute("source", "/s").attribute("type", "t");
        let event = event.attribute("datacontenttype", "application/cloudevents+json");
        let event = event.value(
            TTL,
            Value {
                kind: Kind::Integer,
                text: "7",
            },
        );
        let event = event.data(DataForm::Bytes, b"{}").build().unwrap();
        let record = Kept::of(&event);
        assert_eq!(read(&record), None);
        let mut decoder = Decoder::new(Limits::default());
        let read = decoder.decode(&headers(&record), record.value.as_deref(), &[]);
        let read = read.unwrap().expect("a CloudEvent");
        assert_eq!(
            (read.id(), read.get(TTL).map(|ttl| ttl.text)),
            ("outer", Some("7"))
        );
    }

    #[test]
    fn a_record_that_was_changed_is_read_as_anybodys() {
        let event = Event::builder(SpecVersion::V10).attribute("id", "1");
        let event = event.attribute("source", "/s").attribute("type", "t");
        let mut record = Kept::of(&event.build().unwrap());
        record.headers.push(("ce_more".to_owned(), "x".to_owned()));
        assert_eq!(read(&record), None);
    }
}
