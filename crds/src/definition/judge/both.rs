//! Both verdicts together: the API server's, and the controller's on what is written.

use super::judge;
use crate::problem::Code;
use crate::report::Report;
use crate::tree::Node;

/// Adds what the API server says to what the controller has said in the report, each fault once. Where only
/// one of them refuses, the message says which.
pub(crate) fn add(root: &Node, report: &mut Report) {
    let Some(verdict) = judge(root, None) else {
        return;
    };
    let refused: Vec<&str> = verdict.refusals.iter().map(|refusal| &*refusal.path).collect();
    for problem in &mut report.problems {
        if verdict.dropped.iter().any(|path| is_about(path, &problem.path)) {
            problem
                .message
                .push_str("; kubectl refuses it, and for other clients the API server drops it");
        } else if !refused.iter().any(|path| is_about(path, &problem.path)) {
            problem
                .message
                .push_str("; the API server takes it, and then it is not Ready");
        }
    }
    let told: Vec<String> = report
        .problems
        .iter()
        .map(|problem| problem.path.clone())
        .collect();
    for refusal in verdict.refusals {
        if !told.iter().any(|path| is_about(path, &refusal.path)) {
            let message = format!("the API server refuses it: {}", refusal.message);
            report.problem(refusal.at, &refusal.path, Code::RefusedByApi, message);
        }
    }
}

/// Whether one path is the other, or a part of what stands there.
fn is_about(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
