//! What a mapping found, and the event that becomes of it whatever that is.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use millrace_event::{DataForm, Event, Invalid, SpecVersion, Timestamp};

use super::times;

/// What a mapping found.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    /// What the forge calls the delivery. Without one the event gets an id of its own.
    pub(super) id: Option<Cow<'a, str>>,
    /// The type.
    pub(super) ty: Cow<'a, str>,
    /// A type that is always valid.
    pub(super) plain_type: String,
    /// The source.
    pub(super) source: Option<Cow<'a, str>>,
    /// A source that is always valid.
    pub(super) plain_source: Cow<'a, str>,
    /// The subject.
    pub(super) subject: Option<Cow<'a, str>>,
    /// When it happened, in any form that forges write times in. Without it the event has the time of its
    /// receipt.
    pub(super) time: Option<Cow<'a, str>>,
    /// Extension attributes.
    pub(super) extensions: Vec<(&'a str, Cow<'a, str>)>,
    /// The media type of the data.
    pub(super) content_type: Cow<'a, str>,
}

/// Longer values are no good for an attribute: they travel as headers. In bytes.
const MAX_VALUE: usize = 1024;
/// The media type of what forges send.
const JSON: &str = "application/json";

// === impl Draft ===

impl<'a> Draft<'a> {
    /// A draft of an event of this type, which is always valid, and source, which is too.
    pub(super) fn new(plain_type: String, plain_source: impl Into<Cow<'a, str>>) -> Self {
        Self {
            id: None,
            ty: Cow::Owned(plain_type.clone()),
            plain_type,
            source: None,
            plain_source: plain_source.into(),
            subject: None,
            time: None,
            extensions: Vec::new(),
            content_type: Cow::Borrowed(JSON),
        }
    }

    /// The event. What the specification does not allow for an attribute is replaced or left out.
    ///
    /// # Errors
    /// None that a call can cause: the data is too large to be stored at all.
    pub(super) fn into_event(mut self, data: &[u8], received: Timestamp) -> Result<Event, Invalid> {
        self.settle(received);
        loop {
            let invalid = match self.build(data) {
                Ok(event) => return Ok(event),
                Err(invalid) => invalid,
            };
            let name = invalid.field.clone().unwrap_or_default();
            if !self.give_up(&name, received) {
                return Err(invalid);
            }
        }
    }

    /// Replaces what is missing or too long.
    fn settle(&mut self, received: Timestamp) {
        let fits = |value: &Cow<'_, str>| !value.is_empty() && value.len() <= MAX_VALUE;
        self.id = self.id.take().filter(fits).or_else(|| Some(uuid().into()));
        self.source = self.source.take().filter(fits);
        self.subject = self.subject.take().filter(fits);
        let time = self.time.take().filter(fits);
        let time = time.map_or_else(|| times::told(received), |time| times::rfc3339(&time));
        self.time = Some(time.into());
        self.extensions.retain(|(_, value)| fits(value));
        if !fits(&self.ty) {
            self.ty = Cow::Owned(self.plain_type.clone());
        }
    }

    fn build(&self, data: &[u8]) -> Result<Event, Invalid> {
        let mut builder = Event::builder(SpecVersion::V10)
            .attribute("id", self.id.as_deref().unwrap_or_default())
            .attribute("source", self.source.as_deref().unwrap_or(&self.plain_source))
            .attribute("type", &self.ty)
            .attribute("datacontenttype", &self.content_type);
        for (name, value) in [("subject", &self.subject), ("time", &self.time)] {
            if let Some(value) = value {
                builder = builder.attribute(name, value);
            }
        }
        for (name, value) in &self.extensions {
            builder = builder.attribute(name, value);
        }
        builder.data(DataForm::Bytes, data).build()
    }

    /// Does without what was found for an attribute; `false` if there was nothing to do without.
    fn give_up(&mut self, name: &str, received: Timestamp) -> bool {
        match name {
            "id" => replace(&mut self.id, uuid()),
            "type" if self.ty != self.plain_type => {
                self.ty = Cow::Owned(self.plain_type.clone());
                true
            }
            "source" => self.source.take().is_some(),
            "subject" => self.subject.take().is_some(),
            "time" => replace(&mut self.time, times::told(received)),
            "datacontenttype" if self.content_type != JSON => {
                self.content_type = Cow::Borrowed(JSON);
                true
            }
            _ => {
                let before = self.extensions.len();
                self.extensions.retain(|(other, _)| *other != name);
                self.extensions.len() < before
            }
        }
    }
}

fn replace(value: &mut Option<Cow<'_, str>>, new: String) -> bool {
    let is_new = value.as_deref() != Some(new.as_str());
    *value = Some(new.into());
    is_new
}

/// A fresh UUID (version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The SHA-256 of a body, in hexadecimal digits.
pub(super) fn hash(body: &[u8]) -> String {
    hex(digest(&SHA256, body).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft<'static> {
        Draft::new("com.example.push".to_owned(), "https://example.com")
    }

    fn built(draft: Draft<'_>) -> Event {
        draft.into_event(b"{}", Timestamp(1_386_092_614_000)).unwrap()
    }

    #[test]
    fn what_is_missing_is_replaced() {
        let event = built(draft());
        assert_eq!(
            (event.ty(), event.source()),
            ("com.example.push", "https://example.com")
        );
        assert_eq!(event.id().len(), 36, "{}", event.id());
        assert_ne!(event.id(), built(draft()).id());
        assert_eq!(event.get("time").unwrap().text, "2013-12-03T17:43:34Z");
        assert_eq!(event.get("subject"), None);
        assert_eq!(event.data().unwrap(), "{}");
    }

    #[test]
    fn no_value_makes_an_event_fail() {
        let long = "x".repeat(200_000);
        for bad in [
            "",
            "a\u{0}b",
            "a\nb",
            "\u{7f}",
            "\u{fffe}",
            "not a time, nor a URI",
            long.as_str(),
        ] {
            let mut odd = draft();
            for field in [&mut odd.id, &mut odd.source, &mut odd.subject, &mut odd.time] {
                *field = Some(bad.into());
            }
            odd.ty = bad.into();
            odd.content_type = bad.into();
            odd.extensions = vec![("good", "g".into()), ("odd", bad.into())];
            let event = built(odd);
            assert_eq!(event.source(), "https://example.com", "{bad:?}");
            assert_eq!(event.get("time").unwrap().text, "2013-12-03T17:43:34Z", "{bad:?}");
            assert_eq!(event.get("good").unwrap().text, "g");
            let is_text = bad.starts_with("not");
            assert_eq!(event.ty() == "com.example.push", !is_text, "{bad:?}");
            assert_eq!(event.get("odd").is_some(), is_text, "{bad:?}");
            assert_eq!(event.get("subject").is_some(), is_text, "{bad:?}");
        }
    }

    #[test]
    fn the_hash_of_a_body_is_its_sha256() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
