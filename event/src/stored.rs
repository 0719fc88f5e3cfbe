//! The stored form of an event: one buffer that is at once the event in memory and the record in the log.
//!
//! All numbers are little-endian:
//!
//! | part | bytes | holds |
//! |---|---|---|
//! | format | 1 | the version of this layout: 1 |
//! | flags | 1 | bit 0: specversion 1.0 (else 0.3); bits 1 and 2: form of the data (0 none, 1 bytes, 2 JSON, 3 text) |
//! | attributes | 2 | their number |
//! | headers | 4 | the length of the part of that name |
//! | table | 6 each | kind of an attribute (1), length of its name (1), length of its value (4) |
//! | text | | names and values of the attributes: `id`, `source`, `type`, then the others as they came; all UTF-8 |
//! | headers | | the passed-on headers: length of the name (1), length of the value (4), name (UTF-8), value (octets) |
//! | data | | to the end |
//!
//! The table stands before the text so that reading an event back is a sum over a short table and one check
//! of UTF-8, whatever the number of attributes, and so that looking for a name touches the text only where
//! the length fits.

use std::ops::Range;

use bytes::BytesMut;

use crate::attribute::{Kind, SpecVersion};
use crate::event::DataForm;
use crate::invalid::{Fault, Invalid};

/// The version of the layout.
const FORMAT: u8 = 1;
/// Bytes before the table.
const HEAD: usize = 8;
/// Bytes of a row of the table.
const ROW: usize = 6;
/// Bytes before the name of a header.
const HEADER_HEAD: usize = 5;
/// The attributes that come first, in this order.
pub(crate) const FIRST: [&str; 3] = ["id", "source", "type"];

/// Where the parts of a stored form are: what must not be summed up again for each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    attributes: u16,
    text_at: u32,
    /// The ends of the values of `id`, `source` and `type`.
    first_ends: [u32; 3],
    headers_at: u32,
    data_at: u32,
    /// Which lengths the names have, a bit each; the last one is for all that are longer.
    name_lengths: u32,
}

/// One attribute as ranges in the stored form.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// One attribute of an event that is being built: its name is at `at` of a text, its value right behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) name_len: u8,
    pub(crate) at: u32,
    pub(crate) value_len: u32,
}

/// What a stored form is made of.
pub(crate) struct Parts<'a> {
    pub(crate) version: SpecVersion,
    /// The attributes, `id`, `source` and `type` first.
    pub(crate) entries: &'a [Entry],
    /// The text that the entries point into.
    pub(crate) text: &'a str,
    /// The headers, put together by [`push_header`].
    pub(crate) headers: &'a [u8],
    pub(crate) data: Option<(DataForm, &'a [u8])>,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn name(self, text: &str) -> &str {
        &text[self.at as usize..self.at as usize + usize::from(self.name_len)]
    }

    pub(crate) fn value(self, text: &str) -> &str {
        &text[self.at as usize + usize::from(self.name_len)..self.at as usize + self.len()]
    }

    /// Bytes of the name and the value.
    pub(crate) fn len(self) -> usize {
        usize::from(self.name_len) + self.value_len as usize
    }
}

// === impl Parts ===

impl Parts<'_> {
    /// Bytes of the stored form.
    pub(crate) fn size(&self) -> usize {
        let text: usize = self.entries.iter().map(|entry| entry.len()).sum();
        let data = self.data.map_or(0, |(_, data)| data.len());
        HEAD + self.entries.len() * ROW + text + self.headers.len() + data
    }

    /// Writes the stored form, and nothing else, to the buffer. The caller has checked that the first three
    /// entries are what they must be.
    pub(crate) fn write(&self, out: &mut BytesMut) -> Result<Layout, Invalid> {
        let (form, data) = self
            .data
            .map_or((None, &[][..]), |(form, data)| (Some(form), data));
        let size = self.size();
        let too_large = || Invalid::new(Fault::EventTooLarge, "the event is larger than 4 GiB");
        u32::try_from(size).map_err(|_| too_large())?;
        let attributes = u16::try_from(self.entries.len()).map_err(|_| too_large())?;
        let headers = u32::try_from(self.headers.len()).map_err(|_| too_large())?;

        out.clear();
        out.reserve(size);
        out.extend_from_slice(&[FORMAT, flags(self.version, form)]);
        out.extend_from_slice(&attributes.to_le_bytes());
        out.extend_from_slice(&headers.to_le_bytes());
        for entry in self.entries {
            let [v0, v1, v2, v3] = entry.value_len.to_le_bytes();
            out.extend_from_slice(&[kind_code(entry.kind), entry.name_len, v0, v1, v2, v3]);
        }
        // Most entries stand behind each other in the text already.
        let (text, mut run) = (self.text.as_bytes(), 0..0);
        for entry in self.entries {
            let at = entry.at as usize;
            if at != run.end {
                out.extend_from_slice(&text[run]);
                run = at..at;
            }
            run.end += entry.len();
        }
        out.extend_from_slice(&text[run]);
        out.extend_from_slice(self.headers);
        out.extend_from_slice(data);
        Layout::measure(out).ok_or_else(damaged)
    }
}

/// Puts a header behind others. One with an empty or too long name, or a value past 4 GiB, is left out.
pub(crate) fn push_header(headers: &mut Vec<u8>, name: &str, value: &[u8]) {
    let (Ok(name_len @ 1..), Ok(value_len)) = (u8::try_from(name.len()), u32::try_from(value.len())) else {
        return;
    };
    let [v0, v1, v2, v3] = value_len.to_le_bytes();
    headers.reserve(HEADER_HEAD + name.len() + value.len());
    headers.extend_from_slice(&[name_len, v0, v1, v2, v3]);
    headers.extend_from_slice(name.as_bytes());
    headers.extend_from_slice(value);
}

// === impl Layout ===

impl Layout {
    /// Reads the layout of a stored form and checks its whole structure. It never panics, whatever the
    /// octets.
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

    /// Sums up the table.
    fn measure(stored: &[u8]) -> Option<Self> {
        // Offsets are kept in 32 bits, and no sum below can leave 64 bits.
        u32::try_from(stored.len()).ok()?;
        let &[_, _, a0, a1, h0, h1, h2, h3] = stored.first_chunk::<HEAD>()?;
        let attributes = u16::from_le_bytes([a0, a1]);
        let text_at = HEAD + usize::from(attributes) * ROW;
        let (rows, _) = stored.get(HEAD..text_at)?.as_chunks::<ROW>();

        let (mut first_ends, mut name_lengths) = ([0; 3], 0);
        let mut at = text_at as u64;
        for (index, &[_, name_len, v0, v1, v2, v3]) in rows.iter().enumerate() {
            name_lengths |= length_bit(name_len.into());
            at += u64::from(name_len) + u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
            if let Some(end) = first_ends.get_mut(index) {
                *end = u32::try_from(at).ok()?;
            }
        }
        let headers_at = u32::try_from(at).ok()?;
        let data_at = headers_at.checked_add(u32::from_le_bytes([h0, h1, h2, h3]))?;
        let text_at = u32::try_from(text_at).ok()?;
        let layout = Self {
            attributes,
            text_at,
            first_ends,
            headers_at,
            data_at,
            name_lengths,
        };
        (data_at as usize <= stored.len()).then_some(layout)
    }

    /// Checks what the accessors rely on.
    fn check(&self, stored: &[u8]) -> Option<()> {
        let flags = stored[1];
        let without_data = flags & 0b110 == 0;
        if flags & !0b111 != 0 || (without_data && self.data_at() != stored.len()) {
            return None;
        }
        let (text_at, mut index) = (self.text_at as usize, 0);
        let text = str::from_utf8(&stored[self.text()]).ok()?;
        for row in self.rows(stored) {
            let split = !text.is_char_boundary(row.name.end - text_at)
                || !text.is_char_boundary(row.value.end - text_at);
            let misplaced = FIRST
                .get(index)
                .is_some_and(|first| &stored[row.name] != first.as_bytes());
            if split || misplaced {
                return None;
            }
            index += 1;
        }
        if index < FIRST.len() || !self.table(stored).iter().all(|row| kind_from(row[0]).is_some()) {
            return None;
        }
        let mut headers = Headers {
            stored,
            at: self.headers_at as usize,
            end: self.data_at(),
        };
        let good = headers
            .by_ref()
            .all(|(name, _)| str::from_utf8(&stored[name]).is_ok());
        (good && headers.at == headers.end).then_some(())
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

    /// Whether an attribute has a name of that length: without a look at the buffer, which may be far away.
    pub(crate) fn has_name_of(&self, length: usize) -> bool {
        self.name_lengths & length_bit(length) != 0
    }

    /// The attributes in order.
    pub(crate) fn rows<'a>(&self, stored: &'a [u8]) -> impl Iterator<Item = Row> + use<'a> {
        let mut at = self.text_at as usize;
        self.table(stored)
            .iter()
            .map(move |&[kind, name_len, v0, v1, v2, v3]| {
                let name = at..at + usize::from(name_len);
                let value = name.end..name.end + u32::from_le_bytes([v0, v1, v2, v3]) as usize;
                at = value.end;
                Row {
                    kind: kind_from(kind).unwrap_or(Kind::String),
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
        Headers {
            stored,
            at: self.headers_at as usize,
            end: self.data_at(),
        }
    }

    /// How many attributes there are besides `specversion`.
    pub(crate) fn attributes(&self) -> usize {
        usize::from(self.attributes)
    }

    /// The text of all attributes.
    pub(crate) fn text(&self) -> Range<usize> {
        self.text_at as usize..self.headers_at as usize
    }

    /// All headers.
    pub(crate) fn headers(&self) -> Range<usize> {
        self.headers_at as usize..self.data_at()
    }

    /// Where the data begins.
    pub(crate) fn data_at(&self) -> usize {
        self.data_at as usize
    }

    fn table<'a>(&self, stored: &'a [u8]) -> &'a [[u8; ROW]] {
        stored[HEAD..self.text_at as usize].as_chunks().0
    }
}

fn length_bit(length: usize) -> u32 {
    1 << length.min(31)
}

/// Walks over the headers, and stops at one that does not fit.
struct Headers<'a> {
    stored: &'a [u8],
    at: usize,
    end: usize,
}

impl Iterator for Headers<'_> {
    type Item = (Range<usize>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.stored.get(self.at..self.end)?;
        let &[name_len, v0, v1, v2, v3] = rest.first_chunk::<HEADER_HEAD>()?;
        let value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let name = self.at + HEADER_HEAD..self.at + HEADER_HEAD + usize::from(name_len);
        let value = name.end..name.end.checked_add(value_len)?;
        if value.end > self.end {
            return None;
        }
        self.at = value.end;
        Some((name, value))
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
            &[1, 0b101, 4, 0, 19, 0, 0, 0][..],
            &[
                0, 2, 1, 0, 0, 0, 0, 6, 2, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 7, 2, 0, 0, 0,
            ],
            "id1source/stypetsubjecté".as_bytes(),
            &[12, 2, 0, 0, 0],
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
        stored[HEAD + 3 * ROW + 2] = 1;
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
        let _ = crate::http::write_structured(event, &Default::default(), &mut Default::default());
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
