//! Bitbucket Data Center. No document says how its calls become events; this is ours, as for Bitbucket Cloud.

use std::borrow::Cow;

use super::draft::Draft;
use super::{Call, word};

/// The source where an event names none: a relative reference, since the calls do not tell the server's name.
const ANY: &str = "/bitbucket";

/// What the call of an event says: `repo:refs_changed` is of the type
/// `com.atlassian.bitbucket.repo.refs_changed`.
pub(super) fn draft<'a>(call: &Call<'a>) -> Draft<'a> {
    let key = call.header("x-event-key").unwrap_or("unknown");
    let plain = format!("com.atlassian.bitbucket.{}", word(&key.replace(':', ".")));
    let mut draft = Draft::new(plain, ANY);
    draft.id = call
        .first_header(&["x-request-id", "x-request-uuid"])
        .map(Cow::Borrowed);
    draft.source = source(call);
    draft.subject = call.first(&[
        "pullRequest.id",
        "changes.0.ref.id",
        "changes.0.refId",
        "comment.id",
    ]);
    draft.time = call.text("date");
    draft
}

/// The URL of the repository, or else its path.
fn source<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    for repository in ["repository", "pullRequest.toRef.repository", "new"] {
        if let Some(url) = call.text(&format!("{repository}.links.self.0.href")) {
            return Some(url);
        }
        let of = |name: &str| call.text(&format!("{repository}.{name}"));
        if let (Some(project), Some(slug)) = (of("project.key"), of("slug")) {
            return Some(format!("/projects/{project}/repos/{slug}").into());
        }
    }
    None
}
