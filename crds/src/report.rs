//! What has been found in the document that is being read: its problems, remarks, and what it names outside
//! of all documents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_model::NamedFile;

use crate::external::{External, Named};
use crate::field::Field;
use crate::problem::{Code, MAX_PROBLEMS, MAX_PROBLEMS_OF_OBJECT, Mark, Problem, Remark};

/// Where a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, as it was named. Its author is the operator, or somebody whom the operator lets write it.
    File(Arc<str>),
    /// A file whose documents are meant for a cluster: they are judged as objects of it, with their places.
    Manifest(Arc<str>),
    /// A cluster. Its author may be any tenant.
    Cluster,
}

/// What has been found so far, and the document that is being read.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) origin: Origin,
    /// The document, as far as it could be read: `Trigger shop/ship`.
    pub(crate) title: Option<String>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) remarks: Vec<Remark>,
    pub(crate) external: Vec<External>,
}

// === impl Origin ===

impl Origin {
    /// Whether the document is an object of a cluster, or becomes one.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster | Self::Manifest(_))
    }
}

// === impl Report ===

impl Report {
    /// A report in which nothing has been found.
    pub(crate) fn new(origin: Origin, title: Option<String>) -> Self {
        Self {
            origin,
            title,
            problems: Vec::new(),
            remarks: Vec::new(),
            external: Vec::new(),
        }
    }

    fn file(&self) -> &str {
        match &self.origin {
            Origin::File(file) | Origin::Manifest(file) => file,
            Origin::Cluster => "",
        }
    }

    /// Whether it holds as many problems as are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= self.most()
    }

    fn most(&self) -> usize {
        match self.origin {
            Origin::File(_) | Origin::Manifest(_) => MAX_PROBLEMS,
            Origin::Cluster => MAX_PROBLEMS_OF_OBJECT,
        }
    }

    pub(crate) fn problem(&mut self, at: Mark, path: &str, code: Code, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        self.problems.push(Problem {
            file: self.file().to_owned(),
            at: at.known(),
            document: self.title.clone(),
            path: path.to_owned(),
            code,
            message: message.into(),
        });
    }

    pub(crate) fn remark(&mut self, at: Mark, path: &str, message: impl Into<String>) {
        if self.remarks.len() >= self.most() {
            return;
        }
        self.remarks.push(Remark {
            file: self.file().to_owned(),
            at: at.known(),
            document: self.title.clone(),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// A file that this document names, with the folder in which the document lies.
    pub(crate) fn named_file(&self, path: &str) -> NamedFile {
        let file = Path::new(self.file());
        NamedFile {
            path: PathBuf::from(path),
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
        }
    }

    /// Notes that a field names something outside of all documents.
    pub(crate) fn external(&mut self, field: &Field<'_>, named: Named) {
        self.external_at(field.node.at, field.path.clone(), named);
    }

    /// The same of a field at that place.
    pub(crate) fn external_at(&mut self, at: Mark, path: String, named: Named) {
        self.external.push(External {
            file: self.file().to_owned(),
            at: at.known(),
            document: self.title.clone(),
            path,
            named,
        });
    }
}
