//! What is printed: data on the standard output, remarks on the standard error, in tables for people or as
//! JSON.
//!
//! A reader that goes away early (`millrace parked list | head`) is no error.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Prints a text and a line's end on the standard output.
pub(crate) fn data(text: &str) {
    let mut out = io::stdout().lock();
    // If this fails there is nobody left to tell.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a text and a line's end on the standard error.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `1 file`, `2 files`.
pub(crate) fn count<N: Copy + fmt::Display + From<u8> + PartialEq>(number: N, what: &str) -> String {
    let is_one = number == N::from(1);
    format!("{number} {what}{}", if is_one { "" } else { "s" })
}

/// Prints a value as JSON on the standard output.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => data(&text),
        Err(error) => remark(&format!("error: this cannot be written as JSON: {error}")),
    }
}

/// Prints JSON indented, as [`json`] does, with every token as it stands in the text. Text that is not JSON
/// is printed unchanged.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(2 * json.len());
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for c in json.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                // Empty arrays and objects stay on their line.
                if !out.ends_with(['{', '[']) {
                    line(&mut out, depth);
                }
                out.push(c);
            }
            ':' => out.push_str(": "),
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            _ => {
                if out.ends_with(['{', '[']) {
                    line(&mut out, depth);
                }
                depth += usize::from(matches!(c, '{' | '['));
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// A text from elsewhere as it may go to a terminal: in one line and without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Rows in columns as wide as their widest cell, under a head.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head)
            .chain(&rows)
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&head)
        .chain(&rows)
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_serde_json_does_and_its_tokens_stay() {
        let text = r#" {"a":[1,{"b c":"}\\\",["},[],{}],"d":null}"#;
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(pretty(text), serde_json::to_string_pretty(&value).expect("JSON"));
        assert_eq!(
            pretty(r#"[1e400,1.10,"\ud800"]"#),
            "[\n  1e400,\n  1.10,\n  \"\\ud800\"\n]"
        );
    }

    #[test]
    fn one_of_a_thing_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|n| count(n, "file")),
            ["0 files", "1 file", "2 files"]
        );
    }

    #[test]
    fn a_table_has_columns_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["shop/ship".to_owned(), "live".to_owned()],
            vec!["a".to_owned(), "be\u{1b}hind".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "STATE"], &rows),
            "NAME       STATE\nshop/ship  live\na          be\u{fffd}hind"
        );
    }
}
