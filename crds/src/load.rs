//! What files make of their documents: both steps, and one invalid document refuses all.
//!
//! # Contract
//! Either all documents are valid and there is a whole mesh, or there is none: nothing is served half.
//! Problems are in the order of the files.

use millrace_model::Mesh;

use crate::assemble::{Assembled, assemble};
use crate::document::Document;
use crate::documents::{documents, manifests};
use crate::external::External;
use crate::input::Input;
use crate::problem::{Code, MAX_PROBLEMS, Problem, Remark};
use crate::resolve::{Files, Resolve, SomeCluster};
use crate::status::remarks;

/// What came of the files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The mesh, with revision 0 (who publishes it counts); `None` when there are problems.
    pub mesh: Option<Mesh>,
    /// What is wrong, at most 1 000 of it.
    pub problems: Vec<Problem>,
    /// What the author should know.
    pub remarks: Vec<Remark>,
    /// What the documents name outside of themselves.
    pub external: Vec<External>,
}

/// Loads the documents of these inputs.
pub fn load(inputs: &[Input]) -> Loaded {
    whole(documents(inputs), &Files)
}

/// Loads the documents of these inputs as a cluster would take them: with what the API server refuses, and
/// what the controller finds wrong with what is written.
pub fn load_for_cluster(inputs: &[Input]) -> Loaded {
    whole(manifests(inputs), &SomeCluster)
}

fn whole(documents: Vec<Document>, resolve: &dyn Resolve) -> Loaded {
    let Assembled { mesh, drafts } = assemble(&documents, resolve);
    let of_references: Vec<_> = documents
        .iter()
        .filter(|document| document.has_status())
        .zip(&drafts)
        .map(|(document, draft)| remarks::report(document, draft, &mesh))
        .collect();
    let mut loaded = Loaded::default();
    for document in documents {
        let Document {
            problems,
            remarks,
            external,
            ..
        } = document;
        loaded.problems.extend(problems);
        loaded.remarks.extend(remarks);
        loaded.external.extend(external);
    }
    for report in of_references {
        loaded.remarks.extend(report.remarks);
        loaded.external.extend(report.external);
    }
    loaded.mesh = loaded.problems.is_empty().then_some(mesh);
    loaded.remarks.truncate(MAX_PROBLEMS);
    if loaded.problems.len() >= MAX_PROBLEMS {
        loaded.problems.truncate(MAX_PROBLEMS);
        let file = loaded.problems.last().map_or("", |last| &last.file);
        let message = format!("more than {MAX_PROBLEMS} problems; the rest is not listed");
        let problem = Problem::of_file(file, Code::TooManyProblems, message);
        loaded.problems.push(problem);
    }
    loaded
}

/// Reads one text by itself, as fuzzing does: no panic, whatever it is.
pub fn load_text(text: &str) -> Loaded {
    load(&[Input {
        file: "-".to_owned(),
        text: text.to_owned(),
        passed_over: None,
    }])
}
