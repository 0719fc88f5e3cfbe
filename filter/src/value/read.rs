//! From a text to values: in one pass, copying only texts with escapes.

use std::borrow::Cow;

use super::{Number, Object, Value};

/// How many lists and objects may be open at once.
pub const MAX_DEPTH: usize = 128;

/// Why a text cannot be read as JSON here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct NotJson {
    what: &'static str,
    at: usize,
}

// === impl NotJson ===

impl NotJson {
    /// What is wrong, with its line and column in the octets that were read, both from 1. Columns count
    /// characters.
    pub fn in_words(&self, octets: &[u8]) -> String {
        let before = &octets[..self.at.min(octets.len())];
        let line = before.iter().filter(|octet| **octet == b'\n').count() + 1;
        let last = before.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        format!("{} at line {line}, column {column}", self.what)
    }
}

/// The one JSON value that these octets are.
///
/// # Errors
/// They are not JSON, not UTF-8, or nested deeper than [`MAX_DEPTH`]. The error does not repeat the content.
pub fn read(octets: &[u8]) -> Result<Value<'_>, NotJson> {
    let text = str::from_utf8(octets).map_err(|error| NotJson {
        what: "not UTF-8",
        at: error.valid_up_to(),
    })?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("something behind the value")),
    }
}

/// A place in a text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, what: &'static str) -> NotJson {
        NotJson { what, at: self.at }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over this byte if it is the next.
    fn takes(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.blanks();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.wrong("nested deeper than 128 levels")),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) | None => Err(self.wrong("no value")),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NotJson> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("no value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.takes(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.blanks();
            if self.takes(b']') {
                return Ok(Value::Array(items));
            }
            if !self.takes(b',') {
                return Err(self.wrong("neither `,` nor `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.at += 1;
        let mut members = Vec::new();
        self.blanks();
        if self.takes(b'}') {
            return Ok(Value::Object(Object::default()));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("no name of a member"));
            }
            let name = match self.string()? {
                Value::String(name) => name,
                // No path can spell it, so its escape may stand for it.
                Value::HalfPair(raw) => Cow::Borrowed(raw),
                _ => return Err(self.wrong("no name of a member")),
            };
            self.blanks();
            if !self.takes(b':') {
                return Err(self.wrong("no `:`"));
            }
            members.push((name, self.value(depth)?));
            self.blanks();
            if self.takes(b'}') {
                return Ok(Value::Object(Object::of(members)));
            }
            if !self.takes(b',') {
                return Err(self.wrong("neither `,` nor `}`"));
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, NotJson> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        Ok(Value::Number(Number::of(&self.text[start..self.at])))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.wrong("no digit"));
        }
        Ok(())
    }

    /// The text that begins here.
    fn string(&mut self) -> Result<Value<'a>, NotJson> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += rest.iter().take_while(|&&byte| is_plain(byte)).count();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.wrong("a control character in a text")),
                None => return Err(self.wrong("a text without an end")),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        if !escaped {
            return Ok(Value::String(Cow::Borrowed(raw)));
        }
        Ok(match unescape(raw) {
            Some(text) => Value::String(Cow::Owned(text)),
            None => Value::HalfPair(raw),
        })
    }

    /// Steps over an escape, if it is one of JSON's.
    fn escape(&mut self) -> Result<(), NotJson> {
        let is_good = match &self.text.as_bytes()[self.at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {
                self.at += 2;
                true
            }
            [b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => {
                self.at += 6;
                true
            }
            _ => false,
        };
        if is_good {
            Ok(())
        } else {
            Err(self.wrong("no escape of JSON's"))
        }
    }
}

/// Whether a byte of a text stands for itself.
fn is_plain(byte: u8) -> bool {
    !matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// The text that valid escapes spell; `None` when one is half of a surrogate pair.
fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let letter = rest.chars().next()?;
        rest = &rest[1..];
        text.push(match letter {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (first, behind) = (code(rest)?, &rest[4..]);
                rest = behind;
                if let Some(c) = char::from_u32(first) {
                    c
                } else {
                    let second = code(behind.strip_prefix("\\u")?)?;
                    rest = &behind[6..];
                    pair(first, second)?
                }
            }
            other => other,
        });
    }
    text.push_str(rest);
    Some(text)
}

fn code(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.get(..4)?, 16).ok()
}

/// The character that a pair of surrogates spells.
fn pair(first: u32, second: u32) -> Option<char> {
    let is_pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let code = || 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    is_pair.then(code).and_then(char::from_u32)
}
