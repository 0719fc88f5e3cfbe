//! What can be wrong with an event that comes from outside: one closed list, each with a stable code.

/// Why something is not a valid CloudEvent, or not one that is taken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The kind of fault; decides the stable code and the HTTP status.
    pub fault: Fault,
    /// The header, JSON member or attribute at fault, where there is one: `ce-time`, `time`, `[3].time`.
    pub field: Option<String>,
    /// A sentence for people. It never repeats a value, as values may be long, secret or hostile.
    pub message: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No `ce-` header and no CloudEvents media type: this is not a CloudEvent (400).
    NotAnEvent,
    /// A REQUIRED attribute is not there (400).
    MissingAttribute,
    /// An attribute, header or JSON member is there twice (400).
    DuplicateAttribute,
    /// An attribute's name is not of `[a-z0-9]`, empty, longer than 255 bytes, or `data` (400).
    BadAttributeName,
    /// An attribute's value breaks the rule of its type, or is empty where it must not be (400).
    BadAttributeValue,
    /// There are more than 256 attributes, or more than 64 KiB of them (413).
    AttributesTooLarge,
    /// The `specversion` is neither `1.0` nor `0.3` (400).
    UnsupportedSpecversion,
    /// What the percent signs of a header spell is not UTF-8 (400).
    BadPercentEncoding,
    /// A JSON body, or a header of a Kafka record, is not UTF-8 (400).
    NotUtf8,
    /// The body is not the JSON it should be (400).
    BadJson,
    /// The JSON body is nested deeper than the limit (400).
    JsonTooDeep,
    /// A JSON event has both `data` and `data_base64` (400).
    BothDataMembers,
    /// Data that should be Base64, JSON or text is not (400).
    BadData,
    /// There is more than one Content-Type header (400).
    ContentTypeRepeated,
    /// There is a `ce-datacontenttype` header, which binary mode forbids (400).
    DatacontenttypeHeader,
    /// The events of a batch are of different versions of the specification (400).
    MixedBatch,
    /// The event format of a CloudEvents media type is not JSON (415).
    UnsupportedFormat,
    /// The JSON is said to be in another charset than UTF-8 (415).
    UnsupportedCharset,
    /// The body is compressed, by its Content-Encoding (415).
    UnsupportedEncoding,
    /// The event's data is larger than the limit (413).
    EventTooLarge,
    /// The batch has more events than the limit (413).
    BatchTooLarge,
    /// A stored form is damaged or of an unknown format. It comes from no request (500).
    Damaged,
}

// === impl Invalid ===

impl Invalid {
    /// A fault without a field.
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            field: None,
            message: message.into(),
        }
    }

    /// A fault of one header, member or attribute. A field's name may be hostile, so it is cut.
    pub(crate) fn of(fault: Fault, field: &str, message: impl Into<String>) -> Self {
        Self {
            fault,
            field: Some(excerpt(field)),
            message: message.into(),
        }
    }

    /// The same fault, with its field seen from further outside.
    pub(crate) fn within(mut self, prefix: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("{prefix}{field}"),
            None => prefix.trim_end_matches('.').to_owned(),
        });
        self
    }

    /// The stable code, as in problem+json and in metrics; documented in `docs/reference/errors.md`.
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }

    /// The HTTP status that answers it: 400, 413 or 415 (500 for a damaged stored form).
    pub fn status(&self) -> u16 {
        self.fault.status()
    }
}

/// The longest part of a name from outside that is repeated in an answer, in characters.
const EXCERPT: usize = 64;

/// A name from outside, short and without control characters, to be shown.
pub(crate) fn excerpt(name: &str) -> String {
    let shown = name
        .chars()
        .take(EXCERPT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut shown: String = shown.collect();
    if name.chars().nth(EXCERPT).is_some() {
        shown.push_str("...");
    }
    shown
}

// === impl Fault ===

impl Fault {
    /// Every fault, for the reference documentation and for tests.
    pub const ALL: [Self; 22] = [
        Self::NotAnEvent,
        Self::MissingAttribute,
        Self::DuplicateAttribute,
        Self::BadAttributeName,
        Self::BadAttributeValue,
        Self::AttributesTooLarge,
        Self::UnsupportedSpecversion,
        Self::BadPercentEncoding,
        Self::NotUtf8,
        Self::BadJson,
        Self::JsonTooDeep,
        Self::BothDataMembers,
        Self::BadData,
        Self::ContentTypeRepeated,
        Self::DatacontenttypeHeader,
        Self::MixedBatch,
        Self::UnsupportedFormat,
        Self::UnsupportedCharset,
        Self::UnsupportedEncoding,
        Self::EventTooLarge,
        Self::BatchTooLarge,
        Self::Damaged,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAnEvent => "not-an-event",
            Self::MissingAttribute => "missing-attribute",
            Self::DuplicateAttribute => "duplicate-attribute",
            Self::BadAttributeName => "bad-attribute-name",
            Self::BadAttributeValue => "bad-attribute-value",
            Self::AttributesTooLarge => "attributes-too-large",
            Self::UnsupportedSpecversion => "unsupported-specversion",
            Self::BadPercentEncoding => "bad-percent-encoding",
            Self::NotUtf8 => "not-utf8",
            Self::BadJson => "bad-json",
            Self::JsonTooDeep => "json-too-deep",
            Self::BothDataMembers => "both-data-members",
            Self::BadData => "bad-data",
            Self::ContentTypeRepeated => "content-type-repeated",
            Self::DatacontenttypeHeader => "datacontenttype-header",
            Self::MixedBatch => "mixed-batch",
            Self::UnsupportedFormat => "unsupported-format",
            Self::UnsupportedCharset => "unsupported-charset",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::EventTooLarge => "event-too-large",
            Self::BatchTooLarge => "batch-too-large",
            Self::Damaged => "damaged",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::UnsupportedFormat | Self::UnsupportedCharset | Self::UnsupportedEncoding => 415,
            Self::AttributesTooLarge | Self::EventTooLarge | Self::BatchTooLarge => 413,
            Self::Damaged => 500,
            Self::NotAnEvent
            | Self::MissingAttribute
            | Self::DuplicateAttribute
            | Self::BadAttributeName
            | Self::BadAttributeValue
            | Self::UnsupportedSpecversion
            | Self::BadPercentEncoding
            | Self::NotUtf8
            | Self::BadJson
            | Self::JsonTooDeep
            | Self::BothDataMembers
            | Self::BadData
            | Self::ContentTypeRepeated
            | Self::DatacontenttypeHeader
            | Self::MixedBatch => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_code_of_its_own() {
        let codes: std::collections::HashSet<_> = Fault::ALL.iter().map(|fault| fault.code()).collect();
        assert_eq!(codes.len(), Fault::ALL.len());
        assert!(codes.iter().all(|code| {
            code.bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'8')
        }));
    }

    #[test]
    fn a_field_is_shown_short_and_without_control_characters() {
        let invalid = Invalid::of(
            Fault::BadAttributeName,
            &format!("a\r\n{}", "x".repeat(1000)),
            "no",
        );
        let field = invalid.field.unwrap();
        assert!(
            field.len() < 100 && field.starts_with("a\u{fffd}\u{fffd}x") && field.ends_with("..."),
            "{field}"
        );
    }

    #[test]
    fn a_field_can_be_told_from_further_outside() {
        let inner = Invalid::of(Fault::BadAttributeValue, "time", "no").within("[3].");
        assert_eq!(inner.field.as_deref(), Some("[3].time"));
        assert_eq!(
            Invalid::new(Fault::BadJson, "no").within("[3].").field.as_deref(),
            Some("[3]")
        );
    }
}
