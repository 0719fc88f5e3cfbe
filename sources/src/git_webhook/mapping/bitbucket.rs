//! Bitbucket Cloud. No document says how its calls become events; this is ours, in the manner of those for
//! GitHub and GitLab.

use std::borrow::Cow;

use super::draft::Draft;
use super::{Call, word};

/// The source where an event names none.
const BITBUCKET: &str = "https://bitbucket.org";

/// What the call of an event says: `repo:push` is of the type `org.bitbucket.repo.push`.
pub(super) fn draft<'a>(call: &Call<'a>) -> Draft<'a> {
    let key = call.header("x-event-key").unwrap_or("unknown");
    let mut draft = Draft::new(
        format!("org.bitbucket.{}", word(&key.replace(':', "."))),
        BITBUCKET,
    );
    draft.id = call
        .first_header(&["x-request-uuid", "x-request-id"])
        .map(Cow::Borrowed);
    draft.source = call.text("repository.links.html.href").or_else(|| {
        let name = call.text("repository.full_name")?;
        Some(format!("{BITBUCKET}/{name}").into())
    });
    draft.subject = call.first(&[
        "pullrequest.id",
        "issue.id",
        "commit_status.key",
        "push.changes.0.new.name",
        "push.changes.0.old.name",
        "comment.id",
    ]);
    draft.time = call.first(&[
        "comment.updated_on",
        "commit_status.updated_on",
        "pullrequest.updated_on",
        "issue.updated_on",
    ]);
    draft
}
