//! Writes JSON as YAML, for files that people read and compare: one field a line, fields in order of name,
//! and no choice between several ways to write the same.

use std::fmt::Write as _;

use serde_json::Value;

/// One document.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// A value that begins on a line of its own, at this indent.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            // The order of a map depends on how serde_json was built.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            for (name, value) in fields {
                let _ = write!(out, "{:indent$}{}:", "", text(name));
                match value {
                    // A list stands below its name without a further indent, as kubectl writes it.
                    Value::Array(items) if !items.is_empty() => below(value, indent, out),
                    Value::Object(fields) if !fields.is_empty() => below(value, indent + 2, out),
                    _ => beside(value, out),
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                // The item is written as a block, and its first indent becomes the dash.
                let mut inner = String::new();
                block(item, indent + 2, &mut inner);
                let _ = write!(out, "{:indent$}- {}", "", inner.trim_start());
            }
        }
        _ => {
            let _ = writeln!(out, "{:indent$}{}", "", scalar(value));
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    out.push('\n');
    block(value, indent, out);
}

fn beside(value: &Value, out: &mut String) {
    let _ = writeln!(out, " {}", scalar(value));
}

/// A value on one line. JSON is YAML.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

/// A text, in quotes unless nobody could read it as anything else.
fn text(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    // The words that some YAML reads as a boolean or as nothing.
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if begins && text.chars().all(is_plain) && !is_word.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::{Trees, tree};

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let value = json!({
            "b": [1, "two", {"x": "y: z", "a": []}, [["deep"], {}], null],
            "a": {"empty": {}, "yes": "no", "n": -2.5, "quote": "it's \"so\" # not", "line": "a\nb", "": "~"},
            "url": "http://a/", "on": true, "number": "0x1F", "ß": "ü",
        });
        let written = document(&value);
        let mut read = Trees::new(&written).next().expect("one").expect("valid").root;
        assert!(written.starts_with("a:\n  \"\": \"~\"\n"), "{written}");
        strip(&mut read);
        let mut expected = tree(&value).expect("a tree");
        strip(&mut expected);
        assert_eq!(read, expected, "{written}");
    }

    /// Without places, and with entries in order.
    fn strip(node: &mut crate::tree::Node) {
        use crate::tree::Shape;
        node.at = crate::problem::Mark::NONE;
        match &mut node.shape {
            Shape::Scalar(_) => {}
            Shape::List(items) => items.iter_mut().for_each(strip),
            Shape::Map(entries) => {
                entries.sort_by(|a, b| a.key.text.cmp(&b.key.text));
                for entry in entries {
                    entry.key_at = crate::problem::Mark::NONE;
                    strip(&mut entry.value);
                }
            }
        }
    }
}
