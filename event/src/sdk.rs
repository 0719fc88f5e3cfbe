//! Conversion to and from the CloudEvents SDK's event, for programs that embed Millrace's crates and speak
//! the SDK's types.
//!
//! Millrace itself does not use it on the way of an event, as the SDK's value cannot hold every event
//! unaltered:
//!
//! | part | what the SDK makes of it |
//! |---|---|
//! | `time` | an instant in UTC: the offset is lost, and digits of the fraction past the ninth |
//! | `dataschema`, `schemaurl` | a normalised URL (`http://Example.com` becomes `http://example.com/`) |
//! | JSON data | a tree: member order, blanks, and the spelling of large or fractional numbers are lost |
//! | extensions | a map: their order is lost |
//! | passed-on headers | not kept |
//!
//! From the SDK to an [`Event`] nothing is lost, but the SDK checks little, so what breaks a rule is refused
//! here.

use cloudevents::event::{AttributeValue, Data, TryIntoTime, TryIntoUrl};
use cloudevents::{AttributesReader, AttributesWriter, EventBuilder as _, EventBuilderV03, EventBuilderV10};

use crate::attribute::{Kind, SpecVersion, Value};
use crate::event::{DataForm, Event};
use crate::invalid::{Fault, Invalid};
use crate::rules::media;

impl TryFrom<cloudevents::Event> for Event {
    type Error = Invalid;

    /// The event of the SDK, if it keeps the rules of the specification.
    ///
    /// # Errors
    /// Whatever a builder refuses: the SDK takes empty attributes, any name, any `source`, and 64-bit
    /// integers.
    fn try_from(event: cloudevents::Event) -> Result<Self, Invalid> {
        let version = match event.specversion() {
            cloudevents::event::SpecVersion::V03 => SpecVersion::V03,
            cloudevents::event::SpecVersion::V10 => SpecVersion::V10,
        };
        let mut builder = Self::builder(version);
        for (name, value) in event.iter() {
            let kind = match value {
                AttributeValue::SpecVersion(_) => continue,
                AttributeValue::Boolean(_) => Kind::Boolean,
                AttributeValue::Integer(_) => Kind::Integer,
                AttributeValue::String(_)
                | AttributeValue::Binary(_)
                | AttributeValue::URI(_)
                | AttributeValue::URIRef(_)
                | AttributeValue::Time(_) => Kind::String,
            };
            builder = builder.value(
                name,
                Value {
                    kind,
                    text: &value.to_string(),
                },
            );
        }
        builder = match event.data() {
            None => builder,
            Some(Data::Binary(octets)) => builder.data(DataForm::Bytes, octets),
            Some(Data::Json(value)) => builder.data(DataForm::Json, value.to_string().as_bytes()),
            Some(Data::String(text)) => {
                // Under a JSON media type, or none, the SDK sends a string as it is: it is the body.
                let text_type = event
                    .datacontenttype()
                    .is_some_and(|media_type| !media::is_json(media_type));
                builder.data(
                    if text_type {
                        DataForm::Text
                    } else {
                        DataForm::Bytes
                    },
                    text.as_bytes(),
                )
            }
        };
        builder.build()
    }
}

impl TryFrom<&Event> for cloudevents::Event {
    type Error = Invalid;

    /// The event as the SDK can hold it: see the table of this module for what is lost.
    ///
    /// # Errors
    /// [`Fault::BadAttributeValue`] for a `time` or a `dataschema` that the SDK cannot hold: a leap second, a
    /// relative URL.
    fn try_from(event: &Event) -> Result<Self, Invalid> {
        let mut converted = empty(event)?;
        for (name, value) in event.attributes() {
            let text = value.text;
            match name {
                "specversion" | "id" | "source" | "type" => {}
                "subject" => drop(converted.set_subject(Some(text))),
                "datacontenttype" => drop(converted.set_datacontenttype(Some(text))),
                "time" => {
                    let time = text.into_time().map_err(|_| unfit(name))?;
                    converted.set_time(Some(time));
                }
                "dataschema" if event.specversion() == SpecVersion::V10 => {
                    set_schema(&mut converted, name, text)?
                }
                "schemaurl" if event.specversion() == SpecVersion::V03 => {
                    set_schema(&mut converted, name, text)?
                }
                _ => set_extension(&mut converted, name, value),
            }
        }
        if let Some(data) = event.data_ref() {
            converted.set_data_unchecked(converted_data(event.data_form(), data));
        }
        Ok(converted)
    }
}

/// An event of the SDK with the attributes that every event has.
fn empty(event: &Event) -> Result<cloudevents::Event, Invalid> {
    let built = match event.specversion() {
        SpecVersion::V03 => EventBuilderV03::new()
            .id(event.id())
            .source(event.source())
            .ty(event.ty())
            .build(),
        SpecVersion::V10 => EventBuilderV10::new()
            .id(event.id())
            .source(event.source())
            .ty(event.ty())
            .build(),
    };
    built.map_err(|error| {
        Invalid::new(
            Fault::BadAttributeValue,
            format!("the SDK cannot hold the event: {error}"),
        )
    })
}

fn set_schema(converted: &mut cloudevents::Event, name: &str, text: &str) -> Result<(), Invalid> {
    let url = text.into_url().map_err(|_| unfit(name))?;
    converted.set_dataschema(Some(url));
    Ok(())
}

fn set_extension(converted: &mut cloudevents::Event, name: &str, value: Value<'_>) {
    match (value.kind, value.text.parse::<i64>()) {
        (Kind::Boolean, _) => converted.set_extension(name, value.text == "true"),
        (Kind::Integer, Ok(number)) => converted.set_extension(name, number),
        _ => converted.set_extension(name, value.text),
    }
}

/// Data of a form that turns out not to be so, which only a damaged stored form has, stays octets.
fn converted_data(form: DataForm, data: &[u8]) -> Data {
    let converted = match form {
        DataForm::Bytes => None,
        DataForm::Json => serde_json::from_slice(data).ok().map(Data::Json),
        DataForm::Text => str::from_utf8(data)
            .ok()
            .map(|text| Data::String(text.to_owned())),
    };
    converted.unwrap_or_else(|| Data::Binary(data.to_vec()))
}

fn unfit(name: &str) -> Invalid {
    Invalid::of(
        Fault::BadAttributeValue,
        name,
        format!("the CloudEvents SDK cannot hold the value of `{name}`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(version: SpecVersion) -> Event {
        Event::builder(version)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .attribute("subject", "é")
            .attribute("time", "2026-11-22T10:00:00Z")
            .attribute("datacontenttype", "application/json")
            .value(
                "count",
                Value {
                    kind: Kind::Integer,
                    text: "-5",
                },
            )
            .value(
                "yes",
                Value {
                    kind: Kind::Boolean,
                    text: "true",
                },
            )
            .attribute("other", "a b")
            .data(DataForm::Json, br#"{"a":1}"#)
            .build()
            .unwrap()
    }

    #[test]
    fn an_event_goes_to_the_sdk_and_back_with_all_attributes_and_data() {
        for version in [SpecVersion::V10, SpecVersion::V03] {
            let event = sample(version);
            let back = Event::try_from(cloudevents::Event::try_from(&event).unwrap()).unwrap();
            let attributes = |event: &Event| {
                let mut list: Vec<_> = event
                    .attributes()
                    .filter(|(name, _)| *name != "time")
                    .map(|(name, value)| (name.to_owned(), value.kind, value.text.to_owned()))
                    .collect();
                list.sort_by(|a, b| a.0.cmp(&b.0));
                format!("{list:?}")
            };
            assert_eq!(attributes(&back), attributes(&event));
            assert_eq!(back.get("time").unwrap().text, "2026-11-22T10:00:00+00:00");
            assert_eq!((back.data(), back.data_form()), (event.data(), DataForm::Json));
        }
    }

    #[test]
    fn octets_and_text_stay_what_they_are() {
        for (form, media_type) in [
            (DataForm::Bytes, "application/json"),
            (DataForm::Text, "text/plain"),
        ] {
            let event = sample(SpecVersion::V10)
                .edit()
                .attribute("datacontenttype", media_type)
                .data(form, b"x")
                .build();
            let event = event.unwrap();
            let back = Event::try_from(cloudevents::Event::try_from(&event).unwrap()).unwrap();
            assert_eq!((back.data(), back.data_form()), (event.data(), form));
        }
    }

    #[test]
    fn what_the_sdk_takes_against_the_rules_is_refused() {
        let builder = || EventBuilderV10::new().id("1").source("/s").ty("t");
        let table = [
            (builder().id(""), Fault::BadAttributeValue, "id"),
            (builder().source("a b"), Fault::BadAttributeValue, "source"),
            (
                builder().extension("foo_bar", "x"),
                Fault::BadAttributeName,
                "foo_bar",
            ),
            (
                builder().extension("big", 1_i64 << 40),
                Fault::BadAttributeValue,
                "big",
            ),
        ];
        for (builder, fault, field) in table {
            let invalid = Event::try_from(builder.build().unwrap()).unwrap_err();
            assert_eq!((invalid.fault, invalid.field.as_deref()), (fault, Some(field)));
        }
    }

    #[test]
    fn what_the_sdk_cannot_hold_is_refused() {
        let odd = sample(SpecVersion::V03)
            .edit()
            .attribute("schemaurl", "/relative")
            .build()
            .unwrap();
        let invalid = cloudevents::Event::try_from(&odd).unwrap_err();
        assert_eq!(invalid.field.as_deref(), Some("schemaurl"));
    }
}
