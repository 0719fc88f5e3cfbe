//! The stored form of an event: one buffer that is at once the event in memory and the record in the log.
//!
//! All numbers are little-endian:
//!
//! | part | bytes | holds |
//! |---|---|---|
//! | format | 1 | the version of this layout: 1 |
//! | flags | 1 | bit 0: specversion 1.0 (else 0.3); bits 1 and 2: form of the data (0 none, 1 bytes, 2 JSON, 3 text) |
//! | counts | 2 + 2 | number of attributes, number of passed-on headers |
//! | attribute table | 6 each | kind (1), length of the name (1), length of the value (4) |
//! | header table | 5 each | length of the name (1), length of the value (4) |
//! | text | | names and values of the attributes: `id`, `source`, `type`, then the others as they came; all UTF-8 |
//! | headers | | names (UTF-8) and values (octets) of the headers |
//! | data | | to the end |
//!
//! The tables stand before the text so that reading an event back is a sum over a short table and one check of UTF-8,
//! whatever the number of attributes, and so that looking for a name touches the text only where the length fits.

use std::ops::Range;

use crate::attribute::{Kind, SpecVersion};
use crate::event::DataForm;
use crate::invalid::{Fault, Invalid};

/// The version of the layout.
const FORMAT: u8 = 1;
/// Bytes before the attribute table.
const HEAD: usize = 6;
/// Bytes of a row of the attribute table.
const ATTRIBUTE_ROW: usize = 6;
/// Bytes of a row of the header table.
const HEADER_ROW: usize = 5;
/// The attributes that come first, in this order.
pub(crate) const FIRST: [&str; 3] = ["id", "source", "type"];

/// Where the parts of a stored form are: what must not be summed up again for each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    attributes: u16,
    headers: u16,
    text_at: u32,
    /// The ends of the values of `id`, `source` and `type`.
    first_ends: [u32; 3],
    headers_at: u32,
    data_at: u32,
}

/// One attribute as ranges in the stored form.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// What a stored form is made of.
pub(crate) struct Parts<'a, A, H> {
    pub(crate) version: SpecVersion,
    /// `id`, `source` and `type` first.
    pub(crate) attributes: A,
    pub(crate) headers: H,
    pub(crate) data: Option<(DataForm, &'a [u8])>,
}

// === impl Parts ===

impl<'a, A, H> Parts<'a, A, H>
where
    A: Iterator<Item = (Kind, &'a str, &'a str)> + Clone,
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    /// Writes the stored form. The caller has checked that it is complete and that names are short enough.
    pub(crate) fn write(self) -> Result<(Vec<u8>, Layout), Invalid> {
        let (attributes, headers) = (self.attributes.clone().count(), self.headers.clone().count());
        let text: usize = self
            .attributes
            .clone()
            .map(|(_, name, value)| name.len() + value.len())
            .sum();
        let octets: usize = self
            .headers
            .clone()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let data = self.data.map_or(0, |(_, data)| data.len());
        let size = HEAD + attributes * ATTRIBUTE_ROW + headers * HEADER_ROW + text + octets + data;
        if u32::try_from(size).is_err() {
            return Err(Invalid::new(
                Fault::EventTooLarge,
                "the event is larger than 4 GiB",
            ));
        }
        let mut out = Vec::with_capacity(size);
        out.extend([FORMAT, flags(self.version, self.data.map(|(form, _)| form))]);
        out.extend(row_count(attributes)?);
        out.extend(row_count(headers)?);
        for (kind, name, value) in self.attributes.clone() {
            out.extend([kind_code(kind), name_len(name)]);
            out.extend(value_len(value.len()));
        }
        for (name, value) in self.headers.clone() {
            out.push(name_len(name));
            out.extend(value_len(value.len()));
        }
        for (_, name, value) in self.attributes {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        for (name, value) in self.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        }
        if let Some((_, data)) = self.data {
            out.extend_from_slice(data);
        }
        let layout = Layout::measure(&out).ok_or_else(damaged)?;
        Ok((out, layout))
    }
}

fn row_count(count: usize) -> Result<[u8; 2], Invalid> {
    u16::try_from(count).map(u16::to_le_bytes).map_err(|_| {
        Invalid::new(
            Fault::AttributesTooLarge,
            "the event has more than 65535 attributes or headers",
        )
    })
}

fn name_len(name: &str) -> u8 {
    u8::try_from(name.len()).expect("invariant: names of more than 255 bytes are refused before")
}

fn value_len(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("invariant: the whole is less than 4 GiB")
        .to_le_bytes()
}

// === impl Layout ===

impl Layout {
    /// Reads the layout of a stored form and checks its whole structure. It never panics, whatever the octets.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, Invalid> {
        match stored.first() {
            Some(&FORMAT) => {}
            Some(other) => {
                let message =
                    format!("the stored event is of format {other}, which this version cannot read");
                return Err(Invalid::new(Fault::Damaged, message));
            }
            None => return Err(damaged()),
        }
        let layout = Self::measure(stored).ok_or_else(damaged)?;
        layout.check(stored).ok_or_else(damaged)?;
        Ok(layout)
    }

    /// Sums up the tables.
    fn measure(stored: &[u8]) -> Option<Self> {
        // Offsets are kept in 32 bits, and no sum below can leave 64 bits.
        u32::try_from(stored.len()).ok()?;
        let &[_, _, a0, a1, h0, h1] = stored.first_chunk::<HEAD>()?;
        let (attributes, headers) = (u16::from_le_bytes([a0, a1]), u16::from_le_bytes([h0, h1]));
        let headers_table = HEAD + usize::from(attributes) * ATTRIBUTE_ROW;
        let text_at = headers_table + usize::from(headers) * HEADER_ROW;
        let attribute_rows = stored.get(HEAD..headers_table)?;
        let header_rows = stored.get(headers_table..text_at)?;

        let mut first_ends = [0; 3];
        let mut at = text_at as u64;
        for (index, row) in attribute_rows.chunks_exact(ATTRIBUTE_ROW).enumerate() {
            at += u64::from(row[1]) + u64::from(le32(&row[2..]));
            if let Some(end) = first_ends.get_mut(index) {
                *end = u32::try_from(at).ok()?;
            }
        }
        let headers_at = u32::try_from(at).ok()?;
        for row in header_rows.chunks_exact(HEADER_ROW) {
            at += u64::from(row[0]) + u64::from(le32(&row[1..]));
        }
        let data_at = u32::try_from(at).ok()?;
        (data_at as usize <= stored.len()).then_some(Self {
            attributes,
            headers,
            text_at: u32::try_from(text_at).ok()?,
            first_ends,
            headers_at,
            data_at,
        })
    }

    /// Checks what the accessors rely on.
    fn check(&self, stored: &[u8]) -> Option<()> {
        let flags = stored[1];
        let without_data = flags & 0b110 == 0;
        if flags & !0b111 != 0 || (without_data && self.data_at as usize != stored.len()) {
            return None;
        }
        let text_at = self.text_at as usize;
        let text = str::from_utf8(&stored[text_at..self.headers_at as usize]).ok()?;
        for row in self.rows(stored) {
            if !text.is_char_boundary(row.name.end - text_at)
                || !text.is_char_boundary(row.value.end - text_at)
            {
                return None;
            }
        }
        let table = &stored[HEAD..HEAD + self.attributes() * ATTRIBUTE_ROW];
        if !table
            .chunks_exact(ATTRIBUTE_ROW)
            .all(|row| kind_from(row[0]).is_some())
        {
            return None;
        }
        let mut names = self.rows(stored).map(|row| &stored[row.name]);
        if !FIRST.iter().all(|first| names.next() == Some(first.as_bytes())) {
            return None;
        }
        self.header_rows(stored)
            .all(|(name, _)| str::from_utf8(&stored[name]).is_ok())
            .then_some(())
    }

    /// The range of the value of `FIRST[index]`.
    pub(crate) fn first(&self, index: usize) -> Range<usize> {
        let start = if index == 0 {
            self.text_at
        } else {
            self.first_ends[index - 1]
        };
        start as usize + FIRST[index].len()..self.first_ends[index] as usize
    }

    /// The attributes in order.
    pub(crate) fn rows<'a>(&self, stored: &'a [u8]) -> impl Iterator<Item = Row> + use<'a> {
        let table = &stored[HEAD..HEAD + usize::from(self.attributes) * ATTRIBUTE_ROW];
        let mut at = self.text_at as usize;
        table.chunks_exact(ATTRIBUTE_ROW).map(move |row| {
            let name = at..at + usize::from(row[1]);
            let value = name.end..name.end + le32(&row[2..]) as usize;
            at = value.end;
            Row {
                kind: kind_from(row[0]).unwrap_or(Kind::String),
                name,
                value,
            }
        })
    }

    /// The headers in order: ranges of name and value.
    pub(crate) fn header_rows<'a>(
        &self,
        stored: &'a [u8],
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<'a> {
        let table = HEAD + usize::from(self.attributes) * ATTRIBUTE_ROW;
        let table = &stored[table..table + usize::from(self.headers) * HEADER_ROW];
        let mut at = self.headers_at as usize;
        table.chunks_exact(HEADER_ROW).map(move |row| {
            let name = at..at + usize::from(row[0]);
            let value = name.end..name.end + le32(&row[1..]) as usize;
            at = value.end;
            (name, value)
        })
    }

    /// How many attributes there are besides `specversion`.
    pub(crate) fn attributes(&self) -> usize {
        usize::from(self.attributes)
    }

    /// The text of all attributes.
    pub(crate) fn text(&self) -> Range<usize> {
        self.text_at as usize..self.headers_at as usize
    }

    /// Where the data begins.
    pub(crate) fn data_at(&self) -> usize {
        self.data_at as usize
    }
}

/// The version of the specification of a checked stored form.
pub(crate) fn version(stored: &[u8]) -> SpecVersion {
    if stored[1] & 1 == 1 {
        SpecVersion::V10
    } else {
        SpecVersion::V03
    }
}

/// The form of the data of a checked stored form, if there is data.
pub(crate) fn data_form(stored: &[u8]) -> Option<DataForm> {
    match stored[1] >> 1 & 0b11 {
        1 => Some(DataForm::Bytes),
        2 => Some(DataForm::Json),
        3 => Some(DataForm::Text),
        _ => None,
    }
}

fn flags(version: SpecVersion, form: Option<DataForm>) -> u8 {
    let form = match form {
        None => 0,
        Some(DataForm::Bytes) => 1,
        Some(DataForm::Json) => 2,
        Some(DataForm::Text) => 3,
    };
    u8::from(version == SpecVersion::V10) | form << 1
}

fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::String => 0,
        Kind::RawHeader => 1,
        Kind::Boolean => 2,
        Kind::Integer => 3,
    }
}

fn kind_from(code: u8) -> Option<Kind> {
    match code {
        0 => Some(Kind::String),
        1 => Some(Kind::RawHeader),
        2 => Some(Kind::Boolean),
        3 => Some(Kind::Integer),
        _ => None,
    }
}

fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

fn damaged() -> Invalid {
    Invalid::new(Fault::Damaged, "the stored event is damaged")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Event;

    fn sample() -> Event {
        Event::builder(SpecVersion::V10)
            .attribute("subject", "é")
            .attribute("type", "t")
            .attribute("id", "1")
            .attribute("source", "/s")
            .header("x-request-id", b"\xff1")
            .data(DataForm::Json, b"{}")
            .build()
            .unwrap()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let expected = [
            &[1, 0b101, 4, 0, 1, 0][..],
            &[
                0, 2, 1, 0, 0, 0, 0, 6, 2, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 7, 2, 0, 0, 0,
            ],
            &[12, 2, 0, 0, 0],
            "id1source/stypetsubjecté".as_bytes(),
            b"x-request-id\xff1{}",
        ];
        assert_eq!(sample().stored().as_ref(), expected.concat());
    }

    #[test]
    fn a_stored_form_cut_anywhere_is_refused_or_shorter_data() {
        let event = sample();
        let stored = event.stored();
        for end in 0..stored.len() {
            match Event::from_stored(stored.slice(..end)) {
                Ok(cut) => assert!(end >= stored.len() - 2 && cut.id() == "1", "{end}"),
                Err(invalid) => assert_eq!((invalid.fault, invalid.status()), (Fault::Damaged, 500)),
            }
        }
    }

    #[test]
    fn a_later_format_is_refused_in_words() {
        let mut stored = sample().stored().to_vec();
        stored[0] = 2;
        let invalid = Event::from_stored(Bytes::from(stored)).unwrap_err();
        assert!(invalid.message.contains("format 2"), "{invalid}");
    }

    #[test]
    fn octets_that_would_split_a_character_are_refused() {
        let mut stored = sample().stored().to_vec();
        // One byte of the subject's `é` moves into the headers.
        stored[HEAD + 3 * ATTRIBUTE_ROW + 2] = 1;
        assert!(Event::from_stored(Bytes::from(stored)).is_err());
    }

    /// Touches everything that an event offers.
    fn touch(event: &Event) {
        let _ = (
            event.id(),
            event.source(),
            event.ty(),
            event.specversion(),
            event.data(),
            event.json(),
        );
        let _ = (
            event.attributes().count(),
            event.headers().count(),
            event.get("nothing"),
            format!("{event:?}"),
        );
        let mut headers = http::HeaderMap::new();
        crate::http::write_binary(event, &Default::default(), &mut headers);
        let _ = crate::http::write_structured(event, &Default::default());
        let _ = event.edit().attribute("a", "b").build();
    }

    proptest! {
        #[test]
        fn any_octets_are_refused_or_an_event_that_never_panics(octets in any::<Vec<u8>>()) {
            if let Ok(event) = Event::from_stored(Bytes::from(octets)) {
                touch(&event);
            }
        }

        #[test]
        fn any_change_of_a_stored_form_is_refused_or_an_event_that_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut stored = sample().stored().to_vec();
            for (at, octet) in changes {
                let at = at.index(stored.len());
                stored[at] = octet;
            }
            if let Ok(event) = Event::from_stored(Bytes::from(stored)) {
                touch(&event);
            }
        }
    }
}
