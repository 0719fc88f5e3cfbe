//! Header names that are needed over and over, made once.

use http::HeaderName;

/// Makes a function from names to header names that makes no allocation for those listed.
macro_rules! known_headers {
    ($($text:literal => $name:literal => $constant:ident),* $(,)?) => {
        $(static $constant: HeaderName = HeaderName::from_static($name);)*

        /// The header of the attribute; `None` if the name cannot be one.
        pub(super) fn of_attribute(attribute: &str) -> Option<HeaderName> {
            match attribute {
                $($text => Some($constant.clone()),)*
                other => compose(other),
            }
        }
    };
}

known_headers! {
    "id" => "ce-id" => ID,
    "source" => "ce-source" => SOURCE,
    "type" => "ce-type" => TYPE,
    "specversion" => "ce-specversion" => SPECVERSION,
    "subject" => "ce-subject" => SUBJECT,
    "time" => "ce-time" => TIME,
    "dataschema" => "ce-dataschema" => DATASCHEMA,
    "partitionkey" => "ce-partitionkey" => PARTITIONKEY,
    "sequence" => "ce-sequence" => SEQUENCE,
    "traceparent" => "ce-traceparent" => TRACEPARENT,
    "tracestate" => "ce-tracestate" => TRACESTATE,
    "correlationid" => "ce-correlationid" => CORRELATIONID,
    "causationid" => "ce-causationid" => CAUSATIONID,
    "expirytime" => "ce-expirytime" => EXPIRYTIME,
    "knativearrivaltime" => "ce-knativearrivaltime" => KNATIVEARRIVALTIME,
    "knativebrokerttl" => "ce-knativebrokerttl" => KNATIVEBROKERTTL,
    "knativeerrorcode" => "ce-knativeerrorcode" => KNATIVEERRORCODE,
    "knativeerrordata" => "ce-knativeerrordata" => KNATIVEERRORDATA,
    "knativeerrordest" => "ce-knativeerrordest" => KNATIVEERRORDEST,
}

fn compose(attribute: &str) -> Option<HeaderName> {
    let mut buffer = [0; 3 + crate::rules::MAX_NAME];
    let name = buffer.get_mut(..3 + attribute.len())?;
    name[..3].copy_from_slice(b"ce-");
    name[3..].copy_from_slice(attribute.as_bytes());
    HeaderName::from_bytes(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_has_the_header_of_its_name() {
        for name in [
            "id",
            "source",
            "type",
            "specversion",
            "time",
            "knativeerrordest",
            "sequence",
            "anyother1",
        ] {
            assert_eq!(of_attribute(name).unwrap().as_str(), format!("ce-{name}"));
        }
        assert!(of_attribute(&"a".repeat(255)).is_some());
        assert!(of_attribute(&"a".repeat(256)).is_none());
        assert!(of_attribute("a b").is_none());
    }
}
