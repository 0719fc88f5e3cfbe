//! What documents name outside of themselves: files and variables, each with its place.
//!
//! Whether a document may name it is the operator's decision and not the document's, so nothing is judged here:
//! `millrace check` does it with the list, and a source when it needs what is named.

use millrace_model::{NamedFile, Secret};

use crate::problem::{Code, Mark, Problem, Remark};

/// A field that names a file or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The file of the document, as it was named.
    pub file: String,
    /// The place.
    pub at: Mark,
    /// The document, e.g. `KafkaSource shop/orders`.
    pub document: Option<String>,
    /// The field, e.g. `spec.net.sasl.password`.
    pub path: String,
    /// What it names.
    pub named: Named,
}

/// What a field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A secret: never one that stands in a document.
    Secret(Secret),
    /// A kubeconfig.
    Kubeconfig(NamedFile),
}

// === impl Reference ===

impl Reference {
    /// It may not be named.
    pub fn refused(&self, message: String) -> Problem {
        Problem {
            file: self.file.clone(),
            at: Some(self.at),
            document: self.document.clone(),
            path: self.path.clone(),
            code: Code::NotOpen,
            message,
        }
    }

    /// It may be named, but does not work here and now.
    pub fn remark(&self, message: String) -> Remark {
        Remark {
            file: self.file.clone(),
            at: Some(self.at),
            document: self.document.clone(),
            path: self.path.clone(),
            message,
        }
    }
}
