//! A text as tokens, each with its place.

use super::{MAX_EXPRESSION_BYTES, SyntaxError};

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind<'t>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'t> {
    /// A name of an attribute or a function, or `TRUE` or `FALSE`.
    Name(&'t str),
    /// Digits, without a sign.
    Digits(&'t str),
    /// What stands between quotes, escapes and all.
    Text(&'t str),
    /// A word of the language.
    Word(Word),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Behind the last.
    End,
}

/// The words of the language, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    And,
    Or,
    Xor,
    Not,
    Like,
    Exists,
    In,
}

const WORDS: [(&str, Word); 7] = [
    ("AND", Word::And),
    ("OR", Word::Or),
    ("XOR", Word::Xor),
    ("NOT", Word::Not),
    ("LIKE", Word::Like),
    ("EXISTS", Word::Exists),
    ("IN", Word::In),
];

/// Longer ones first, so that `<=` is not read as `<`.
const SIGNS: [&str; 15] = [
    "<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ",", "+", "-", "*", "/", "%",
];

/// The tokens of `text`; the last is [`Kind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SyntaxError> {
    if text.len() > MAX_EXPRESSION_BYTES {
        let message = format!("the expression is longer than {MAX_EXPRESSION_BYTES} bytes");
        return Err(SyntaxError { at: 0, message });
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = text[at..].trim_start();
        let start = text.len() - rest.len();
        let (kind, length) = token(rest, start)?;
        at = start + length;
        tokens.push(Token { kind, start, end: at });
        if kind == Kind::End {
            return Ok(tokens);
        }
    }
}

/// The token with which `rest` begins, and its length.
fn token(rest: &str, start: usize) -> Result<(Kind<'_>, usize), SyntaxError> {
    let Some(first) = rest.chars().next() else {
        return Ok((Kind::End, 0));
    };
    if first == '\'' || first == '"' {
        let inner = quoted(&rest[1..], first).ok_or_else(|| SyntaxError {
            at: start,
            message: format!("the text that begins here has no closing {first}"),
        })?;
        return Ok((Kind::Text(inner), inner.len() + 2));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if is_part(first) {
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        return Ok((word(name), name.len()));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(SyntaxError {
            at: start,
            message: format!("`{}` has no meaning here", first.escape_debug()),
        }),
    }
}

/// What stands before the closing quote; a backslash takes the next character's meaning.
fn quoted(rest: &str, quote: char) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(&rest[..at]);
        }
    }
    None
}

fn word(name: &str) -> Kind<'_> {
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Kind::Digits(name);
    }
    let word = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
    word.map_or(Kind::Name(name), |(_, word)| Kind::Word(*word))
}

/// The text that a literal means: a backslash takes the meaning of a quote or a backslash, and is itself
/// elsewhere.
pub(crate) fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match next {
            Some(escaped @ ('\'' | '"' | '\\')) if c == '\\' => {
                text.push(escaped);
                chars.next();
            }
            _ => text.push(c),
        }
    }
    text
}

// === impl Kind ===

impl Kind<'_> {
    /// The token as a message shows it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Name(text) | Self::Digits(text) => format!("`{text}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Word(word) => {
                let known = WORDS.iter().find(|(_, other)| other == word);
                format!("`{}`", known.map_or("", |(text, _)| text))
            }
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}
