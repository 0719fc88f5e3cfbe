//! What is wrong with a document, or worth a word: where it stands, in which field, and why.
//!
//! All problems of all files are collected, so that one look at the output is enough to mend everything.

use std::fmt;

use serde::{Serialize, Serializer};

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mark {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Problems that are listed, of one document and of all: a hostile file could have millions.
pub(crate) const MAX_PROBLEMS: usize = 1_000;
/// The same of an object of a cluster: anybody may write many of them, and each is kept with its status.
pub(crate) const MAX_PROBLEMS_OF_OBJECT: usize = 20;

/// Why a document is refused. Its `Display` is `file:line:column: path: message (code)`, without what is not
/// known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named; empty when the document is an object of a cluster.
    pub file: String,
    /// The place; `None` when the file as a whole is at fault, and for an object of a cluster.
    #[serde(flatten)]
    pub at: Option<Mark>,
    /// The document, e.g. `Trigger shop/ship`, as far as it could be read.
    pub document: Option<String>,
    /// The field, e.g. `spec.filters[1].exact.Type`; empty when no field is at fault.
    pub path: String,
    /// What kind of problem it is; stable.
    pub code: Code,
    /// A sentence for people.
    pub message: String,
}

/// Something that is not wrong but that the author should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The file as it was named; empty when the document is an object of a cluster.
    pub file: String,
    /// The place; `None` when the file as a whole is meant, and for an object of a cluster.
    #[serde(flatten)]
    pub at: Option<Mark>,
    /// The document, as in [`Problem`].
    pub document: Option<String>,
    /// The field; empty when none is meant.
    pub path: String,
    /// A sentence for people.
    pub message: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// The kinds of problems. The text of each is stable: scripts may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])+ $name,)+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text, in kebab case.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// The file or folder cannot be read.
    FileUnreadable = "file-unreadable",
    /// The file, or all files together, are over the bound.
    FileTooLarge = "file-too-large",
    /// The file is not UTF-8.
    NotUtf8 = "not-utf8",
    /// The text is not YAML.
    YamlSyntax = "yaml-syntax",
    /// The text is YAML with something that Kubernetes' documents do not have.
    YamlUnsupported = "yaml-unsupported",
    /// The text is a template that has not been rendered.
    YamlTemplate = "yaml-template",
    /// The document is nested deeper than the bound.
    YamlTooDeep = "yaml-too-deep",
    /// The document has more parts than the bound, aliases counted as often as they are used.
    YamlTooLarge = "yaml-too-large",
    /// A mapping has the same key twice.
    DuplicateKey = "duplicate-key",
    /// There are more documents than the bound.
    TooManyDocuments = "too-many-documents",
    /// There are more problems than are listed.
    TooManyProblems = "too-many-problems",
    /// A field that must be there is not.
    MissingField = "missing-field",
    /// A field that does not exist.
    UnknownField = "unknown-field",
    /// An annotation of ours that does not exist.
    UnknownAnnotation = "unknown-annotation",
    /// A version of a kind of ours that does not exist.
    UnsupportedVersion = "unsupported-version",
    /// A text that YAML reads as a number, a boolean or nothing.
    NotAString = "not-a-string",
    /// A value of another type than the field's.
    WrongType = "wrong-type",
    /// Not a name as Kubernetes wants it.
    BadName = "bad-name",
    /// A second document of the same kind and name.
    DuplicateDocument = "duplicate-document",
    /// Fields that exclude each other.
    ConflictingFields = "conflicting-fields",
    /// A reference that cannot be right.
    BadReference = "bad-reference",
    /// A secret that is not given as it must be.
    BadSecret = "bad-secret",
    /// A file, a variable or a program that the operator has not opened to documents, or that an object of a
    /// cluster may never name.
    NotOpen = "not-open",
    /// The API server of Kubernetes refuses it, for a reason that holds only there.
    RefusedByApi = "refused-by-api",
    /// A schedule that never comes, or cannot be read.
    BadSchedule = "bad-schedule",
    /// Data that is not what it is said to be.
    BadData = "bad-data",
    /// An extension that `ceOverrides` must not or cannot set.
    BadOverride = "bad-override",
    /// Where a source finds an attribute is not said as it must be.
    BadEventField = "bad-event-field",
    /// Not a URL that events can be sent to.
    BadUri = "bad-uri",
    /// Certificates that cannot be used.
    BadCertificate = "bad-certificate",
    /// Not the `host:port` of a server.
    BadAddress = "bad-address",
    /// Not a name that a Kafka topic can have, or not a pattern of such names.
    BadTopic = "bad-topic",
    /// Not an ISO 8601 duration.
    BadDuration = "bad-duration",
    /// Not a whole number or quantity of bytes.
    BadNumber = "bad-number",
    /// A value below or above its bounds.
    OutOfRange = "out-of-range",
    /// A word that is not among those that the field knows.
    UnknownValue = "unknown-value",
    /// Valid in Knative, but this version cannot do it.
    NotSupported = "not-supported",
    /// Not a selector of labels as Kubernetes wants it.
    BadSelector = "bad-selector",
    /// Not a name of an attribute as filters want it.
    BadAttributeName = "bad-attribute-name",
    /// A filter that compares with nothing.
    EmptyValue = "empty-value",
    /// A filter without a clause.
    EmptyFilter = "empty-filter",
    /// A filter element with more than one dialect.
    ManyDialects = "many-dialects",
    /// A filter dialect that does not exist.
    UnknownDialect = "unknown-dialect",
    /// A filter that breaks another rule of filters.
    BadFilter = "bad-filter",
}

/// The longest piece of a user's text that a message repeats, in characters.
const SHOWN: usize = 60;

/// A user's text for a message: in one line, without control characters, and not longer than a line.
pub(crate) fn shown(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().take(SHOWN) {
        match c {
            // Quotes harm nobody.
            '\'' | '"' => short.push(c),
            c => short.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

// === impl Mark ===

impl Mark {
    /// No place: that of every part of an object of a cluster.
    pub(crate) const NONE: Self = Self { line: 0, column: 0 };

    /// The place, if it is one.
    pub(crate) fn known(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

// === impl Code ===

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl Problem, Remark ===

impl Problem {
    /// A problem of a file as a whole.
    pub(crate) fn of_file(file: &str, code: Code, message: impl Into<String>) -> Self {
        let (file, message) = (file.to_owned(), message.into());
        Self {
            file,
            at: None,
            document: None,
            path: String::new(),
            code,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at, &self.path)?;
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at, &self.path)?;
        f.write_str(&self.message)
    }
}

/// `file:line:column: path: `, without what is not known.
fn place(f: &mut fmt::Formatter<'_>, file: &str, at: Option<Mark>, path: &str) -> fmt::Result {
    f.write_str(file)?;
    if let Some(at) = at {
        write!(f, ":{}:{}", at.line, at.column)?;
    }
    if !file.is_empty() {
        f.write_str(": ")?;
    }
    if !path.is_empty() {
        write!(f, "{path}: ")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-' || c == '8'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} is there twice");
        }
    }

    #[test]
    fn a_problem_is_one_line_that_an_editor_can_follow() {
        let mut problem = Problem {
            file: "mesh.yaml".to_owned(),
            at: Some(Mark { line: 14, column: 9 }),
            document: Some("Trigger shop/ship".to_owned()),
            path: "spec.retry".to_owned(),
            code: Code::OutOfRange,
            message: "too much".to_owned(),
        };
        assert_eq!(
            problem.to_string(),
            "mesh.yaml:14:9: spec.retry: too much (out-of-range)"
        );
        let json = serde_json::to_string(&problem).expect("plain data");
        assert_eq!(
            json,
            r#"{"file":"mesh.yaml","line":14,"column":9,"document":"Trigger shop/ship","path":"spec.retry","code":"out-of-range","message":"too much"}"#
        );
        problem.at = None;
        problem.path.clear();
        assert_eq!(problem.to_string(), "mesh.yaml: too much (out-of-range)");
    }

    #[test]
    fn hostile_text_is_shown_short_and_without_control_characters() {
        let text = format!("\u{1b}[31m\n{}", "x".repeat(1000));
        let shown = shown(&text);
        assert!(
            shown.chars().count() < 90 && !shown.contains(['\u{1b}', '\n']),
            "{shown}"
        );
    }
}
