//! What a message of another system cannot say of an event, as text: whoever keeps events there writes it
//! beside them, so that they come back byte for byte.

use crate::attribute::Kind;
use crate::event::DataForm;

/// The names of the attributes in their order, each with its type behind a colon unless that is a string.
#[derive(Debug, Default)]
pub(crate) struct Order(pub(crate) String);

// === impl Order ===

impl Order {
    pub(crate) fn add(&mut self, name: &str, kind: Kind) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str(match kind {
            Kind::String => "",
            Kind::RawHeader => ":h",
            Kind::Boolean => ":b",
            Kind::Integer => ":i",
        });
    }

    /// The attributes of such a text; `None` for one whose type is unknown.
    pub(crate) fn read(text: &str) -> impl Iterator<Item = Option<(&str, Kind)>> {
        text.split(',').map(|named| {
            let (name, kind) = named.split_once(':').unwrap_or((named, ""));
            let kind = match kind {
                "" => Kind::String,
                "h" => Kind::RawHeader,
                "b" => Kind::Boolean,
                "i" => Kind::Integer,
                _ => return None,
            };
            Some((name, kind))
        })
    }
}

/// What the data is.
pub(crate) fn form(form: DataForm) -> &'static str {
    match form {
        DataForm::Bytes => "bytes",
        DataForm::Json => "json",
        DataForm::Text => "text",
    }
}

/// What data of that text is.
pub(crate) fn form_of(text: &str) -> Option<DataForm> {
    match text {
        "bytes" => Some(DataForm::Bytes),
        "json" => Some(DataForm::Json),
        "text" => Some(DataForm::Text),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::attribute::{SpecVersion, Value};
    use crate::event::Event;
    use crate::http::Limits;
    use crate::json;

    /// Events with attributes of all kinds, in an order of their own, and with headers to pass on.
    pub(crate) fn events() -> impl Strategy<Value = Event> {
        let texts = prop::collection::vec("[ -~é\u{2028}😀]{0,12}", 4);
        let kinds = prop::collection::vec(0..4usize, 4);
        let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        let passed = prop::collection::vec(any::<u8>(), 0..20);
        let made = (texts, kinds, data, passed).prop_map(|(texts, kinds, data, passed)| {
            let mut builder = Event::builder(SpecVersion::V10).attribute("zeta", "first");
            builder = builder
                .attribute("type", "t")
                .attribute("id", "50% \"é\"")
                .attribute("source", "/s");
            for (n, (text, kind)) in texts.iter().zip(kinds).enumerate() {
                let raw = !text.contains(['"', '%']) && text.trim() == text;
                let (kind, text) = match kind {
                    0 if raw => (Kind::RawHeader, text.as_str()),
                    1 => (Kind::Boolean, "true"),
                    2 => (Kind::Integer, "-7"),
                    _ => (Kind::String, text.as_str()),
                };
                builder = builder.value(&format!("a{n}"), Value { kind, text });
            }
            if let Some(data) = &data {
                builder = builder.data(DataForm::Bytes, data);
            }
            builder.header("prefer", &passed).build().ok()
        });
        made.prop_filter_map("it breaks a rule", |event| event)
    }

    /// Events that were read from JSON, with data of each form.
    pub(crate) fn of_json() -> impl Iterator<Item = Event> {
        let bodies = [
            r#"{"specversion":"1.0","id":"9","source":"/j","type":"u","n":5,"b":true,"data":{"a":1.10}}"#,
            r#"{"specversion":"1.0","id":"9","source":"/j","type":"u","datacontenttype":"text/plain","data":"é"}"#,
            r#"{"specversion":"1.0","id":"9","source":"/j","type":"u","data_base64":"AP8="}"#,
            r#"{"specversion":"1.0","id":"9","source":"/j","type":"u"}"#,
        ];
        let read =
            |body: &'static str| json::decode(&Bytes::from_static(body.as_bytes()), &Limits::default());
        bodies.into_iter().map(move |body| read(body).expect("an event"))
    }
}
