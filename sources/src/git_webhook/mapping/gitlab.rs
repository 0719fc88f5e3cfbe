//! GitLab, as the CloudEvents adapter's document has it; events that it does not know follow the same manner.

use std::borrow::Cow;

use super::draft::Draft;
use super::{Call, word};

/// The source where an event names none, and its instance neither.
const GITLAB: &str = "https://gitlab.com";

/// What the call of an event says.
pub(super) fn draft<'a>(call: &Call<'a>) -> Draft<'a> {
    let kind = kind(call);
    let mut draft = Draft::new(format!("com.gitlab.{kind}"), GITLAB);
    draft.id = delivery(call);
    let suffix = match kind.as_str() {
        "push" | "tag_push" => None,
        "issue" => call.text("object_attributes.state"),
        "pipeline" => call.text("object_attributes.status"),
        "job" => call.first(&["job_status", "build_status"]),
        "note" => noteable(call),
        _ => call.first(&["object_attributes.action", "action"]),
    };
    if let Some(suffix) = suffix {
        draft.ty = format!("{}.{suffix}", draft.plain_type).into();
    }
    draft.source = source(call, &kind);
    let (subject, time): (&[&str], &[&str]) = match kind.as_str() {
        "push" => (&["checkout_sha", "after"], &[]),
        "tag_push" => (&["ref"], &[]),
        "issue" => (&["object_attributes.iid"], &[]),
        "merge_request" => (&["object_attributes.iid"], &["object_attributes.created_at"]),
        "note" => (&["object_attributes.id"], &["object_attributes.created_at"]),
        "wiki_page" => (&["object_attributes.slug"], &[]),
        "pipeline" => (&["object_attributes.id"], &[]),
        "job" => (&["job_id", "build_id"], &[]),
        _ => (&["object_attributes.iid", "object_attributes.id"], &[]),
    };
    draft.subject = call.first(subject);
    draft.time = call.first(time);
    draft
}

/// What GitLab calls the delivery, the same when it is repeated (since 17.4; nothing before). If the call has
/// a signature, it is the id that the signature covers.
pub(super) fn delivery<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    let unsigned = || call.first_header(&["idempotency-key", "webhook-id"]);
    call.signed_id().or_else(unsigned).map(Cow::Borrowed)
}

/// `X-Gitlab-Event` without its ` Hook`, in lower case with underscores.
pub(super) fn header_kind(call: &Call<'_>) -> String {
    let event = call.header("x-gitlab-event").unwrap_or("unknown");
    let event = event.strip_suffix(" Hook").unwrap_or(event);
    word(&event.to_ascii_lowercase())
}

/// What kind of event it is: as the body says, since system hooks all have one header; a job was once called
/// a build.
fn kind(call: &Call<'_>) -> String {
    let told = call.first(&["object_kind", "event_name"]);
    let kind = told.map_or_else(|| header_kind(call), |kind| word(&kind));
    if kind == "build" { "job".to_owned() } else { kind }
}

/// What was commented on: `commit`, `merge_request`, `issue`, `snippet`.
fn noteable<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    let noteable = call.text("object_attributes.noteable_type")?;
    let mut snake = String::with_capacity(noteable.len() + 2);
    for (at, c) in noteable.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Some(snake.into())
}

fn source<'a>(call: &Call<'a>, kind: &str) -> Option<Cow<'a, str>> {
    let told = match kind {
        "note" if call.text("object_attributes.noteable_type").as_deref() == Some("Commit") => {
            call.text("commit.url")
        }
        "note" => call
            .text("object_attributes.url")
            .map(|url| url.split("#note_").next().unwrap_or_default().to_owned().into()),
        "wiki_page" | "pipeline" => call.text("project.web_url"),
        _ => call.text("repository.homepage"),
    };
    let anywhere = || call.first(&["repository.homepage", "project.web_url", "group.web_url"]);
    told.or_else(anywhere)
        .or_else(|| call.header("x-gitlab-instance").map(Cow::Borrowed))
}
