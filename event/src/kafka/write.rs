//! An event is written as a record: headers of binary mode, or the value of structured mode.

use bytes::Bytes;

use super::{CONTENT_TYPE, PREFIX};
use crate::event::{DataForm, Event, JSON};
use crate::http::{Outgoing, json_spelled_base64};
use crate::json;
use crate::rules::media;

/// The content type of a record in structured mode.
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
/// The attribute that says what the key is (the extension *partitioning*).
const PARTITION_KEY: &str = "partitionkey";

/// The key of the event's record: its `partitionkey`. `None`: the record has none.
pub fn key(event: &Event) -> Option<&str> {
    event.get(PARTITION_KEY).map(|value| value.text)
}

/// Writes a record in binary mode: `header` gets the name and the value of each header. Returns the value;
/// `None` where the event has no data.
///
/// Attributes leave as they are, in their order; the data byte for byte. JSON data of an event without
/// `datacontenttype` leaves as `application/json`, as the JSON format implies.
///
/// **Data whose media type is one of CloudEvents' own leaves in structured mode.** In binary mode a reader
/// would take the event in the data for this one.
pub fn write_binary(
    event: &Event,
    outgoing: &Outgoing<'_>,
    header: &mut dyn FnMut(&str, &str),
) -> Option<Bytes> {
    let content_type = content_type(event, outgoing);
    if content_type.is_some_and(media::is_cloudevents) {
        return write_structured(event, outgoing, header);
    }
    let mut attribute = Attributes {
        name: PREFIX.to_owned(),
        header,
    };
    attribute.write("specversion", event.specversion().as_str());
    for row in outgoing.own(event) {
        match event.text(row.name.clone()) {
            "datacontenttype" => {}
            "datacontentencoding" if json_spelled_base64(event, &row) => {}
            name => attribute.write(name, event.text(row.value)),
        }
    }
    for (name, text) in outgoing.added() {
        if name != "datacontenttype" {
            attribute.write(name, text);
        }
    }
    if let Some(content_type) = content_type {
        header(CONTENT_TYPE, content_type);
    }
    event.data()
}

/// Writes a record in structured mode: as [`write_binary`], but everything is in the value.
pub fn write_structured(
    event: &Event,
    outgoing: &Outgoing<'_>,
    header: &mut dyn FnMut(&str, &str),
) -> Option<Bytes> {
    header(CONTENT_TYPE, STRUCTURED);
    Some(json::encode(event, outgoing))
}

/// The media type of the data.
fn content_type<'a>(event: &'a Event, outgoing: &'a Outgoing<'_>) -> Option<&'a str> {
    let mut added = outgoing.added();
    if let Some((_, text)) = added.find(|(name, _)| *name == "datacontenttype") {
        return Some(text);
    }
    let own = event.get("datacontenttype").map(|value| value.text);
    own.or_else(|| (event.data_form() == DataForm::Json).then_some(JSON))
}

/// Writes attributes, with one buffer for their headers' names.
struct Attributes<'a> {
    name: String,
    header: &'a mut dyn FnMut(&str, &str),
}

impl Attributes<'_> {
    fn write(&mut self, name: &str, value: &str) {
        self.name.truncate(PREFIX.len());
        self.name.push_str(name);
        (self.header)(&self.name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hops::TTL;
    use crate::http::Limits;
    use crate::kafka::Decoder;
    use crate::{EventBuilder, SpecVersion};

    type Written = (Vec<(String, String)>, Option<Bytes>);

    fn minimal() -> EventBuilder {
        Event::builder(SpecVersion::V10)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
    }

    fn written(event: &Event, outgoing: &Outgoing<'_>, is_structured: bool) -> Written {
        let mut headers = Vec::new();
        let mut header = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        let value = if is_structured {
            write_structured(event, outgoing, &mut header)
        } else {
            write_binary(event, outgoing, &mut header)
        };
        (headers, value)
    }

    fn read((headers, value): &Written) -> Event {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let mut decoder = Decoder::new(Limits::default());
        let event = decoder.decode(&headers, value.as_deref(), &[]);
        event.expect("it is valid").expect("it is an event")
    }

    #[test]
    fn attributes_become_headers_and_the_data_the_value() {
        let event = minimal()
            .attribute("subject", "50%25 é \"q\"")
            .attribute("datacontenttype", "Application/JSON")
            .attribute(PARTITION_KEY, "k 1")
            .attribute(TTL, "9")
            .data(DataForm::Bytes, b"{ \"a\" : 1.10 }")
            .build()
            .unwrap();
        let outgoing = Outgoing {
            extra: &[("added", "x")],
            ttl: Some("8"),
        };
        let (headers, value) = written(&event, &outgoing, false);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("ce_specversion", "1.0"),
                ("ce_id", "1"),
                ("ce_source", "/s"),
                ("ce_type", "t"),
                ("ce_subject", "50%25 é \"q\""),
                ("ce_partitionkey", "k 1"),
                ("ce_added", "x"),
                ("ce_knativebrokerttl", "8"),
                ("content-type", "Application/JSON"),
            ]
        );
        assert_eq!(value.as_deref(), Some(&b"{ \"a\" : 1.10 }"[..]));
        assert_eq!(key(&event), Some("k 1"));
    }

    #[test]
    fn an_event_without_data_has_no_value_and_one_without_partitionkey_no_key() {
        let event = minimal().build().unwrap();
        let (headers, value) = written(&event, &Outgoing::default(), false);
        assert_eq!((headers.len(), value, key(&event)), (4, None, None));
        let (headers, value) = written(&event, &Outgoing::default(), true);
        assert_eq!(headers, [(CONTENT_TYPE.to_owned(), STRUCTURED.to_owned())]);
        let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        assert_eq!(value.as_deref(), Some(json.as_bytes()));
    }

    #[test]
    fn data_that_is_an_event_leaves_in_structured_mode() {
        let event = minimal()
            .attribute("datacontenttype", "application/cloudevents+json")
            .data(DataForm::Bytes, b"{}")
            .build()
            .unwrap();
        let record = written(&event, &Outgoing::default(), false);
        assert_eq!(record.0[0].1, STRUCTURED);
        let back = read(&record);
        assert_eq!((back.id(), back.data()), ("1", event.data()));
        let replaced = Outgoing {
            extra: &[("datacontenttype", "text/plain")],
            ttl: None,
        };
        assert_eq!(
            written(&event, &replaced, false).0.last().unwrap().1,
            "text/plain"
        );
    }

    #[test]
    fn json_data_without_a_media_type_leaves_as_json() {
        let event = minimal().data(DataForm::Json, b"1").build().unwrap();
        let (headers, _) = written(&event, &Outgoing::default(), false);
        assert_eq!(headers.last().unwrap().1, JSON);
    }

    proptest! {
        /// What is written in either mode is read back with every attribute and byte.
        #[test]
        fn what_is_written_is_read_back(
            values in prop::collection::vec("[ -~é€]{1,12}", 3),
            data in prop::option::of(prop::collection::vec(any::<u8>(), 1..60)),
            media_type in prop::option::of(prop::sample::select(vec!["application/json", "text/plain", "a/b"])),
            is_structured: bool,
        ) {
            let mut builder = minimal();
            for (name, value) in ["subject", "partitionkey", "x1"].iter().zip(&values) {
                builder = builder.attribute(name, value);
            }
            if let Some(media_type) = media_type {
                builder = builder.attribute("datacontenttype", media_type);
            }
            if let Some(data) = &data {
                builder = builder.data(DataForm::Bytes, data);
            }
            let event = builder.build().expect("it is valid");
            let back = read(&written(&event, &Outgoing::default(), is_structured));
            let attributes = |event: &Event| {
                let mut all: Vec<_> = event.attributes().map(|(n, v)| (n.to_owned(), v.text.to_owned())).collect();
                all.sort();
                all
            };
            prop_assert_eq!(attributes(&back), attributes(&event));
            prop_assert_eq!(back.data(), event.data());
        }
    }
}
