//! The attributes a dead letter carries: `knativeerrordest`, `knativeerrorcode`, `knativeerrordata`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::outcome::BODY_KEPT;

/// The three attributes of a dead letter, ready for [`millrace_event::http::Outgoing::extra`].
///
/// `knativeerrordest` is the subscriber's URL as the trigger has it. `knativeerrorcode` is the status of its
/// last answer, or `-1` when there was none (Knative says 500, which cannot be told from a real
/// one). `knativeerrordata` is base64 of the first 1 024 bytes given: cut before encoding, so that it can
/// always be decoded.
pub fn attributes(
    subscriber: &str,
    status: Option<u16>,
    body_or_reason: &[u8],
) -> [(&'static str, String); 3] {
    let kept = &body_or_reason[..body_or_reason.len().min(BODY_KEPT)];
    [
        ("knativeerrordest", subscriber.to_owned()),
        (
            "knativeerrorcode",
            status.map_or_else(|| "-1".to_owned(), |status| status.to_string()),
        ),
        ("knativeerrordata", STANDARD.encode(kept)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_says_who_refused_it_how_and_in_which_words() {
        let [dest, code, data] = attributes("http://127.0.0.1:9001/ship", Some(422), b"no such order");
        assert_eq!(
            dest,
            ("knativeerrordest", "http://127.0.0.1:9001/ship".to_owned())
        );
        assert_eq!(code, ("knativeerrorcode", "422".to_owned()));
        assert_eq!(data, ("knativeerrordata", "bm8gc3VjaCBvcmRlcg==".to_owned()));
    }

    #[test]
    fn no_answer_is_code_minus_one() {
        let [_, code, data] = attributes("http://gone.example/", None, b"connection refused");
        assert_eq!(code.1, "-1");
        assert_eq!(STANDARD.decode(data.1).expect("base64"), b"connection refused");
    }

    #[test]
    fn at_most_1024_bytes_are_kept_and_cut_before_encoding() {
        for (len, kept) in [
            (0, 0),
            (1, 1),
            (1_023, 1_023),
            (1_024, 1_024),
            (1_025, 1_024),
            (1 << 20, 1_024),
        ] {
            let [_, _, data] = attributes("http://a.example/", Some(500), &vec![0xff; len]);
            assert_eq!(STANDARD.decode(data.1).expect("base64").len(), kept, "{len}");
        }
    }
}
