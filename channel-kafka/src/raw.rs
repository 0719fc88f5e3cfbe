//! A record as it is: anybody may have written it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_channel::remote::Entry;
use millrace_event::Timestamp;
use millrace_event::kafka::{Decoder, Header, kept};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// What stands in the log, why it is no event, if it is none, and its bytes.
pub(crate) fn entry(message: &BorrowedMessage<'_>, decoder: &mut Decoder) -> (Entry, Option<String>, usize) {
    let millis = message.timestamp().to_millis().unwrap_or(0);
    let value = message.payload();
    let headers = headers(message);
    let (event, reason) = match &headers {
        Err(why) => (None, Some((*why).to_owned())),
        Ok(headers) => match kept(headers, value) {
            Some(event) => (Some(event), None),
            None => match decoder.decode(headers, value, &[]) {
                Ok(Some(event)) => (Some(event), None),
                Ok(None) => (None, Some("it bears no mark of a CloudEvent".to_owned())),
                Err(invalid) => (None, Some(invalid.to_string())),
            },
        },
    };
    let headers = headers.unwrap_or_default();
    let of_headers = headers.iter();
    let of_headers = of_headers.map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
    let bytes = message.payload_len() + message.key_len() + of_headers.sum::<usize>();
    let entry = Entry {
        number: number(message),
        appended: Timestamp(millis),
        print: print(millis, message.key(), value, &headers),
        event,
    };
    (entry, reason, bytes)
}

/// The number of a record.
pub(crate) fn number(message: &BorrowedMessage<'_>) -> u64 {
    u64::try_from(message.offset()).unwrap_or(0)
}

/// The headers of a record. The binding breaks down over a name that is not UTF-8, which Kafka stores all the
/// same; that must not take the reader with it.
pub(crate) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Result<Vec<Header<'a>>, &'static str> {
    let Some(headers) = message.headers() else {
        return Ok(Vec::new());
    };
    let read = || headers.iter().map(|header| (header.key, header.value)).collect();
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "the name of a header is not UTF-8")
}

/// Tells a record from another one that has its number after a loss.
fn print(millis: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> u64 {
    let mut sum = crc32c::crc32c(key.unwrap_or_default());
    sum = crc32c::crc32c_append(sum, value.unwrap_or_default());
    for (name, value) in headers {
        sum = crc32c::crc32c_append(sum, name.as_bytes());
        sum = crc32c::crc32c_append(sum, value.unwrap_or_default());
    }
    let time = u64::try_from(millis).unwrap_or(0);
    (u64::from(sum) << 32) ^ time.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_from_others_by_time_key_value_and_headers() {
        let headers: [Header<'_>; 1] = [("ce_id", Some(b"1"))];
        let one = print(7, None, Some(b"x"), &headers);
        for other in [
            print(8, None, Some(b"x"), &headers),
            print(7, Some(b"k"), Some(b"x"), &headers),
            print(7, None, Some(b"y"), &headers),
            print(7, None, Some(b"x"), &[("ce_id", Some(b"2"))]),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(one, print(7, None, Some(b"x"), &headers));
    }
}
