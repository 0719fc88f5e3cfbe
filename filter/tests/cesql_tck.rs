//! The test kit of the CESQL specification, every case of it: value and kind of error.
//!
//! The kit is not part of this repository. It is looked for in `$MILLRACE_CESQL_TCK`, then in
//! `../shared/cesql-tck` beside the repository. Where it is missing the test says so and passes, unless
//! `MILLRACE_REQUIRE_PEERS=1`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use millrace_event::{Event, Kind, SpecVersion, Value as Attribute};
use millrace_filter::cesql::{ErrorKind, Expression, Value};
use saphyr_parser::{Event as Yaml, Parser, ScalarStyle};

/// The stale case, and why it is not asked: the specification casts an Integer to a Boolean (0 is false, all
/// others are true), so `NOT 10` is false without an error; the kit still expects a cast error. The Go SDK's
/// copy of the kit says false as well.
const STALE: (&str, &str) = ("not_operator.yaml", "Invalid int cast");
/// How many cases the kit has, so that one that is not read is noticed.
const CASES: usize = 275;

/// A YAML value as far as the kit needs it.
#[derive(Clone, Debug)]
enum Node {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// The kit's folder, or why it is skipped.
fn kit() -> Result<PathBuf, String> {
    let folder = std::env::var_os("MILLRACE_CESQL_TCK").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cesql-tck"),
        PathBuf::from,
    );
    if folder.is_dir() {
        return Ok(folder);
    }
    let required = std::env::var_os("MILLRACE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(
        !required,
        "MILLRACE_REQUIRE_PEERS=1 and there is no {}",
        folder.display()
    );
    Err(format!(
        "skipped: the CESQL test kit: there is no {}",
        folder.display()
    ))
}

/// Reads one node; `parser` stands before it.
fn node<'a>(parser: &mut impl Iterator<Item = Yaml<'a>>) -> Option<Node> {
    loop {
        return Some(match parser.next().expect("the document goes on") {
            Yaml::Scalar(text, style, ..) => Node::Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Yaml::SequenceStart(..) => Node::List(std::iter::from_fn(|| node(parser)).collect()),
            Yaml::MappingStart(..) => {
                let mut entries = Vec::new();
                while let Some(key) = node(parser) {
                    entries.push((key.text().to_owned(), node(parser).expect("a value")));
                }
                Node::Map(entries)
            }
            Yaml::SequenceEnd | Yaml::MappingEnd => return None,
            Yaml::Alias(_) => panic!("the kit has no aliases"),
            Yaml::Nothing
            | Yaml::StreamStart
            | Yaml::StreamEnd
            | Yaml::DocumentStart(_)
            | Yaml::DocumentEnd => continue,
        });
    }
}

impl Node {
    fn text(&self) -> &str {
        match self {
            Self::Scalar { text, .. } => text,
            other => panic!("a scalar is expected, not {other:?}"),
        }
    }

    fn get(&self, key: &str) -> Option<&Node> {
        let Self::Map(entries) = self else {
            panic!("a mapping is expected, not {self:?}")
        };
        entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// What the scalar means: Booleans and Integers only where it has no quotes.
    fn value(&self) -> Value<'static> {
        let Self::Scalar { text, plain } = self else {
            panic!("a scalar is expected, not {self:?}")
        };
        match (plain, text.to_ascii_lowercase().as_str(), text.parse()) {
            (true, "true", _) => Value::Boolean(true),
            (true, "false", _) => Value::Boolean(false),
            (true, _, Ok(number)) => Value::Integer(number),
            _ => Value::Text(Cow::Owned(text.clone())),
        }
    }
}

/// The event of a case: its own, or the kit's smallest with some attributes set.
fn event(case: &Node) -> Event {
    let smallest = [("id", "1"), ("source", "/kit"), ("type", "kit")];
    let mut builder = Event::builder(SpecVersion::V10);
    if case.get("event").is_none() {
        for (name, value) in smallest {
            builder = builder.attribute(name, value);
        }
    }
    for field in ["event", "eventOverrides"] {
        let Some(Node::Map(attributes)) = case.get(field) else {
            continue;
        };
        for (name, node) in attributes.iter().filter(|(name, _)| name != "specversion") {
            let kind = match node.value() {
                Value::Boolean(_) => Kind::Boolean,
                Value::Integer(_) => Kind::Integer,
                Value::Text(_) => Kind::String,
            };
            let text = node.text();
            builder = builder.value(name, Attribute { kind, text });
        }
    }
    builder.build().expect("the kit's events are valid")
}

/// What went otherwise than the case says.
fn differs(case: &Node) -> Option<String> {
    let text = case.get("expression").expect("an expression").text();
    let event = event(case);
    let expected_error = case.get("error").map(Node::text);
    let expected = case.get("result").map(Node::value);
    let compiled = Expression::new(text);
    let (value, error) = match &compiled {
        Err(refused) if refused.message.contains("there is no function") => {
            (Value::Boolean(false), Some("missingFunction"))
        }
        Err(_) => (Value::Boolean(false), Some("parse")),
        Ok(expression) => {
            let outcome = expression.evaluate(&event);
            let error = outcome.error.map(|kind| match kind {
                ErrorKind::Math => "math",
                ErrorKind::Cast => "cast",
                ErrorKind::MissingAttribute => "missingAttribute",
                ErrorKind::FunctionEvaluation => "functionEvaluation",
                ErrorKind::Generic => "generic",
            });
            (outcome.value, error)
        }
    };
    let same = error == expected_error && expected.as_ref().is_none_or(|expected| *expected == value);
    (!same).then(|| format!("{text}: {value:?}, {error:?}; expected {expected:?}, {expected_error:?}"))
}

#[test]
fn every_case_of_the_kit_but_the_stale_one_is_as_it_says() {
    let kit = match kit() {
        Ok(kit) => kit,
        Err(reason) => {
            println!("{reason}");
            return;
        }
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&kit)
        .expect("the kit can be listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let (mut cases, mut faults) = (0, Vec::new());
    for path in files {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("the kit can be read");
        let mut parser = Parser::new_from_str(&text).map(|event| event.expect("valid YAML").0);
        let document = node(&mut parser).expect("a document");
        let Some(Node::List(tests)) = document.get("tests") else {
            panic!("{file} has no tests")
        };
        for case in tests {
            cases += 1;
            let name = case.get("name").expect("a name").text();
            if (file.as_str(), name) == STALE {
                println!("skipped: {file}, {name}: stale, the specification casts Integers to Booleans");
                continue;
            }
            faults.extend(differs(case).map(|fault| format!("{file}, {name}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(cases, CASES);
}
