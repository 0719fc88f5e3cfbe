//! Where the lines of one position stand in a file of the history. Each byte of a file is read once in the
//! life of the process, when somebody asks; after that only the blocks are read that may hold the position.
//!
//! A block keeps 2 bytes for each of its lines, which have about 100 bytes or more: the index takes at most
//! about a fortieth of what the files take on disk, and nothing before the first question.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Bytes of a block; its last line may go beyond.
const BLOCK: u64 = 64 << 10;

/// The most bytes that are read as one line. Lines of ours are shorter.
const LONGEST_LINE: u64 = 64 << 10;

/// How a line begins, before its position.
const BEGIN: &str = "{\"p\":";

/// The index of one file.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: Vec<Block>,
    /// The file has been read up to here: to the end of a line.
    read_to: u64,
}

/// A part of the file with whole lines.
#[derive(Debug)]
struct Block {
    from: u64,
    to: u64,
    /// The positions of its lines, as far as [`hint`] keeps them.
    hints: Vec<u16>,
}

// === impl Index ===

impl Index {
    /// Reads what was written since the last time. Bytes before `length` do not change any more.
    pub(super) fn catch_up(&mut self, file: &mut File, length: u64) -> io::Result<()> {
        if length < self.read_to {
            // It is another file.
            *self = Self::default();
        }
        let from = self.read_to;
        for_lines(file, from, length, |line| {
            self.add(position(line), line.len() as u64);
        })
    }

    /// Gives `each` the lines of a position, in order.
    pub(super) fn find(&self, file: &mut File, of: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let may_hold = |block: &&Block| block.hints.contains(&hint(of));
        for block in self.blocks.iter().filter(may_hold) {
            for_lines(file, block.from, block.to, |line| {
                if position(line) == Some(of) {
                    each(line);
                }
            })?;
        }
        Ok(())
    }

    fn add(&mut self, position: Option<u64>, bytes: u64) {
        let from = self.read_to;
        self.read_to += bytes;
        let open = self.blocks.pop_if(|block| block.to - block.from < BLOCK);
        let mut block = open.unwrap_or_else(|| {
            if let Some(full) = self.blocks.last_mut() {
                full.hints.shrink_to_fit();
            }
            let hints = Vec::new();
            Block {
                from,
                to: from,
                hints,
            }
        });
        block.to = self.read_to;
        if let Some(hint) = position.map(hint)
            && block.hints.last() != Some(&hint)
        {
            block.hints.push(hint);
        }
        self.blocks.push(block);
    }
}

/// What a block keeps of a position. Positions of one time differ in it, so hardly ever is a block read in
/// vain.
fn hint(position: u64) -> u16 {
    position
        .to_le_bytes()
        .first_chunk()
        .map_or(0, |low| u16::from_le_bytes(*low))
}

/// The position of a line; none if it is damaged.
fn position(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(BEGIN.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// Gives `each` the lines between two places of a file. A last line without its end is still being written.
fn for_lines(file: &mut File, from: u64, to: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 << 10, file.take(to.saturating_sub(from)));
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        let is_whole = line.ends_with(b"\n") || line.len() as u64 == LONGEST_LINE;
        if !is_whole {
            return Ok(());
        }
        each(&line);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn found(index: &Index, file: &mut File, of: u64) -> Vec<String> {
        let mut found = Vec::new();
        let each = |line: &[u8]| found.push(String::from_utf8_lossy(line).trim_end().to_owned());
        index.find(file, of, each).unwrap();
        found
    }

    fn length(file: &File) -> u64 {
        file.metadata().unwrap().len()
    }

    #[test]
    fn lines_are_found_in_order_and_only_their_blocks_are_read() {
        let mut file = tempfile::tempfile().unwrap();
        let mut index = Index::default();
        // Retries of the first positions stand among later ones; 65 536 further on the hints are the same.
        for round in 0..40_u64 {
            for n in 0..200 {
                let at = if n == 7 { 7 } else { round * 65_536 + n };
                writeln!(
                    file,
                    "{{\"p\":{at},\"round\":{round},\"fill\":\"{}\"}}",
                    "x".repeat(80)
                )
                .unwrap();
            }
            let end = length(&file);
            index.catch_up(&mut file, end).unwrap();
        }
        assert_eq!(index.read_to, length(&file));
        let of_seven = found(&index, &mut file, 7);
        assert_eq!(of_seven.len(), 40);
        assert!(of_seven[39].starts_with("{\"p\":7,\"round\":39,"));
        assert_eq!(found(&index, &mut file, 65_536 + 3).len(), 1);
        assert_eq!(found(&index, &mut file, 65_536 + 500), Vec::<String>::new());
        let hints: usize = index.blocks.iter().map(|block| block.hints.len() * 2).sum();
        assert!(hints as u64 * 40 < index.read_to, "{hints} of {}", index.read_to);
        assert!(index.blocks.len() > 10);
    }

    #[test]
    fn damage_and_half_lines_are_passed_and_a_shorter_file_is_another_one() {
        let mut file = tempfile::tempfile().unwrap();
        let long = "y".repeat(usize::try_from(LONGEST_LINE).unwrap() + 10);
        write!(
            file,
            "{{\"p\":\u{fffd}\n{{\"p\":5\n\n{long}\n{{\"p\":5,\"a\"}}\n{{\"p\":5,"
        )
        .unwrap();
        let mut index = Index::default();
        let end = length(&file);
        index.catch_up(&mut file, end).unwrap();
        assert_eq!(found(&index, &mut file, 5), ["{\"p\":5,\"a\"}"]);
        file.seek(SeekFrom::End(0)).unwrap();
        writeln!(file, "\"b\"}}").unwrap();
        let end = length(&file);
        index.catch_up(&mut file, end).unwrap();
        assert_eq!(
            found(&index, &mut file, 5),
            ["{\"p\":5,\"a\"}", "{\"p\":5,\"b\"}"]
        );
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        writeln!(file, "{{\"p\":6,}}").unwrap();
        let end = length(&file);
        index.catch_up(&mut file, end).unwrap();
        assert_eq!(found(&index, &mut file, 5), Vec::<String>::new());
        assert_eq!(found(&index, &mut file, 6), ["{\"p\":6,}"]);
    }
}
