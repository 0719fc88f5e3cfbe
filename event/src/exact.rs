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
