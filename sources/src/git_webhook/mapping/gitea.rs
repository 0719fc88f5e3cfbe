//! Gitea and its fork Forgejo, whose calls look much like GitHub's. No document says how they become events;
//! this is ours.

use std::borrow::Cow;

use super::draft::Draft;
use super::{Call, word};

/// What tells the two apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    ty: &'static str,
    /// The source where an event names none: a relative reference, since each server has its own name.
    source: &'static str,
}

pub(super) const GITEA: Names = Names {
    ty: "io.gitea",
    source: "/gitea",
};
pub(super) const FORGEJO: Names = Names {
    ty: "org.forgejo",
    source: "/forgejo",
};

/// What the call of an event says: `issues` with the action `opened` is of the type `io.gitea.issues.opened`.
pub(super) fn draft<'a>(call: &Call<'a>, names: &Names) -> Draft<'a> {
    let event = call
        .first_header(&["x-forgejo-event", "x-gitea-event"])
        .unwrap_or("unknown");
    let mut draft = Draft::new(format!("{}.{}", names.ty, word(event)), names.source);
    let delivery = call.first_header(&["x-forgejo-delivery", "x-gitea-delivery"]);
    draft.id = delivery.map(Cow::Borrowed);
    let suffix = match event {
        "create" | "delete" => call.text("ref_type"),
        _ => call.text("action"),
    };
    if let Some(suffix) = suffix {
        draft.ty = format!("{}.{suffix}", draft.plain_type).into();
    }
    draft.source = call.first(&["repository.html_url", "organization.html_url", "repository.url"]);
    draft.subject = call.first(match event {
        "issue_comment" | "pull_request_comment" => &["comment.id"],
        "release" => &["release.tag_name"],
        "repository" => &["repository.full_name"],
        "wiki" => &["page"],
        _ => &["ref", "pull_request.number", "number", "issue.number"],
    });
    draft.time = call.first(&[
        "comment.updated_at",
        "pull_request.updated_at",
        "issue.updated_at",
        "release.published_at",
    ]);
    draft
}
