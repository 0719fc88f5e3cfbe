//! A record becomes an event: what is a CloudEvent stays one, and everything else is mapped as Knative's
//! KafkaSource does.
//!
//! # Contract
//! Every record becomes an event, but for one with more data than an event may have. What a record says that
//! no event can say (a key that is not of its type, a header that is no text) is left out, with a remark.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_event::http::Limits;
use millrace_event::kafka::{Decoder, Header};
use millrace_event::{DataForm, Event, EventBuilder, Invalid, ObjectName, SpecVersion};
use millrace_model::source::KeyType;

/// A partition of a topic in one of its lives: a recreated one is another place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartitionLife {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Counts from 1.
    pub(crate) life: u32,
}

/// A record, as borrowed from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) place: &'a PartitionLife,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
}

/// What came of a record.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) event: Event,
    /// What the event does not say as the record did: a stable code and a sentence without coordinates.
    pub(crate) remarks: Vec<(&'static str, String)>,
}

/// The record has more data than an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// How records of one source become events.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The `source` of records that are no CloudEvents, up to the topic.
    source: String,
    key_type: KeyType,
    decoder: Decoder,
}

/// What the type of every event says that was none before.
const TYPE: &str = "dev.knative.kafka.event";
/// What the names of attributes made of headers begin with.
const HEADER: &str = "kafkaheader";
/// The longest key that becomes an attribute, in bytes.
const MAX_KEY: usize = 8 * 1024;
/// The most headers that become attributes, and the most bytes of them together: an event has at most 256 and
/// 64 KiB.
const MAX_HEADERS: (usize, usize) = (128, 32 * 1024);
/// What a structured event may have beside its data.
const AROUND_DATA: usize = 128 * 1024;
/// The last millisecond of the year 9999, which is the last that RFC 3339 can say.
const LAST_TIME: i64 = 253_402_300_799_999;

// === impl Mapping ===

impl Mapping {
    pub(crate) fn new(name: &ObjectName, key_type: KeyType, max_event_bytes: usize) -> Self {
        let (namespace, name) = (name.namespace(), name.name());
        Self {
            source: format!("/apis/v1/namespaces/{namespace}/kafkasources/{name}#"),
            key_type,
            decoder: Decoder::new(Limits {
                event_bytes: max_event_bytes,
                ..Limits::default()
            }),
        }
    }

    /// The event of a record.
    pub(crate) fn event(&mut self, record: &Record<'_>) -> Result<Mapped, TooLarge> {
        let size = record.value.map_or(0, <[u8]>::len);
        let limit = self.decoder.limits().event_bytes;
        let structured_limit = (limit.div_ceil(3) * 4).saturating_add(AROUND_DATA);
        if size > structured_limit {
            return Err(TooLarge);
        }
        let (mut partition, mut offset) = (itoa::Buffer::new(), itoa::Buffer::new());
        let added = [
            ("knativekafkapartition", partition.format(record.place.partition)),
            ("knativekafkaoffset", offset.format(record.offset)),
        ];
        let mut remarks = Vec::new();
        match self.decoder.decode(record.headers, record.value, &added) {
            Ok(Some(event)) => return Ok(Mapped { event, remarks }),
            Ok(None) => {}
            Err(invalid) => remarks.push(("bad-cloudevent", told(&invalid))),
        }
        if size > limit {
            return Err(TooLarge);
        }
        let event = self.plain(record, &mut remarks);
        Ok(Mapped { event, remarks })
    }

    /// The event of a record that is no CloudEvent.
    fn plain(&self, record: &Record<'_>, remarks: &mut Vec<(&'static str, String)>) -> Event {
        let key = self.key(record, remarks);
        let headers = headers(record, remarks);
        let media_type = media_type(record);
        let whole = self.bare(record);
        let whole = key.iter().fold(whole, |event, key| event.attribute("key", key));
        // The extension `partitionkey` must not be empty.
        let named = key.iter().filter(|key| !key.is_empty());
        let whole = named.fold(whole, |event, key| event.attribute("partitionkey", key));
        let whole = headers
            .iter()
            .fold(whole, |event, (name, value)| event.attribute(name, value));
        let typed = match &media_type {
            Some(media_type) => whole.attribute("datacontenttype", media_type),
            None => whole,
        };
        match typed.build() {
            Ok(event) => event,
            Err(invalid) => {
                remarks.push(("attribute-left-out", told(&invalid)));
                self.bare(record)
                    .build()
                    .expect("invariant: coordinates and octets make an event")
            }
        }
    }

    /// The coordinates and the data.
    fn bare(&self, record: &Record<'_>) -> EventBuilder {
        let (place, offset) = (record.place, record.offset);
        let partition = place.partition;
        let id = match place.life {
            1 => format!("partition:{partition}/offset:{offset}"),
            life => format!("partition:{partition}/life:{life}/offset:{offset}"),
        };
        let event = Event::builder(SpecVersion::V10)
            .attribute("id", &id)
            .attribute("source", &format!("{}{}", self.source, place.topic))
            .attribute("type", TYPE)
            .attribute("subject", &format!("partition:{partition}#{offset}"));
        let event = match record.timestamp.and_then(time) {
            Some(time) => event.attribute("time", &time),
            None => event,
        };
        match record.value {
            Some(value) if !value.is_empty() => event.data(DataForm::Bytes, value),
            _ => event,
        }
    }

    /// The key by its type; Base64 where it is not of it.
    fn key(&self, record: &Record<'_>, remarks: &mut Vec<(&'static str, String)>) -> Option<String> {
        let key = record.key?;
        if key.len() > MAX_KEY {
            let message = format!("a key of more than {MAX_KEY} bytes is left out");
            remarks.push(("attribute-left-out", message));
            return None;
        }
        let read = match self.key_type {
            KeyType::Text => text(key).map(str::to_owned),
            KeyType::Int => integer(key).map(|number| number.to_string()),
            KeyType::Float => float(key),
            KeyType::Bytes => return Some(STANDARD.encode(key)),
        };
        if read.is_none() {
            let message = "the key is not of the type that the source is told; it is given in Base64";
            remarks.push(("bad-key", message.to_owned()));
        }
        Some(read.unwrap_or_else(|| STANDARD.encode(key)))
    }
}

/// The attributes that the headers become, but for the content type. Of headers whose names become the same
/// the last counts.
fn headers<'a>(record: &Record<'a>, remarks: &mut Vec<(&'static str, String)>) -> Vec<(String, &'a str)> {
    let (mut attributes, mut bytes) = (Vec::new(), 0);
    for (name, value) in record.headers {
        let Some(value) = value else { continue };
        if is_media_type(name) && media_type(record).is_some() {
            continue;
        }
        let letters = name.chars().map(|c| c.to_ascii_lowercase());
        let letters: String = letters.filter(|c| matches!(c, 'a'..='z' | '0'..='9')).collect();
        bytes += HEADER.len() + letters.len() + value.len();
        let fits = attributes.len() < MAX_HEADERS.0 && bytes <= MAX_HEADERS.1 && letters.len() < 240;
        match text(value).filter(|_| fits && !letters.is_empty()) {
            Some(value) => attributes.push((format!("{HEADER}{letters}"), value)),
            None => {
                let message = "a header that is no text, or too much, is left out";
                if !remarks.iter().any(|(_, said)| said == message) {
                    remarks.push(("attribute-left-out", message.to_owned()));
                }
            }
        }
    }
    attributes
}

/// The media type, in lower case as Knative gives it; `None` when the header is not there or says none.
fn media_type(record: &Record<'_>) -> Option<String> {
    let (_, value) = record.headers.iter().rfind(|(name, _)| is_media_type(name))?;
    let value = text((*value)?)?.trim().to_ascii_lowercase();
    let probe = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/")
        .attribute("type", TYPE)
        .attribute("datacontenttype", &value);
    probe.build().is_ok().then_some(value)
}

fn is_media_type(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-type")
}

/// Octets as the text of an attribute, if they can be one.
fn text(octets: &[u8]) -> Option<&str> {
    let is_noncharacter =
        |c: char| (0xfdd0..=0xfdef).contains(&u32::from(c)) || u32::from(c) & 0xfffe == 0xfffe;
    str::from_utf8(octets)
        .ok()
        .filter(|text| !text.chars().any(|c| c.is_control() || is_noncharacter(c)))
}

fn integer(octets: &[u8]) -> Option<i64> {
    let short = || octets.try_into().ok().map(i32::from_be_bytes).map(i64::from);
    octets.try_into().ok().map(i64::from_be_bytes).or_else(short)
}

fn float(octets: &[u8]) -> Option<String> {
    let short = || octets.try_into().ok().map(f32::from_be_bytes);
    match octets.try_into().ok().map(f64::from_be_bytes) {
        Some(number) => Some(format!("{number:?}")),
        None => short().map(|number| format!("{number:?}")),
    }
}

fn time(milliseconds: i64) -> Option<String> {
    if !(0..=LAST_TIME).contains(&milliseconds) {
        return None;
    }
    let time = jiff::Timestamp::from_millisecond(milliseconds).ok()?;
    Some(time.to_string())
}

fn told(invalid: &Invalid) -> String {
    match &invalid.field {
        Some(field) => format!("{field}: {invalid}"),
        None => invalid.to_string(),
    }
}

// === impl PartitionLife ===

impl fmt::Display for PartitionLife {
    /// `orders[3]`, and in a later life `orders[3] (life 2)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)?;
        if self.life > 1 {
            write!(f, " (life {})", self.life)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn mapping(key_type: KeyType) -> Mapping {
        Mapping::new(&ObjectName::new("shop", "orders"), key_type, 1024)
    }

    fn place() -> PartitionLife {
        PartitionLife {
            topic: "orders-v1".into(),
            partition: 3,
            life: 1,
        }
    }

    fn mapped(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>], key_type: KeyType) -> Mapped {
        let (place, offset, timestamp) = (&place(), 17, Some(1_500_000_000_123));
        let record = Record {
            place,
            offset,
            timestamp,
            key,
            value,
            headers,
        };
        mapping(key_type).event(&record).expect("it is not too large")
    }

    fn attributes(event: &Event) -> Vec<(String, String)> {
        event
            .attributes()
            .map(|(name, value)| (name.to_owned(), value.text.to_owned()))
            .collect()
    }

    fn codes(mapped: &Mapped) -> Vec<&'static str> {
        mapped.remarks.iter().map(|(code, _)| *code).collect()
    }

    #[test]
    fn a_plain_record_is_mapped_as_knative_does() {
        let headers: &[Header<'_>] = &[
            ("Trace-Id", Some(b"7")),
            ("trace_id", Some(b"8")),
            ("nothing", None),
            ("Content-Type", Some(b"Application/JSON")),
        ];
        let mapped = mapped(Some(b"k"), Some(b"{}"), headers, KeyType::Text);
        let mut expected = vec![
            ("specversion", "1.0"),
            ("id", "partition:3/offset:17"),
            ("source", "/apis/v1/namespaces/shop/kafkasources/orders#orders-v1"),
            ("type", "dev.knative.kafka.event"),
            ("subject", "partition:3#17"),
            ("time", "2017-07-14T02:40:00.123Z"),
            ("partitionkey", "k"),
            ("key", "k"),
            ("kafkaheadertraceid", "8"),
            ("datacontenttype", "application/json"),
        ];
        let mut found = attributes(&mapped.event);
        found.sort();
        expected.sort_unstable();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(mapped.event.data().as_deref(), Some(b"{}".as_slice()));
        assert_eq!(codes(&mapped), Vec::<&str>::new());
    }

    #[test]
    fn a_record_of_nothing_is_an_event_without_data() {
        let (place, headers) = (place(), []);
        let record = Record {
            place: &place,
            offset: 0,
            timestamp: Some(-1),
            key: None,
            value: None,
            headers: &headers,
        };
        let event = mapping(KeyType::Text).event(&record).expect("an event").event;
        assert_eq!(
            (event.data(), event.get("time"), event.get("key")),
            (None, None, None)
        );
    }

    #[test]
    fn keys_are_read_by_their_type_and_given_in_base64_where_they_are_not_of_it() {
        let table: &[(KeyType, &[u8], &str, bool)] = &[
            (KeyType::Text, "é".as_bytes(), "é", true),
            (KeyType::Text, b"\xff", "/w==", false),
            (KeyType::Text, b"a\nb", "YQpi", false),
            (KeyType::Int, &[0xff, 0xff, 0xff, 0xfe], "-2", true),
            (KeyType::Int, &[0, 0, 0, 1, 0, 0, 0, 0], "4294967296", true),
            (KeyType::Int, b"abc", "YWJj", false),
            (KeyType::Float, &1.5_f32.to_be_bytes(), "1.5", true),
            (KeyType::Float, &2.0_f64.to_be_bytes(), "2.0", true),
            (KeyType::Bytes, b"\xff", "/w==", true),
        ];
        for (key_type, key, expected, is_good) in table {
            let mapped = mapped(Some(key), None, &[], *key_type);
            for name in ["key", "partitionkey"] {
                assert_eq!(
                    mapped.event.get(name).map(|value| value.text),
                    Some(*expected),
                    "{key:?}"
                );
            }
            assert_eq!(codes(&mapped).is_empty(), *is_good, "{key:?}");
        }
    }

    #[test]
    fn an_empty_key_is_a_key_and_no_partitionkey() {
        for (key_type, is_good) in [
            (KeyType::Text, true),
            (KeyType::Bytes, true),
            (KeyType::Int, false),
            (KeyType::Float, false),
        ] {
            let mapped = mapped(Some(b""), None, &[], key_type);
            let got = |name| mapped.event.get(name).map(|value| value.text.to_owned());
            assert_eq!((got("key"), got("partitionkey")), (Some(String::new()), None));
            assert_eq!(codes(&mapped).is_empty(), is_good, "{key_type:?}");
        }
    }

    #[test]
    fn a_later_life_of_a_partition_has_ids_of_its_own() {
        let id = |life| {
            let place = PartitionLife { life, ..place() };
            let record = Record {
                place: &place,
                offset: 17,
                timestamp: None,
                key: None,
                value: None,
                headers: &[],
            };
            let event = mapping(KeyType::Text).event(&record).expect("an event").event;
            event.id().to_owned()
        };
        assert_eq!(id(1), "partition:3/offset:17");
        assert_eq!(id(2), "partition:3/life:2/offset:17");
        let shown = [1, 3].map(|life| PartitionLife { life, ..place() }.to_string());
        assert_eq!(shown, ["orders-v1[3]", "orders-v1[3] (life 3)"]);
    }

    #[test]
    fn a_cloudevent_stays_what_it_is_and_gets_its_coordinates() {
        let headers: &[Header<'_>] = &[
            ("ce_specversion", Some(b"1.0")),
            ("ce_id", Some(b"1")),
            ("ce_source", Some(b"/s")),
            ("ce_type", Some(b"t")),
            ("other", Some(b"x")),
        ];
        let mapped = mapped(Some(b"k"), Some(b"x"), headers, KeyType::Text);
        let found = attributes(&mapped.event);
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/s"),
            ("type", "t"),
            ("knativekafkapartition", "3"),
            ("knativekafkaoffset", "17"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_bad_cloudevent_is_a_plain_record_and_said_to_be() {
        let headers: &[Header<'_>] = &[("ce_id", Some(b"1")), ("content-type", Some(b"nothing"))];
        let mapped = mapped(None, Some(b"x"), headers, KeyType::Text);
        assert_eq!(mapped.event.ty(), TYPE);
        assert_eq!(codes(&mapped), ["bad-cloudevent"]);
        let value = |name: &str| mapped.event.get(name).map(|value| value.text);
        assert_eq!(value("kafkaheaderceid"), Some("1"));
        assert_eq!(value("kafkaheadercontenttype"), Some("nothing"));
    }

    #[test]
    fn a_record_with_more_data_than_an_event_may_have_is_none() {
        let (place, value, binary) = (place(), vec![b'x'; 1025], [("ce_id", Some(b"1".as_slice()))]);
        for (value, headers) in [
            (&value, &[][..]),
            (&value, &binary),
            (&vec![b'x'; 1 << 20], &binary),
        ] {
            let record = Record {
                place: &place,
                offset: 0,
                timestamp: None,
                key: None,
                value: Some(value),
                headers,
            };
            assert_eq!(mapping(KeyType::Text).event(&record).err(), Some(TooLarge));
        }
    }

    #[test]
    fn headers_and_keys_that_no_event_can_hold_are_left_out_and_said_to_be() {
        let long = "x".repeat(40 * 1024);
        let headers: &[Header<'_>] = &[
            ("a", Some(b"\xff")),
            ("é", Some(b"x")),
            ("b", Some(b"y")),
            ("c", Some(long.as_bytes())),
        ];
        let mapped = mapped(Some(long.as_bytes()), Some(b"x"), headers, KeyType::Text);
        assert_eq!(codes(&mapped), ["attribute-left-out", "attribute-left-out"]);
        assert_eq!(
            mapped.event.get("kafkaheaderb").map(|value| value.text),
            Some("y")
        );
        assert_eq!(mapped.event.get("key"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_record_that_is_not_too_large_becomes_an_event(
            key in prop::option::of(vec(any::<u8>(), 0..12)),
            value in prop::option::of(vec(any::<u8>(), 0..40)),
            headers in vec((prop_oneof![Just("content-type".to_owned()), "ce_[a-z]{0,4}", any::<String>()],
                prop::option::of(vec(any::<u8>(), 0..12))), 0..8),
            timestamp in prop::option::of(any::<i64>()),
            offset in any::<i64>(),
        ) {
            let place = place();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let record = Record { place: &place, offset, timestamp, key: key.as_deref(), value: value.as_deref(), headers: &headers };
            for key_type in [KeyType::Text, KeyType::Int, KeyType::Float, KeyType::Bytes] {
                prop_assert!(mapping(key_type).event(&record).is_ok());
            }
        }
    }
}
