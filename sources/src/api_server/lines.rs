//! A stream cut into lines of a bounded length.

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest line. The API server keeps no object near this size.
pub(super) const MAX_LINE: usize = 16 << 20;

/// Bytes come in, lines go out.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// Up to here there is no line break.
    searched: usize,
    /// The rest of a line that is too long is passed by.
    is_passing: bool,
    max: usize,
}

/// What a stream consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line, without its break.
    Whole(Bytes),
    /// There was one that was too long.
    TooLong,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            is_passing: false,
            max,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line, if there is a whole one.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|&c| c == b'\n');
            let Some(at) = found.map(|at| self.searched + at) else {
                self.searched = self.buffer.len();
                if self.buffer.len() > self.max {
                    self.buffer.clear();
                    self.searched = 0;
                    self.is_passing = true;
                }
                return None;
            };
            let line = self.buffer.split_to(at).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if std::mem::take(&mut self.is_passing) || line.len() > self.max {
                return Some(Line::TooLong);
            }
            if !line.is_empty() {
                return Some(Line::Whole(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<Line> {
        std::iter::from_fn(|| lines.next()).collect()
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_come_out_as_they_end_wherever_the_pieces_were_cut() {
        let mut lines = Lines::new(100);
        lines.push(b"on");
        assert_eq!(all(&mut lines), []);
        lines.push(b"e\ntwo\n\nth");
        assert_eq!(all(&mut lines), [whole("one"), whole("two")]);
        lines.push(b"ree\n");
        assert_eq!(all(&mut lines), [whole("three")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_by_and_the_next_is_read() {
        let mut lines = Lines::new(4);
        lines.push(b"12345");
        assert_eq!(all(&mut lines), []);
        lines.push(b"6789");
        assert_eq!(all(&mut lines), []);
        lines.push(b"0\nnext\n123456\nlast\n");
        assert_eq!(
            all(&mut lines),
            [Line::TooLong, whole("next"), Line::TooLong, whole("last")]
        );
    }
}
