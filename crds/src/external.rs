//! What documents name outside of all documents: files, variables and servers, each with its place.
//!
//! The operator decides whether a document may name it, not the document. So nothing is judged here:
//! `millrace check` judges it with this list, and a source does when it needs the file or variable.

use http::Uri;
use millrace_model::source::git_webhook::{Forge, Verification};
use millrace_model::{NamedFile, Secret};

use crate::problem::{Code, Mark, Problem, Remark};

/// A field that names a file, a variable or a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The file of the document, as it was named; empty for an object of a cluster.
    pub file: String,
    /// Where in the file the field stands; `None` for an object of a cluster.
    pub at: Option<Mark>,
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
    /// A secret that does not stand in a document.
    Secret(Secret),
    /// A kubeconfig.
    Kubeconfig(NamedFile),
    /// A secret that calls of a forge are verified with, wherever it is.
    WebhookSecret(Forge, Verification, Secret),
    /// A secret that signs deliveries, wherever it is.
    SigningSecret(Secret),
    /// Where events are sent to.
    Target(Uri),
}

// === impl External ===

impl External {
    /// The problem of a field that may not name this, or names what cannot serve.
    pub fn refused(&self, message: String) -> Problem {
        let code = match self.named {
            Named::WebhookSecret(..) | Named::SigningSecret(_) => Code::BadSecret,
            Named::Secret(_) | Named::Kubeconfig(_) | Named::Target(_) => Code::NotOpen,
        };
        Problem {
            file: self.file.clone(),
            at: self.at,
            document: self.document.clone(),
            path: self.path.clone(),
            code,
            message,
        }
    }

    /// The remark on a field that may name this, but it does not work here and now.
    pub fn remark(&self, message: String) -> Remark {
        Remark {
            file: self.file.clone(),
            at: self.at,
            document: self.document.clone(),
            path: self.path.clone(),
            message,
        }
    }
}
