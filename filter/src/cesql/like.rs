//! The patterns of LIKE, taken apart once: `%` is any run of characters, `_` is one character.

/// A pattern made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What stands between the `%`: at least one, and one more than there are `%`.
    runs: Box<[Run]>,
}

/// A part of a pattern without `%`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Run {
    pieces: Box<[Piece]>,
}

/// A text, or one character whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    One,
}

/// What a pattern asks of a text, where an index can ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape<'p> {
    Exact(&'p str),
    Prefix(&'p str),
    Suffix(&'p str),
    /// Begins with this, and more is asked.
    AtLeastPrefix(&'p str),
    /// Ends with this, and more is asked.
    AtLeastSuffix(&'p str),
    Other,
}

// === impl Pattern ===

impl Pattern {
    /// Reads a literal as it stands between its quotes: `\%` and `\_` are the characters, and the other
    /// escapes are those of every text.
    pub(crate) fn new(raw: &str) -> Self {
        let mut runs = Vec::new();
        let mut pieces = Vec::new();
        let mut text = String::new();
        let flush = |text: &mut String, pieces: &mut Vec<Piece>| {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(text).into()));
            }
        };
        let mut chars = raw.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            match (c, next) {
                ('\\', Some(escaped @ ('%' | '_' | '\'' | '"' | '\\'))) => {
                    text.push(escaped);
                    chars.next();
                }
                ('%', _) => {
                    flush(&mut text, &mut pieces);
                    let pieces = std::mem::take(&mut pieces).into();
                    runs.push(Run { pieces });
                }
                ('_', _) => {
                    flush(&mut text, &mut pieces);
                    pieces.push(Piece::One);
                }
                _ => text.push(c),
            }
        }
        flush(&mut text, &mut pieces);
        let pieces = pieces.into();
        runs.push(Run { pieces });
        Self { runs: runs.into() }
    }

    /// Whether the whole text is as the pattern says.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (first, others) = self.runs.split_first().expect("invariant: a pattern has a run");
        let Some((last, middle)) = others.split_last() else {
            return first.strip_start(text) == Some("");
        };
        let Some(mut rest) = first.strip_start(text).and_then(|rest| last.strip_end(rest)) else {
            return false;
        };
        // The leftmost place leaves the most for those that follow.
        for run in middle {
            let Some(behind) = run.find(rest) else {
                return false;
            };
            rest = behind;
        }
        true
    }

    /// What it may cost to match a text of this many bytes, in bytes looked at.
    pub(crate) fn work(&self, bytes: usize) -> usize {
        // The ends are compared once, with no more bytes than they have. So a pattern that an index can
        // answer is always cheap, and whether the index answers never changes a decision. A run of text alone
        // is found in one pass; a run with `_` in it may be compared whole at every place.
        let last = self.runs.len().saturating_sub(1);
        let work = |(at, run): (usize, &Run)| {
            let whole: usize = run.pieces.iter().map(Piece::bytes).sum();
            match run.text() {
                _ if at == 0 || at == last => whole.min(bytes),
                Some(_) => bytes,
                None => bytes.saturating_mul(whole),
            }
        };
        let each = self.runs.iter().enumerate().map(work);
        each.fold(0, usize::saturating_add)
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        match &*self.runs {
            [only] => only.text().map_or(Shape::Other, Shape::Exact),
            [first, last] => match (first.text(), last.text()) {
                (Some(first), Some("")) if !first.is_empty() => Shape::Prefix(first),
                (Some(""), Some(last)) if !last.is_empty() => Shape::Suffix(last),
                _ => self.at_least(),
            },
            _ => self.at_least(),
        }
    }

    fn at_least(&self) -> Shape<'_> {
        let begin = self.runs.first().and_then(|run| match &*run.pieces {
            [Piece::Text(text), ..] => Some(&**text),
            _ => None,
        });
        let end = self.runs.last().and_then(|run| match &*run.pieces {
            [.., Piece::Text(text)] => Some(&**text),
            _ => None,
        });
        match (begin, end) {
            (Some(begin), _) => Shape::AtLeastPrefix(begin),
            (None, Some(end)) => Shape::AtLeastSuffix(end),
            (None, None) => Shape::Other,
        }
    }
}

// === impl Piece ===

impl Piece {
    /// Bytes that are looked at to compare it.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::One => 1,
        }
    }
}

// === impl Run ===

impl Run {
    /// The text of a run without `_`.
    fn text(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What is left of `text` behind this run, if it begins with it.
    fn strip_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.pieces.iter().try_fold(text, |rest, piece| match piece {
            Piece::Text(text) => rest.strip_prefix(&**text),
            Piece::One => {
                let mut chars = rest.chars();
                chars.next().map(|_| chars.as_str())
            }
        })
    }

    /// What is left of `text` before this run, if it ends with it.
    fn strip_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.pieces
            .iter()
            .rev()
            .try_fold(text, |rest, piece| match piece {
                Piece::Text(text) => rest.strip_suffix(&**text),
                Piece::One => {
                    let mut chars = rest.chars();
                    chars.next_back().map(|_| chars.as_str())
                }
            })
    }

    /// What is left of `text` behind the first place where this run stands.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Some(plain) = self.text() {
            return text.find(plain).map(|at| &text[at + plain.len()..]);
        }
        let mut places = text.char_indices().map(|(at, _)| at);
        places.find_map(|at| self.strip_start(&text[at..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_characters_and_not_bytes() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "abc", true),
            ("_", "é", true),
            ("_", "", false),
            ("__", "é", false),
            ("a%", "a", true),
            ("%a", "ba", true),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("%b%", "abc", true),
            ("%ab%ab%", "abab", true),
            ("%ab%ab%", "aab", false),
            ("%_b%", "b", false),
            ("%_b%", "ab", true),
            ("%_b_%d", "xxabcd", true),
            (r"100\%", "100%", true),
            (r"100\%", "1000", false),
            (r"a\_b", "a_b", true),
            (r"a\b", r"a\b", true),
            (r"a\\%", r"a\anything", true),
            (r"it\'s", "it's", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                expected,
                "{text:?} LIKE {pattern:?}"
            );
        }
    }

    #[test]
    fn an_index_learns_what_a_pattern_asks() {
        let table = [
            ("abc", Shape::Exact("abc")),
            ("abc%", Shape::Prefix("abc")),
            ("%abc", Shape::Suffix("abc")),
            ("ab%c", Shape::AtLeastPrefix("ab")),
            ("a_c", Shape::Other),
            ("a_c%", Shape::AtLeastPrefix("a")),
            ("_b%c", Shape::AtLeastSuffix("c")),
            ("%b%", Shape::Other),
            ("%", Shape::Other),
        ];
        for (pattern, expected) in table {
            assert_eq!(Pattern::new(pattern).shape(), expected, "{pattern}");
        }
    }
}
