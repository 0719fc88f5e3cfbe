//! Attribute names, types and values, as far as the CloudEvents specification restricts them.

use std::fmt;

use crate::invalid::{Fault, Invalid};

/// The version of the specification an event says it follows. It is never changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecVersion {
    /// `0.3`, accepted as Knative accepts it.
    V03,
    /// `1.0`.
    V10,
}

/// The type of an attribute's value as far as the wire tells it: HTTP headers carry only text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, which includes the specification's URI, Timestamp and Binary types.
    String,
    /// Text that came in an HTTP header without quotes or percent signs. It leaves over HTTP as it came; only
    /// characters beyond printable ASCII are encoded.
    RawHeader,
    /// `true` or `false` of a JSON event.
    Boolean,
    /// A 32-bit signed integer of a JSON event.
    Integer,
}

/// One attribute's value: its canonical text and the type the wire gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The type.
    pub kind: Kind,
    /// The canonical string form (CloudEvents 1.0.2 §3.4.1); `time` is the text as received.
    pub text: &'a str,
}

// === impl SpecVersion ===

impl SpecVersion {
    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V10 => "1.0",
        }
    }

    /// The version that the text on the wire names.
    pub(crate) fn from_wire(text: &str) -> Result<Self, Invalid> {
        match text {
            "1.0" => Ok(Self::V10),
            "0.3" => Ok(Self::V03),
            _ => {
                let message = "the specversion is neither 1.0 nor 0.3";
                Err(Invalid::of(Fault::UnsupportedSpecversion, "specversion", message))
            }
        }
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
