//! An event as the suites make it and as a subscriber got it: attributes as text, data as bytes.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};

/// An event to send, or one that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Attributes in the order of their setting, without `datacontenttype`.
    pub attributes: Vec<(String, String)>,
    /// `datacontenttype`.
    pub content_type: Option<String>,
    /// The data as it lies in a body; `None`: no data.
    pub data: Option<Bytes>,
}

/// What a request consists of besides its path.
#[derive(Clone, Debug)]
pub struct Message {
    /// Headers in order, as given; names may repeat.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

// === impl Event ===

impl Event {
    /// An event of CloudEvents 1.0 from `/tests` with a little JSON.
    pub fn new(id: &str, kind: &str) -> Self {
        let attributes = [
            ("specversion", "1.0"),
            ("id", id),
            ("source", "/tests"),
            ("type", kind),
        ];
        Self {
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            content_type: Some("application/json".to_owned()),
            data: Some(Bytes::from(json!({ "id": id }).to_string())),
        }
    }

    /// The same with an attribute set or replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.attributes.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// The same without an attribute.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.attributes.retain(|(known, _)| known != name);
        self
    }

    /// The same with other data.
    #[must_use]
    pub fn data(mut self, content_type: &str, data: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.data = Some(data.into());
        self
    }

    /// The same without data and its type.
    #[must_use]
    pub fn no_data(mut self) -> Self {
        self.content_type = None;
        self.data = None;
        self
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The attribute `id`, or nothing.
    pub fn id(&self) -> &str {
        self.get("id").unwrap_or_default()
    }

    /// Binary content mode. Values are written as they are.
    pub fn binary(&self) -> Message {
        let mut headers: Vec<_> = self
            .attributes
            .iter()
            .map(|(name, value)| (format!("ce-{name}"), value.clone()))
            .collect();
        headers.extend(
            self.content_type
                .iter()
                .map(|value| ("content-type".to_owned(), value.clone())),
        );
        Message {
            headers,
            body: self.data.clone().unwrap_or_default(),
        }
    }

    /// Structured content mode.
    pub fn structured(&self) -> Message {
        Message::json("application/cloudevents+json; charset=utf-8", &self.json())
    }

    /// Batched content mode.
    pub fn batch(events: &[Self]) -> Message {
        let events: Vec<Value> = events.iter().map(Self::json).collect();
        Message::json(
            "application/cloudevents-batch+json; charset=utf-8",
            &Value::Array(events),
        )
    }

    /// Requests that an ingress takes, and some that it refuses with 400.
    pub fn good_and_bad() -> Vec<(Message, u16)> {
        let event = Self::new("1", "t");
        let later = event.clone().with("specversion", "19.0");
        let media_type = ("content-type", "application/cloudevents+json");
        let malformed = Message {
            headers: vec![(media_type.0.to_owned(), media_type.1.to_owned())],
            body: "{\"specversion\":".into(),
        };
        vec![
            (event.binary(), 202),
            (event.structured(), 202),
            (later.binary(), 400),
            (later.structured(), 400),
            (malformed, 400),
        ]
    }

    /// The JSON event format. Data that is JSON by its type is embedded; other data must be UTF-8.
    pub fn json(&self) -> Value {
        let mut members = Map::new();
        for (name, value) in &self.attributes {
            members.insert(name.clone(), Value::from(value.as_str()));
        }
        if let Some(content_type) = &self.content_type {
            members.insert("datacontenttype".to_owned(), Value::from(content_type.as_str()));
        }
        if let Some(data) = &self.data {
            let text = || Value::from(String::from_utf8_lossy(data).into_owned());
            members.insert(
                "data".to_owned(),
                serde_json::from_slice(data).unwrap_or_else(|_| text()),
            );
        }
        Value::Object(members)
    }

    /// The event of a message in binary mode, values as they came, attributes sorted by name.
    pub fn from_binary(headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let named = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().strip_prefix("ce-")?, value)));
        let mut attributes: Vec<_> = named
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect();
        attributes.sort();
        let data = Some(body.clone()).filter(|body| !body.is_empty());
        Self {
            attributes,
            content_type: headers.get("content-type").map(text),
            data,
        }
    }

    /// The same with its attributes sorted by name, to compare with what arrived.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.attributes.sort();
        self
    }
}

impl Message {
    fn json(content_type: &str, value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            headers,
            body: Bytes::from(value.to_string()),
        }
    }
}
