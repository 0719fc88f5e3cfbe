//! An event is written as JSON, its data byte for byte wherever JSON can hold it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::attribute::{Kind, SpecVersion};
use crate::builder::is_json;
use crate::event::{DataForm, Event};
use crate::http::Outgoing;
use crate::rules::media;

/// The attribute by which version 0.3 tells that `data` is Base64.
const ENCODING: &str = "datacontentencoding";

/// How the data stands in the JSON form.
enum Member<'a> {
    /// As its own text.
    Json(&'a [u8]),
    /// As a JSON string.
    Text(&'a str),
    /// As a JSON string of Base64.
    Base64(&'a [u8]),
}

/// The JSON form of the event.
pub(super) fn event(event: &Event, outgoing: &Outgoing<'_>) -> Bytes {
    let member = event.data_ref().map(|data| member(event, data));
    let mut base64_untold =
        event.specversion() == SpecVersion::V03 && matches!(member, Some(Member::Base64(_)));
    let data = event.data_len();
    let mut out = Vec::with_capacity(event.stored().len() + data / 2 + 256);
    out.extend_from_slice(b"{\"specversion\":");
    string(&mut out, event.specversion().as_str());
    for row in outgoing.own(event) {
        let (name, mut text) = (event.text(row.name), event.text(row.value));
        if base64_untold && name == ENCODING {
            base64_untold = false;
            if !text.eq_ignore_ascii_case("base64") {
                text = "base64";
            }
        }
        key(&mut out, name);
        match row.kind {
            Kind::String | Kind::RawHeader => string(&mut out, text),
            Kind::Boolean | Kind::Integer => out.extend_from_slice(text.as_bytes()),
        }
    }
    for (name, text) in outgoing.added() {
        key(&mut out, name);
        string(&mut out, text);
    }
    if base64_untold {
        key(&mut out, ENCODING);
        string(&mut out, "base64");
    }
    if let Some(member) = member {
        data_member(&mut out, event.specversion(), &member);
    }
    out.push(b'}');
    Bytes::from(out)
}

/// How the event's data stands in its JSON form.
fn member<'a>(event: &Event, data: &'a [u8]) -> Member<'a> {
    if let Some(member) = told_base64(event, data) {
        return member;
    }
    let form = event.data_form();
    let media_type = event.get("datacontenttype").map(|value| value.text);
    let foreign = media_type.is_some_and(|media_type| !media::is_json(media_type));
    // Under another media type a JSON string would be read as the text that it spells.
    let valid = form == DataForm::Json && !(foreign && data.starts_with(b"\""));
    let Some(media_type) = media_type else {
        return if valid {
            Member::Json(data)
        } else {
            Member::Base64(data)
        };
    };
    if valid || (!foreign && is_json(data)) {
        return Member::Json(data);
    }
    match str::from_utf8(data) {
        // An event in another format is never shown as text: it stays unchanged for its receiver.
        Ok(text)
            if foreign
                && !media::is_cloudevents(media_type)
                && (form != DataForm::Bytes || media::is_text(media_type)) =>
        {
            Member::Text(text)
        }
        _ => Member::Base64(data),
    }
}

/// The data of an event of version 0.3 that says it is Base64. If that came as a header, the body may be
/// Base64 already.
fn told_base64<'a>(event: &Event, data: &'a [u8]) -> Option<Member<'a>> {
    let told = event
        .get(ENCODING)
        .filter(|told| told.text.eq_ignore_ascii_case("base64"))?;
    if event.specversion() != SpecVersion::V03 {
        return None;
    }
    match str::from_utf8(data) {
        Ok(text) if told.kind == Kind::RawHeader && STANDARD.decode(text).is_ok() => Some(Member::Text(text)),
        _ => Some(Member::Base64(data)),
    }
}

fn data_member(out: &mut Vec<u8>, version: SpecVersion, member: &Member<'_>) {
    match (member, version) {
        (Member::Json(data), _) => {
            key(out, "data");
            out.extend_from_slice(data);
        }
        (Member::Text(text), _) => {
            key(out, "data");
            string(out, text);
        }
        (Member::Base64(data), version) => {
            key(
                out,
                if version == SpecVersion::V03 {
                    "data"
                } else {
                    "data_base64"
                },
            );
            let start = out.len() + 1;
            out.resize(start + data.len().div_ceil(3) * 4, b'"');
            STANDARD
                .encode_slice(data, &mut out[start..])
                .expect("invariant: the room is exactly what Base64 needs");
            out.push(b'"');
        }
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    string(out, name);
    out.push(b':');
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("invariant: a buffer in memory takes every string");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventBuilder;
    use crate::attribute::Value;
    use crate::hops::TTL;

    fn minimal(version: SpecVersion) -> EventBuilder {
        Event::builder(version)
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
    }

    /// What is written behind the members of the minimal event.
    fn written(builder: EventBuilder, outgoing: &Outgoing<'_>) -> String {
        let event = builder.build().unwrap();
        let text = String::from_utf8(super::event(&event, outgoing).to_vec()).unwrap();
        assert!(is_json(text.as_bytes()), "{text}");
        let version = event.specversion();
        let head = format!(r#"{{"specversion":"{version}","id":"1","source":"/s","type":"t""#);
        text.strip_prefix(&head)
            .unwrap()
            .strip_suffix('}')
            .unwrap()
            .to_owned()
    }

    #[test]
    fn attributes_are_members_of_their_type() {
        let builder = minimal(SpecVersion::V10)
            .attribute("a", "x \"é\"")
            .value(
                "b",
                Value {
                    kind: Kind::RawHeader,
                    text: "5",
                },
            )
            .value(
                "c",
                Value {
                    kind: Kind::Integer,
                    text: "5",
                },
            )
            .value(
                "d",
                Value {
                    kind: Kind::Boolean,
                    text: "true",
                },
            );
        assert_eq!(
            written(builder, &Outgoing::default()),
            r#","a":"x \"é\"","b":"5","c":5,"d":true"#
        );
    }

    #[test]
    fn data_stands_as_json_text_or_base64() {
        use DataForm::{Bytes as Octets, Json, Text};
        let table: [(Option<&str>, DataForm, &[u8], &str); 16] = [
            (
                Some("application/json"),
                Octets,
                br#"{ "b": 1.10 }"#,
                r#","data":{ "b": 1.10 }"#,
            ),
            (Some("Model/X+JSON; v=1"), Octets, b"[1,2]", r#","data":[1,2]"#),
            (
                Some("application/json"),
                Octets,
                b"{broken",
                r#","data_base64":"e2Jyb2tlbg==""#,
            ),
            (
                Some("application/json"),
                Octets,
                b"\"\xff\"",
                r#","data_base64":"Iv8i""#,
            ),
            (
                Some("application/json"),
                Octets,
                b"\xef\xbb\xbf1",
                r#","data_base64":"77u/MQ==""#,
            ),
            (Some("text/plain"), Octets, "a\né".as_bytes(), r#","data":"a\né""#),
            (Some("text/plain"), Octets, b"\xff", r#","data_base64":"/w==""#),
            (
                Some("text/plain; charset=iso-8859-1"),
                Octets,
                b"a",
                r#","data_base64":"YQ==""#,
            ),
            (Some("application/xml"), Octets, b"<a/>", r#","data":"<a/>""#),
            (
                Some("application/octet-stream"),
                Octets,
                b"a",
                r#","data_base64":"YQ==""#,
            ),
            (None, Octets, b"1", r#","data_base64":"MQ==""#),
            (None, Json, b"null", r#","data":null"#),
            (Some("image/png"), Json, b"[1]", r#","data":[1]"#),
            (Some("image/png"), Json, b"\"x\"", r#","data":"\"x\"""#),
            (Some("image/png"), Text, b"x", r#","data":"x""#),
            (Some("application/json"), Text, b"x", r#","data_base64":"eA==""#),
        ];
        for (media_type, form, data, expected) in table {
            let mut builder = minimal(SpecVersion::V10).data(form, data);
            let mut head = String::new();
            if let Some(media_type) = media_type {
                builder = builder.attribute("datacontenttype", media_type);
                head = format!(r#","datacontenttype":"{media_type}""#);
            }
            assert_eq!(
                written(builder, &Outgoing::default()),
                format!("{head}{expected}"),
                "{media_type:?}"
            );
        }
    }

    #[test]
    fn what_goes_out_follows_the_orders_for_it() {
        let builder = || minimal(SpecVersion::V10).attribute("a", "1").attribute(TTL, "9");
        assert_eq!(written(builder(), &Outgoing::default()), r#","a":"1""#);
        let outgoing = Outgoing {
            extra: &[("a", "2"), ("b", "3"), ("Bad", "4")],
            ttl: None,
        };
        assert_eq!(written(builder(), &outgoing), r#","a":"2","b":"3""#);
        let told = Outgoing {
            ttl: Some("8"),
            ..Outgoing::default()
        };
        assert_eq!(written(builder(), &told), r#","a":"1","knativebrokerttl":"8""#);
    }

    #[test]
    fn version_0_3_tells_base64_by_an_attribute() {
        let outgoing = Outgoing::default();
        let octets = minimal(SpecVersion::V03).data(DataForm::Bytes, b"\xff");
        assert_eq!(
            written(octets, &outgoing),
            r#","datacontentencoding":"base64","data":"/w==""#
        );
        let told = || minimal(SpecVersion::V03).attribute(ENCODING, "Base64");
        let kept = told()
            .data(DataForm::Bytes, b"{}")
            .attribute("datacontenttype", "application/json");
        let expected =
            r#","datacontentencoding":"Base64","datacontenttype":"application/json","data":"e30=""#;
        assert_eq!(written(kept, &outgoing), expected);
        let wrong = minimal(SpecVersion::V03)
            .attribute(ENCODING, "8bit")
            .data(DataForm::Bytes, b"\xff");
        assert_eq!(
            written(wrong, &outgoing),
            r#","datacontentencoding":"base64","data":"/w==""#
        );
        let raw = Value {
            kind: Kind::RawHeader,
            text: "base64",
        };
        let came = |data| {
            minimal(SpecVersion::V03)
                .value(ENCODING, raw)
                .data(DataForm::Bytes, data)
        };
        assert_eq!(
            written(came(b"/w=="), &outgoing),
            r#","datacontentencoding":"base64","data":"/w==""#
        );
        assert_eq!(
            written(came(b"\xff"), &outgoing),
            r#","datacontentencoding":"base64","data":"/w==""#
        );
    }
}
