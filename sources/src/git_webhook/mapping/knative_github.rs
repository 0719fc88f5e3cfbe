//! GitHub as Knative's GitHubSource has it, but for the data, which is the body as it came, and for events
//! that it refuses, which are taken: their type, source and the extensions that all have.

use std::borrow::Cow;

use super::draft::Draft;
use super::{Call, last_part, word};

/// Extensions by name, and where their values stand.
type Extensions = &'static [(&'static str, &'static str)];

/// The subject of an event.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// What stands at this path.
    At(&'static str),
    /// The part of the URL at this path after its last slash.
    Last(&'static str),
    /// The names of the pages of a wiki.
    Pages,
}

/// An event: its subject, the extensions that many have, and those that it has besides.
#[derive(Clone, Copy, Debug)]
struct Row(&'static str, Subject, Extensions, Extensions);

use Subject::{At, Last, Pages};

const BASE: Extensions = &[
    ("owner", "repository.owner.login"),
    ("repository", "repository.name"),
    ("sender", "sender.login"),
];
const ACTED: Extensions = &[
    ("owner", "repository.owner.login"),
    ("repository", "repository.name"),
    ("sender", "sender.login"),
    ("action", "action"),
];
const OF_ORGANIZATION: Extensions = &[
    ("owner", "organization.login"),
    ("sender", "sender.login"),
    ("action", "action"),
];
const SENT: Extensions = &[("sender", "sender.login"), ("action", "action")];
const ACTION: Extensions = &[("action", "action")];
const INSTALLATION: (&str, &str) = ("installation", "installation.id");

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row("check_run", At("check_run.id"), ACTED, &[]),
    Row("check_suite", At("check_suite.id"), ACTED, &[]),
    Row("commit_comment", Last("comment.html_url"), ACTED, &[]),
    Row("create", At("ref_type"), BASE, &[("ref", "ref")]),
    Row("delete", At("ref_type"), BASE, &[("ref", "ref")]),
    Row("deployment", At("deployment.id"), BASE, &[]),
    Row("deployment_status", At("deployment.id"), BASE, &[]),
    Row("fork", At("forkee.id"), BASE, &[]),
    Row("gollum", Pages, BASE, &[]),
    Row("installation", At("installation.id"), SENT, &[INSTALLATION]),
    Row("installation_repositories", At("installation.id"), SENT, &[INSTALLATION]),
    Row("integration_installation", At("installation.id"), SENT, &[INSTALLATION]),
    Row("integration_installation_repositories", At("installation.id"), SENT, &[INSTALLATION]),
    Row("issue_comment", Last("comment.html_url"), ACTED, &[]),
    Row("issues", At("issue.number"), ACTED, &[("label", "label.name"), ("assignee", "assignee.login")]),
    Row("label", At("label.name"), ACTED, &[("label", "label.name")]),
    Row("member", At("member.id"), ACTED, &[]),
    Row("membership", At("member.id"), OF_ORGANIZATION, &[("scope", "scope")]),
    Row("milestone", At("milestone.number"), ACTED, &[]),
    Row("org_block", At("action"), OF_ORGANIZATION, &[]),
    Row("organization", At("action"), OF_ORGANIZATION, &[]),
    Row("page_build", At("id"), BASE, &[]),
    Row("ping", At("hook_id"), BASE, &[]),
    Row("project", At("action"), ACTED, &[]),
    Row("project_card", At("action"), ACTED, &[]),
    Row("project_column", At("action"), ACTED, &[]),
    Row("public", At("repository.id"), BASE, &[]),
    Row("pull_request", At("pull_request.number"), ACTED,
        &[INSTALLATION, ("number", "number"), ("label", "label.name"), ("assignee", "assignee.login")]),
    Row("pull_request_review", At("review.id"), ACTED, &[INSTALLATION, ("review", "review.state")]),
    Row("pull_request_review_comment", At("comment.id"), ACTED, &[INSTALLATION]),
    Row("push", Last("compare"), BASE,
        &[INSTALLATION, ("pusher", "pusher.name"), ("ref", "ref"), ("created", "created"), ("deleted", "deleted"),
          ("forced", "forced")]),
    Row("release", At("release.tag_name"), ACTED, &[INSTALLATION, ("release", "release.name")]),
    Row("repository", At("repository.id"), ACTED, &[]),
    Row("repository_vulnerability_alert", At("alert.id"), ACTION, &[]),
    Row("security_advisory", At("security_advisory.ghsa_id"), ACTION, &[]),
    Row("status", At("sha"), BASE, &[("state", "state"), ("name", "name"), ("context", "context")]),
    Row("team", At("team.id"), SENT, &[]),
    Row("team_add", At("repository.id"), BASE, &[]),
    Row("watch", At("repository.id"), ACTED, &[]),
];

/// What the call of an event says.
pub(super) fn draft<'a>(call: &Call<'a>) -> Draft<'a> {
    let event = call.header("x-github-event").unwrap_or("unknown");
    let plain = format!("dev.knative.source.github.{}", word(event));
    let mut draft = Draft::new(plain, "https://github.com");
    draft.id = call.header("x-github-delivery").map(Cow::Borrowed);
    let of = call.first(&["repository.full_name", "organization.login"]);
    draft.source = of.map(|name| format!("https://github.com/{name}").into());
    let row = TABLE.iter().find(|row| row.0 == event);
    draft.subject = row.and_then(|row| subject(call, row.1));
    let (many, besides) = row.map_or((ACTED, [].as_slice()), |row| (row.2, row.3));
    for &(name, path) in many.iter().chain(besides) {
        draft
            .extensions
            .extend(call.text(path).map(|value| (name, value)));
    }
    draft
}

fn subject<'a>(call: &Call<'a>, subject: Subject) -> Option<Cow<'a, str>> {
    match subject {
        At(path) => call.text(path),
        Last(path) => call.text(path).map(|url| last_part(&url).to_owned().into()),
        Pages => {
            let pages = call.payload.value("pages")?.as_array()?;
            let names: Vec<&str> = pages
                .iter()
                .filter_map(|page| page.get("page_name")?.as_str())
                .collect();
            Some(names.join(",").into())
        }
    }
}
