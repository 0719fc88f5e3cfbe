//! GitLab as Knative's GitLabSource has it, but for the data, which is the body as it came, and the id, which
//! is the same when GitLab repeats a delivery.

use std::borrow::Cow;

use super::Call;
use super::draft::Draft;
use super::gitlab::{delivery, header_kind};

/// What the call of an event says.
pub(super) fn gitlab<'a>(call: &Call<'a>) -> Draft<'a> {
    let plain = format!("dev.knative.sources.gitlab.{}", header_kind(call));
    let mut draft = Draft::new(plain, "https://gitlab.com");
    draft.id = delivery(call);
    draft.source = call.first(&["project.web_url", "repository.homepage"]);
    if let Some(event) = call.header("x-gitlab-event") {
        draft.extensions.push(("comgitlabevent", Cow::Borrowed(event)));
    }
    draft
}
