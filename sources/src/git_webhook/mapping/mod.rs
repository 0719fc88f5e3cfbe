//! From a call to an event: a file for each manner, and [`draft`], which makes an event of whatever they
//! found.
//!
//! Nothing is refused for what it says. What a mapping finds is a wish; where it is missing, or is no value
//! that an attribute may have, something that always is stands in for it, or the attribute is left out.

mod bitbucket;
mod bitbucket_server;
mod draft;
mod generic;
mod gitea;
mod github;
mod github_table;
mod gitlab;
mod knative;
mod knative_github;
mod times;

use std::borrow::Cow;

use http::HeaderMap;
use millrace_event::{Event, Invalid, ObjectName, Timestamp};
use millrace_model::source::GitWebhook;
use millrace_model::source::git_webhook::{Forge, Mapping};

use super::payload::Payload;
use super::verify;
use crate::SourceError;
use generic::Generic;

/// A verified call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// Its headers.
    pub(super) headers: &'a HeaderMap,
    /// Its JSON, read.
    pub(super) payload: &'a Payload<'a>,
    /// Its JSON, as it came.
    pub(super) data: &'a [u8],
    /// When it came.
    pub(super) received: Timestamp,
}

/// Makes events of calls.
#[derive(Debug)]
pub(super) enum Mapper {
    /// As the CloudEvents adapters do, or in their manner.
    Forge(Forge),
    /// As Knative's GitHubSource does.
    KnativeGithub,
    /// As Knative's GitLabSource does.
    KnativeGitlab,
    /// As the document says.
    Generic(Box<Generic>),
}

// === impl Mapper ===

impl Mapper {
    pub(super) fn new(spec: &GitWebhook, name: &ObjectName) -> Result<Self, SourceError> {
        Ok(match (spec.forge, spec.mapping) {
            (Forge::Generic, _) => Self::Generic(Box::new(Generic::new(spec, name)?)),
            (Forge::Github, Mapping::Knative) => Self::KnativeGithub,
            (Forge::Gitlab, Mapping::Knative) => Self::KnativeGitlab,
            (forge, _) => Self::Forge(forge),
        })
    }

    /// The number of paths that look into the JSON of a call.
    pub(super) fn paths(&self) -> usize {
        match self {
            Self::Generic(generic) => generic.paths(),
            Self::Forge(_) | Self::KnativeGithub | Self::KnativeGitlab => 0,
        }
    }

    /// The event that a call becomes.
    pub(super) fn event(&self, call: &Call<'_>) -> Result<Event, Invalid> {
        let draft = match self {
            Self::Forge(Forge::Github | Forge::Generic) => github::draft(call),
            Self::Forge(Forge::Gitlab) => gitlab::draft(call),
            Self::Forge(Forge::Bitbucket) => bitbucket::draft(call),
            Self::Forge(Forge::BitbucketServer) => bitbucket_server::draft(call),
            Self::Forge(Forge::Gitea) => gitea::draft(call, &gitea::GITEA),
            Self::Forge(Forge::Forgejo) => gitea::draft(call, &gitea::FORGEJO),
            Self::KnativeGithub => knative_github::draft(call),
            Self::KnativeGitlab => knative::gitlab(call),
            Self::Generic(generic) => generic.draft(call),
        };
        draft.into_event(call.data, call.received)
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A header as text.
    fn header(&self, name: &str) -> Option<&'a str> {
        let text = self.headers.get(name)?.to_str().ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// The first of these headers that has a text.
    fn first_header(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.header(name))
    }

    /// The id that a signature of Standard Webhooks covers. An id that is not signed could be changed when a
    /// call is replayed, which would make another event of it.
    fn signed_id(&self) -> Option<&'a str> {
        let prefix = verify::prefix(self.headers)?;
        self.header(&format!("{prefix}-id"))
    }

    /// The value at a path of the JSON, as text.
    fn text(&self, path: &str) -> Option<Cow<'a, str>> {
        self.payload.text(path)
    }

    /// The first of these paths that has a text.
    fn first(&self, paths: &[&str]) -> Option<Cow<'a, str>> {
        self.payload.first(paths)
    }
}

/// A word for the type of an event: the letters, digits, `_`, `-` and `.` of a text, in its case, and no more
/// than fit a line.
fn word(text: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    text.chars().take(64).map(kept).collect()
}

/// The part of a URL after its last slash.
fn last_part(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
mod odd_tests;
